"""What a servo turns: a joint that moves when torque is on, and gives way to a hand when it is off."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

STIFF = 40.0
"""Counts of current that a servo spends per position it is held away from its goal."""


@dataclass
class Drive:
    """What one servo wants of its joint, in positions (4096 a turn) and counts of current."""

    torque: bool = False
    goal: float = 0.0
    speed: float = 0.0
    """Positions per second, at most, or wanted where it steers speed."""
    steers: str = "position"
    """``position``, ``velocity`` or ``current``."""
    current: float = 0.0
    """The most it may spend, or what is wanted where it steers current."""


@dataclass
class Feel:
    """What a servo's sensors say: position, positions per second, counts of current."""

    position: float
    velocity: float
    current: float


class Plant(Protocol):
    """Physics of a joint. Time is given in nanoseconds and never goes back."""

    def drive(self, servo: int, drive: Drive) -> None:
        """Take what a servo wants from now on."""
        ...

    def pass_time(self, t: int) -> None:
        """Let time pass up to ``t``."""
        ...

    def feel(self, servo: int) -> Feel:
        """Return what this servo's sensors say now."""
        ...


@dataclass
class Joint:
    """A joint without mass: it goes to its goal as fast as it may, and stays where it is left.

    Several servos may turn it; with torque on, they share the way and spend current on what they disagree about.
    """

    position: float
    hand: Callable[[float], float] | None = None
    """Where a person holds it, in positions after so many seconds, while no torque is on."""
    wall: float | None = None
    """An object between the fingers: the joint cannot go below this position."""
    t: int = 0
    velocity: float = 0.0
    drives: dict[int, Drive] = field(default_factory=dict)

    def drive(self, servo: int, drive: Drive) -> None:
        self.drives[servo] = drive

    def pass_time(self, t: int) -> None:
        seconds, before = (t - self.t) / 1e9, self.position
        self.t = t
        if seconds <= 0:
            return
        driving = [drive for drive in self.drives.values() if drive.torque]
        if not driving:
            if self.hand is not None:
                self.position = self.hand(t / 1e9)
        elif any(drive.steers == "position" for drive in driving):
            goal = float(np.mean([drive.goal for drive in driving if drive.steers == "position"]))
            reach = min(drive.speed for drive in driving) * seconds
            self.position += float(np.clip(goal - self.position, -reach, reach))
        elif driving[0].steers == "velocity":
            self.position += driving[0].speed * seconds
        elif self.hand is not None:
            self.position = self.hand(t / 1e9)
        if self.wall is not None:
            self.position = max(self.position, self.wall)
        self.velocity = (self.position - before) / seconds

    def feel(self, servo: int) -> Feel:
        drive = self.drives.get(servo, Drive())
        current = 0.0
        if drive.torque:
            wanted = drive.current if drive.steers == "current" else (drive.goal - self.position) * STIFF
            current = float(np.clip(wanted, -abs(drive.current), abs(drive.current)))
        return Feel(self.position, self.velocity, current)
