"""Nights that are planned, and those that were and did not happen."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance import planned
from appliance.home import Home
from appliance.refusal import Refusal
from ops import leases
from ops.jobs import Schedule, State
from ops.nightfall import Missed, missed
from storage import Catalog

LOOK_BACK = timedelta(days=14)
"""How long ago a missed night is still told of."""


def daily(home: Home, at: str, asked: dict[str, Any], by: str) -> Schedule:
    """Have a night of this kind every day at that time, in place of what was planned for its task.

    Raises:
        NoTime: ``at`` is no time of day.
        CannotDo: the machine's time zone is none.
    """
    settings = {name: value for name, value in asked.items() if name != "night"}
    settings["planned"] = datetime.now(UTC).isoformat(timespec="seconds")
    return planned.daily(home, f"night-{asked['task']}", at, "night", settings, by)


def never(home: Home, task: str) -> bool:
    """Have no more nights of a task by themselves; return whether any were planned."""
    with home.jobs() as jobs:
        return jobs.unschedule(f"night-{task}")


class Busy(Refusal):
    """A night of this task is being had already. The message says by whom."""


@contextmanager
def alone(home: Home, night: str, task: str, who: str) -> Generator[None]:
    """Have a night in this process, while no other and no daemon has one of this task.

    Raises:
        Busy: one does.
    """
    with home.jobs() as jobs:
        found = [one for one in jobs.list(None, State.WAITING, State.RUNNING, State.PAUSED) if one.kind == "night"]
    if theirs := [one.id for one in found if one.settings.get("task") == task]:
        raise Busy(f"the daemon has a night of {task}, as job {theirs[0]}: appliance jobs show {theirs[0]}")
    try:
        with leases.sole(home.folder, f"night-{night}", who):
            yield
    except leases.Held as held:
        raise Busy(f"night {night} is being had by another program: {held}") from held


def of_nights(home: Home) -> list[Schedule]:
    """Every schedule of nights."""
    with home.jobs() as jobs:
        return [one for one in jobs.schedules() if one.kind == "night"]


def missing(home: Home, catalog: Catalog, now: datetime | None = None) -> list[Missed]:
    """Every night of the last two weeks that a schedule of today planned and that did not happen, oldest first.

    Raises:
        Unavailable: the jobs cannot be reached.
    """
    until, nights = now or datetime.now(UTC), catalog.nights()
    found: list[Missed] = []
    for one in of_nights(home):
        made = one.settings.get("planned")
        since = max(until - LOOK_BACK, datetime.fromisoformat(made) if made else until - timedelta(days=1))
        found += missed(one.settings["task"], one.cron, one.zone, nights, since, until)
    return sorted(found, key=lambda each: each.due)
