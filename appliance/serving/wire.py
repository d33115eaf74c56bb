"""What a served policy and its robot say to each other: msgpack, with arrays as openpi's own programs write them.

Nothing that arrives is run: there is no pickle, and an array can only be of a plain kind of number.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

KINDS = frozenset(
    np.dtype(kind).str for kind in ("?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
)
"""What the numbers of an array may be."""

ARRAY, NUMBER, KIND, SHAPE, DATA = b"__ndarray__", b"__npgeneric__", b"dtype", b"shape", b"data"
"""The names that openpi gives to the parts of an array, and of one number of a kind."""

MOST_AXES = 8

LARGEST = 64 << 20
"""The longest message, in bytes: six pictures of 1920 x 1080 are 37 MB."""


class Malformed(Exception):
    """Bytes that are no such message. The message says why."""


def pack(message: Mapping[str, Any]) -> bytes:
    """A message as bytes.

    Raises:
        TypeError: something in it is neither plain nor an array of one of `KINDS`.
    """
    packed: bytes = msgpack.packb(message, default=_plain)
    return packed


def unpack(content: bytes | str) -> dict[str, Any]:
    """The message that `pack`, or a program of openpi's, made these bytes of; its arrays cannot be written to.

    Raises:
        Malformed: it is none.
    """
    if isinstance(content, str):
        raise Malformed(f"it says {content[:300]!r}")
    try:
        message = msgpack.unpackb(content, object_hook=_array)
    except Malformed:
        raise
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise Malformed(f"no msgpack: {type(error).__name__}: {error}") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise Malformed(f"a message is a map with names, not {type(message).__name__}")
    return message


def _plain(value: Any) -> dict[bytes, Any]:
    """An array as a map."""
    if not isinstance(value, np.ndarray) or value.dtype.str not in KINDS:
        kind = value.dtype.str if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"a message holds plain values and arrays of {sorted(KINDS)}, not {kind}")
    flat = np.ascontiguousarray(value).reshape(-1).view("u1")
    return {ARRAY: True, DATA: flat.data, KIND: value.dtype.str, SHAPE: value.shape}


def _array(value: dict[Any, Any]) -> Any:
    """A map as the array it stands for, if it does."""
    if ARRAY not in value and NUMBER not in value:
        return value
    kind, data = value.get(KIND), value.get(DATA)
    if not isinstance(kind, str) or kind not in KINDS:
        raise Malformed(f"an array of {kind!r}; it can be of {sorted(KINDS)}")
    if NUMBER in value:
        if not isinstance(data, bool | int | float):
            raise Malformed(f"a number that is {type(data).__name__}")
        return np.dtype(kind).type(data)
    shape = value.get(SHAPE)
    if not isinstance(shape, list) or len(shape) > MOST_AXES or not all(_count(size) for size in shape):
        raise Malformed(f"an array of shape {shape!r}")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * np.dtype(kind).itemsize:
        has = len(data) if isinstance(data, bytes) else type(data).__name__
        raise Malformed(f"an array of {kind} and shape {shape} cannot have {has} bytes")
    array: NDArray[Any] = np.frombuffer(data, kind).reshape(shape)
    return array


def _count(size: Any) -> bool:
    return type(size) is int and size >= 0
