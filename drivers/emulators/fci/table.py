"""The twin's table behind a real Franka's wire: the cell of a rehearsal."""

import multiprocessing
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import numpy as np

from drivers.clock import Clock, HostClock
from drivers.device import Device, DeviceError, DeviceLost, Kinematics, Row, Rows
from drivers.emulators.fci.admin import ask
from drivers.emulators.fci.emulator import Emulator
from drivers.emulators.fci.watched import Camera, Truth
from drivers.emulators.urgent import urgently
from drivers.franka import Franka
from drivers.twin.scene import places
from drivers.twin.world import CAMERAS

SETTLING = 5.0
"""Longest wait for the arm to be seen at home after an arrangement, in seconds."""


@dataclass
class EmulatedTable:
    """An emulated Franka at the twin's table, with everything that watches it; the arm is driven as a real one is.

    Entering the arm starts the emulator as a process of its own at a free loopback address, unless ``host`` names one
    that runs already. Time is the host's; the robot's may stretch while the machine is busy.
    """

    image: tuple[int, int] = (96, 96)
    """Height and width of the pictures, in pixels."""

    camera_hz: float = 10.0

    host: str = ""
    """Address of an emulator that runs already, e.g. "127.0.0.2"."""

    @property
    def clock(self) -> Clock:
        return HostClock()

    @cached_property
    def robot(self) -> "Arm":
        return Arm(self._address, started=bool(self.host))

    @cached_property
    def watching(self) -> Sequence[Device]:
        cameras = (Camera(name, self._address, self.image, self.camera_hz) for name in CAMERAS)
        return (*cameras, Truth("truth", self._address))

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
        self.robot.put(condition)


class Arm:
    """The arm of a rehearsal: a ``Franka`` whose robot is emulated."""

    def __init__(self, host: str, started: bool) -> None:
        self.franka = Franka("arm", host)
        self._started = started
        self._process: Process | None = None

    @property
    def name(self) -> str:
        return self.franka.name

    @property
    def dtype(self) -> np.dtype[np.void]:
        return self.franka.dtype

    @property
    def action(self) -> np.dtype[np.void]:
        return self.franka.action

    @property
    def kinematics(self) -> Kinematics:
        return self.franka.kinematics

    def read(self, since: int) -> Rows:
        return self.franka.read(since)

    def command(self, target: Row) -> None:
        self.franka.command(target)

    def hold(self) -> None:
        self.franka.hold()

    def put(self, condition: Mapping[str, Any]) -> None:
        """Bring the arm home and the scene in order, and wait until the arm's rows say so."""
        with suppress(DeviceLost):  # an arm that has stopped rests already; one that was not entered says so below
            self.franka.rest()
        ask(self.franka.host, "restart", condition=dict(condition))
        then = ask(self.franka.host, "status")["clock"]
        self.franka.recover()
        end = time.monotonic() + SETTLING
        while time.monotonic() < end:
            rows = self.franka.read(time.monotonic_ns() - 100_000_000)
            if len(rows) and rows["seq"][-1] > then:
                return
            time.sleep(0.005)
        raise DeviceLost(
            f"{self.name}: no row since the scene was arranged {SETTLING} s ago; is the machine this busy?"
        )

    def __enter__(self) -> Self:
        if not self._started:
            self._process = Process(self.franka.host)
        try:
            self.franka.__enter__()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.franka.__exit__(kind, error, trace)
        finally:
            self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()


class Process:
    """An emulator in a process of its own, which stops when this one does, however it ends.

    Raises:
        DeviceError: it did not come up. The message says why.
    """

    def __init__(self, host: str, table: bool = True, lockstep: bool = True) -> None:
        fresh = multiprocessing.get_context("spawn")
        self._line, theirs = fresh.Pipe()
        self._process = fresh.Process(target=_emulate, args=(host, table, lockstep, theirs), name=host, daemon=True)
        self._process.start()
        theirs.close()
        try:
            trouble = self._line.recv()
        except EOFError:
            trouble = "it died while starting"
        if trouble:
            self.close()
            raise DeviceError(f"the emulated Franka at {host} did not start: {trouble}")

    def close(self) -> None:
        """Stop it."""
        self._line.close()
        self._process.join()


def _emulate(host: str, table: bool, lockstep: bool, line: Connection) -> None:
    """Emulate until the other end of the line is closed, or its process gone."""
    urgently()
    try:
        emulator = Emulator(host, table, lockstep)
    except (OSError, DeviceError) as error:
        line.send(str(error))
        return
    line.send("")
    with emulator, suppress(EOFError):
        line.recv()
