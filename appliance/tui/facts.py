"""What there is to know of an appliance at a glance: read anew each time, from the catalog, the jobs and the disk."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]  # it has no types

from appliance.nightfall import missing
from appliance.tui.room import Room
from ops.jobs import Job, Schedule, State
from storage import Catalog, EpisodeRow, Unknown, Wanted

LITTLE = 0.1
"""Of the disk, below which it is said that little is left."""

LATELY = timedelta(hours=24)
"""How long ago a job that failed is still of interest."""

SHOWN = 4
"""How many jobs are told of."""


@dataclass(frozen=True)
class OfTask:
    """How it stands with one task."""

    name: str
    champion: str
    """The policy that it is done with; empty while there is none."""
    good: int
    """Demonstrations and trials that succeeded."""
    orders: int
    """Work orders that are open."""
    lacking: int
    """Takes that they lack."""


@dataclass(frozen=True)
class Facts:
    """What was read."""

    tasks: tuple[OfTask, ...] = ()
    jobs: tuple[str, ...] = ()
    """In a line each; those that run first."""
    tonight: tuple[str, ...] = ()
    """What is planned for the night, and which nights did not happen."""
    free: float = 1.0
    """Of the disk, from 0 to 1."""
    gigabytes: float = 0.0
    """Free."""
    failed: str = ""
    """A job that failed lately, and why."""
    missed: str = ""
    """A night that did not happen."""
    unsaid: int = 0
    """Takes without a verdict."""
    aside: int = 0
    """Takes that were put aside, for a person to look at."""
    cut: int = 0
    """Takes that a crash cut short when this was opened, recovered and not judged yet."""


def read(room: Room, recovered: Sequence[str] = ()) -> Facts:
    """Read everything; ``recovered`` is what was told of takes that were cut short.

    Raises:
        Unavailable: the catalog or the jobs cannot be reached.
    """
    home, now = room.home, datetime.now(UTC)
    disk = shutil.disk_usage(home.folder)
    with home.join() as catalog, home.jobs() as jobs:
        known = jobs.list()
        failed = [one for one in known if one.state is State.FAILED and (one.ended or one.created) > now - LATELY]
        gone = missing(home, catalog, now)
        said = catalog.tally(Wanted(), "outcome")
        return Facts(
            tuple(_of_task(catalog, one.name) for one in catalog.tasks() if room.task in {None, one.name}),
            tuple(_line(one) for one in _open(known)[:SHOWN]),
            tuple(_planned(one, now) for one in jobs.schedules() if one.kind == "night"),
            disk.free / disk.total,
            disk.free / 1e9,
            f"{failed[-1].kind} {failed[-1].id}: {failed[-1].why}" if failed else "",
            gone[-1].says if gone else "",
            catalog.count(Wanted()) - sum(said.values()),
            catalog.count(Wanted(quarantined=True)),
            sum(_unjudged(catalog, line) for line in recovered),
        )


def attention(facts: Facts, trouble: str = "") -> str:
    """The one thing that needs a person most, in a line; what is wrong at the table goes before everything."""
    order = next((one for one in facts.tasks if one.lacking), None)
    choices = [
        (bool(trouble), trouble),
        (bool(facts.cut), f"{facts.cut} cut short by a crash, recovered and not judged yet: 3 shows it"),
        (facts.free < LITTLE, f"only {facts.gigabytes:.1f} GB of the disk are free: back up, then purge what is old"),
        (bool(facts.failed), f"a job failed: {facts.failed}"),
        (bool(facts.missed), facts.missed),
        (bool(facts.aside), f"{facts.aside} put aside, for they were recorded badly: 3 shows them"),
        (bool(facts.unsaid), f"{facts.unsaid} without a verdict: 3 shows them"),
        (order is not None, f"{order.name}: orders lack {order.lacking} takes; 2 collects them" if order else ""),
    ]
    return next((words for due, words in choices if due), "nothing")


def _of_task(catalog: Catalog, name: str) -> OfTask:
    champion, orders = catalog.champion(name), catalog.orders(name)
    lacking = sum(max(0, one.wanted - catalog.order_progress(one.id)) for one in orders)
    good = catalog.tally(Wanted(task=name), "outcome").get("success", 0)
    return OfTask(name, "" if champion is None else champion.name, good, len(orders), lacking)


def _open(known: Sequence[Job]) -> list[Job]:
    """Jobs that have not ended, those that run first."""
    order = [State.RUNNING, State.PAUSED, State.WAITING]
    return sorted((one for one in known if one.state in order), key=lambda one: order.index(one.state))


def _line(job: Job) -> str:
    """How far a job is."""
    task = str(job.settings.get("task", ""))
    words, far = [job.kind, task, str(job.state)], job.progress
    if far is not None:
        words.append(f"{far.what} {far.done} of {far.of}")
        words += [f"{far.left / 60:.0f} min left"] if far.left is not None else []
    return " ".join(filter(None, [*words, job.why]))


def _planned(night: Schedule, now: datetime) -> str:
    """When a night is due."""
    due = croniter(night.cron, now.astimezone(ZoneInfo(night.zone))).get_next(datetime)
    return f"{night.settings.get('task', '')} at {due:%H:%M} on {due:%a}"


def _unjudged(catalog: Catalog, line: str) -> bool:
    """Whether a line tells of a take that was recovered, and that nobody has said anything of since."""
    _, _, rest = line.partition("recovered ")
    with suppress(Unknown):
        key = rest.split(",")[0]
        found: EpisodeRow | None = catalog.episode(key) if key else None
        if found is not None:
            standing = catalog.standing(found.id)
            return standing.outcome is None and not standing.retired
    return False
