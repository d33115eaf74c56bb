"""A foot pedal that counts wherever the focus is: its presses come from the kernel, and it types nothing any more."""

import fcntl
import logging
import os
import select
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.refusal import Refusal
from collectors import Event, Events
from collectors.events import Press

KEY = struct.Struct("@llHHi")
"""The kernel's ``input_event``: when (s and microseconds), and the type, the code and the value of what happened."""

KEYS, DOWN = 1, 1
"""The type of what keys do, and the value of one that goes down; 0 goes up, 2 repeats."""

GRAB = 0x40044590
"""``EVIOCGRAB``: from now on nobody else hears this device."""

ROWS = {2: "1234567890", 16: "qwertyuiop", 30: "asdfghjkl", 44: "zxcvbnm"}
"""Codes of keys that lie side by side, from the first."""

NAMED = {"esc": 1, "tab": 15, "enter": 28, "space": 57, "up": 103, "page up": 104, "left": 105, "right": 106} | {
    "down": 108,
    "page down": 109,
    "f11": 87,
    "f12": 88,
    **{f"f{k}": 58 + k for k in range(1, 11)},
    **{f"f{k}": 170 + k for k in range(13, 25)},
}

CODES: Mapping[str, int] = {key: first + k for first, row in ROWS.items() for k, key in enumerate(row)} | NAMED
"""Codes of keys by what a station file calls them."""

ANY: Press = (Event.START, Event.SUCCESS)
"""What every key of a pedal means when the station file does not say: begin, and that went well."""

log = logging.getLogger(__name__)


class NoPedal(Refusal):
    """The pedal of a station cannot be heard. The message says what to do."""


def grabbed(device: int) -> None:
    """Keep an open input device to ourselves, until it is closed."""
    fcntl.ioctl(device, GRAB, 1)


@dataclass(frozen=True)
class Pedal:
    """What the kernel knows by this name, a pedal or any other keyboard, to itself as long as this is entered.

    One that is unplugged meanwhile ends the take: who has lost the key that says stop has to be safe without it. What
    it cannot do: come back in the same sitting.
    """

    name: str
    """What the kernel calls it. One thing may be several devices, of one name or of several."""
    means: Mapping[int, Press]
    """What the keys mean, by their codes; `ANY` of them if it is empty."""
    devices: Path = Path("/dev/input")
    names: Path = Path("/sys/class/input")
    """Where the kernel says what it calls them."""
    grab: Callable[[int], None] = grabbed

    def hear(self, events: Events) -> "Heard":
        """From when this is entered until it is left, presses are put there."""
        return Heard(self, events)


@dataclass
class Heard:
    """A pedal that is being heard.

    Raises:
        NoPedal: there is none of that name, it may not be read, or another program has it.
    """

    pedal: Pedal
    events: Events
    _open: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            devices = [self._listen(path, stack) for path in self._found()]
            wake = os.eventfd(0, os.EFD_CLOEXEC)
            stack.callback(os.close, wake)
            thread = threading.Thread(target=self._run, args=(devices, wake), name="pedal", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(os.eventfd_write, wake, 1)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _found(self) -> list[Path]:
        """Where the pedal's presses can be read."""
        named = {
            path.name: (path / "device" / "name").read_text().strip()
            for path in sorted(self.pedal.names.glob("event*"))
            if (path / "device" / "name").is_file()
        }
        found = [self.pedal.devices / event for event, name in named.items() if name == self.pedal.name]
        if not found:
            there = ", ".join(f'"{name}"' for name in dict.fromkeys(named.values())) or "none"
            raise NoPedal(
                f'no input device is called "{self.pedal.name}"; plug it in, or say under [pedal] which it is: '
                f"device = one of {there}"
            )
        return found

    def _listen(self, path: Path, stack: ExitStack) -> int:
        try:
            device = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError as error:
            raise NoPedal(
                f'{path}, the pedal "{self.pedal.name}", may not be read. Type this, then log out and in again:\n'
                "sudo usermod -aG input $USER"
            ) from error
        except OSError as error:
            raise NoPedal(f'{path}, the pedal "{self.pedal.name}", cannot be opened: {error.strerror}') from error
        stack.callback(os.close, device)
        try:
            self.pedal.grab(device)
        except OSError as error:
            raise NoPedal(
                f'{path}, the pedal "{self.pedal.name}", cannot be had alone: {error.strerror}. Is another sitting, or '
                f"a program that maps keys, using it? This tells which: sudo fuser -v {path}"
            ) from error
        return device

    def _run(self, devices: list[int], wake: int) -> None:
        left = dict.fromkeys(devices, b"")
        while True:
            ready, _, _ = select.select([*devices, wake], [], [])
            if wake in ready:
                return
            for device in ready:
                try:
                    said = os.read(device, 64 * KEY.size)
                except BlockingIOError:
                    continue
                except OSError:
                    said = b""
                if not said:
                    log.warning('the pedal "%s" is gone: plug it in, and begin the sitting anew', self.pedal.name)
                    self.events.put(Event.STOP)
                    return
                whole = (len(left[device]) + len(said)) // KEY.size * KEY.size
                told, left[device] = (left[device] + said)[:whole], (left[device] + said)[whole:]
                self._press(told)

    def _press(self, told: bytes) -> None:
        for _, _, kind, code, value in KEY.iter_unpack(told):
            press = self.pedal.means.get(code) if self.pedal.means else ANY
            if kind == KEYS and value == DOWN and press is not None:
                self.events.put(*press)
