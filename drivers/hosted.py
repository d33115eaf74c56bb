"""A device in a program of its own: its real-time priority, its use of Python's lock and its crashes stay there."""

# ruff: file-ignore[suspicious-subprocess-import, subprocess-without-shell-equals-true] - it starts this program's own other half
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from drivers.device import DeviceError, DeviceLost, Kinematics, Row, Rows
from drivers.settings import made
from drivers.shared import Watcher, address

COMMAND, ASK, TELL = b"c", b"a", b"t"
"""What a message to the other program begins with: a target, after `EPOCH`, a question, or what wants no answer."""

EPOCH = struct.Struct("<Q")
"""How often this program had said hold when it gave the target."""

REFUSED, CONNECTED = -1, 0
"""The numbers of what the other program tells unasked, and of its answer to the first message."""

MESSAGE = 128 << 10
"""Longest message, in bytes."""

FAREWELL = 5.0
"""Seconds for a program to end whose device could not be connected."""

log = logging.getLogger(__name__)


@dataclass
class Hosted:
    """The device that ``driver`` names, in a program of its own, which lasts as long as this is entered.

    Its rows come over memory that both programs see, and that any other may watch at ``address``. A robot there holds
    when commands stop coming, and when this program ends or is killed: at once, and then the device is left as its own
    ``__exit__`` leaves it. When the other program dies or stands still, the device is lost, and the message says why;
    to enter again starts another. Ctrl-C at the terminal is this program's affair.
    """

    name: str
    driver: str
    """Where its class is, ``module:Class``."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the device, but for its name, as JSON can say them."""

    watchdog: float = 0.25
    """Seconds without a command, while moving, after which the robot holds."""

    silence: float = 0.5
    """Seconds that the other program may stand still before the device counts as lost."""

    patience: float = 30.0
    """Seconds that the device may need to connect, to do what it is asked, and to be left."""

    def __post_init__(self) -> None:
        self._entry = {"name": self.name} | dict(self.settings) | {"driver": self.driver}
        self._device = made(self._entry)
        self._program: _Program | None = None
        self.address = address(self.name)

    @property
    def dtype(self) -> np.dtype[np.void]:
        dtype: np.dtype[np.void] = self._device.dtype
        return dtype

    @property
    def serial(self) -> str:
        """Of a device that has one; else empty."""
        return str(getattr(self._device, "serial", ""))

    @property
    def action(self) -> np.dtype[np.void]:
        """Of a robot. Any other device has none."""
        action: np.dtype[np.void] = self._device.action
        return action

    @property
    def kinematics(self) -> Kinematics:
        """Of a robot. Any other device has none."""
        kinematics: Kinematics = self._device.kinematics
        return kinematics

    @property
    def described(self) -> dict[str, Any]:
        """What the device says of itself. Of a device that does."""
        return dict(self._told("described"))

    @property
    def clock_offset(self) -> int:
        """From the device's clock to the host's, in nanoseconds. Of a device that has a clock."""
        return int(self._told("clock_offset"))

    @property
    def pid(self) -> int | None:
        """The other program's; None when there is none."""
        return None if self._program is None else self._program.process.pid

    def read(self, since: int) -> Rows:
        """Return the rows stamped after ``since``.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: the device is lost, or the program that runs it.
            DeviceError: the device refused the last command.
        """
        program = self._entered()
        program.check()
        return program.watcher.read(since)

    def command(self, target: Row) -> None:
        """Aim to be at ``target`` by ``target["t"]``. Returns at once: a refusal is told by the next call.

        Raises:
            DeviceLost: the device is lost, or the program that runs it.
            DeviceError: the target is laid out in another way, or the device refused the one before.
        """
        program = self._entered()
        if target.dtype != self.action:
            self.hold()
            raise DeviceError(f"{self.name}: a target must be laid out as {self.action}, not {target.dtype}")
        program.check()
        program.command(target)

    def hold(self) -> None:
        """Stop moving and stay. Safe to call from any thread, at any time, twice; the other program may be dead."""
        if self._program is not None:
            self._program.hold()

    def ask(self, what: str, patience: float | None = None) -> Any:
        """Call the device's method of that name, or get what it has of that name; wait for it, and return what it says.

        The method takes nothing, and answers with what JSON can say. A command and a hold do not wait for it.

        Args:
            what: the name.
            patience: seconds to wait, if not as long as for everything else.

        Raises:
            DeviceError: the device cannot do that, or not now. The message is its own.
            DeviceLost: the device is lost, or the program that runs it.
        """
        return self._entered().ask(what, self.patience if patience is None else patience)

    def can(self, what: str) -> bool:
        """Whether the device has a method of that name."""
        return callable(getattr(type(self._device), what, None))

    def tell(self, what: str, **values: float | str | bool) -> None:
        """Call the device's method of that name with these values, and do not wait for it; what it refuses is logged.

        What is told and asked is done one after the other, in that order.

        Raises:
            AttributeError: the device has no such method.
            DeviceLost: the device is lost, or the program that runs it.
        """
        if not self.can(what):
            raise AttributeError(f"a {type(self._device).__name__} has no method {what}")
        self._entered().tell(what, values)

    def _told(self, what: str) -> Any:
        if not hasattr(type(self._device), what):
            raise AttributeError(f"a {type(self._device).__name__} has no {what}")
        return self.ask(what)

    def __enter__(self) -> Self:
        """Start the other program, and wait until it has connected the device.

        Raises:
            DeviceError: the device could not be connected. The message is its own.
        """
        if self._program is not None:
            if self._program.process.poll() is None:
                raise DeviceError(f"{self.name} has been entered already")
            self._program.close(0)
        watcher = Watcher(self.name, self.address, self.dtype, self.silence)
        self._program = _Program(self.name, watcher, {"device": self._entry, "watchdog": self.watchdog}, self.patience)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        program, self._program = self._program, None
        if program is not None and (trouble := program.close(self.patience)) and kind is None:
            raise DeviceError(trouble)

    def _entered(self) -> "_Program":
        if self._program is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        return self._program


class _Program:
    """The other program, and what leads to it and back."""

    def __init__(self, name: str, watcher: Watcher, order: dict[str, Any], patience: float) -> None:
        self._name, self.watcher = name, watcher
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._holding = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._holds = 0
        self._numbers = itertools.count(1)
        self._answers: dict[int, Future[Any]] = {CONNECTED: Future()}
        self._refused: DeviceError | None = None
        self._leaving = False
        self._trouble = ""
        ours = Path(__file__).parent.parent
        paths = os.pathsep.join(filter(None, (str(ours), os.environ.get("PYTHONPATH"))))
        files = (theirs.fileno(), self._holding)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "drivers.hosting", *map(str, (*files, os.getpid()))],
                pass_fds=files,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": paths},
                process_group=0,
            )
        self._ears = threading.Thread(target=self._listen, name=f"{name} program", daemon=True)
        self._ears.start()
        connected = self._answers[CONNECTED]
        try:
            self._send(json.dumps(order | {"address": watcher.address, "level": log.getEffectiveLevel()}).encode())
            connected.result(patience)
            watcher.__enter__()
        except TimeoutError:
            self.close(FAREWELL)
            raise DeviceError(f"{name} has not been connected for {patience:g} s; its program was ended") from None
        except BaseException:
            self.close(FAREWELL)
            raise

    def check(self) -> None:
        """See whether the device and its program are well.

        Raises:
            DeviceLost: they are not.
            DeviceError: it refused the last command.
        """
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused
        if self.watcher.gone:
            raise DeviceLost(self.watcher.said or self._end())
        self.watcher.check()

    def command(self, target: Row) -> None:
        self._send(COMMAND + EPOCH.pack(self._holds) + target.tobytes())

    def hold(self) -> None:
        """Say so past everything that waits to be heard: what was commanded before it is not done after it."""
        with self._lock:
            if self._holding >= 0:
                self._holds += 1
                os.eventfd_write(self._holding, 1)

    def ask(self, what: str, patience: float) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = Future()
        try:
            self._send(ASK + json.dumps({"number": number, "what": what}).encode())
            return answer.result(patience)
        except TimeoutError:
            raise DeviceLost(f"{self._name} has not answered to {what!r} for {patience:g} s") from None
        finally:
            self._answers.pop(number, None)

    def tell(self, what: str, values: Mapping[str, Any]) -> None:
        self._send(TELL + json.dumps({"what": what, "values": values}).encode())

    def close(self, patience: float) -> str:
        """Have the device left and the program end; return what went wrong with that."""
        self._leaving = True
        with contextlib.suppress(OSError):  # it has ended already
            self._line.shutdown(socket.SHUT_WR)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self._trouble = f"{self._name} could not be left within {patience:g} s; its program was killed. Look at it"
            log.warning("%s", self._trouble)
        self._ears.join()
        self.watcher.__exit__(None, None, None)
        self._line.close()
        with self._lock:
            os.close(self._holding)
            self._holding = -1
        return self._trouble

    def _send(self, message: bytes) -> None:
        try:
            self._line.send(message, socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise DeviceLost(f"{self._name}: the program that runs it stands still and takes no commands") from None
        except OSError:
            raise DeviceLost(self._end()) from None

    def _listen(self) -> None:
        """Hear what the other program says, until it ends."""
        while heard := self._hear():
            said = json.loads(heard)
            if "log" in said:
                name, level, text = said["log"]
                logging.getLogger(name).log(level, "%s", text)
                continue
            self._note(said["number"], said)
        if not self._leaving:
            log.warning("%s", self._end())
        for answer in list(self._answers.values()):
            if not answer.done():
                answer.set_exception(DeviceLost(self._end()))

    def _note(self, number: int, said: dict[str, Any]) -> None:
        """Give an answer to whoever waits for it; what was not asked for, to whoever calls next."""
        answer = self._answers.get(number)
        if "failed" not in said:
            if answer is not None:
                answer.set_result(said["said"])
            return
        error = (DeviceLost if said["lost"] else DeviceError)(said["failed"])
        if number == REFUSED:
            self._refused = error
        elif number == CONNECTED and self._answers[CONNECTED].done():
            self._trouble = str(error)  # it was connected, and could not be left as it should be
        elif answer is not None:
            answer.set_exception(error)

    def _hear(self) -> bytes:
        try:
            return self._line.recv(MESSAGE)
        except ConnectionError:
            return b""

    def _end(self) -> str:
        """How the other program ended."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return f"{self._name}: the program that runs it has stopped listening"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"{self._name}: the program that ran it {how}"
