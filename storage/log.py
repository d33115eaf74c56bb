"""A file that only grows, record by record, and in which every whole record can be found again after a crash."""

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from google_crc32c import value as crc32c

HEADER = struct.Struct("<4sIQqII")
"""Magic, bytes in the record, its place in the file, its stamp (ns), checksum of the record, checksum of the header."""

MAGIC = b"FRM1"


class Log:
    """The writing end. `append` hands a record to the system; `sync` waits until the disk has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._records = 0

    def append(self, t: int, body: bytes) -> None:
        """Add one record, stamped ``t``.

        Raises:
            OSError: it could not be written whole; nothing may follow it.
        """
        header = HEADER.pack(MAGIC, len(body), self._records, t, crc32c(body), 0)[:-4]
        _write(self._file, header + struct.pack("<I", crc32c(header)), body)
        self._records += 1

    def sync(self) -> None:
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True)
class Record:
    """Where one record's body is in its file."""

    t: int
    offset: int
    size: int


class Records:
    """The reading end: every whole record, up to the first that is not."""

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if self.size else b""
        self.index = list(self._scan())
        self.end = self.index[-1].offset + self.index[-1].size if self.index else 0
        """Where the last whole record ends."""

    def body(self, record: Record) -> bytes:
        return self._bytes[record.offset : record.offset + record.size]

    def tail(self) -> bytes:
        """What follows the last whole record."""
        return self._bytes[self.end :]

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


def _write(file: int, *parts: bytes) -> None:
    """Write everything, or raise what the system says stopped it."""
    written = os.writev(file, parts)
    whole = b"" if written == sum(map(len, parts)) else b"".join(parts)
    while written < len(whole):
        written += os.write(file, whole[written:])
