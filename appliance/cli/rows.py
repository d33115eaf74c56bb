"""How the catalog's rows look as JSON: SI units, times in ISO 8601, ids as text."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage import Calibration, Edit, Listed, PolicyRow, Snapshot, Standing, StreamRow, Verdict, WorkOrder


def of_episode(found: "Listed", policies: Mapping[Any, str]) -> dict[str, Any]:
    """An episode as it counts now: relabelled, merged, judged. ``policies`` names those that drove."""
    row, standing = found.row, found.standing
    return {
        "id": str(row.id),
        "task": standing.task,
        "agent": row.agent,
        "policy": policies.get(row.policy),
        "operator": row.operator,
        "station": row.station,
        "started": row.started.isoformat(),
        "seconds": round(row.seconds, 3),
        "ended_by": row.ended_by,
        "outcome": None if standing.outcome is None else str(standing.outcome),
        "failure": standing.failure,
        "gap": row.gap,
        "lost": row.lost,
        "skew": row.skew,
        "late": row.late,
        "standing": stands(standing),
        "retired": standing.retired,
        "quarantined": standing.quarantined,
        "purged": standing.purged,
        "trim": None if found.keep is None else list(found.keep),
        "condition": row.condition,
        "recovered": row.recovered,
        "order": row.order,
        "bytes": row.bytes,
        "path": standing.path,
        "digest": standing.digest,
    }


def stands(standing: "Standing") -> str:
    """What was done to an episode that matters for its use, in words; nothing when it is as it was recorded."""
    trimmed = standing.start is not None or standing.end is not None
    said = {
        "purged": standing.purged,
        "retired": standing.retired and not standing.purged,
        "quarantined": standing.quarantined,
        "trimmed": trimmed,
    }
    return ", ".join(word for word, holds in said.items() if holds)


def of_stream(row: "StreamRow") -> dict[str, Any]:
    """What one device gave to an episode."""
    return {
        "rows": row.rows,
        "hz": None if row.hz is None else round(row.hz, 3),
        "camera": row.camera,
        "gap": row.gap,
        "lost": row.lost,
        "calibration": row.calibration,
        "serial": row.serial,
    }


def of_verdict(verdict: "Verdict") -> dict[str, Any]:
    """What somebody said of an episode."""
    return {
        "given": verdict.given.isoformat(),
        "by": verdict.by,
        "labelled_by": verdict.labelled_by,
        "outcome": str(verdict.outcome),
        "failure": verdict.failure,
        "stage": verdict.stage,
        "secondary": verdict.secondary,
        "evidence": verdict.evidence,
        "note": verdict.note,
    }


def of_edit(edit: "Edit") -> dict[str, Any]:
    """What somebody did to an episode, when and why."""
    return {
        "made": edit.made.isoformat(),
        "by": edit.by,
        "kind": str(edit.kind),
        "value": edit.value,
        "why": edit.why,
    }


def of_policy(row: "PolicyRow") -> dict[str, Any]:
    """A policy, and where it comes from."""
    return {
        "id": str(row.id),
        "name": row.name,
        "method": row.method,
        "preset": row.preset,
        "task": row.task,
        "episodes": row.metrics.get("episodes"),
        "created": row.created.isoformat(),
        "snapshot": row.snapshot,
        "parent": None if row.parent is None else str(row.parent),
        "path": row.path,
        "digest": row.digest,
        "revision": row.revision,
    }


def of_snapshot(row: "Snapshot") -> dict[str, Any]:
    """A set of episodes that something was learned from."""
    return {
        "id": row.id,
        "task": row.task,
        "episodes": len(row.episodes),
        "query": row.query,
        "created": row.created.isoformat(),
    }


def of_calibration(row: "Calibration", in_force: bool) -> dict[str, Any]:
    """What was measured of a device."""
    return {
        "id": row.id,
        "station": row.station,
        "device": row.device,
        "in_force": in_force,
        "by": row.by,
        "note": row.note,
        "made": row.made.isoformat(),
        "values": row.values,
    }


def of_order(row: "WorkOrder", done: int) -> dict[str, Any]:
    """A request for demonstrations, and how many good ones there are."""
    return {
        "id": row.id,
        "task": row.task,
        "done": done,
        "wanted": row.wanted,
        "condition": row.condition,
        "failure": row.failure,
        "why": row.why,
        "made": row.made.isoformat(),
        "closed": None if row.closed is None else row.closed.isoformat(),
    }
