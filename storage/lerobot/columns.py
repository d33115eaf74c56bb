"""Which of an episode's fields become which LeRobot features, and the numbers of one feature at every step.

An episode of ours gives ``observation.state`` and ``action`` (joints, then gripper), ``observation.images.<camera>``,
and every other number as ``<stream>.<field>``, with ``stamp.<stream>``: when it was really measured. An episode that
came from LeRobot gives back the features it came with.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from storage.episode import Episode
from storage.export import CannotWrite
from storage.grid import Grid, robot_of
from storage.layout import DEPTH, RGB, WRITTEN, pictures

FROM = "lerobot"
"""The attribute, and the stream, that keep what LeRobot said and our layout has no place for."""

UNITS = {
    "t": "ns",
    "received": "ns",
    "late": "ns",
    "q": "rad",
    "q_target": "rad",
    "dq": "rad/s",
    "tau": "N m",
    "width": "m",
    "width_target": "m",
    "tool": "m, quaternion w x y z",
    "tool_target": "m, quaternion w x y z",
}
"""What the fields of our robots are measured in."""


@dataclass(frozen=True)
class Column:
    """A feature made of numbers, or of words that numbers stand for."""

    name: str
    stream: str
    fields: tuple[str, ...]
    """Several are put one after the other."""
    about: Mapping[str, Any]
    """What info.json says of it: dtype, shape, names."""
    after: bool = False
    """What was so one step later."""
    words: tuple[str, ...] = ()
    """The words that the numbers stand for."""


@dataclass(frozen=True)
class Camera:
    """A feature made of pictures."""

    name: str
    stream: str
    field: str
    about: Mapping[str, Any]


def columns(episode: Episode, wanted: Collection[str] | None = None) -> list[Column | Camera]:
    """The features of an episode, or those that are wanted.

    Raises:
        CannotWrite: it does not have one that is wanted, or has something that LeRobot cannot hold.
    """
    every = _given_back(episode) if FROM in episode.attributes else _of_ours(episode)
    if wanted is None:
        return every
    if missing := sorted(set(wanted) - {column.name for column in every}):
        there = ", ".join(column.name for column in every)
        raise CannotWrite(f"episode {episode.id} has no column {', '.join(missing)}; it has {there}")
    return [column for column in every if column.name in wanted]


def numbers(column: Column, episode: Episode, grid: Grid) -> NDArray[Any]:
    """A feature at every step: (n,) or (n, *shape), in the kind that info.json promises; words for a string."""
    index = (grid.after if column.after else grid.index)[column.stream]
    parts = [episode[column.stream, field] for field in column.fields]
    if len(parts) > 1:
        parts = [np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)]
    if column.words:
        words: NDArray[Any] = np.array(column.words, object)[parts[0][index]]
        return words
    silent = index < 0
    values: NDArray[Any] = np.zeros((len(index), *parts[0].shape[1:]), column.about["dtype"])
    values[~silent] = parts[0][index[~silent]]
    if silent.any():
        values[silent] = np.nan if values.dtype.kind == "f" else -1
    return values


def _of_ours(episode: Episode) -> list[Column | Camera]:
    found: list[Column | Camera] = []
    robot = robot_of(episode)
    if robot is not None:
        fields = episode.dtype(robot).names or ()
        state = tuple(field for field in ("q", "width") if field in fields)
        found.append(Column("observation.state", robot, state, _joints(episode.dtype(robot), state)))
        target = tuple(f"{field}_target" for field in state)
        found.append(Column("action", robot, target, _joints(episode.dtype(robot), target), after=True))
    for stream in episode.streams:
        for picture in pictures(episode.dtype(stream)):
            name = f"observation.images.{stream}" + ("" if picture == RGB else f"_{picture}")
            found.append(Camera(name, stream, picture, film(episode.dtype(stream)[picture].shape, picture == DEPTH)))
    for stream in episode.streams:
        dtype = episode.dtype(stream)
        plain = [field for field in dtype.names or () if field not in {"t", *pictures(dtype)}]
        found += [
            Column(f"{stream}.{field}", stream, (field,), _plain(episode.id, stream, field, dtype[field]))
            for field in plain
        ]
        found.append(
            Column(f"stamp.{stream}", stream, ("t",), {"dtype": "int64", "shape": [1], "names": None, "units": "ns"})
        )
    return found


def _given_back(episode: Episode) -> list[Column | Camera]:
    """What an imported episode was imported from, feature by feature."""
    said = episode.attributes[FROM]
    found: list[Column | Camera] = []
    for name, about in said["features"].items():
        stream, field = said["columns"].get(name, (None, None))
        if stream is None:
            continue
        if about["dtype"] in {"video", "image"}:
            found.append(Camera(name, stream, field, about))
        else:
            found.append(Column(name, stream, (field,), about, words=tuple(said["words"].get(name, ()))))
    return found


def film(shape: tuple[int, ...], depth: bool) -> dict[str, Any]:
    """What info.json says of pictures that become a film; what they are coded with is added when that is known."""
    described = {"dtype": "video", "shape": [*shape[:2], 1 if depth else 3], "names": ["height", "width", "channels"]}
    return described | {"info": {"is_depth_map": depth} | ({"depth_unit": "mm"} if depth else {})}


def _joints(dtype: np.dtype[np.void], fields: tuple[str, ...]) -> dict[str, Any]:
    """Joints, then a gripper for each arm; of a pair, all of the left arm's before the right one's."""
    joints, *widths = (int(np.prod(dtype[field].shape, dtype=int)) for field in fields)
    grippers = sum(widths)
    sides = ("left_", "right_") if grippers == 2 else ("",)
    names = [f"{side}joint_{i}" for side in sides for i in range(1, joints // len(sides) + 1)]
    names += [f"{side}gripper" for side in sides[:grippers]]
    return {"dtype": "float32", "shape": [len(names)], "names": names, "units": ["rad"] * joints + ["m"] * grippers}


def _plain(episode: UUID, stream: str, field: str, kind: np.dtype[Any]) -> dict[str, Any]:
    if kind.base.kind == "c" or len(kind.shape) > 5:
        raise CannotWrite(f"episode {episode}: {stream}/{field} holds {kind}; LeRobot has no such column, leave it out")
    # A number that was not said yet is NaN, which only a float can be.
    base = np.dtype("f8") if stream in WRITTEN and kind.base.kind != "f" else kind.base
    described: dict[str, Any] = {"dtype": base.name, "shape": list(kind.shape) or [1], "names": None}
    return described | ({"units": UNITS[field]} if field in UNITS else {})
