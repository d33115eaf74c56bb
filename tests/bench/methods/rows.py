"""One row of the bench: shown, learned, tried and measured, each once. What is done is never done again."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import learners
from appliance import station
from appliance.collect import Sitting, collect, starts, tally
from appliance.evaluate import Trying, evaluate, load, plan
from appliance.home import Home
from appliance.train import CannotTrain, demonstrations, seeing, train
from ops import results
from storage import Batch, Catalog, Episode, Outcome, Task, Unknown
from tests.bench.methods.measures import plans, seconds, smoothness
from tests.bench.methods.recipes import CELLS, CannotCompare, Entry, Recipe, settings, steps

TRIALS = 7
"""The seed of every trial's start, so that all rows meet the same."""

ASIDE = 9
"""The seed of the starts of demonstrations that nobody learns from."""

ROUNDS = 3
"""How often demonstrations that failed are made up for."""

type Progress = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]


class Stopped(CannotCompare):
    """A person asked to stop. What was done is kept."""


@dataclass(frozen=True)
class Row:
    """What is asked of one row."""

    task: str
    entry: Entry
    seed: int
    made: Recipe

    @property
    def key(self) -> str:
        """Two rows of one key are the same work, as far as settings tell: a preset that changes makes another."""
        made = asdict(self.made)
        budget = {
            name: made[name] for name in ("demos", "steps", "batch", "trials", "preset", "image", "limit", "every_tick")
        }
        how = asdict(settings(self.entry, self.made, self.seed))
        what = [self.task, self.entry.name, how, self.seed, budget]
        return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()

    @property
    def name(self) -> str:
        return f"{self.entry.name}, {self.task}, seed {self.seed}"


@dataclass(frozen=True)
class Done:
    """What came of one row."""

    task: str
    entry: str
    of: str
    seed: int
    demos: int
    steps: int
    batch: int
    policy: str
    """Its name in the bench's own catalog."""
    revision: str
    trials: int
    successes: int
    failures: dict[str, int]
    starts: dict[str, bool]
    """By the seed of the start of every valid trial, whether it succeeded."""
    rough: dict[str, float]
    """By the same, mean |second difference| of the joints' targets, in rad a tick squared."""
    lasted: dict[str, float]
    """By the same, seconds until it ended."""
    plans: dict[str, float]
    """`Plans`, at demonstrations that nobody learned from."""
    parameters: int
    seconds: float
    """Of training, beside whatever else ran."""
    measured: dict[str, float] = field(default_factory=dict)
    """Last losses of training."""


class Shelf:
    """Rows that are done, a file each, and how far the others are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def noted(self, row: Row) -> dict[str, Any]:
        """What is known of a row that is not done."""
        file = self.folder / f"{row.key}.part.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def note(self, row: Row, **what: Any) -> None:
        self._write(self.folder / f"{row.key}.part.json", self.noted(row) | what)

    def done(self, row: Row) -> Done | None:
        file = self.folder / f"{row.key}.json"
        return Done(**json.loads(file.read_text())) if file.exists() else None

    def keep(self, row: Row, done: Done) -> None:
        self._write(self.folder / f"{row.key}.json", asdict(done))
        (self.folder / f"{row.key}.part.json").unlink(missing_ok=True)

    def _write(self, file: Path, what: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(what, indent=1))
        unfinished.rename(file)


def rows(made: Recipe) -> Iterator[Row]:
    """Every row of a recipe: all methods with one seed before the next seed.

    Ablations, and what draws nothing when it learns, are there with the first seed alone.
    """
    for task in made.tasks:
        for seed in made.seeds:
            for entry in made.entries():
                once = entry.of or entry.method == "nearest"
                if entry.offered and (seed == made.seeds[0] or not once):
                    yield Row(task, entry, seed, made)


def show(
    home: Home, task: str, demos: int, workers: int, say: Callable[[str], None], progress: Progress, aside: bool = False
) -> str:
    """See to it that so many demonstrations succeeded; returns what the task is called here.

    Those that are put ``aside`` are of a task of their own, and begin elsewhere: nobody learns from them.

    Raises:
        CannotCompare: the script fails again and again.
        Stopped: a person asked to stop.
    """
    cell, name = CELLS[task], f"{task}_aside" if aside else f"{task}_{demos}"
    with home.join() as catalog:
        try:
            catalog.task(name)
        except Unknown:
            catalog.add(Task(name=name, instruction=cell.instruction))
    for _ in range(ROUNDS):
        if not (lacking := demos - _shown(home, name)):
            return name
        chosen = starts(home, name, cell.station, lacking, None if _begun(home, name) else ASIDE * aside)
        took: list[Any] = []
        with progress(f"showing {name}", lacking) as advance:

            def tell(one: Any, advance: Callable[..., None] = advance, took: list[Any] = took) -> None:
                took.append(one)
                advance(tally(took))

            sitting = Sitting(home, name, cell.station, "bench", chosen, cell.limit)
            whole = collect(sitting, workers, tell)
        say(f"{name}: {tally(took)}.")
        if not whole:
            raise Stopped("stopped while the task was shown; what was shown is kept")
    if lacking := demos - _shown(home, name):
        raise CannotCompare(f"{name}: {lacking} of {demos} demonstrations still fail after {ROUNDS} sittings")
    return name


def _shown(home: Home, task: str) -> int:
    with home.join() as catalog:
        try:
            return len(demonstrations(catalog, task))
        except CannotTrain:
            return 0


def _begun(home: Home, task: str) -> bool:
    from storage import Wanted

    with home.join() as catalog:
        return catalog.count(Wanted(task=task)) > 0


def do(home: Home, shelf: Shelf, row: Row, task: str, say: Callable[[str], None], progress: Progress) -> Done:
    """Learn, try and measure one row, from where it was left.

    Raises:
        Stopped: a person asked to stop.
    """
    noted = shelf.noted(row)
    if "policy" not in noted:
        noted |= _learn(home, row, task, progress)
        shelf.note(row, **noted)
    cell = CELLS[row.task]
    with home.join() as catalog:
        batch = None if "tried_in" not in noted else catalog.batch(noted["tried_in"])
    for _ in range(2):
        if batch is None:
            batch, _ = plan(home, task, [noted["policy"]], row.made.trials, TRIALS, cell.station)
            shelf.note(row, tried_in=batch.id)
        if _try(home, batch, row, progress):
            return _tell(home, shelf, row, batch.id, noted)
        # A trial of it was taken by a process that died; the batch would stay open for ever.
        say(f"{row.name}: its trials were cut short, and begin anew")
        batch = None
    raise CannotCompare(f"{row.name}: its trials do not end")


def asked_for_plans(how: Any, row: Row) -> Any:
    """The same learner, whose policy is asked for a plan as often as the recipe says."""
    if row.made.every_tick and how.ensemble is not None:
        return replace(how, replan=1 / station.load(CELLS[row.task].station).hz)
    return how


def _learn(home: Home, row: Row, task: str, progress: Progress) -> dict[str, Any]:
    how = settings(row.entry, row.made, row.seed)
    if hasattr(how, "image"):
        how = seeing(home, task, how)
    how = asked_for_plans(how, row)
    began = time.monotonic()
    with progress(f"{row.name}: learning", None) as advance:
        found = train(
            *(home, task, row.entry.method, row.made.preset, how),
            lambda done, of, loss: advance(f"loss {loss:.4f}", done, of),
            prepare=advance,
        )
    return {
        "policy": found.name,
        "revision": found.revision,
        "steps": steps(how),
        "batch": getattr(getattr(how, "training", None), "batch", 0),
        "seconds": time.monotonic() - began,
        "measured": {name: value for name, value in found.metrics.items() if isinstance(value, float)},
    }


def _try(home: Home, batch: Batch, row: Row, progress: Progress) -> bool:
    """Run what is left of a batch; returns whether it is closed.

    Raises:
        Stopped: a person asked to stop.
    """
    limit = row.made.limit or CELLS[row.task].limit
    with progress(f"{row.name}: trials", batch.planned) as advance:
        trying = Trying(home, batch.id, batch.station, limit)
        if not evaluate(trying, row.made.workers, lambda turn: advance(str(turn.outcome))):
            raise Stopped("stopped during trials; a second call goes on with them")
    with home.join() as catalog:
        return catalog.batch(batch.id).closed is not None


def _tell(home: Home, shelf: Shelf, row: Row, batch: str, noted: Mapping[str, Any]) -> Done:
    with home.join() as catalog:
        aside = shown(catalog, home, f"{row.task}_aside", 1 << 30)
        policy = catalog.policy(noted["policy"])
        found = next(one for one in results.summarize(catalog, policy.task).policies if one.id == policy.id)
    if found.batch != batch:
        raise CannotCompare(f"{row.name}: {found.batch} is counted, and {batch} was tried")
    valid = [one for one in found.taken if one.outcome in {Outcome.SUCCESS, Outcome.FAILURE}]
    loaded = load(home.folder, policy)
    episodes = {str(one.condition["seed"]): Episode(home.folder / one.path) for one in valid}
    done = Done(
        task=row.task,
        entry=row.entry.name,
        of=row.entry.of,
        seed=row.seed,
        demos=row.made.demos,
        steps=noted["steps"],
        batch=noted["batch"],
        policy=noted["policy"],
        revision=noted["revision"],
        trials=found.trials,
        successes=found.successes,
        failures=found.failures,
        starts={str(one.condition["seed"]): one.outcome is Outcome.SUCCESS for one in valid},
        rough={start: smoothness(episode) for start, episode in episodes.items()},
        lasted={start: seconds(episode) for start, episode in episodes.items()},
        plans=asdict(plans(loaded, aside, CELLS[row.task].instruction)),
        parameters=sum(each.numel() for each in loaded.net.parameters()),
        seconds=noted["seconds"],
        measured=noted["measured"],
    )
    shelf.keep(row, done)
    return done


def shown(catalog: Catalog, home: Home, task: str, most: int) -> list[Episode]:
    """Some of the demonstrations."""
    return [Episode(home.folder / one.standing.path, one.keep) for one in demonstrations(catalog, task)[:most]]


def policy(home: Home, done: Done) -> learners.ChunkPolicy:
    """The policy of a row."""
    with home.join() as catalog:
        return load(home.folder, catalog.policy(done.policy))
