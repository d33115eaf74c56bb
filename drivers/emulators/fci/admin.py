"""What a rehearsal does to an emulated robot from another process: faults, and the truth of its scene.

A line of JSON asks, ``{"do": "push", "wrench": [0, 0, -20, 0, 0, 0]}``, and a line answers. ``watch`` turns a
connection into a stream of rows. The channel is open to every process of this machine, and to no other machine.
"""

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from drivers.device import DeviceError, Rows, sensed
from drivers.twin.world import TRUTH

if TYPE_CHECKING:
    from drivers.emulators.fci.emulator import Emulator

PORT = 1339

OFTEN = 5
"""Milliseconds between two looks at what touches what."""


class Unwilling(DeviceError):
    """The emulated robot does not do that. The message is its own."""


def ask(host: str, do: str, patience: float = 5.0, **values: Any) -> Any:
    """Have the emulated robot at ``host`` do one thing, e.g. ``ask("127.0.0.2", "user_stop", pressed=True)``.

    Raises:
        Unwilling: it does not do that, or nobody answers there.
    """
    try:
        with closing(socket.create_connection((host, PORT), timeout=patience)) as line:
            line.sendall(json.dumps({"do": do, **values}).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer = answers.readline()
    except OSError as error:
        raise Unwilling(f"no emulated robot answers at {host}:{PORT} ({error}); is it running?") from error
    if not answer:
        raise Unwilling(f"the emulated robot at {host} stopped before it answered")
    return _unpacked(json.loads(answer))


def _unpacked(answer: dict[str, Any]) -> Any:
    if "refused" in answer:
        raise Unwilling(answer["refused"])
    if "rows" in answer:
        return np.frombuffer(base64.b64decode(answer["rows"]), _dtype(answer["dtype"]))
    return answer["done"]


def watch(host: str, stream: str, hz: float) -> Iterator[Rows]:
    """Yield rows of the emulated robot's ``truth`` or ``scene`` as they come; an empty one when it is quiet.

    Raises:
        Unwilling: there is no such stream, or it ended.
    """
    try:
        with closing(socket.create_connection((host, PORT), timeout=1.0)) as line:
            line.sendall(json.dumps({"do": "watch", "stream": stream, "hz": hz}).encode() + b"\n")
            with line.makefile("rb", buffering=0) as answers:
                header = b""
                while not header.endswith(b"\n"):
                    header += answers.read(1) or _ended(host)
            dtype = _dtype(_unpacked(json.loads(header)))
            pending = b""
            while True:
                try:
                    pending += line.recv(65536) or _ended(host)
                except TimeoutError:
                    yield np.zeros(0, dtype)
                    continue
                whole = len(pending) // dtype.itemsize * dtype.itemsize
                yield np.frombuffer(pending[:whole], dtype)
                pending = pending[whole:]
    except OSError as error:
        raise Unwilling(f"the emulated robot at {host}:{PORT} cannot be watched ({error})") from error


def _ended(host: str) -> bytes:
    raise Unwilling(f"the emulated robot at {host} stopped")


def _dtype(description: list[Any]) -> np.dtype[np.void]:
    return np.dtype([(name, kind, *(tuple(shape) for shape in shapes)) for name, kind, *shapes in description])


@dataclass(eq=False)
class _Visitor:
    """One connection to the channel, and what it watches."""

    line: socket.socket
    said: bytes = b""
    stream: str = ""
    every: int = 0
    taken: int = 0
    pairs: set[int] = field(default_factory=set)


class Admin:
    """The channel's end in the emulator; its thread calls ``serve`` every millisecond."""

    def __init__(self, host: str, emulator: "Emulator") -> None:
        self._emulator = emulator
        self._listener = socket.create_server((host, PORT), backlog=16)
        self._listener.setblocking(False)
        self._visitors: list[_Visitor] = []
        self._last = 0
        self._can: dict[str, Callable[..., Any]] = {
            action.__name__: action
            for action in (
                *(emulator.reflex, emulator.user_stop, emulator.guide, emulator.push, emulator.silence),
                *(emulator.hang_up, emulator.lose, emulator.version, emulator.restart, emulator.status),
                *(emulator.trace, emulator.stop),
            )
        }

    @property
    def sockets(self) -> list[socket.socket]:
        return [self._listener, *(visitor.line for visitor in self._visitors)]

    def serve(self) -> None:
        """Do what was asked, and send the rows that are due."""
        try:
            while True:
                line, _ = self._listener.accept()
                line.setblocking(False)
                self._visitors.append(_Visitor(line))
        except BlockingIOError:
            pass
        clock = self._emulator.arm.clock
        fresh, self._last = clock != self._last, clock
        for visitor in list(self._visitors):
            try:
                self._hear(visitor)
                if visitor.stream and fresh:
                    self._show(visitor, clock)
            except OSError:  # it is gone, or does not read what it asked for
                self._visitors.remove(visitor)
                visitor.line.close()

    def _hear(self, visitor: _Visitor) -> None:
        try:
            heard = visitor.line.recv(65536)
        except BlockingIOError:
            return
        if not heard:
            raise ConnectionError
        visitor.said += heard
        while b"\n" in visitor.said:
            line, _, visitor.said = visitor.said.partition(b"\n")
            visitor.line.sendall(json.dumps(self._answer(visitor, line)).encode() + b"\n")

    def _answer(self, visitor: _Visitor, line: bytes) -> dict[str, Any]:
        try:
            values = json.loads(line)
            do = values.pop("do")
            if do == "watch":
                return {"done": self._watch(visitor, **values)}
            if do not in self._can:
                raise ValueError(f"an emulated robot cannot {do!r}; it can {', '.join([*self._can, 'watch'])}")
            done = self._can[do](**values)
        except (ValueError, TypeError, KeyError, AttributeError, DeviceError) as error:
            return {"refused": str(error)}
        if isinstance(done, np.ndarray):
            return {"rows": base64.b64encode(done.tobytes()).decode(), "dtype": done.dtype.descr}
        return {"done": done}

    def _watch(self, visitor: _Visitor, stream: str, hz: float) -> list[Any]:
        if self._emulator.plant.body is None:
            raise ValueError("this arm stands alone; start it with a table to watch one")
        if stream not in {"truth", "scene"} or not 0 < hz <= 1000:
            raise ValueError(f"one can watch truth or scene, at up to 1000 Hz, not {stream!r} at {hz} Hz")
        visitor.stream, visitor.every = stream, round(1000 / hz)
        return cast("list[Any]", self._layout(stream).descr)

    def _layout(self, stream: str) -> np.dtype[np.void]:
        return TRUTH if stream == "truth" else sensed(("qpos", "<f8", (self._emulator.plant.model.nq,)))

    def _show(self, visitor: _Visitor, clock: int) -> None:
        body = self._emulator.plant.body
        if body is None:
            return
        if visitor.stream == "truth" and clock % OFTEN == 0:
            visitor.pairs |= body.touching()
        if clock % visitor.every:
            return
        now = time.monotonic_ns()
        seen = body.truth(visitor.pairs) if visitor.stream == "truth" else (body.data.qpos.copy(),)
        visitor.pairs.clear()
        row = np.array([(now, now, visitor.taken, *seen)], self._layout(visitor.stream)).tobytes()
        visitor.taken += 1
        if visitor.line.send(row) < len(row):
            raise ConnectionError("it does not read what it asked for")

    def close(self) -> None:
        for visitor in self._visitors:
            visitor.line.close()
        self._listener.close()
