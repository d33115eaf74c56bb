"""Devices of a table that a doctor can be called to, and the station file that names them."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

import numpy as np

from drivers import DeviceLost, HostClock, Row, Rows, row_type, sensed
from tests.toy import Gantry

SECOND, FRAME = 1_000_000_000, 33_333_333
"""Nanoseconds of a second, and of a frame at 30 Hz."""

STATION = """
name = "table"
robot = "arm"
hz = 20
[device.arm]
driver = "tests.doctored:Arm"
[device.front]
driver = "tests.doctored:Eye"
hosted = false
[limits]
low = [-1, -1, -1, -1, -1, -1, -1]
high = [1, 1, 1, 1, 1, 1, 1]
speed = [1, 1, 1, 1, 1, 1, 1]
box_low = [-1, -1, -1]
box_high = [1, 1, 1]
"""


@dataclass
class Eye:
    """A camera before a picture that hangs still: ``corner`` says which part of it is seen."""

    name: str
    corner: Sequence[int] = (0, 0)
    light: float = 1.0
    trouble: str = ""
    """Why it cannot be connected."""
    silent: bool = False
    """Whether it connects, and then sends nothing."""
    dtype: ClassVar[np.dtype[np.void]] = sensed(("rgb", "u1", (120, 160, 3)))

    def read(self, since: int) -> Rows:
        seen = np.arange(max(since, HostClock().now() - SECOND) // FRAME + 1, HostClock().now() // FRAME + 1)
        rows = np.zeros(0 if self.silent else len(seen), self.dtype)
        rows["t"] = rows["received"] = seen[: len(rows)] * FRAME
        rows["rgb"] = self._seen
        return rows

    def __enter__(self) -> Self:
        if self.trouble:
            raise DeviceLost(f"{self.name}: {self.trouble}")
        self._seen = (picture(*self.corner) * self.light).clip(0, 255)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass
class Arm:
    """An arm that must never be entered by a doctor."""

    name: str
    dtype: ClassVar[np.dtype[np.void]] = sensed(("q", "<f8", (7,)), ("q_target", "<f8", (7,)))
    action: ClassVar[np.dtype[np.void]] = row_type(("q", "<f8", (7,)))

    @property
    def kinematics(self) -> Gantry:
        return Gantry()

    def read(self, since: int) -> Rows:
        raise DeviceLost("nobody entered it")

    def command(self, target: Row) -> None: ...
    def hold(self) -> None: ...

    def __enter__(self) -> Self:
        raise AssertionError("the doctor has entered a robot that can move")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def picture(right: int = 0, down: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A part (120, 160, 3) of a large picture of blots, from a corner on."""
    import cv2

    noise = np.random.default_rng(0).integers(0, 255, (260, 320, 3)).astype(np.uint8)
    blots = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]  # OpenCV's types want an array
    return np.asarray(blots[60 + down : 180 + down, 60 + right : 220 + right], np.uint8)
