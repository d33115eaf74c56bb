"""Nights that are planned, and those that were and did not happen."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from appliance.home import Home
from appliance.refusal import Refusal
from ops import leases
from ops.jobs import Schedule, State
from ops.nightfall import Missed, missed
from storage import Catalog

LOOK_BACK = timedelta(days=14)
"""How long ago a missed night is still told of."""


class NoTime(Refusal):
    """That is no time of day."""


def daily(home: Home, at: str, asked: dict[str, Any], by: str) -> Schedule:
    """Have a night of this kind every day at that time, in place of what was planned for its task.

    Raises:
        NoTime: ``at`` is no time of day.
        CannotDo: the machine's time zone is none.
    """
    if not (found := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", at)):
        raise NoTime(f"{at!r} is no time of day; write it like 02:30")
    planned = {name: value for name, value in asked.items() if name != "night"}
    planned["planned"] = datetime.now(UTC).isoformat(timespec="seconds")
    cron = f"{int(found[2])} {int(found[1])} * * *"
    made = Schedule(f"night-{asked['task']}", cron, _zone(), "night", planned, by)
    with home.jobs() as jobs:
        jobs.schedule(made)
    return made


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


def planned(home: Home) -> list[Schedule]:
    """Every schedule of nights."""
    with home.jobs() as jobs:
        return [one for one in jobs.schedules() if one.kind == "night"]


def _zone() -> str:
    """The name of this machine's time zone."""
    _, found, name = Path("/etc/localtime").resolve().as_posix().partition("zoneinfo/")
    return name if found else "UTC"


def missing(home: Home, catalog: Catalog, now: datetime | None = None) -> list[Missed]:
    """Every night of the last two weeks that a schedule of today planned and that did not happen, oldest first.

    Raises:
        Unavailable: the jobs cannot be reached.
    """
    until, nights = now or datetime.now(UTC), catalog.nights()
    found: list[Missed] = []
    for one in planned(home):
        made = one.settings.get("planned")
        since = max(until - LOOK_BACK, datetime.fromisoformat(made) if made else until - timedelta(days=1))
        found += missed(one.settings["task"], one.cron, one.zone, nights, since, until)
    return sorted(found, key=lambda each: each.due)
