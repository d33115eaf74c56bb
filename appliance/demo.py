"""The whole circle, once, in simulation: show, learn, try, report."""

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

from appliance.collect import LIMIT, Sitting, Took, collect, starts, tally
from appliance.evaluate import Trying, evaluate, plan
from appliance.home import STARTER, Home
from appliance.refusal import Refusal
from appliance.settings import learner
from appliance.train import demonstrations, train
from storage import Catalog, PolicyRow, Wanted

STATION = "franka-sim"

METHODS = ("random", "nearest", "ccol")
"""What is learned: no skill at all, the baseline every method must beat, and a method."""

type Progress = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]


class Stopped(Refusal):
    """A person stopped the circle. What was done until then is kept."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    demos: int
    trials: int
    preset: str
    steps: int | None = None
    """Training steps of CCoL; None for the preset's."""
    seed: int = 0
    workers: int = 2
    limit: float = LIMIT
    """Seconds until a trial ends anyway."""

    def but(self, **wishes: int | None) -> Self:
        """The same, except for what a person asked for."""
        return dataclasses.replace(self, **{name: wish for name, wish in wishes.items() if wish is not None})  # type: ignore[arg-type]  # None is left out


USUAL = Size(demos=200, trials=20, preset="small")
QUICK = Size(demos=4, trials=2, preset="tiny", limit=8.0)


def circle(
    home: Home,
    catalog: Catalog,
    size: Size,
    say: Callable[[str], None],
    progress: Progress,
    show: Callable[[Any], None],
) -> None:
    """Go round once. A second time goes on with the demonstrations that are there.

    Raises:
        Stopped: a person asked to stop.
    """
    from ops import report

    began = time.monotonic()
    task = catalog.task(STARTER.name)
    say(f"The task is {task.name!r}: {task.instruction}. The cell is {STATION}, a simulated Franka arm at a table.")
    say(f"Everything is kept in {home.folder}.\n")
    _show_it(home, catalog, size, say, progress)
    rows = [_learn(home, size, method, say, progress) for method in METHODS]
    _try(home, size, rows, say, progress)
    found = report.summarize(catalog, task.name)
    page = report.write_page(found, home.folder / "reports" / task.name, home.folder)
    say(f"\nThe circle took {_minutes(time.monotonic() - began)}. This is what it showed:\n")
    show(report.tables(found))
    say(f"\nThe same with pictures of where and how each policy failed: {page}")


def _show_it(home: Home, catalog: Catalog, size: Size, say: Callable[[str], None], progress: Progress) -> None:
    there = catalog.count(Wanted(task=STARTER.name, agent="scripted", station=STATION))
    missing = size.demos - there
    if missing <= 0:
        say(f"1. There are {there} demonstrations already; no more are collected.")
        return
    say(f"1. A script shows the task {missing} times, each time at another table ({size.workers} at once).")
    began, took = time.monotonic(), list[Took]()
    seed = None if there else size.seed
    chosen = starts(home, STARTER.name, STATION, missing, seed)
    with progress("demonstrations", missing) as advance:

        def tell(one: Took) -> None:
            took.append(one)
            advance(tally(took))

        whole = collect(Sitting(home, STARTER.name, STATION, "demo", chosen), size.workers, tell)
    if not whole:
        raise Stopped(f"stopped after {len(took)} demonstrations; they are kept, and the next demo goes on from there")
    robot = sum(one.seconds for one in took)
    say(f"   {tally(took)}. {_minutes(robot)} of robot time in {_minutes(time.monotonic() - began)}.")


def _learn(home: Home, size: Size, method: str, say: Callable[[str], None], progress: Progress) -> PolicyRow:
    given = _wishes(size) if method == "ccol" else {}
    with home.join() as catalog:
        number = len(demonstrations(catalog, STARTER.name))
    say(f"2. {method} learns from the {number} demonstrations that succeeded.")
    how = learner(method, size.preset, given)
    with progress(method, None) as advance:
        row = train(
            home,
            STARTER.name,
            method,
            size.preset,
            how,
            lambda done, of, loss: advance(f"loss {loss:.4f}" if math.isfinite(loss) else "", done, of),
            prepare=advance,
        )
    say(f"   The policy is called {row.name}; it took {_minutes(row.metrics['seconds'])}.")
    return row


def _wishes(size: Size) -> dict[str, str]:
    """What the demo asks of CCoL's training, beside its preset."""
    return {"seed": str(size.seed)} | ({} if size.steps is None else {"steps": str(size.steps)})


def _try(home: Home, size: Size, rows: list[PolicyRow], say: Callable[[str], None], progress: Progress) -> None:
    batch, _ = plan(home, STARTER.name, [row.name for row in rows], size.trials, size.seed, STATION)
    say(
        f"3. Each policy is tried from the same {size.trials} starts, none of which it was shown: "
        f"{batch.planned} trials in shuffled order."
    )
    began = time.monotonic()
    with progress("trials", batch.planned) as advance:
        whole = evaluate(
            Trying(home, batch.id, STATION, size.limit), size.workers, lambda turn: advance(str(turn.outcome))
        )
    if not whole:
        raise Stopped(f"stopped during the trials; batch {batch.id} stays open and does not count")
    say(f"   Done in {_minutes(time.monotonic() - began)}.")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
