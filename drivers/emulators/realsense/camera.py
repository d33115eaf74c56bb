"""A camera like a D435, at the SDK's other end, and everything that can go wrong with it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from drivers.emulators.realsense import model
from drivers.emulators.realsense.pattern import pattern
from drivers.realsense import sdk

Picture = Callable[[], tuple[NDArray[np.uint8], NDArray[np.uint16]]]
"""Returns what is seen right now: colour (h, w, 3), and depth (h, w) in millimetres from the same view."""

Stream = Literal["colour", "depth"]

EXPOSED = 8_000_000
"""Nanoseconds of an exposure; a frame is stamped at its end."""


class Usb:
    """The ports of an emulated computer. Cameras are plugged into it, and the SDK finds them there."""

    def __init__(self) -> None:
        self._context: Any = None
        self._cables: dict[str, Any] = {}
        self._arrived: Any = None
        self._lock = threading.Lock()

    def context(self) -> Any:
        """The SDK's context that sees these ports, and nothing else."""
        with self._lock:
            if self._context is None:
                self._context = sdk.context()
                self._context.set_devices_changed_callback(self._changed)
            return self._context

    def plug(self, serial: str, device: Any) -> None:
        """Connect a camera."""
        context = self.context()
        self._arrived = None
        device.add_to(context)
        # The SDK itself forgets the camera at once; whoever holds on to what it told keeps the camera connected.
        self._cables[serial] = self._arrived

    def unplug(self, serial: str) -> None:
        """Pull a camera's cable."""
        self._cables.pop(serial, None)
        self._arrived = None

    def _changed(self, event: Any) -> None:
        self._arrived = event, event.get_new_devices()


@dataclass
class EmulatedCamera:
    """A camera at a USB port, with faults. ``with`` plugs it in and lets it run; without, ``plug`` and ``push``.

    Its depth is seen from where its colour is, unless ``apart`` says otherwise. Any thread may call its faults, while
    a driver uses it.
    """

    serial: str = "000000000001"
    picture: Picture | None = None
    """What it sees; else a pattern that moves."""

    rgb: tuple[int, int] = (480, 640)
    """Height and width of its pictures, in pixels."""

    hz: int = 30
    usb: Usb = field(default_factory=Usb)
    domain: Literal["hardware", "system", "global"] = "global"
    """Whose clock stamps its frames: its own, or the wall clock."""

    began: int = 0
    """What its own clock shows when it is made, in microseconds; it wraps at 2**32."""

    drift: float = 0.0
    """How much faster its own clock goes, e.g. 50e-6."""

    depth_units: float = 0.001
    """Metres of one unit of its depth."""

    apart: float = 0.0
    """How far right of the depth sensor colour is seen from, in metres."""

    focal: float = 0.0
    """Focal length in pixels; 0 for that of a D435."""

    def __post_init__(self) -> None:
        self.taken: dict[int, int] = {}
        """Frame number and the moment on the host's clock in the middle of its exposure."""
        self._picture = self.picture or pattern(self.rgb)
        self._device: model.Device | None = None
        self._number = 0
        self._silent: set[Stream] = set()
        self._skip = 0
        self._began = time.monotonic_ns()
        self._lock = threading.RLock()
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None

    def plug(self) -> None:
        """Put the cable in. Numbers and options begin anew, as after a loss of power."""
        with self._lock:
            if self._device is None:
                self._device, self._number = model.Device(self), 0
                self.usb.plug(self.serial, self._device.software)

    def unplug(self) -> None:
        """Pull the cable."""
        with self._lock:
            self._device = None
            self.usb.unplug(self.serial)

    def stall(self, stream: Stream) -> None:
        """Let one stream stand still while the camera stays connected."""
        self._silent.add(model.named(stream))

    def go(self) -> None:
        """Let every stream run again."""
        self._silent.clear()

    def skip(self, frames: int) -> None:
        """Lose the next frames, on their way."""
        self._skip = frames

    def repeat(self) -> None:
        """Send the last frame once more, as if it were new."""
        with self._lock:
            self._number -= 1
            self.push()

    def options(self, stream: Stream) -> dict[str, float]:
        """What its sensor is set to."""
        with self._lock:
            return {} if self._device is None else self._device.options(stream)

    def push(self, skew: float = 0.0) -> None:
        """Take one frame of each stream, now; depth ``skew`` seconds after colour."""
        with self._lock:
            number, self._number = self._number, self._number + 1
            if self._skip:
                self._skip -= 1
                return
            if self._device is None:
                return
            middle = time.monotonic_ns() - EXPOSED // 2
            self.taken[number] = middle
            if len(self.taken) > 1000:
                self.taken.pop(next(iter(self.taken)))
            rgb, depth = self._picture()
            stamp = self._stamp(middle + EXPOSED // 2)
            if "depth" not in self._silent:
                self._device.push_depth(depth, number, stamp + skew * 1e3, EXPOSED / 2e3)
            if "colour" not in self._silent:
                self._device.push_colour(rgb, number, stamp, EXPOSED / 2e3)

    def _stamp(self, moment: int) -> float:
        """Milliseconds of its clock at a moment of the host's."""
        if self.domain != "hardware":
            return (moment + time.time_ns() - time.monotonic_ns()) / 1e6
        return (self.began + round((moment - self._began) * (1 + self.drift) / 1e3)) % 2**32 / 1e3

    def __enter__(self) -> Self:
        self.plug()
        self._leaving.clear()
        self._thread = threading.Thread(target=self._run, name=f"camera {self.serial}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.unplug()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._leaving.wait(max(0.0, due - time.monotonic())):
            self.push()
            due = max(due + 1 / self.hz, time.monotonic() - 1 / self.hz)
