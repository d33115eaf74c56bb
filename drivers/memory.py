"""The last rows of one device in memory that several programs see: one writes, the others look."""

import fcntl
import mmap
import os
import struct
import time
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.device import Overrun, Rows

WRITTEN, CLAIMED, LOST, BEAT, LENGTH, TOLD = range(6)
"""Places of the counts: rows that are whole; rows that are whole or being written; the stamp of the newest row that is
gone; when the writer was last heard of; bytes of what it says went wrong; how often it began or ended saying so."""

COUNTS, TEXT, HEAD = 64, 4032, 4096
"""Bytes of the counts, of what went wrong, and of both."""

FUTURE_WRITE = 0x10
"""Linux's F_SEAL_FUTURE_WRITE: who can write already still can, and nobody else ever (fcntl(2), since 5.1)."""


class Memory:
    """The newest ``capacity`` rows, and whether all is well. Whoever looks never makes the writer wait.

    A row is copied first and believed afterwards: if the writer came across meanwhile, it is copied again, or is gone.
    That counts on stores becoming visible in the order they were made, as on x86-64.
    """

    def __init__(self, memory: Any, dtype: np.dtype[np.void], capacity: int) -> None:
        self.rows: Rows = np.frombuffer(memory, dtype, capacity, HEAD)
        self._counts: NDArray[np.int64] = np.frombuffer(memory, "<i8", COUNTS // 8)
        self._text: NDArray[np.uint8] = np.frombuffer(memory, "u1", TEXT, COUNTS)
        self._stamps, self._capacity = self.rows["t"], capacity

    def push(self, rows: Rows) -> None:
        """Take rows, oldest first; the oldest kept make room. One thread does so."""
        kept, mine = _bytes(np.ascontiguousarray(rows)), _bytes(self.rows)
        for first in range(0, len(rows), self._capacity):
            count = min(self._capacity, len(rows) - first)
            written = int(self._counts[WRITTEN])
            over = written + count - self._capacity
            if over > 0:
                self.skip(int(self._stamps[(over - 1) % self._capacity]))
            self._counts[CLAIMED] = written + count
            for place, part in _pieces(written, count, self._capacity):
                mine[place] = kept[first:][part]
            self._counts[WRITTEN] = written + count

    def skip(self, until: int) -> None:
        """Whoever asks for rows stamped up to ``until`` gets an Overrun: they are gone, or never came."""
        self._counts[LOST] = max(int(self._counts[LOST]), until)

    def since(self, t: int) -> Rows:
        """Copy the rows stamped after ``t``, oldest first.

        Raises:
            Overrun: some of them are gone.
        """
        while True:
            written = int(self._counts[WRITTEN])
            oldest = min(written, max(0, int(self._counts[CLAIMED]) - self._capacity))
            first = oldest + bisect_right(range(oldest, written), t, key=self._stamp)
            rows: Rows = np.empty(written - first, self.rows.dtype)
            for place, part in _pieces(first, len(rows), self._capacity):
                _bytes(rows)[part] = _bytes(self.rows)[place]
            if t < (lost := int(self._counts[LOST])):
                raise Overrun(f"asked for rows after t={t}, but those up to t={lost} are gone")
            if first >= int(self._counts[CLAIMED]) - self._capacity:
                return rows

    def beat(self, t: int) -> None:
        """The writer was well at ``t``."""
        self._counts[BEAT] = t

    @property
    def still(self) -> float:
        """Seconds since the writer was last well."""
        return (time.monotonic_ns() - int(self._counts[BEAT])) / 1e9

    def say(self, why: str) -> None:
        """Tell everybody what went wrong; all is well again with an empty ``why``."""
        said = np.frombuffer(why.encode()[:TEXT], "u1")
        self._counts[TOLD] += 1
        self._text[: len(said)] = said
        self._counts[LENGTH] = len(said)
        self._counts[TOLD] += 1

    def said(self) -> str:
        """What went wrong; nothing while that is being written, which the next look will see."""
        told = int(self._counts[TOLD])
        if not (length := int(self._counts[LENGTH])):
            return ""
        text = bytes(self._text[:length]).decode(errors="replace")
        return text if told % 2 == 0 and self._counts[TOLD] == told else ""

    def _stamp(self, number: int) -> int:
        return int(self._stamps[number % self._capacity])


def claim(name: str, dtype: np.dtype[np.void], capacity: int) -> tuple[int, Memory]:
    """Return memory that this process can write to and no other ever can, and a file to look at it with.

    It has no name: it is gone with the last program that uses it. All of it is there from the start, so that no later
    row can find it missing, and nobody can shorten it.

    Raises:
        OSError: there is not so much memory.
    """
    size = HEAD + capacity * dtype.itemsize
    file = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(file, 0, size)
        memory = mmap.mmap(file, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | FUTURE_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        looking = os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(file)
    struct.pack_into("<q", memory, 8 * LOST, np.iinfo(np.int64).min)
    return looking, Memory(memory, dtype, capacity)


def look(file: int, dtype: np.dtype[np.void], capacity: int) -> Memory:
    """Return the memory that a file of `claim` leads to, to look at."""
    size = HEAD + capacity * dtype.itemsize
    return Memory(mmap.mmap(file, size, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ), dtype, capacity)


def _pieces(first: int, count: int, capacity: int) -> Sequence[tuple[slice, slice]]:
    """Where rows ``first`` to ``first + count`` are in a ring, and which of them each piece is."""
    place = first % capacity
    before = min(count, capacity - place)
    return (slice(place, place + before), slice(0, before)), (slice(0, count - before), slice(before, count))


def _bytes(rows: Rows) -> NDArray[np.uint8]:
    """The same memory, a line of bytes for each row: copying it is one move, whatever the fields."""
    return rows.view("u1").reshape(len(rows), rows.dtype.itemsize)
