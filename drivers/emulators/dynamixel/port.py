"""Ways to reach an emulated bus: a port in memory, that the vendor's SDK accepts, or a serial line of this machine."""

import contextlib
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Callable, Generator
from pathlib import Path

from drivers.device import DeviceError
from drivers.emulators.dynamixel.bus import Bus


class MemoryPort:
    """What the vendor's SDK calls a port, without a kernel in between: every answer is there at once.

    Time is the bus's clock; nothing is waited for, so an answer that is not there will not come.
    """

    def __init__(self, bus: Bus, baud: int) -> None:
        self.is_using, self.slack = False, 0.0
        self._bus, self._baud = bus, baud
        self._heard = b""

    def setBaudRate(self, baud: int) -> bool:  # ruff: ignore[invalid-function-name] - the SDK's own name, as below
        self._baud = baud
        return True

    def getBaudRate(self) -> int:  # ruff: ignore[invalid-function-name]
        return self._baud

    def clearPort(self) -> None:  # ruff: ignore[invalid-function-name]
        self._line()
        self._heard = b""

    def writePort(self, packet: list[int]) -> int:  # ruff: ignore[invalid-function-name]
        self._line()
        self._heard += b"".join(self._bus.exchange(bytes(packet), self._baud))
        return len(packet)

    def readPort(self, length: int) -> bytes:  # ruff: ignore[invalid-function-name]
        self._line()
        data, self._heard = self._heard[:length], self._heard[length:]
        return data

    def setPacketTimeout(self, length: int) -> None: ...  # ruff: ignore[invalid-function-name]
    def setPacketTimeoutMillis(self, length: float) -> None: ...  # ruff: ignore[invalid-function-name]
    def isPacketTimeout(self) -> bool:  # ruff: ignore[invalid-function-name]
        return True

    def closePort(self) -> None:  # ruff: ignore[invalid-function-name]
        self._bus.taken = False

    def _line(self) -> None:
        if self._bus.faults.unplugged:
            raise OSError(5, "Input/output error")


def plug(bus: Bus) -> Callable[[str, int], MemoryPort]:
    """Return what opens this bus as a port in memory, for one program at a time."""

    def open_port(name: str, baud: int) -> MemoryPort:
        if bus.taken:
            raise DeviceError(f"{name}: another program uses this bus, and two would garble each other. End it")
        if bus.faults.unplugged:
            raise DeviceError(f"{name}: cannot be opened (no such device). Is the adapter plugged in?")
        bus.taken = True
        return MemoryPort(bus, baud)

    return open_port


@contextlib.contextmanager
def served(bus: Bus, link: Path | None = None, wire: bool = False) -> Generator[Path]:
    """Serve a bus on a serial line of this machine while the context lasts, from a thread; gives the line's path.

    ``link`` gives the line a name of its own. With ``wire``, answers take as long as on a real line. Unplugging
    the bus closes the line, as pulling a cable does; it stays closed.
    """
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    path = Path(os.ttyname(theirs))
    if link is not None:
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    leaving = threading.Event()
    thread = threading.Thread(target=_serve, args=(bus, ours, theirs, wire, leaving), name="dynamixel bus", daemon=True)
    thread.start()
    try:
        yield link or path
    finally:
        leaving.set()
        thread.join()
        if link is not None:
            link.unlink(missing_ok=True)


def _serve(bus: Bus, ours: int, theirs: int, wire: bool, leaving: threading.Event) -> None:
    try:
        while not leaving.is_set() and not bus.faults.unplugged:
            if not select.select([ours], [], [], 0.02)[0]:
                continue
            data = os.read(ours, 4096)
            answers = bus.exchange(data, _baud(ours))
            if wire and answers:
                time.sleep(bus.took)
            os.write(ours, b"".join(answers))
    finally:
        os.close(ours)
        os.close(theirs)


_BAUD = {
    getattr(termios, f"B{baud}"): baud for baud in (9600, 57600, 115200, 1_000_000, 2_000_000, 3_000_000, 4_000_000)
}


def _baud(line: int) -> int:
    """The speed that whoever opened the line has set."""
    return _BAUD.get(termios.tcgetattr(line)[4], 0)
