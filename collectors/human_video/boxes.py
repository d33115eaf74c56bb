"""The boxes of an MP4 file, as far as they say what PyAV does not: whether it is whole, and the camera's own notes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST = 1 << 24
"""The longest note of a camera that is read, in bytes."""


MANY = 10_000
"""How many boxes side by side are looked at; a camera writes a dozen."""


class Broken(Exception):
    """The file is not whole, or is no MP4 file. The message says which."""


@dataclass(frozen=True)
class Box:
    """Where the content of a box begins and ends."""

    kind: bytes
    begin: int
    end: int


def notes(path: Path) -> dict[bytes, bytes]:
    """What the camera noted about the whole file: the boxes of ``moov/udta``, by kind. Empty where it has none.

    Raises:
        Broken: the file is empty, no MP4 file, or cut off.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        raise Broken("is empty; copy it from the card again")
    with path.open("rb") as file:
        top = {box.kind: box for box in _boxes(file, 0, size)}
        if b"ftyp" not in top:
            raise Broken("is no MP4 video; GoPro's videos end in .MP4")
        if any(box.end > size for box in top.values()) or b"moov" not in top or b"mdat" not in top:
            raise Broken("is cut off; copy it from the card again, or let the camera repair it")
        moov = top[b"moov"]
        own = [box for box in _boxes(file, moov.begin, moov.end) if box.kind == b"udta" and box.end <= moov.end]
        return {
            box.kind: _content(file, box)
            for udta in own
            for box in _boxes(file, udta.begin, udta.end)
            if box.end <= udta.end and box.end - box.begin <= MOST
        }


def _content(file: BinaryIO, box: Box) -> bytes:
    file.seek(box.begin)
    return file.read(box.end - box.begin)


def _boxes(file: BinaryIO, begin: int, end: int) -> Iterator[Box]:
    """The boxes between two places. The last one may claim to end later."""
    for _ in range(MANY):
        if begin + 8 > end:
            return
        file.seek(begin)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            head, large = 16, file.read(8)
            size = struct.unpack(">Q", large)[0] if len(large) == 8 else 0
        elif size == 0:
            size = end - begin
        if size < head:
            return
        yield Box(kind, begin + head, begin + size)
        begin += size
    raise Broken(f"has more than {MANY} boxes side by side, which no camera writes; copy it from the card again")
