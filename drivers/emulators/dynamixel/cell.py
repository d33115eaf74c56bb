"""The cell of a rehearsal with ALOHA's arms: real time, real serial lines, and a program for each of them."""

import contextlib
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from drivers.clock import Clock, HostClock
from drivers.device import Device, DeviceError, DeviceLost
from drivers.dual import Dual
from drivers.emulators.program import Program
from drivers.hosted import Hosted
from drivers.shared import Watcher, address
from drivers.twin.aloha import scene
from drivers.twin.aloha.body import SIDES
from drivers.twin.aloha.table import AlohaTable
from drivers.twin.simulation import ROBOT

SETTLING = 5.0
"""Longest wait for the arms to be seen at their start after an arrangement, in seconds."""


@dataclass
class EmulatedAloha:
    """ALOHA's table with emulated servos; the arms are driven as real ones are, each bus by a program of its own.

    Entering the robot starts the emulator, which lasts as long; ``hands`` are the leader arms, which one may enter
    besides, and ``fault`` does to the emulated arms what can happen to real ones.
    """

    task: Literal["transfer", "insertion"] = "transfer"
    """Hand the cube from the right arm to the left, or put the peg into the socket."""

    image: tuple[int, int] = (96, 128)
    """Height and width of the pictures, in pixels."""

    camera_hz: float = 10.0
    robot_hz: float = 100.0
    """Cycles of each bus per second."""

    watchdog: float = 0.08
    """Seconds without a word after which the servos stop by themselves; more for a machine that has much else to do."""

    retries: int = 2
    """How often a lost answer is asked for again; more for such a machine."""

    slack: float = 0.008
    """Seconds that an answer may be late; more for such a machine."""

    pace: float = 1.0
    """How fast the servos' time passes: at 0.25 such a machine has four times as long for everything."""

    leaders: bool = False
    """Whether the leader arms are watched as well, for takes by ``leader``."""

    adds: ClassVar[Mapping[str, str]] = {"leader": "leaders = true"}
    """What a station file says of this cell to have it shown in a way."""

    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / f"aloha-{secrets.token_hex(6)}")
    """Where the serial lines are, while the robot is entered."""

    @property
    def axes(self) -> frozenset[str]:
        return frozenset()

    @property
    def clock(self) -> Clock:
        return HostClock()

    @cached_property
    def robot(self) -> "Arms":
        return Arms(self)

    @cached_property
    def watching(self) -> Sequence[Device]:
        twin = AlohaTable(self.task, self.image).watching
        seen = [Watcher(device.name, self._addresses[device.name], device.dtype) for device in twin]
        return [*seen, *self.hands] if self.leaders else seen

    @cached_property
    def hands(self) -> Sequence[Hosted]:
        """The leader arms, left and right, in hands that swing them."""
        driver = "drivers.dynamixel:Leader"
        patience = {"retries": self.retries, "slack": self.slack, "sink": 0.0}
        return [Hosted(f"{side}_hand", driver, {"port": self._port("leader", side)} | patience) for side in SIDES]

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene, as the twin does, the arms at their start and at rest, every fault mended.

        Raises:
            WrongCondition: a key or a value that this scene cannot have.
            DeviceLost: the cell has not been entered, or the arms do not obey.
        """
        scene.places(scene.TASKS[self.task], condition)
        self.robot.put(condition)

    def fault(self, do: str, **values: Any) -> Any:
        """Do something to the emulated arms, e.g. ``fault("kill", which="follower_left", ids=[4])``; see ``Pair``.

        Raises:
            DeviceError: that cannot be done, or the robot has not been entered.
        """
        return self.robot.emulator.ask(do, **values)

    @cached_property
    def _addresses(self) -> dict[str, str]:
        return {name: address(name) for name in (*scene.CAMERAS, "truth")}

    def _port(self, kind: str, side: str) -> str:
        return str(self.folder / f"ttyDXL_{kind}_{side}")

    def arm(self, side: str) -> Hosted:
        """Return a follower, to be driven from a program of its own."""
        patience = {"watchdog": self.watchdog, "retries": self.retries, "slack": self.slack, "sink": 0.0}
        settings = {"port": self._port("follower", side), "hz": self.robot_hz} | patience
        return Hosted(side, "drivers.dynamixel:Follower", settings)

    def start(self) -> Program:
        """Start the emulator.

        Raises:
            DeviceError: it did not start. The message says why.
        """
        settings = {"task": self.task, "image": self.image, "camera_hz": self.camera_hz, "pace": self.pace}
        where = (str(self.folder), "--pair", json.dumps(settings | {"watched": self._addresses}))
        return Program("the emulated pair", "drivers.emulators.dynamixel", *where)


class Arms(Dual):
    """Both arms of a rehearsal, and the emulator behind them."""

    def __init__(self, cell: EmulatedAloha) -> None:
        left, right = (cell.arm(side) for side in SIDES)
        super().__init__(ROBOT, left, right)
        self._cell, self._hosted = cell, (left, right)
        self._emulator: Program | None = None

    @property
    def emulator(self) -> Program:
        if self._emulator is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        return self._emulator

    def put(self, condition: Mapping[str, Any]) -> None:
        """Bring the arms to their start and the scene in order, and wait until the arms' rows say so."""
        emulator = self.emulator
        try:
            for arm in self._hosted:
                arm.ask("rest")
            emulator.ask("arrange", condition=dict(condition))
        except DeviceLost:
            emulator.ask("arrange", condition=dict(condition))
            with contextlib.suppress(DeviceError):  # a fault kept it from being left; it is mended now
                super().__exit__(None, None, None)
            super().__enter__()
        then, end = time.monotonic_ns(), time.monotonic() + SETTLING
        while time.monotonic() < end:
            if len(self.read(then)):
                return
            time.sleep(0.005)
        raise DeviceLost(
            f"{self.name}: no row since the scene was arranged {SETTLING} s ago; is the machine this busy?"
        )

    def __enter__(self) -> Self:
        if self._emulator is None:
            self._emulator = self._cell.start()
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
        emulator, self._emulator = self._emulator, None
        if emulator is not None:
            emulator.close()
            shutil.rmtree(self._cell.folder, ignore_errors=True)  # there is one if the emulator was killed
