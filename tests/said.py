"""Rows that tests put into a catalog: a task, episodes, policies, and what is said of them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from storage import Edit, EditKind, EpisodeRow, Outcome, PolicyRow, StreamRow, Task, Verdict

REACH = Task(name="reach", instruction="reach the pose")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def episode(minute: int = 0, name: UUID | None = None, **more: Any) -> EpisodeRow:
    """One that began so many minutes after noon."""
    key = name or uuid4()
    usual: dict[str, Any] = {
        "task": "reach",
        "agent": "person",
        "path": f"episodes/{key}.zarr",
        "digest": f"{minute:032x}",
        "seconds": 2.5,
        "condition": {"seed": minute},
    }
    return EpisodeRow(id=key, started=NOON + timedelta(minutes=minute), **(usual | more))


def streams(of: EpisodeRow, **calibrations: int | None) -> list[StreamRow]:
    """An arm without, and every camera named with, a calibration; each has a serial number."""
    return [
        StreamRow(episode=of.id, name=name, rows=75, hz=30.0, calibration=calibration, serial=f"SN-{name}")
        for name, calibration in {"arm": None, **calibrations}.items()
    ]


def policy(name: str = "bc-1", minute: int = 0, **more: Any) -> PolicyRow:
    usual: dict[str, Any] = {"method": "bc", "task": "reach", "path": "policies/1", "digest": "0"}
    return PolicyRow(name=name, created=NOON + timedelta(minutes=minute), **(usual | more))


def verdict(of: EpisodeRow, outcome: Outcome = Outcome.SUCCESS, by: str = "ada") -> Verdict:
    failure = {Outcome.FAILURE: "DROP", Outcome.INVALID: "ENV"}.get(outcome)
    return Verdict(episode=of.id, by=by, outcome=outcome, failure=failure)


def edit(of: EpisodeRow, kind: EditKind, why: str = "", **value: Any) -> Edit:
    return Edit(episode=of.id, kind=kind, value=value, by="ada", why=why)
