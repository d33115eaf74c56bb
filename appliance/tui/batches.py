"""What the screen shows of trials: the batches there are, what one has shown, and who may be tried. Read in threads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.home import Home
from appliance.tui.clips import Reel, cameras
from appliance.tui.picture import Pixels
from ops.blinded import so_far
from ops.results import PolicyReport, compare, of_batch
from storage import Batch, Catalog, Episode

if TYPE_CHECKING:
    from storage import Trial

RECENT = 50
"""How many batches are listed."""


@dataclass(frozen=True)
class Line:
    """One batch, as it is listed."""

    id: str
    task: str
    station: str
    created: str
    done: int
    planned: int
    policies: int
    open: bool

    @property
    def state(self) -> str:
        return "open" if self.open else "closed"


@dataclass(frozen=True)
class Candidate:
    """A policy that was tried in a closed batch, or may be tried."""

    name: str
    says: str
    champion: bool = False


@dataclass(frozen=True)
class Shown:
    """What a batch has shown. Of an open one nobody is named."""

    line: Line
    lines: tuple[str, ...]
    policies: tuple[Candidate, ...]
    """Empty while it is open."""


def listed(catalog: Catalog, task: str | None) -> list[Line]:
    """The batches of a task, or of all, the newest first."""
    trials: dict[str, list[Trial]] = {}
    for one in catalog.trials(task=task):
        trials.setdefault(one.batch, []).append(one)
    newest = catalog.batches(task)[: -RECENT - 1 : -1]
    return [_line(batch, trials.get(batch.id, [])) for batch in newest]


def shown(catalog: Catalog, key: str) -> Shown:
    """What a batch has shown: how it goes, or once it is closed, who was who.

    Raises:
        Unknown: there is no such batch.
    """
    batch = catalog.batch(key)
    line = _line(batch, catalog.trials(key))
    if line.open:
        return Shown(line, so_far(catalog, key).says, ())
    reports = of_batch(catalog, key)
    champion = catalog.champion(batch.task)
    found = [f"{one.name}  {one.says}{_failures(one)}" for one in reports]
    if len(reports) == 2:
        found.append(f"{reports[0].name} is {compare(*reports).says}")
    if batch.ended:
        found.append(f"ended early: {batch.ended}")
    found.append(f"champion of {batch.task}: {champion.name if champion else 'none yet'}{_since(catalog, batch.task)}")
    policies = [Candidate(one.name, one.says, champion is not None and champion.id == one.id) for one in reports]
    return Shown(line, tuple(found), tuple(policies))


def candidates(catalog: Catalog) -> dict[str, list[Candidate]]:
    """Who may be tried at each task: the champion first, then the newest."""
    found: dict[str, list[Candidate]] = {}
    for task in catalog.tasks():
        champion = catalog.champion(task.name)
        rows = sorted(catalog.policies(task.name), key=lambda row: row.created, reverse=True)
        named = [Candidate(row.name, row.method, champion is not None and row.id == champion.id) for row in rows]
        found[task.name] = sorted(named, key=lambda one: not one.champion)
    return found


def begins(home: Home, task: str, station: str, condition: Mapping[str, Any]) -> dict[str, Pixels]:
    """What each camera saw as an earlier trial from the same start began: so the scene is to be set again."""
    with home.join() as catalog:
        here = {batch.id for batch in catalog.batches(task) if batch.station == station}
        ran = [one for one in catalog.trials(task=task) if one.batch in here and one.condition == condition]
        rows = [catalog.standing(str(one.episode)) for one in reversed(ran) if one.episode is not None]
    for row in rows:
        if not row.purged and (home.folder / row.path).is_dir():
            episode = Episode(home.folder / row.path)
            if there := cameras(episode):
                return {camera: Reel(episode, camera).at(0).pixels for camera in there}
    return {}


def _line(batch: Batch, trials: "list[Trial]") -> Line:
    done = sum(one.episode is not None for one in trials)
    created, policies = batch.created.astimezone(), len({one.policy for one in trials})
    said = f"{created:%m-%d %H:%M}"
    return Line(batch.id, batch.task, batch.station, said, done, batch.planned, policies, batch.closed is None)


def _failures(one: PolicyReport) -> str:
    most = [f"{code} {n}" for code, n in [*one.failures.items()][:3]]
    return f"  {', '.join(most)}" if most else ""


def _since(catalog: Catalog, task: str) -> str:
    """Who made it so, and why."""
    changes = catalog.promotions(task)
    return f" ({changes[-1].kind} by {changes[-1].by}: {changes[-1].why})" if changes else ""
