"""What was handed over and is not written yet: a ring of messages that two programs share."""

import mmap
import os
import struct
from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

HEADER = struct.Struct("<IIQ")
"""What kind of message it is, which stream it belongs to, and how many bytes follow."""

LINE = 64
"""Every message begins at a multiple of this many bytes."""

STREAMS = 256
"""How many streams can be counted."""

SKIP = 0
"""A message that only fills the rest of the ring."""


class Backlog:
    """One program puts messages in, another takes them out, oldest first.

    The memory has no name: it is gone with the last program that uses it, however that ends. It is claimed and touched
    at the start, so that no later write can find it missing or wait for it. Each end tells the other only by the
    counts of two eventfds: bytes ready, and bytes free again. A message is ready when it is whole; a writer that is
    killed in the middle of one has said nothing.

    Args:
        size: bytes of the ring, a multiple of `LINE`.
        files: the memory, and the counts of bytes ready and free, of a backlog that another program made.

    Raises:
        OSError: there is not so much memory.
    """

    def __init__(self, size: int, files: tuple[int, int, int] | None = None) -> None:
        self.size = size
        self.files = files or _claim(STREAMS * 8 + size)
        memory, self.ready, self._freed = self.files
        shared = mmap.mmap(memory, STREAMS * 8 + size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.written: NDArray[np.uint64] = np.frombuffer(shared, "<u8", STREAMS)
        """How many rows of each stream the reader has written. Both programs see it, and it outlives the reader."""
        self._ring: Bytes = np.frombuffer(shared, "u1", size, STREAMS * 8)
        self._place, self._room, self._taken = 0, size, 0
        self.waiting = 0
        """Bytes that are known to be ready and have not been taken."""

    @property
    def crowded(self) -> bool:
        """Whether more than a quarter of it waits to be written, as its writer can tell."""
        if self._room < self.size * 3 // 4:
            self._room += _count(self._freed)
        return self._room < self.size * 3 // 4

    def put(self, kind: int, stream: int, body: Bytes, spare: int = 0) -> bool:
        """Hand a message over, unless fewer than ``spare`` bytes would be free after it; never wait.

        Raises:
            ValueError: it is longer than half of the ring, and may never fit.
        """
        need = takes(len(body))
        if need > self.size // 2:
            raise ValueError(f"a message of {len(body)} bytes is too long for a backlog of {self.size}")
        left = self.size - self._place
        skipped = left if left < need else 0
        if self._room < need + skipped + spare:
            self._room += _count(self._freed)
        if self._room < need + skipped + spare:
            return False
        if skipped:
            HEADER.pack_into(self._ring, self._place, SKIP, 0, 0)
        place = (self._place + skipped) % self.size
        HEADER.pack_into(self._ring, place, kind, stream, len(body))
        self._ring[place + HEADER.size : place + HEADER.size + len(body)] = body
        place = (place + need) % self.size
        try:
            os.eventfd_write(self.ready, need + skipped)
        finally:  # Ctrl-C comes after the call or before it; either way, both ends count the same.
            self._place = place
            self._room -= need + skipped
        return True

    def take(self, most: int) -> Iterator[tuple[int, int, Bytes]]:
        """Kind, stream and body of messages that are ready, as long as they have less than ``most`` bytes together.

        The bodies are views; they are good until `free`.
        """
        self.waiting += _count(self.ready)
        while self.waiting and self._taken < most:
            kind, stream, size = HEADER.unpack_from(self._ring, self._place)
            first = self._place + HEADER.size
            need = self.size - self._place if kind == SKIP else takes(size)
            self.waiting -= need
            self._taken += need
            self._place = (self._place + need) % self.size
            if kind != SKIP:
                yield kind, stream, self._ring[first : first + size]

    def free(self) -> None:
        """Let the writer have the room of everything taken."""
        os.eventfd_write(self._freed, self._taken)
        self._taken = 0

    def close(self) -> None:
        """Let go of the memory. What was written can still be asked."""
        self.written, self._ring = self.written.copy(), self._ring[:0].copy()
        for file in self.files:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def takes(size: int) -> int:
    """How many bytes of a ring a message of ``size`` bytes takes."""
    return -(-(HEADER.size + size) // LINE) * LINE


def _claim(size: int) -> tuple[int, int, int]:
    """Memory without a name, and two counts."""
    memory = os.memfd_create("backlog", os.MFD_CLOEXEC)
    try:
        os.posix_fallocate(memory, 0, size)
    except OSError:
        os.close(memory)
        raise
    flags = os.EFD_CLOEXEC | os.EFD_NONBLOCK
    return memory, os.eventfd(0, flags), os.eventfd(0, flags)


def _count(file: int) -> int:
    """What was added to a count since it was last asked."""
    try:
        return os.eventfd_read(file)
    except BlockingIOError:
        return 0
