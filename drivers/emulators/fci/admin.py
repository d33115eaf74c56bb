"""What a rehearsal does to an emulated robot from another process: faults, and questions.

A line of JSON asks, ``{"do": "push", "wrench": [0, 0, -20, 0, 0, 0]}``, and a line answers. The channel is open to
every process of this machine, and to no other machine.
"""

import base64
import json
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.device import DeviceError

if TYPE_CHECKING:
    from drivers.emulators.fci.emulator import Emulator

PORT = 1339


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


def _dtype(description: list[Any]) -> np.dtype[np.void]:
    return np.dtype([(name, kind, *(tuple(shape) for shape in shapes)) for name, kind, *shapes in description])


@dataclass(eq=False)
class _Visitor:
    """One connection to the channel."""

    line: socket.socket
    said: bytes = b""


class Admin:
    """The channel's end in the emulator; its thread calls ``serve`` every millisecond."""

    def __init__(self, host: str, emulator: "Emulator") -> None:
        self._listener = socket.create_server((host, PORT), backlog=16)
        self._listener.setblocking(False)
        self._visitors: list[_Visitor] = []
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
        """Do what was asked."""
        try:
            while True:
                line, _ = self._listener.accept()
                line.setblocking(False)
                self._visitors.append(_Visitor(line))
        except BlockingIOError:
            pass
        for visitor in list(self._visitors):
            try:
                self._hear(visitor)
            except OSError:  # it is gone
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
            visitor.line.sendall(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            values = json.loads(line)
            do = values.pop("do")
            if do not in self._can:
                raise ValueError(f"an emulated robot cannot {do!r}; it can {', '.join(self._can)}")
            done = self._can[do](**values)
        except (ValueError, TypeError, KeyError, AttributeError, DeviceError) as error:
            return {"refused": str(error)}
        if isinstance(done, np.ndarray):
            return {"rows": base64.b64encode(done.tobytes()).decode(), "dtype": done.dtype.descr}
        return {"done": done}

    def close(self) -> None:
        for visitor in self._visitors:
            visitor.line.close()
        self._listener.close()
