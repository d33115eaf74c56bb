"""The program that runs a hosted device, as the program that started it sees it: what leads there and back."""

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
from pathlib import Path
from typing import Any

from drivers.device import DeviceError, DeviceLost, Row
from drivers.shared import Watcher

COMMAND, ASK, TELL = b"c", b"a", b"t"
"""What a message to the other program begins with, before `EPOCH`: a target, a question, or what wants no answer."""

EPOCH = struct.Struct("<Q")
"""How often this program had said hold before the message."""

REFUSED, CONNECTED = -1, 0
"""The numbers of what the other program tells unasked, and of its answer to the first message."""

MESSAGE = 128 << 10
"""Longest message, in bytes."""

FAREWELL = 5.0
"""Seconds for a program to end whose device could not be connected."""

log = logging.getLogger(__name__)


class Child:
    """The other program, from its start to its end.

    Raises:
        DeviceError: the device could not be connected there (the message is its own), or no program be started.
    """

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
        try:
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "drivers.hosting", *map(str, (*files, os.getpid()))],
                    pass_fds=files,
                    stdin=subprocess.DEVNULL,
                    env=os.environ | {"PYTHONPATH": paths},
                    process_group=0,
                )
        except OSError as error:
            self._line.close()
            os.close(self._holding)
            raise DeviceError(f"{name}: the program that runs it cannot be started: {error}") from error
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
        self._send(self._begun(COMMAND) + target.tobytes())

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
            self._send(self._begun(ASK) + json.dumps({"number": number, "what": what}).encode())
            return answer.result(patience)
        except TimeoutError:
            raise DeviceLost(f"{self._name} has not answered to {what!r} for {patience:g} s") from None
        finally:
            self._answers.pop(number, None)

    def tell(self, what: str, values: Mapping[str, Any]) -> None:
        self._send(self._begun(TELL) + json.dumps({"what": what, "values": values}).encode())

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
        self._ears.join()
        if self._trouble:
            log.warning("%s", self._trouble)
        self.watcher.__exit__(None, None, None)
        self._line.close()
        with self._lock:
            os.close(self._holding)
            self._holding = -1
        return self._trouble

    def _begun(self, kind: bytes) -> bytes:
        return kind + EPOCH.pack(self._holds)

    def _send(self, message: bytes) -> None:
        if len(message) > MESSAGE:
            but = f"{len(message)} bytes are more than the {MESSAGE} that a message may have"
            raise DeviceError(f"{self._name}: what its program was to be told is too long: {but}")
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
