"""How a device's rows are laid out, in memory and in words, and which of their fields are pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage import arrays
from storage.timeline import Rows

WRITTEN = frozenset({"action", "ticks", "following"})
"""Streams that the loop itself writes: what it asked for, when, and what whoever drove went by. No device's."""

RGB = "rgb"
"""What a camera saw in colour: (height, width, 3) bytes."""

DEPTH = "depth"
"""How far away it was: (height, width) whole millimetres, <u2, 0 where nothing is known."""


FILM = "rgb.mp4"
"""The file, in its stream's folder, that holds all images of a camera when they are kept as a film."""

MOMENTS = "rgb_moments"
"""Beside a film, for each of its images: when it is shown, in the film's own unit, and 1 if reading can begin there."""


def pictures(dtype: np.dtype[Any]) -> list[str]:
    """The fields that are pictures, in the row's order: ``rgb`` and ``depth``. A row that has one is a camera's."""
    return [name for name in dtype.names or () if _is_picture(name, dtype[name])]


def plain_dtype(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """A row's fields but its pictures, close together."""
    kept = [name for name in dtype.names or () if name not in pictures(dtype)]
    return part_of(dtype, kept)


def part_of(dtype: np.dtype[np.void], fields: list[str]) -> np.dtype[np.void]:
    """Some of a row's fields, close together."""
    return np.dtype([(name, dtype[name].base, dtype[name].shape) for name in fields])


def part(rows: Rows, fields: list[str]) -> Rows:
    """The same rows with some of their fields only."""
    some: Rows = np.empty(len(rows), part_of(rows.dtype, fields))
    for name in fields:
        some[name] = rows[name]
    return some


def without_pictures(rows: Rows) -> Rows:
    """A camera's rows but their pictures."""
    return part(rows, list(plain_dtype(rows.dtype).names or ()))


def stored_dtype(dtype: np.dtype[np.void], filmed: bool) -> np.dtype[np.void]:
    """A row as it is given to be kept: without the image when that is in a film."""
    return part_of(dtype, [name for name in dtype.names or () if not (filmed and name == RGB)])


def arrival(rows: Rows) -> NDArray[np.int64]:
    """When this machine had each row: when it was received, or, if nobody says so, when it was measured."""
    stamps: NDArray[np.int64] = rows["received" if "received" in (rows.dtype.names or ()) else "t"]
    return stamps


def arrived(rows: Rows, at: int | NDArray[np.int64]) -> NDArray[np.intp]:
    """Index of the newest row that had arrived at each moment, however old; -1 where none had."""
    return np.searchsorted(arrival(rows), at, side="right") - 1


def in_force(rows: Rows, at: int | NDArray[np.int64]) -> NDArray[np.intp]:
    """Index of the newest row that had arrived at each moment; the first row's where none had."""
    return np.maximum(arrived(rows, at), 0)


def checked(name: str, dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """A layout that can be kept: stamped rows of numbers, one after the other."""
    if not name or not all(letter.isalnum() or letter in "_-" for letter in name):
        raise ValueError(f"{name!r} cannot be a stream's name; it becomes a folder, so use letters, digits, _ and -")
    if not dtype.names or dtype.names[0] != "t" or dtype["t"] != np.int64:
        raise ValueError(f"rows of {name!r} do not begin with a field t of whole nanoseconds (<i8): {dtype}")
    for field in dtype.names:
        if dtype[field].base.kind not in arrays.KINDS or dtype[field].base.names:
            raise ValueError(f"{name}/{field} holds {dtype[field].base}; only truth values and numbers can be kept")
    return dtype_of(fields_of(dtype))


def fields_of(dtype: np.dtype[np.void]) -> list[list[Any]]:
    """A row's fields in order, as JSON: name, kind, shape."""
    return [[name, dtype[name].base.str, list(dtype[name].shape)] for name in dtype.names or ()]


def dtype_of(fields: list[list[Any]]) -> np.dtype[np.void]:
    """The layout that `fields_of` wrote down."""
    return np.dtype([(name, kind, tuple(shape)) for name, kind, shape in fields])


def _is_picture(name: str, kind: np.dtype[Any]) -> bool:
    if name == RGB:
        return kind.base == np.uint8 and len(kind.shape) == 3 and kind.shape[2] == 3
    return name == DEPTH and kind.base == np.dtype("<u2") and len(kind.shape) == 2
