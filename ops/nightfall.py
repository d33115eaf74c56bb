"""When nights were due, and which of them did not happen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]  # it has no types

from storage import Night


@dataclass(frozen=True)
class Missed:
    """A night that was due and did not happen."""

    task: str
    due: datetime

    @property
    def says(self) -> str:
        """E.g. ``pick_place: the night of 2026-11-20 02:00 did not happen``."""
        return f"{self.task}: the night of {self.due:%Y-%m-%d %H:%M} did not happen"


def missed(task: str, cron: str, zone: str, nights: Sequence[Night], since: datetime, until: datetime) -> list[Missed]:
    """Name the nights of a task that were due after ``since``, and for which none began before the next was due.

    The last one that was due is missed too, once ``until`` is later than that: a night begins within seconds.

    Args:
        task: whose nights.
        cron: minute, hour, day of the month, month, day of the week.
        zone: the time zone that it means, e.g. ``Europe/Berlin``.
        nights: all that began, of any task.
        since: from when on the schedule holds.
        until: now.
    """
    due = [*_due(cron, zone, since, until)]
    began = [night.began for night in nights if night.task == task]
    return [
        Missed(task, moment)
        for moment, following in zip_longest(due, due[1:])
        if not any(moment <= one and (following is None or one < following) for one in began)
    ]


def _due(cron: str, zone: str, since: datetime, until: datetime) -> Iterator[datetime]:
    """Every moment at which one was due."""
    moments = croniter(cron, since.astimezone(ZoneInfo(zone)))
    while (moment := moments.get_next(datetime)) <= until:
        yield moment
