"""The program that runs one device for another program. `Hosted` starts it."""

import contextlib
import json
import logging
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from typing import Any

import numpy as np

from drivers.child import ASK, COMMAND, CONNECTED, EPOCH, MESSAGE, REFUSED, TELL
from drivers.device import DeviceError, DeviceLost, Overrun, Rows
from drivers.settings import made
from drivers.shared import Publisher, room

LOOK = 0.002
"""Seconds between two looks for new rows of the device."""

TURN = 0.05
"""Seconds after which the thread that minds commands looks up, though nothing was said."""

EAGER = -10
"""How much a device's program is preferred to others where that is allowed: whoever trains meanwhile can wait."""

LEAVING = 1.0
"""Seconds that a look for rows may take before the device is left without waiting for it."""

BEGINNING = 1000
"""Letters that are told of a text which is too long."""

OVER = select.POLLHUP | select.POLLRDHUP | select.POLLERR
"""What a line says when the other end has shut it, or is dead."""

log = logging.getLogger("drivers.hosting")


class Line:
    """What leads to the program that started this one. It never waits for it: what it cannot take is dropped.

    What is longer than a message may be is not said, but that it is too long, or how it begins.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def say(self, **said: Any) -> None:
        message = json.dumps(said).encode()
        if len(message) > MESSAGE:
            message = json.dumps(_cut(said, len(message))).encode()
        with contextlib.suppress(OSError):  # it is gone, or stands still
            self._line.send(message, socket.MSG_DONTWAIT)

    def refuse(self, number: int, error: Exception) -> None:
        """Tell an error in its own words; one that is no device's is a mistake in the driver, and is named."""
        text = str(error) if isinstance(error, DeviceError) else f"{type(error).__name__}: {error}"
        self.say(number=number, failed=text, lost=isinstance(error, DeviceLost))


def _cut(said: dict[str, Any], length: int) -> dict[str, Any]:
    """What to say instead of something too long."""
    but = f"{length} bytes are more than the {MESSAGE} that a message may have"
    if "said" in said:
        return {"number": said["number"], "failed": f"this answer cannot be told: {but}", "lost": False}
    if "failed" in said:
        return said | {"failed": f"{said['failed'][:BEGINNING]}... ({but})"}
    name, level, text = said["log"]
    return {"log": [name, level, f"{text[:BEGINNING]}... ({but})"]}


class Telling(logging.Handler):
    """Has the other program write down what this one would."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._to = line

    def emit(self, record: logging.LogRecord) -> None:
        self._to.say(log=[record.name, record.levelno, self.format(record)])


class Host:
    """Minds a connected device: rows out, commands and questions in; three threads, so that none waits for another."""

    def __init__(self, device: Any, publisher: Publisher, line: Line, watchdog: float) -> None:
        self._device, self._publisher, self._line = device, publisher, line
        self._watchdog = watchdog
        self._commanded: float | None = None
        self._held = 0
        self._turned = self._since = time.monotonic_ns()
        self._lost = False
        self._looking = threading.Lock()
        self._leaving = threading.Event()
        self._questions: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()

    def run(self, line: socket.socket, holding: int, life: int) -> None:
        """Do as the other program says until it has enough of the device, or is dead; then hold."""
        rows = threading.Thread(target=self._pump, name="rows", daemon=True)
        rows.start()
        threading.Thread(target=self._answer, name="questions", daemon=True).start()
        words = select.poll()
        words.register(line, select.POLLIN | OVER)
        words.register(holding, select.POLLIN)
        words.register(life, select.POLLIN)
        try:
            while not self._leaving.is_set():
                self._turned = time.monotonic_ns()
                ready = dict(words.poll(1e3 * min(TURN, self._left())))
                if life in ready or ready.get(line.fileno(), 0) & OVER:
                    break
                self._mind(holding)
                if line.fileno() in ready:
                    self._hear(line.recv(MESSAGE), holding)
                if self._left() <= 0:
                    log.warning("%s: no command for %g s: it holds", self._publisher.name, self._watchdog)
                    self._hold()
        finally:
            self._hold()
            self._leaving.set()
            rows.join(LEAVING)

    def _left(self) -> float:
        """Seconds until the robot must have been commanded again."""
        return TURN if self._commanded is None else max(0.0, self._commanded + self._watchdog - time.monotonic())

    def _mind(self, holding: int) -> None:
        """Hold, if that was said."""
        with contextlib.suppress(BlockingIOError):
            self._held += os.eventfd_read(holding)
            self._hold()

    def _hear(self, message: bytes, holding: int) -> None:
        kind, (epoch,) = message[:1], EPOCH.unpack_from(message, 1)
        if kind in {ASK, TELL}:
            self._questions.put((epoch, json.loads(message[1 + EPOCH.size :])))
        elif kind == COMMAND:
            self._mind(holding)
            if epoch < self._held:
                return  # it was given before the last hold
            target = np.frombuffer(message, self._device.action, 1, 1 + EPOCH.size).copy()[0]
            self._commanded = time.monotonic()
            try:
                self._device.command(target)
            except Exception as error:  # ruff: ignore[blind-except] - told to whoever gave the command
                self._hold()
                self._line.refuse(REFUSED, error)

    def _hold(self) -> None:
        self._commanded = None
        if hasattr(self._device, "hold"):
            try:
                self._device.hold()
            except DeviceError as error:
                log.warning("%s cannot hold: %s", self._publisher.name, error)

    def _pump(self) -> None:
        """Publish the device's rows, and whether it and this program are well."""
        while not self._leaving.wait(LOOK):
            self._look()

    def _look(self) -> None:
        """Publish what there is now. The rows that came before a loss are seen before it is told."""
        with self._looking:
            looked = time.monotonic_ns()
            try:
                rows = self._device.read(self._since)
            except Overrun as error:
                log.warning("%s: rows are missing: %s", self._publisher.name, error)
                self._publisher.skip(looked)
                self._since = looked
            except DeviceError as error:
                if isinstance(error, DeviceLost) and error.last is not None:
                    self._publish(error.last)
                if not self._lost:
                    self._publisher.fail(str(error))
                self._lost = True
            except Exception as error:
                self._publisher.fail(f"{self._publisher.name}: its driver failed: {type(error).__name__}: {error}")
                self._leaving.set()
                raise
            else:
                if self._lost:
                    self._publisher.fail("")
                self._lost = False
                self._publish(rows)
            self._publisher.beat(min(looked, self._turned))

    def _publish(self, rows: Rows) -> None:
        if len(rows):
            self._since = int(rows["t"][-1])
            self._publisher.push(rows)

    def _answer(self) -> None:
        """Do what is asked, one after the other. A robot that was told to hold meanwhile is not left doing it."""
        while True:
            epoch, asked = self._questions.get()
            if "number" in asked:
                self._reply(asked["number"], asked["what"])
            else:
                self._do(asked["what"], asked["values"])
            if epoch < self._held:
                self._hold()

    def _reply(self, number: int, name: str) -> None:
        """Answer a question; that a device is well again is seen before the answer is."""
        try:
            what = getattr(self._device, name)
            said = what() if callable(what) else what
            if self._lost:
                self._look()
            self._line.say(number=number, said=said)
        except Exception as error:  # ruff: ignore[blind-except] - told to whoever asked
            self._line.refuse(number, error)

    def _do(self, what: str, values: dict[str, Any]) -> None:
        """Do what was told; nobody waits for it."""
        try:
            getattr(self._device, what)(**values)
        except Exception as error:  # ruff: ignore[blind-except] - the other program writes it down
            log.warning("%s: %s(%s): %s", self._publisher.name, what, values, error)


def main(talk: int, holding: int, parent: int) -> None:
    """Connect the device, run it, and leave it safe when the program that started this one is done with it, or dead.

    Signals that are meant for that program are not for this one, which ends when it does.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(PermissionError):
        os.nice(EAGER)
    life = os.pidfd_open(os.getppid())
    with socket.socket(fileno=talk) as sock:
        order = json.loads(sock.recv(MESSAGE) or b"null")
        if order is None or os.getppid() != parent:
            return
        line = Line(sock)
        logging.basicConfig(level=order["level"], handlers=[Telling(line)])
        try:
            device = made(order["device"])
            with Publisher(device.name, device.dtype, room(device.dtype, getattr(device, "hz", None))) as publisher:
                publisher.serve(order["address"])
                with device:
                    host = Host(device, publisher, line, order["watchdog"])
                    publisher.beat()
                    line.say(number=CONNECTED, said=None)
                    host.run(sock, holding, life)
        except Exception as error:  # ruff: ignore[blind-except] - told to whoever wanted the device
            line.refuse(CONNECTED, error)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
