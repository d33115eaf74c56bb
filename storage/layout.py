"""How a device's rows are laid out, in memory and in words, and which devices are cameras."""

from typing import Any

import numpy as np

from storage import arrays
from storage.timeline import Rows

FRAMES = "rgb"
"""The field that makes a device a camera: (height, width, 3) bytes."""


def is_camera(dtype: np.dtype[Any]) -> bool:
    """Say whether rows of this layout carry a picture."""
    if FRAMES not in (dtype.names or ()):
        return False
    kind = dtype[FRAMES]
    return kind.base == np.uint8 and len(kind.shape) == 3 and kind.shape[2] == 3


def plain_dtype(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """A camera's fields but its frame, close together."""
    return np.dtype([(name, dtype[name].base, dtype[name].shape) for name in dtype.names or () if name != FRAMES])


def without_frames(rows: Rows) -> Rows:
    """A camera's rows but their frames."""
    plain: Rows = np.empty(len(rows), plain_dtype(rows.dtype))
    for name in plain.dtype.names or ():
        plain[name] = rows[name]
    return plain


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
