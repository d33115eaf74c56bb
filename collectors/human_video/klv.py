"""GoPro's telemetry format, GPMF: keys of four letters, each with values of one kind, or with more of the same inside.

Source: the format's description in gopro/gpmf-parser. Nothing is refused: an item that is cut off, or whose key is no
letters, ends the reading; a kind that nobody has heard of has no values; what is inside too deep is not looked at.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEAD = struct.Struct(">4scBH")
"""Key, kind, bytes of one value or one row, how many of them."""

KINDS = {
    "b": "i1",
    "B": "u1",
    "s": ">i2",
    "S": ">u2",
    "l": ">i4",
    "L": ">u4",
    "f": ">f4",
    "d": ">f8",
    "j": ">i8",
    "J": ">u8",
}
"""What kinds of numbers are called there, and in numpy. ``q`` and ``Q`` are fixed point, see `_fixed`."""

FIXED = {"q": (">i4", 2.0**16), "Q": (">i8", 2.0**32)}

REPEATED = re.compile(r"(.)\[(\d{1,3})\]")

DEEP = 8
"""Items inside items inside items are looked at so far. A camera needs three."""


@dataclass(frozen=True)
class Item:
    """One key and what it holds."""

    key: str
    kind: str
    """One letter; empty for an item that holds others."""
    size: int
    """Bytes of one row."""
    repeat: int
    """How many rows."""
    data: bytes
    inside: tuple["Item", ...] = ()

    @property
    def text(self) -> str:
        """Its letters, and nothing that would move a cursor."""
        said = self.data.split(b"\0", 1)[0].decode("latin1")
        return "".join(letter for letter in said if letter.isprintable()).strip()

    def numbers(self, kinds: str = "") -> NDArray[np.float64]:
        """Its values, a row for each repetition: (repeat, n). None, (0, 0), for what is not numbers.

        Args:
            kinds: for an item of kind ``?``, the kind of each column, as its neighbour TYPE says.
        """
        kinds = REPEATED.sub(lambda found: found[1] * int(found[2]), kinds) if self.kind == "?" else self.kind
        known = [KINDS.get(kind) or FIXED.get(kind, ("", 0.0))[0] for kind in kinds]
        width = sum(np.dtype(kind).itemsize for kind in known if kind)
        if (
            not all(known)
            or not width
            or not self.size
            or self.size % width
            or (self.kind == "?" and self.size != width)
        ):
            return np.zeros((0, 0))
        columns, known = self.size // width * len(known), self.size // width * known
        row = np.dtype([(f"f{i}", kind) for i, kind in enumerate(known)])
        rows = np.frombuffer(self.data[: self.size * self.repeat], row)
        scales = [FIXED[kind][1] if kind in FIXED else 1.0 for kind in kinds * (self.size // width)]
        return np.stack([rows[f"f{i}"] / scales[i] for i in range(columns)], axis=1)


def items(data: bytes, deep: int = DEEP) -> tuple[Item, ...]:
    """What is in a piece of telemetry, in order; what is cut off at its end is left out."""
    return tuple(_items(data, deep)) if deep else ()


def everything(found: tuple[Item, ...]) -> Iterator[Item]:
    """Every item, those inside others too."""
    for item in found:
        yield item
        yield from everything(item.inside)


def _items(data: bytes, deep: int) -> Iterator[Item]:
    place = 0
    while place + HEAD.size <= len(data):
        key, kind, size, repeat = HEAD.unpack_from(data, place)
        place += HEAD.size
        end = place + size * repeat
        body, name = data[place:end], key.decode("latin1")
        if end > len(data) or not name.isprintable():
            return
        if kind == b"\0":
            yield Item(name, "", size, repeat, body, items(body, deep - 1))
        else:
            yield Item(name, kind.decode("latin1"), size, repeat, body)
        place = end + -end % 4
