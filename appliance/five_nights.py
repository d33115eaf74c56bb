"""Nights that need nobody: learn from too little, find out what fails, have just that shown, and learn again.

A script fulfils the work orders by day; the nights are the appliance's own, step by step. Everything that is drawn
follows from the seed, and what was done stands in the catalog: a second call goes on where the first one ended, however
that ended.

The nights run in this process and not through the queue, where each step is a process of its own: to start one takes
longer than most steps do (LOG.md).
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from appliance import station
from appliance.begins import fits
from appliance.collect import LIMIT, CannotCollect, Sitting, Took, collect, starts, tally
from appliance.demo import STATION, Progress, Stopped
from appliance.doing import Here, Paused
from appliance.evaluate import Trying, evaluate, plan, resume
from appliance.home import STARTER, Home
from appliance.night import InOrder, night
from appliance.nightfall import alone
from appliance.refusal import Refusal
from ops import morning, rising
from ops.slices import Bound, Slice
from storage import Catalog, Night, Outcome, Task, Unknown, Wanted, WorkOrder

BY = "script"

BIASED = Slice((Bound("y", -0.14, -0.05, "right third"),))
"""Where the red cube stands in all that is shown before the first night."""

TRIAL_SEEDS = 1000
"""Each run of nights has so many: one for the fixed starts, and one for every night."""

ORDER_SEEDS = 31
"""Two runs of nights have their orders' starts from seeds so far apart."""

PATIENCE = 3
"""So many takes of the script for every demonstration, before it is said that it cannot show this."""


SAME = ("preset", "settings", "trials", "limit", "wanted")
"""What nights of one seed are all asked for alike."""


class Others(Refusal):
    """Nights of this seed were begun otherwise. The message says how."""


@dataclass(frozen=True)
class Length:
    """How much of everything."""

    first: int
    """Demonstrations before the first night."""
    wanted: int
    """Demonstrations of each work order."""
    trials: int
    """Of candidate and champion each, from other starts every night: by these the night decides."""
    exam: int
    """Of each candidate, from starts that are the same every time: these are shown, and nothing follows from them."""
    preset: str
    steps: int
    nights: int = 5
    seed: int = 0
    workers: int = 2
    limit: float = LIMIT
    """Seconds until a trial ends anyway."""
    name: str = "nights"

    @property
    def task(self) -> str:
        """These nights have a task of their own, so that nothing else is learned from."""
        return f"{self.name}_{self.seed}"

    def but(self, **wishes: int | None) -> "Length":
        """The same, except for what a person asked for."""
        return replace(self, **{name: wish for name, wish in wishes.items() if wish is not None})  # type: ignore[arg-type]  # None is left out


USUAL = Length(first=30, wanted=4, trials=40, exam=40, preset="small", steps=400)
QUICK = Length(first=3, wanted=1, trials=5, exam=1, preset="tiny", steps=6, limit=3.0, name="quick_nights")


def nights(
    home: Home,
    catalog: Catalog,
    length: Length,
    say: Callable[[str], None],
    progress: Progress,
    show: Callable[[Any], None],
) -> None:
    """Have so many nights, each after a day on which the open work orders are fulfilled.

    Raises:
        Busy: another program has them, or one of their nights.
        Others: they were begun with other sizes.
        Stopped: a person asked to stop. Asked again, it goes on from there.
    """
    began, worked = time.monotonic(), _processor()
    run = _Run(home, catalog, length, say, progress)
    say(f"The task is {length.task!r}: {STARTER.instruction}. The cell is {STATION}, a simulated arm at a table.")
    say(f"Everything is kept in {home.folder}.")
    try:
        with alone(home, length.task, length.task, BY):
            run.begin()
            for number in range(1, length.nights + 1):
                say(f"\nNight {number} of {length.nights}")
                run.day(number)
                run.night(number)
                run.exam(number)
                found = rising.of(catalog, length.task)
                page = rising.write_page(found, morning.folder(home.folder, length.task))
    except (Paused, KeyboardInterrupt) as stopped:
        raise Stopped("stopped; what was done is kept, and the same words go on from there") from stopped
    say(
        f"\nThis call took {_minutes(time.monotonic() - began)}, and {_minutes(_processor() - worked)} of processors.\n"
    )
    show(rising.tables(found))
    say(f"\nThe same as a picture, with a page for every night: {page}")


@dataclass(frozen=True)
class _Run:
    """What the parts of a run of nights have in common."""

    home: Home
    catalog: Catalog
    length: Length
    say: Callable[[str], None]
    progress: Progress

    def begin(self) -> None:
        """Ask for the demonstrations that the first night learns from: too few sorts of them.

        Raises:
            Others: that was done, and the nights since were asked for with other sizes.
        """
        task = self.length.task
        if task not in {one.name for one in self.catalog.tasks()}:
            self.catalog.add(Task(name=task, instruction=STARTER.instruction))
        if not self.catalog.orders(task, None):
            why = f"{self.length.first} demonstrations: {BIASED.words} of the table alone, so that something is lacking"
            self.catalog.order(WorkOrder(task=task, wanted=self.length.first, part=BIASED.facts, why=why))

        if (first := self._row(self._name(1))) is not None:
            asked = self._asked(1)
            if other := {name: first.settings[name] for name in SAME if first.settings[name] != asked[name]}:
                said = ", ".join(f"{name} {value}" for name, value in other.items())
                raise Others(f"{task} was begun with {said}; go on with these, or take another --seed")

    def day(self, number: int) -> None:
        """Have a script show what the open orders ask for, unless the night after it has begun already."""
        if self._row(self._name(number)) is not None:
            return
        for rank, order in enumerate(self.catalog.orders(self.length.task, None)):
            if order.closed is None:
                self.say(f"  The script shows {order.why}.")
                self._fulfil(rank, order)
                self.catalog.close_order(order.id, BY, "all of it was shown")

    def night(self, number: int) -> None:
        """Learn, try and decide, as any night does."""
        name = self._name(number)
        row = self._row(name)
        page = morning.folder(self.home.folder, name) / "morning.html"
        if row is None or row.ended is None or not page.exists():
            with alone(self.home, name, self.length.task, BY), self.progress(name, None) as advance:
                night(InOrder(self.home, Here(advance=advance)), self._asked(number) if row is None else row.settings)
        row = self.catalog.night(name)
        self.say(f"  {row.decision}: {row.why.partition(': ')[2]}.")

    def exam(self, number: int) -> None:
        """Try what the night has trained from the fixed starts."""
        row, length = self.catalog.night(self._name(number)), self.length
        if row.candidate is None:
            return
        key = rising.exam_of(row.id)
        try:
            batch = self.catalog.batch(key)
        except Unknown:
            named, seed = self.catalog.policy(row.candidate).name, TRIAL_SEEDS * length.seed
            batch, _ = plan(self.home, length.task, [named], length.exam, seed, STATION, name=key)
        if batch.closed is not None:
            return
        _, _, left = resume(self.home, length.task, key, STATION)
        with self.progress("fixed starts", left) as advance:
            trying = Trying(self.home, key, STATION, length.limit)
            if not evaluate(trying, length.workers, lambda turn: advance(str(turn.outcome))):
                raise Paused("the exam")

    def _fulfil(self, rank: int, order: WorkOrder) -> None:
        """Have an order's demonstrations shown, one after the other: they are learned from in the order they were made.

        Raises:
            CannotCollect: the script does not manage to.
        """
        cell, task = station.load(STATION), self.length.task
        seed = ORDER_SEEDS * self.length.seed + rank
        while (missing := order.wanted - self.catalog.order_progress(order.id)) > 0:
            used = self._used(order)
            if len(used) + missing > PATIENCE * order.wanted:
                raise CannotCollect(f"the script failed at most of {len(used)} takes for order {order.id}: {order.why}")
            meant = fits(cell, STARTER.instruction, order)
            begun = starts(self.home, task, STATION, len(used) + missing, seed, meant)
            took: list[Took] = []
            with self.progress("demonstrations", missing) as advance:

                def tell(one: Took, took: list[Took] = took, advance: Callable[..., None] = advance) -> None:
                    took.append(one)
                    advance(tally(took))

                left = tuple(start for start in begun if start not in used)
                if not collect(Sitting(self.home, task, STATION, BY, left, order=order.id), 1, tell):
                    raise Paused("demonstrations")

    def _used(self, order: WorkOrder) -> set[int]:
        """The starts of an order's takes that were made to their end."""
        made = self.catalog.find(Wanted(task=self.length.task, agent="scripted"))
        ended = {Outcome.SUCCESS, Outcome.FAILURE}
        return {
            one.row.condition["seed"] for one in made if one.row.order == order.id and one.standing.outcome in ended
        }

    def _asked(self, number: int) -> dict[str, Any]:
        """What a night is asked for."""
        length = self.length
        return {
            "task": length.task,
            "night": self._name(number),
            "station": STATION,
            "by": BY,
            "method": "ccol",
            "preset": length.preset,
            "settings": {"steps": str(length.steps), "seed": str(length.seed), "tracker": "none"},
            "first": 1,
            "trials": length.trials,
            "seed": TRIAL_SEEDS * length.seed + number,
            "limit": length.limit,
            # Two processes that stop as soon as it is decided do not always stop after the same trial.
            "early": False,
            "workers": length.workers,
            "wanted": length.wanted,
        }

    def _name(self, number: int) -> str:
        return f"{self.length.task}-{number}"

    def _row(self, name: str) -> Night | None:
        try:
            return self.catalog.night(name)
        except Unknown:
            return None


def _processor() -> float:
    """Seconds that processors have worked for this program, and for those it started that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
