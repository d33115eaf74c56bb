"""The vendor's SDK on a serial line, with its traps taken out. Importing this imports the SDK."""

import errno
import select
import time
from pathlib import Path
from typing import Any

from dynamixel_sdk.port_handler import PortHandler  # type: ignore[import-untyped]  # the SDK ships no types
from dynamixel_sdk.protocol2_packet_handler import (  # type: ignore[import-untyped]
    Protocol2PacketHandler,
)
from serial import Serial  # type: ignore[import-untyped]  # pyserial ships no types

from drivers.device import DeviceError

SLOWEST = 4
"""The most milliseconds that a serial adapter may keep bytes back."""

DEVICES = Path("/sys/class/tty")
"""Where Linux tells of serial adapters."""


def latency(path: Path, devices: Path = DEVICES) -> int | None:
    """Return for how many milliseconds a serial adapter keeps bytes back; None where it does not say, as on a pty."""
    file = devices / path.resolve().name / "device" / "latency_timer"
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def serial(path: str, baud: int, devices: Path = DEVICES) -> "SerialPort":
    """Open a serial line, for this process alone.

    Raises:
        DeviceError: there is none, somebody else uses it, or its adapter is too slow.
    """
    waits = latency(Path(path), devices)
    if waits is not None and waits > SLOWEST:
        name = Path(path).resolve().name
        raise DeviceError(
            f"{path}: its adapter keeps bytes back for {waits} ms (latency_timer), too long for a cycle of 10 ms. "
            f"Once: echo 1 | sudo tee /sys/class/tty/{name}/device/latency_timer; "
            'for good, a udev rule: SUBSYSTEM=="usb-serial", ATTR{latency_timer}="1"'
        )
    port = SerialPort(path, SLOWEST if waits is None else waits)
    try:
        if not port.setBaudRate(baud):
            raise DeviceError(f"{path}: {baud} is no speed of a Dynamixel bus; the usual one is 1000000")
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            what = "another program uses this bus, and two would garble each other. End it"
            raise DeviceError(f"{path}: {what}") from error
        raise DeviceError(
            f"{path}: cannot be opened ({error}). Is the adapter plugged in, and its udev rule there?"
        ) from error
    return port


class SerialPort(PortHandler):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's port, which sleeps while it waits, on a clock that nobody sets, as long as the adapter needs.

    The SDK's own spins on a core, waits 34 ms for every lost answer, and does so on the wall clock.
    """

    ser: Any
    is_open: bool

    def __init__(self, path: str, latency: int) -> None:
        super().__init__(path)
        self._latency = latency
        self.slack = 0.0
        """Seconds that an answer may be late besides."""

    def setBaudRate(self, baud: int) -> bool:  # ruff: ignore[invalid-function-name] - the SDK's own name, as below
        """Change the speed without letting go of the line, and so of its lock."""
        if self.is_open:
            self.ser.baudrate = self.baudrate = baud
            return True
        return bool(super().setBaudRate(baud))

    def setupPort(self, cflag_baud: int) -> bool:  # ruff: ignore[invalid-function-name]
        """Lock the line before anything is set on it: the SDK's own sets its speed and empties it under whoever has it.

        Raises:
            OSError: the line cannot be had; with ``EWOULDBLOCK``, somebody else has it.
        """
        self.ser = Serial(self.port_name, self.baudrate, timeout=0, exclusive=True)
        self.is_open = True
        self.tx_time_per_byte = 10_000 / self.baudrate
        return True

    def getCurrentTime(self) -> float:  # ruff: ignore[invalid-function-name]
        return time.monotonic() * 1000

    def setPacketTimeout(self, length: int) -> None:  # ruff: ignore[invalid-function-name]
        self.setPacketTimeoutMillis(self.tx_time_per_byte * length + 2 * self._latency + self.slack * 1000)

    def readPort(self, length: int) -> bytes:  # ruff: ignore[invalid-function-name]
        left = max(0.0, self.packet_timeout - self.getTimeSinceStart()) / 1000
        select.select([self.ser.fd], [], [], left)
        return bytes(self.ser.read(length))


class Packets(Protocol2PacketHandler):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's packets, stuffed: it forgets to escape FF FF FD in what it sends, and no servo understands that."""

    def addStuffing(self, packet: list[int]) -> None:  # ruff: ignore[invalid-function-name]
        length = packet[5] | packet[6] << 8
        body = bytes(packet[7 : 7 + length - 2]).replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
        packet[5:7] = (len(body) + 2).to_bytes(2, "little")
        packet[7:] = [*body, 0, 0]


def packets() -> Any:
    """Return what puts instructions into packets and answers out of them."""
    return Packets()
