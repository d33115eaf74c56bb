"""Rows of one device for any number of programs: one publishes them, the others watch and cannot disturb it."""

import contextlib
import json
import os
import secrets
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from drivers.device import DeviceError, DeviceLost, Rows, telling_last
from drivers.memory import Memory, claim, look

SECONDS, FEWEST, MOST = 2.0, 32, 128 << 20
"""How much is kept: so many seconds, at least so many rows, at most so many bytes."""

CAMERA, SENSOR, PICTURE = 30.0, 1000.0, 16 << 10
"""The rates that rows of a picture and other rows are assumed to come at, and the bytes that make a row a picture."""

MESSAGE = 64 << 10
"""Longest welcome, in bytes."""

GREETING = 2.0
"""Seconds that a publisher may take to answer somebody who wants to watch."""

LISTENS = 0x10000
"""Of the flags in /proc/net/unix: a socket that others connect to."""


def room(dtype: np.dtype[np.void], hz: float | None = None) -> int:
    """Return how many rows are kept of a device that gives ``hz`` of them a second; guessed when nobody knows."""
    rate = hz or (CAMERA if dtype.itemsize > PICTURE else SENSOR)
    return max(2, min(max(FEWEST, round(SECONDS * rate)), MOST // dtype.itemsize))


def address(name: str) -> str:
    """Return an address that nobody else has, where this program, or one that it starts, may publish ``name``."""
    return f"appliance/{os.getuid()}/{os.getpid()}/{secrets.token_hex(3)}/{name}"


@dataclass(frozen=True)
class Published:
    """A device that a program of this user publishes."""

    pid: int
    """Of the program that chose the address: the one that runs the station."""

    name: str
    address: str


def published() -> list[Published]:
    """Return what can be watched on this machine, by program and name."""
    found = []
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, _, *path = line.split(maxsplit=7)
        if path and path[0].startswith(f"@appliance/{os.getuid()}/") and int(flags, 16) & LISTENS:
            _, _, pid, _, name = path[0].split("/", 4)
            found.append(Published(int(pid), name, path[0].removeprefix("@")))
    return sorted(found, key=lambda one: (one.pid, one.name))


class Publisher:
    """Shows the newest rows of a device to whoever of this user wants to look; see `claim` for the memory they are in.

    One thread pushes. Nobody who looks can write to the rows or make it wait, and no file is left, however it ends.

    Args:
        name: the device's.
        dtype: its rows'.
        capacity: how many rows are kept; see `room`.

    Raises:
        DeviceError: there is not so much memory.
    """

    def __init__(self, name: str, dtype: np.dtype[np.void], capacity: int) -> None:
        self.name, self.dtype, self.capacity = name, dtype, capacity
        try:
            self._file, self._memory = claim(name, dtype, capacity)
        except OSError as error:
            size = capacity * dtype.itemsize / 1e6
            raise DeviceError(f"{name}: there is no memory for {size:.0f} MB of its rows ({error.strerror})") from error
        self._door: tuple[socket.socket, threading.Thread] | None = None
        self._lines: list[socket.socket] = []
        self._closed = False
        self.beat()

    def push(self, rows: Rows) -> None:
        """Take rows, oldest first; the oldest kept make room.

        Raises:
            ValueError: they are laid out in another way.
        """
        if rows.dtype != self.dtype:
            raise ValueError(f"{self.name} has rows of {self.dtype}, not of {rows.dtype}")
        self._memory.push(rows)
        self.beat()

    def skip(self, until: int) -> None:
        """Say that rows stamped up to ``until`` are missing: whoever asks for them gets an Overrun, not a hole."""
        self._memory.skip(until)

    def beat(self, t: int | None = None) -> None:
        """Say that the device was well looked after at ``t``, or is now, though it may have no row."""
        self._memory.beat(time.monotonic_ns() if t is None else t)

    def fail(self, why: str) -> None:
        """Have every reader raise DeviceLost with these words, until they are taken back with an empty ``why``."""
        self._memory.say(why)

    def serve(self, where: str) -> None:
        """Let programs of this user watch from now on, by the `address` where they ask.

        Raises:
            DeviceError: somebody else is there already.
        """
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            door.bind(f"\0{where}")
        except OSError as error:
            door.close()
            raise DeviceError(f"{self.name} cannot be watched at {where!r}: {error.strerror}") from error
        door.listen(64)
        porter = threading.Thread(target=self._welcome, args=(door,), name=f"{self.name} door", daemon=True)
        porter.start()
        self._door = door, porter

    def close(self) -> None:
        """Let go of everything. Those who watch are told that it is over."""
        if self._closed:
            return
        self._closed = True
        if not self._memory.said():
            self.fail(f"{self.name}: the program that ran it has left it")
        if self._door is not None:
            door, porter = self._door
            door.shutdown(socket.SHUT_RDWR)
            porter.join()
            door.close()
        for line in self._lines:
            line.close()
        os.close(self._file)

    def _welcome(self, door: socket.socket) -> None:
        """Give whoever knocks what it takes to look, and keep the line: that it breaks says that this is over."""
        fields = [[name, self.dtype[name].base.str, self.dtype[name].shape] for name in self.dtype.names or ()]
        welcome = json.dumps({"fields": fields, "capacity": self.capacity}).encode()
        while True:
            try:
                line, _ = door.accept()
            except OSError:
                return  # the door is shut
            for gone in filter(_broken, self._lines):
                gone.close()
            self._lines = [one for one in self._lines if one.fileno() >= 0] + [line]
            with contextlib.suppress(OSError):  # it has gone again
                if _user(line) == os.getuid():
                    socket.send_fds(line, [welcome], [self._file], socket.MSG_DONTWAIT)
                else:
                    line.send(b"{}", socket.MSG_DONTWAIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Watcher:
    """A device that another program publishes. Any number may watch; none of them can disturb it, or another.

    It is lost when that program says so, when it ends in whatever way and, if there is a limit to its ``silence``, when
    it stands still. Enter it again when it is back.
    """

    name: str
    address: str
    """Where the publisher serves; see `published`."""

    layout: np.dtype[np.void] | None = None
    """Of the rows that are expected. Without it, they are known once it has been entered."""

    silence: float | None = None
    """Seconds that the publisher may stand still; for ever if None."""

    def __post_init__(self) -> None:
        self._line: socket.socket | None = None
        self._memory: Memory | None = None
        self._over = select.poll()

    @property
    def dtype(self) -> np.dtype[np.void]:
        if self.layout is not None:
            return self.layout
        if self._memory is None:
            raise DeviceError(f"{self.name}: what its rows are is known once it has been entered")
        return self._memory.rows.dtype

    def read(self, since: int) -> Rows:
        """Copy the rows stamped after ``since``, oldest first.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: whoever publishes them has lost the device, has ended, or stands still.
        """
        memory = self._entered()
        with telling_last(memory.since, since):
            self.check()
        return memory.since(since)

    def kept(self, since: int) -> Rows:
        """Copy the rows stamped after ``since``, though the device may be lost.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: it has not been entered.
        """
        return self._entered().since(since)

    @property
    def gone(self) -> bool:
        """Whether the program that publishes it has ended."""
        return bool(self._over.poll(0))

    @property
    def said(self) -> str:
        """What that program last said went wrong, if anything."""
        return "" if self._memory is None else self._memory.said()

    def check(self) -> None:
        """See whether the device is still there.

        Raises:
            DeviceLost: as `read` does.
        """
        memory = self._entered()
        if why := memory.said():
            raise DeviceLost(why)
        if self.gone:
            raise DeviceLost(f"{self.name}: the program that ran it is gone")
        if self.silence is not None and memory.still > self.silence:
            raise DeviceLost(f"{self.name}: the program that runs it has stood still for {memory.still:.1f} s")

    def _entered(self) -> Memory:
        if self._memory is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        return self._memory

    def __enter__(self) -> Self:
        """Begin to watch.

        Raises:
            DeviceError: nothing is published there, not for this user, or rows of another layout.
        """
        self._leave()
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            memory = self._ask(line)
        except BaseException:
            line.close()
            raise
        self._over = select.poll()
        self._over.register(line, select.POLLIN)
        self._line, self._memory = line, memory
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _ask(self, line: socket.socket) -> Memory:
        """Have the memory shown."""
        line.settimeout(GREETING)
        try:
            line.connect(f"\0{self.address}")
            owner = _user(line)
            said, files, _, _ = socket.recv_fds(line, MESSAGE, 1)
        except OSError as error:
            raise DeviceError(
                f"{self.name}: nobody publishes it at {self.address!r} ({error}); does its program run?"
            ) from error
        try:
            if owner != os.getuid() or not files:
                raise DeviceError(f"{self.name} is published by user {owner} for itself; this is user {os.getuid()}")
            told = json.loads(said)
            dtype = np.dtype([(name, base, tuple(shape)) for name, base, shape in told["fields"]])
            if self.layout is not None and dtype != self.layout:
                raise DeviceError(f"{self.name} is published with rows of {dtype}, not of {self.layout}")
            return look(files[0], dtype, told["capacity"])
        finally:
            for file in files:
                os.close(file)

    def _leave(self) -> None:
        line, self._line, self._memory = self._line, None, None
        if line is not None:
            line.close()


def _user(line: socket.socket) -> int:
    """Who is at the other end."""
    _, user, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def _broken(line: socket.socket) -> bool:
    """Whether the other end has gone."""
    over = select.poll()
    over.register(line, select.POLLIN)
    return bool(over.poll(0))
