"""What the daemon does by itself, every day at a time or every hour."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from appliance.home import Home
from appliance.refusal import Refusal
from ops.jobs import Schedule


class NoTime(Refusal):
    """That is no time of day."""


def daily(home: Home, name: str, at: str, kind: str, settings: dict[str, Any], by: str, later: int = 0) -> Schedule:
    """Have a job done every day at a time of this machine's zone, or so many hours ``later``; ``name`` is its alone.

    Raises:
        NoTime: ``at`` is no time of day.
        CannotDo: there is no such kind.
    """
    if not (found := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", at)):
        raise NoTime(f"{at!r} is no time of day; write it like 02:30")
    return _made(
        home, Schedule(name, f"{int(found[2])} {(int(found[1]) + later) % 24} * * *", zone(), kind, settings, by)
    )


def hourly(home: Home, name: str, kind: str, by: str) -> Schedule:
    """Have a job done every hour, seventeen minutes past it, when few others begin."""
    return _made(home, Schedule(name, "17 * * * *", zone(), kind, {}, by))


def zone() -> str:
    """The name of the time zone that programs here are told of, by ``TZ``; else this machine's."""
    told = os.environ.get("TZ", "").removeprefix(":")
    with suppress(LookupError, ValueError, OSError):  # rules that have no name are no good for a schedule
        return ZoneInfo(told).key
    _, found, name = Path("/etc/localtime").resolve().as_posix().partition("zoneinfo/")
    return name if found else "UTC"


def _made(home: Home, planned: Schedule) -> Schedule:
    with home.jobs() as jobs:
        jobs.schedule(planned)
    return planned
