"""What an emulated GoPro films, and with which settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Filmed:
    """What was filmed, and with which settings."""

    seconds: float = 4.0
    size: tuple[int, int] = (320, 180)
    """Width and height."""
    rate: Fraction = Fraction(30000, 1001)
    codec: str = "libx264"
    """``libx265`` is HEVC with 10 bits, as HERO11 and later write it."""
    quarter_turns: int = 0
    """How often a player has to turn the pictures counterclockwise."""
    hilights: Sequence[float] = ()
    newer: bool = False
    """HiLights are noted as newer cameras do, with one that the camera chose itself, at 0.777 s."""
    taps: Sequence[float] = ()
    """When somebody began to knock three times, in seconds."""
    brightness: float = 1.0
    tilt: float = 0.0
    """How far the camera swings to and fro, in radians."""
    began: datetime = datetime(2026, 5, 4, 10)  # ruff: ignore[call-datetime-without-tzinfo] - a camera knows no zone
    model: str = "HERO11 Black"
    serial: str = "C3470000000001"
    fov: str = "W"
    stabilised: str = ""
    gps: bool = True
    noted: bool = True
    """Whether the camera's notes (udta) are there; some programs drop them."""
    telemetry: bool = True
    odd: bool = False
    """With a stream that no reader has heard of, and one of letters."""
    imu: float = 199.8
    """Samples a second."""
    picture: Callable[[float], Picture] | None = field(default=None, compare=False)
    """What is seen at a moment: (height, width, 3); None for a hand's colour on a table's."""
