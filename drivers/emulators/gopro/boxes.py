"""What an emulated GoPro adds to an MP4 file whose last box is ``moov``: telemetry, its notes, a turned picture."""

import struct
from collections.abc import Sequence

UNITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
"""Not turned."""

LASTS = 1001
"""Milliseconds of a payload."""


def turn(file: bytearray, quarters: int) -> None:
    """Have players turn the picture counterclockwise, so many quarters."""
    moov = find(file, 0, len(file), b"moov")
    trak = find(file, moov + 8, len(file), b"trak")
    matrix = find(file, trak + 8, len(file), b"tkhd") + 8 + 40
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][-quarters % 4]
    struct.pack_into(">9i", file, matrix, *(v << 16 for v in (cos, sin, 0, -sin, cos, 0, 0, 0)), 1 << 30)


def add_track(file: bytearray, payloads: Sequence[bytes]) -> None:
    """Add a track of telemetry: its payloads before ``moov``, one chunk each, and where they are in it."""
    moov = find(file, 0, len(file), b"moov")
    places, place = [], moov + 8
    for payload in payloads:
        places.append(place)
        place += len(payload)
    count, lasts = len(payloads), LASTS * len(payloads)
    table = full(b"stsd", 0, struct.pack(">I", 1) + box(b"gpmd", struct.pack(">6xH", 1)))
    table += full(b"stts", 0, struct.pack(">III", 1, count, LASTS))
    table += full(b"stsc", 0, struct.pack(">IIII", 1, 1, 1, 1))
    table += full(b"stsz", 0, struct.pack(f">II{count}I", 0, count, *map(len, payloads)))
    table += full(b"stco", 0, struct.pack(f">I{count}I", count, *places))
    data = box(b"dinf", full(b"dref", 0, struct.pack(">I", 1) + full(b"url ", 1, b"")))
    media = box(b"gmhd", full(b"gmin", 0, struct.pack(">HHHHHH", 0x40, 0x8000, 0x8000, 0x8000, 0, 0))) + data
    name = b"GoPro MET"
    track = full(
        b"tkhd", 7, struct.pack(">IIIII8xHHHH", 0, 0, 9, 0, lasts, 0, 0, 0, 0) + UNITY + struct.pack(">II", 0, 0)
    )
    track += box(
        b"mdia",
        full(b"mdhd", 0, struct.pack(">IIIIHH", 0, 0, 1000, lasts, 0, 0))
        + full(b"hdlr", 0, struct.pack(">4s4s12x", b"mhlr", b"meta") + bytes([len(name)]) + name)
        + box(b"minf", media + box(b"stbl", table)),
    )
    file[moov:moov] = box(b"mdat", b"".join(payloads))
    _append(file, box(b"trak", track))


def note(file: bytearray, firmware: bytes, hilights: bytes, described: bytes) -> None:
    """Add the camera's notes."""
    _append(file, box(b"udta", box(b"FIRM", firmware) + box(b"GPMF", described) + box(b"HMMT", hilights)))


def box(kind: bytes, data: bytes) -> bytes:
    """A box of the file."""
    return struct.pack(">I4s", 8 + len(data), kind) + data


def full(kind: bytes, flags: int, data: bytes) -> bytes:
    """A box with a version, 0, and flags."""
    return box(kind, struct.pack(">I", flags) + data)


def find(file: bytearray, place: int, end: int, wanted: bytes) -> int:
    """Where the first box of a kind begins."""
    while place < end:
        size, kind = struct.unpack_from(">I4s", file, place)
        if kind == wanted:
            return int(place)
        place += size
    raise ValueError(f"there is no {wanted!r}")


def _append(file: bytearray, added: bytes) -> None:
    """Add to ``moov``, which is last."""
    moov = find(file, 0, len(file), b"moov")
    file += added
    struct.pack_into(">I", file, moov, len(file) - moov)
