"""Nights that were due and did not happen are named."""

from datetime import UTC, datetime, timedelta

from ops.nightfall import missed
from storage import Night

FIRST = datetime(2026, 11, 17, 12, tzinfo=UTC)


def began(day: int, hour: int, minute: int = 0, task: str = "reach") -> Night:
    moment = datetime(2026, 11, day, hour, minute, tzinfo=UTC)
    return Night(id=f"{moment}", task=task, station="franka-sim", by="schedule", began=moment)


def gone(*nights: Night, zone: str = "UTC", until: datetime = FIRST + timedelta(days=4)) -> list[str]:
    return [f"{one.due:%d %H:%M %z}" for one in missed("reach", "0 2 * * *", zone, nights, FIRST, until)]


def test_every_night_that_was_due_is_missed_if_none_began() -> None:
    assert gone() == ["18 02:00 +0000", "19 02:00 +0000", "20 02:00 +0000", "21 02:00 +0000"]


def test_a_night_that_began_when_it_was_due_or_later_that_day_happened() -> None:
    assert gone(began(18, 2), began(19, 9, 30), began(21, 2)) == ["20 02:00 +0000"]


def test_another_tasks_night_is_no_night_of_this_one() -> None:
    assert gone(*(began(day, 2, task="stack") for day in range(18, 22)), until=FIRST + timedelta(days=1)) == [
        "18 02:00 +0000"
    ]


def test_what_is_not_due_yet_is_not_missed() -> None:
    assert gone(until=FIRST + timedelta(hours=13)) == []


def test_a_schedule_means_its_own_time_zone_also_when_the_clock_is_changed() -> None:
    nights = missed(
        *("reach", "0 2 * * *", "America/New_York", []),
        datetime(2026, 10, 31, 12, tzinfo=UTC),
        datetime(2026, 11, 3, tzinfo=UTC),
    )
    assert [one.due.astimezone(UTC).hour for one in nights] == [7, 7]
    assert nights[0].says == "reach: the night of 2026-11-01 02:00 did not happen"
