"""A file that only grows, record by record, and in which every whole record can be found again after a crash."""

import array
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from google_crc32c import value as crc32c

from storage.manifest import Sum

HEADER = struct.Struct("<4sIQqII")
"""Magic, bytes in the record, its place in the file, its stamp (ns), checksum of the record, checksum of the header."""

MAGIC = b"FRM1"


class Log:
    """The writing end. `append` hands a record to the system; `sync` waits until the disk has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sum = Sum()
        """Of everything appended so far."""
        self.sizes, self.stamps = array.array("Q"), array.array("q")
        """Of every record so far, its bytes and its stamp."""
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def append(self, t: int, body: bytes) -> None:
        """Add one record, stamped ``t``.

        Raises:
            OSError: it could not be written whole; nothing may follow it.
        """
        header = HEADER.pack(MAGIC, len(body), len(self.sizes), t, crc32c(body), 0)[:-4]
        header += struct.pack("<I", crc32c(header))
        _write(self._file, header, body)
        self.sum.add(header, body)
        self.sizes.append(len(body))
        self.stamps.append(t)

    def sync(self) -> None:
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Record:
    """Where one record's body is in its file."""

    t: int
    offset: int
    size: int


class Records:
    """The reading end: every whole record, up to the first that is not.

    Args:
        path: the file.
        known: the `Log` that wrote it, which tells where the records are; None to look for those that are whole.
    """

    def __init__(self, path: Path, known: Log | None = None) -> None:
        self.path = path
        self.size = path.stat().st_size
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if self.size else b""
        self.index = list(self._scan() if known is None else _listed(known))

    @property
    def end(self) -> int:
        """Where the last whole record ends."""
        return self.end_of(len(self.index))

    def end_of(self, count: int) -> int:
        """Where the first ``count`` records end."""
        return self.index[count - 1].offset + self.index[count - 1].size if count else 0

    def body(self, record: Record, most: int | None = None) -> bytes:
        """What a record holds, or its first bytes."""
        return self._bytes[record.offset : record.offset + (record.size if most is None else most)]

    def after(self, count: int) -> bytes:
        """What follows the first ``count`` records."""
        return self._bytes[self.end_of(count) :]

    def tail(self) -> bytes:
        """What follows the last whole record."""
        return self.after(len(self.index))

    def close(self) -> None:
        if isinstance(self._bytes, mmap.mmap):
            self._bytes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _scan(self) -> Iterator[Record]:
        place = 0
        for count in range(self.size):
            header = self._bytes[place : place + HEADER.size]
            if len(header) < HEADER.size:
                return
            magic, size, at, t, body, check = HEADER.unpack(header)
            start = place + HEADER.size
            if magic != MAGIC or at != count or check != crc32c(header[:-4]) or start + size > self.size:
                return
            if body != crc32c(self._bytes[start : start + size]):
                return
            yield Record(t, start, size)
            place = start + size


def _listed(log: Log) -> Iterator[Record]:
    place = 0
    for t, size in zip(log.stamps, log.sizes, strict=True):
        yield Record(t, place + HEADER.size, size)
        place += HEADER.size + size


def _write(file: int, *parts: bytes) -> None:
    """Write everything, or raise what the system says stopped it."""
    written = os.writev(file, parts)
    whole = b"" if written == sum(map(len, parts)) else b"".join(parts)
    while written < len(whole):
        written += os.write(file, whole[written:])
