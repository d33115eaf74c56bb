"""What the catalog is told of an episode, taken from the episode itself."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from storage.episode import Episode
from storage.manifest import MANIFEST
from storage.models import Base, Edit, EditKind, EpisodeRow, StreamRow

SEALER = "the recorder"
"""Who puts an episode in quarantine when it names no station."""


def rows_of(episode: Episode, root: Path) -> list[Base]:
    """The episode's row, one for each of its streams, and its quarantine if its grade fell short.

    The same episode always gives the same rows, so that adding them twice changes nothing.

    Args:
        episode: a sealed one.
        root: the data folder it lies in.

    Raises:
        ValueError: it lies elsewhere, or its attributes do not say who did what and when.
    """
    said = episode.attributes
    if missing := {"task", "agent", "started", "ended_by"} - said.keys():
        raise ValueError(f"{episode.path} does not say its {', '.join(sorted(missing))}")
    policy, follows, grade = said.get("policy"), said.get("follows"), said.get("grade", {})
    row = EpisodeRow(
        id=episode.id,
        task=said["task"],
        agent=said["agent"],
        operator=said.get("operator", ""),
        station=said.get("station", ""),
        path=episode.path.absolute().relative_to(root.absolute()).as_posix(),
        digest=episode.digest,
        seconds=episode.seconds,
        started=datetime.fromisoformat(said["started"]),
        ended_by=said["ended_by"],
        policy=None if policy is None else UUID(policy),
        condition=said.get("condition", {}),
        recovered=said.get("recovered", False),
        station_digest=said.get("station_digest", ""),
        bytes=_bytes(episode),
        gap=grade.get("gap"),
        lost=grade.get("lost"),
        skew=grade.get("skew"),
        late=grade.get("late"),
        order=said.get("order"),
        follows=None if follows is None else UUID(follows),
    )
    return [row, *streams_of(episode), *_quarantine(row, said.get("quarantine", ""))]


def streams_of(episode: Episode) -> list[StreamRow]:
    """What each device gave: counted when the episode was sealed, or else now."""
    said = episode.attributes
    graded = said.get("grade", {}).get("streams", {})
    return [
        StreamRow(
            episode=episode.id,
            name=name,
            camera=name in episode.cameras,
            calibration=said.get("calibrations", {}).get(name),
            serial=said.get("serials", {}).get(name, ""),
            **(_graded(graded[name]) if name in graded else _counted(episode, name)),
        )
        for name in episode.streams
    ]


def _graded(grade: dict[str, Any]) -> dict[str, Any]:
    return {key: grade.get(key) for key in ("rows", "hz", "gap", "lost")}


def _counted(episode: Episode, stream: str) -> dict[str, Any]:
    t = episode[stream, "t"]
    took = (int(t[-1]) - int(t[0])) / 1e9 if len(t) else 0.0
    return {"rows": len(t), "hz": (len(t) - 1) / took if took > 0 else None}


def _quarantine(row: EpisodeRow, why: str) -> list[Edit]:
    """The seal's own edit, as of the end of the take."""
    end = row.started + timedelta(seconds=row.seconds)
    by = row.station or SEALER
    return [Edit(episode=row.id, kind=EditKind.QUARANTINE, by=by, why=why, made=end)] if why else []


def _bytes(episode: Episode) -> int:
    files: dict[str, list[int]] = json.loads((episode.path / MANIFEST).read_bytes())["files"]
    return sum(size for size, _ in files.values())
