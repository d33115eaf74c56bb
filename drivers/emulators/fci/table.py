"""The twin's table behind a real Franka's wire: the cell of a rehearsal."""

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from drivers.clock import Clock, HostClock
from drivers.device import Device, DeviceLost
from drivers.emulators.fci.admin import ask
from drivers.emulators.fci.watched import Camera, truth
from drivers.emulators.program import Program
from drivers.hosted import Hosted
from drivers.twin.scene import WrongCondition, places
from drivers.twin.scenery import AXES
from drivers.twin.world import CAMERAS

SETTLING = 5.0
"""Longest wait for the arm to be seen at home after an arrangement, in seconds."""


@dataclass
class EmulatedTable:
    """An emulated Franka at the twin's table, with everything that watches it; the arm is driven as a real one is.

    Entering the arm starts the emulator as a program of its own at a free loopback address, unless ``host`` names one
    that runs already, and drives the arm from another. Time is the host's; the robot's may stretch while the machine
    is busy.
    """

    image: tuple[int, int] = (96, 96)
    """Height and width of the pictures, in pixels."""

    camera_hz: float = 10.0

    host: str = ""
    """Address of an emulator that runs already, e.g. "127.0.0.2"."""

    @property
    def axes(self) -> frozenset[str]:
        return frozenset()

    @property
    def clock(self) -> Clock:
        return HostClock()

    @cached_property
    def robot(self) -> "Arm":
        return Arm(self._address, started=bool(self.host))

    @cached_property
    def watching(self) -> Sequence[Device]:
        cameras = (Camera(name, self._address, self.image, self.camera_hz) for name in CAMERAS)
        return (*cameras, truth(self._address))

    @cached_property
    def _address(self) -> str:
        """The address to be found at: one in sixteen million, so that cells beside each other do not meet."""
        return self.host or f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene, as the twin does, the arm at home and at rest, every fault cleared.

        Raises:
            WrongCondition: a key or a value that this scene cannot have.
            DeviceLost: the cell has not been entered, or the arm does not obey.
        """
        places(condition)
        if varied := sorted(condition.keys() & AXES.keys()):
            raise WrongCondition(f"this table cannot be varied; the condition asks for {', '.join(varied)}")
        self.robot.put(condition)


class Arm(Hosted):
    """The arm of a rehearsal: a ``Franka`` in a program of its own, whose robot is emulated in another."""

    def __init__(self, host: str, started: bool) -> None:
        super().__init__("arm", "drivers.franka:Franka", {"host": host})
        self._host, self._started = host, started
        self.emulator: Program | None = None
        """What stands for the robot, while it was started by this program."""

    def put(self, condition: Mapping[str, Any]) -> None:
        """Bring the arm home and the scene in order, and wait until the arm's rows say so."""
        with suppress(DeviceLost):  # an arm that has stopped rests already; one that was not entered says so below
            self.ask("rest")
        ask(self._host, "restart", condition=dict(condition))
        then = ask(self._host, "status")["clock"]
        self.ask("recover")
        end = time.monotonic() + SETTLING
        while time.monotonic() < end:
            rows = self.read(time.monotonic_ns() - 100_000_000)
            if len(rows) and rows["seq"][-1] > then:
                return
            time.sleep(0.005)
        raise DeviceLost(
            f"{self.name}: no row since the scene was arranged {SETTLING} s ago; is the machine this busy?"
        )

    def __enter__(self) -> Self:
        if not self._started and self.emulator is None:
            self.emulator = emulate(self._host)
        try:
            return super().__enter__()
        except BaseException:
            self._stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._stop()

    def _stop(self) -> None:
        emulator, self.emulator = self.emulator, None
        if emulator is not None:
            emulator.close()


def emulate(host: str, table: bool = True, lockstep: bool = True) -> Program:
    """Start an emulator as a program of its own, which ends when this one does, however it ends.

    Raises:
        DeviceError: it did not come up. The message says why.
    """
    alone, free = [] if table else ["--alone"], [] if lockstep else ["--no-lockstep"]
    where = ("--host", host, "--urgent", "--lines")
    return Program(f"the emulated Franka at {host}", "drivers.emulators.fci", *where, *alone, *free)
