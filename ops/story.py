"""An episode as lines to plot, paths to draw, and events to tell: plain values, for whatever shows them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage import Edit, EditKind, Episode, Outcome, Verdict


@dataclass(frozen=True)
class Line:
    """One line of a plot, or one path of a tool."""

    entity: str
    kind: str
    """``measured``, ``target`` or ``asked``."""
    t: NDArray[np.int64]
    values: NDArray[np.float64]
    """(n,) of a plot; (n, 3) of a path, in metres."""


@dataclass(frozen=True)
class Event:
    """Something that happened or was said, at a moment of the take."""

    seconds: float
    text: str
    level: str = "INFO"


def plots(episode: Episode) -> Iterator[Line]:
    """What was measured against what was aimed at, one entity for each joint; and how late the loop was."""
    for stream, name in _aimed(episode):
        if name == "tool":
            continue
        asked = episode["action", name] if _has(episode, "action", name) else None
        kinds = {"measured": (stream, episode[stream, name]), "target": (stream, episode[stream, f"{name}_target"])}
        if asked is not None and asked.shape[1:] == kinds["measured"][1].shape[1:]:
            kinds["asked"] = ("action", asked)
        for kind, (source, values) in kinds.items():
            t, columns = episode[source, "t"], values.reshape(len(values), -1).T
            for place, column in enumerate(columns, start=1):
                below = f"{name}/{place}" if values.ndim > 1 else name
                yield Line(f"{stream}/{below}/{kind}", kind, t, column.astype(np.float64))
    if _has(episode, "ticks", "late"):
        yield Line("ticks/late_ms", "", episode["ticks", "t"], episode["ticks", "late"] / 1e6)


def paths(episode: Episode) -> Iterator[Line]:
    """Where each tool was and was to be; a tool is 7 numbers, the first three its place."""
    for stream, name in _aimed(episode):
        if name != "tool":
            continue
        for kind in ("measured", "target"):
            poses = episode[stream, name if kind == "measured" else f"{name}_target"]
            places = poses.reshape(len(poses), -1, 7)[:, :, :3]
            for arm in range(places.shape[1]):
                known = np.isfinite(places[:, arm]).all(axis=1)
                t, path = episode[stream, "t"][known], places[known, arm].astype(np.float64)
                yield Line(f"space/{stream}/tool_{arm + 1}/{kind}", kind, t, path)


def moving(episode: Episode, parts: int) -> NDArray[np.float64] | None:
    """How fast the robot moved in equal parts of the take: rad/s over all joints, or m/s where only a tool is known.

    None where nothing is aimed at, and so nobody knows what moves.
    """
    fields = sorted(_aimed(episode), key=lambda field: (field[1] == "tool", field[1] != "q"))
    for stream, name in fields:
        t, values = episode[stream, "t"], episode[stream, name]
        values = values.reshape(len(values), -1).astype(np.float64)
        if name == "tool":
            values = values.reshape(len(values), -1, 7)[:, :, :3].reshape(len(values), -1)
        if len(t) < 2 or t[-1] == t[0]:
            continue
        way = np.concatenate([[0.0], np.nan_to_num(np.linalg.norm(np.diff(values, axis=0), axis=1)).cumsum()])
        seconds = (t - t[0]) / 1e9
        ends = np.linspace(0, seconds[-1], parts + 1)
        speeds: NDArray[np.float64] = np.diff(np.interp(ends, seconds, way)) / np.diff(ends)
        return speeds
    return None


def _aimed(episode: Episode) -> Iterator[tuple[str, str]]:
    """Every stream and field that is measured and has a target beside it."""
    for stream in episode.streams:
        names = episode.dtype(stream).names or ()
        yield from ((stream, name) for name in names if f"{name}_target" in names)


def _has(episode: Episode, stream: str, name: str) -> bool:
    return stream in episode.streams and name in (episode.dtype(stream).names or ())


def events(episode: Episode, verdicts: Sequence[Verdict], edits: Sequence[Edit]) -> Iterator[Event]:
    """Verdicts and edits stand at the end of the take; trim marks at the moments they name."""
    said, end = episode.attributes, episode.seconds
    yield Event(0.0, f"begins: {said.get('instruction') or said.get('task', 'no task')}")
    yield from _switched(episode)
    yield Event(end, f"ended by {said.get('ended_by', 'nobody knows')}")
    for verdict in verdicts:
        level = {Outcome.FAILURE: "ERROR", Outcome.INVALID: "WARN"}.get(verdict.outcome, "INFO")
        yield Event(end, _tell(verdict), level)
    for edit in edits:
        if edit.kind is EditKind.TRIM and edit.value:
            for mark, word in {"start": "from", "end": "until"}.items():
                if mark in edit.value:
                    yield Event(edit.value[mark], f"trim: kept {word} here ({_by(edit)})", "WARN")
        else:
            yield Event(end, _tell_edit(edit), "WARN")


def _switched(episode: Episode) -> Iterator[Event]:
    """Every change of a truth value beside the ticks or the actions, e.g. of who drives."""
    first = min((int(episode[stream, "t"][0]) for stream in episode.streams if len(episode[stream, "t"])), default=0)
    for stream in ("action", "ticks"):
        dtype = episode.dtype(stream) if stream in episode.streams else np.dtype([])
        for name in dtype.names or ():
            if dtype[name] == np.bool_:
                values, t = episode[stream, name], episode[stream, "t"]
                for row in np.flatnonzero(np.diff(values, prepend=False)).tolist():
                    yield Event((int(t[row]) - first) / 1e9, f"{name} {'on' if values[row] else 'off'}", "WARN")


def _tell(verdict: Verdict) -> str:
    code = f" {verdict.failure}" if verdict.failure else ""
    note = f": {verdict.note}" if verdict.note else ""
    return f"{verdict.outcome}{code}, says {verdict.by} ({verdict.labelled_by}){note}"


def _tell_edit(edit: Edit) -> str:
    value = ", ".join(f"{key} {value}" for key, value in edit.value.items())
    return f"{edit.kind}{value and f' {value}'} ({_by(edit)})"


def _by(edit: Edit) -> str:
    return f"{edit.by}{edit.why and f': {edit.why}'}"


def page(episode: Episode, verdicts: Sequence[Verdict], edits: Sequence[Edit]) -> str:
    """The same and the episode's own words as a page."""
    said = {"id": str(episode.id), "seconds": f"{episode.seconds:.3f}", **episode.attributes}
    plain = [f"- **{name}**: {_flat(value)}" for name, value in said.items() if value not in (None, "", {}, [])]
    verdict = [f"- {one.given:%Y-%m-%d %H:%M} {_tell(one)}" for one in verdicts]
    edit = [f"- {one.made:%Y-%m-%d %H:%M} {_tell_edit(one)}" for one in edits]
    parts = {"Episode": plain, "Verdicts": verdict, "Edits": edit}
    return "\n\n".join(f"# {title}\n" + "\n".join(lines) for title, lines in parts.items() if lines)


def _flat(value: Any) -> str:
    return ", ".join(f"{k} {_flat(v)}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
