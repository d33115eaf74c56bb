"""ALOHA's table in real time: four arms on four serial lines, and cameras and truth that any program may watch."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from drivers.clock import HostClock
from drivers.device import DeviceLost, Overrun
from drivers.dynamixel import registers as at
from drivers.emulators.dynamixel.arm import leader, swing
from drivers.emulators.dynamixel.bus import Bus, Faults
from drivers.emulators.dynamixel.port import served
from drivers.emulators.dynamixel.turned import followers
from drivers.shared import Publisher, room
from drivers.twin.aloha.body import SIDES
from drivers.twin.aloha.world import World
from drivers.twin.parts import Camera, Part
from drivers.twin.simulation import ROBOT
from drivers.urgent import DRAWN, urgently

WATCH, SHOW = 20_000_000, 10_000_000
"""How often somebody looks whether a bus watchdog has tripped, and whether a camera has a picture, in nanoseconds."""

HZ = 100.0
"""Rows of the arms' motion, as it is, per second."""


class Paced(HostClock):
    """The host's clock, faster or slower."""

    def __init__(self, pace: float) -> None:
        self._pace = pace

    def now(self) -> int:
        return super().now() if self._pace == 1 else round(super().now() * self._pace)


def line(folder: Path, which: str) -> Path:
    """Where the serial line of an arm is: ``follower_left``, ``leader_right``, ... ; named as ALOHA names them."""
    return folder / f"ttyDXL_{which}"


@dataclass
class Pair:
    """Two followers at the twin's table, and two leaders in hands that swing them, while the context lasts.

    Their serial lines are in ``folder``. Time is the host's, answers take as long as on a line of 1 Mbps, and the
    world goes on whether somebody talks to the arms or not. ``watched`` says under which addresses of
    ``drivers.shared`` the cameras and ``truth`` are published. Faults may be injected from any thread.
    """

    folder: Path
    task: Literal["transfer", "insertion"] = "transfer"
    image: Sequence[int] = (96, 128)
    camera_hz: float = 10.0
    watched: Mapping[str, str] = field(default_factory=dict)
    pace: float = 1.0
    """How fast the robot's time passes: at 0.25 a busy machine has four times as long for everything. Only at 1 is it
    the host's clock that stamps what is watched."""

    def __post_init__(self) -> None:
        self.buses: dict[str, Bus] = {}
        self._clock = Paced(self.pace)
        height, width = self.image
        self._image = height, width
        self._world = World(self._clock, self.task, self._image, self.camera_hz, HZ)
        self._lines = {f"{kind}_{side}": contextlib.ExitStack() for kind in ("follower", "leader") for side in SIDES}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self._world.enter()
            opening.callback(self._world.leave)
            for side, bus in followers(self._world, self._clock).items():
                self.buses[f"follower_{side}"] = bus
                self.buses[f"leader_{side}"] = leader(self._clock, swing())
            for which, bus in self.buses.items():
                self._serve(which)
                opening.push(self._lines[which])
                opening.callback(self._clock.every(WATCH, bus.pass_time))
            for name, where in self.watched.items():
                opening.callback(self._publish(name, where))
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _serve(self, which: str) -> None:
        self._lines[which].enter_context(served(self.buses[which], line(self.folder, which), wire=True))

    def _publish(self, name: str, where: str) -> Callable[[], None]:
        """Publish a camera or the truth; what is returned ends it."""
        device = Part(self._world, name) if name == "truth" else Camera(self._world, name, self._image)
        publisher = Publisher(name, device.dtype, room(device.dtype, 50.0 if name == "truth" else self.camera_hz))
        seen, leaving, ready = self._clock.now(), threading.Event(), threading.Event()

        def show() -> None:
            nonlocal seen
            urgently(DRAWN)
            with contextlib.suppress(DeviceLost):  # as the first row will say
                device.read(seen)  # opening a drawing context takes a third of a second; real time does not wait
            ready.set()
            while not leaving.wait(SHOW / 1e9):
                try:
                    rows = device.read(seen)
                except Overrun:
                    seen = self._clock.now()
                    publisher.skip(seen)
                except DeviceLost as error:
                    publisher.fail(str(error))
                    return
                else:
                    publisher.push(rows)
                    seen = int(rows["t"][-1]) if len(rows) else seen

        thread = threading.Thread(target=show, name=f"{name} shown", daemon=True)
        publisher.serve(where)
        thread.start()
        ready.wait()

        def end() -> None:
            leaving.set()
            thread.join()
            publisher.close()

        return end

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene, the arms at their start and at rest; servos that hold, hold there. Every fault is mended.

        Raises:
            WrongCondition: a key or a value that this scene cannot have.
        """
        for which in self.buses:
            self.mend(which)
        with self._world.lock:
            self._world.arrange(condition)
            for side in SIDES:
                for servo in self.buses[f"follower_{side}"].servos:
                    servo.stay()
                    servo.act()

    def kill(self, which: str, ids: list[int]) -> None:
        """Let servos of an arm die: ``kill("follower_left", [4])``."""
        self.buses[which].kill(*ids)

    def ail(self, which: str, id: int, bits: int) -> None:  # ruff: ignore[builtin-argument-shadowing] - a servo's
        """Give a servo a hardware error, e.g. 32 for overload; it switches itself off."""
        self.buses[which].ail(id, bits)

    def drop(self, which: str, answers: int) -> None:
        """Lose so many of the next answers."""
        self.buses[which].faults.drop = answers

    def corrupt(self, which: str, answers: int) -> None:
        """Garble so many of the next answers."""
        self.buses[which].faults.corrupt = answers

    def baud(self, which: str, baud: int) -> None:
        """Let the servos speak at another speed."""
        for servo in self.buses[which].servos:
            servo.put(at.BAUD_RATE, at.BAUD_RATES[baud])

    def unplug(self, which: str) -> None:
        """Pull the cable between the computer and an arm."""
        self.buses[which].faults.unplugged = True
        self._lines[which].close()

    def mend(self, which: str) -> None:
        """Undo every fault of an arm. Servos that were dead begin as after a reboot; so do those that ailed."""
        bus = self.buses[which]
        unplugged, bus.faults = bus.faults.unplugged, Faults()
        bus.revive()
        self.baud(which, 1_000_000)
        for servo in bus.servos:
            if servo.error:
                servo.reboot()
        if unplugged:
            self._serve(which)

    def status(self, which: str) -> dict[str, Any]:
        """How a follower is, and how it moved in the last second of the robot's time.

        Raises:
            KeyError: there is no such arm.
        """
        bus = self.buses[which]
        bus.pass_time()
        side = 6 * SIDES.index(which.removeprefix("follower_"))
        rows = self._world.read(ROBOT, self._clock.now() - 1_000_000_000)
        return {
            "now": self._clock.now(),
            "t": rows["t"].tolist(),
            "q": rows["q"][:, side : side + 6].tolist(),
            "torque": [servo.id for servo in bus.servos if servo.get(at.TORQUE)],
            "tripped": [servo.id for servo in bus.servos if servo.get(at.BUS_WATCHDOG) == at.TRIPPED],
            "told": bus.last,
            "busy": bus.busy,
        }

    @property
    def can(self) -> dict[str, Callable[..., Any]]:
        """What it can be asked by another program; see ``drivers.emulators.program``."""
        return {
            action.__name__: action
            for action in (
                *(
                    self.arrange,
                    self.kill,
                    self.ail,
                    self.drop,
                    self.corrupt,
                    self.baud,
                    self.unplug,
                    self.mend,
                ),
                self.status,
            )
        }
