"""ALOHA's table in time: physics that follows the clock, and the rows every device takes from it."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock, HostClock, StepClock
from drivers.device import DeviceError, DeviceLost, Row, Rows, row_type, sensed
from drivers.dynamixel.kinematics import Chain
from drivers.dynamixel.layout import Calibration
from drivers.ring import Ring
from drivers.twin.aloha import scene
from drivers.twin.aloha.body import TIMESTEP, Body
from drivers.twin.picture import Painter

ARMS = sensed(
    ("q", "<f8", (12,)),
    ("dq", "<f8", (12,)),
    ("tau", "<f8", (12,)),
    ("tool", "<f8", (14,)),
    ("width", "<f8", (2,)),
    ("q_target", "<f8", (12,)),
    ("tool_target", "<f8", (14,)),
    ("width_target", "<f8", (2,)),
)
ACTION = row_type(("q", "<f8", (12,)), ("width", "<f8", (2,)))

ROBOT = "arm"
"""What both arms together are called."""

KEPT = 2.0
"""Seconds of rows that are kept for readers."""

IDLE = 500_000_000
"""On the host's clock, the world stands still during gaps longer than this many nanoseconds that nobody watched."""

SHORTEST, LONGEST = 20_000_000, 100_000_000
"""Bounds on the time in which the set points move to a new target, in nanoseconds."""

SLACK = 0.05
"""How far ahead of an arm its set point may stay when it holds, in radians."""

_ARM, _WIDTH = [*range(6), *range(7, 13)], [6, 13]


class World:
    """Two arms at a table. Time passes when somebody asks, up to the clock's now.

    On a ``StepClock`` the same seed and the same commands give the same rows and pictures, bit for bit.
    """

    def __init__(self, clock: Clock, task: str, image: tuple[int, int], camera_hz: float, robot_hz: float) -> None:
        self.clock = clock
        self.task = scene.TASKS[task]
        self.truth = sensed(*((name, "<f8", (7,)) for name in self.task.objects), ("stage", "<i4"))
        self._image = image
        self._hz = {ROBOT: robot_hz, "truth": 50.0, **dict.fromkeys(scene.CAMERAS, camera_hz)}
        self._chain = Chain(Calibration().low, Calibration().high)
        self.lock = threading.RLock()
        """Held while physics is touched."""
        self._guests = 0
        self._lost: set[str] = set()
        self._body: Body | None = None
        self._painter: Painter | None = None
        self._rings: dict[str, Ring] = {}
        self._taken: dict[str, int] = {}
        self._origin = self._step = 0
        self._commanded = -LONGEST
        self._target: NDArray[np.float64] = np.zeros(14)

    def enter(self) -> None:
        """Build the world, for the first device that enters."""
        with self.lock:
            if self._body is None:
                self._body = Body(self.task, self._image)
                self._painter = Painter(self._body.model, self._image)
                self._begin({})
            self._guests += 1

    def leave(self) -> None:
        """Put the world away, when the last device has left."""
        with self.lock:
            self._guests -= 1
            if self._guests == 0 and self._painter is not None:
                self._painter.close()
                self._body = self._painter = None

    def fail(self, name: str) -> None:
        """Let a device fall silent, as if its cable were pulled."""
        if name not in self._hz:
            raise ValueError(f"no device is called {name!r}; there are {list(self._hz)}")
        with self.lock:
            self._lost.add(name)
            if name == ROBOT:
                self.hold()

    def mend(self) -> None:
        """Plug every cable in again."""
        self._lost.clear()

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene, the arms at their start and at rest. On a ``StepClock``, time starts again at zero.

        Raises:
            WrongCondition: the scene cannot be arranged like that.
            DeviceLost: the cell has not been entered.
        """
        with self.lock:
            places = scene.places(self.task, condition)
            self.open("table")
            if isinstance(self.clock, StepClock):
                self.clock.restart()
            self._begin(places)

    def read(self, name: str, since: int) -> Rows:
        """Return the rows of a device stamped after ``since``; for cameras, what a picture needs to be drawn."""
        with self.lock:
            self.open(name)
            self.advance()
            return self._rings[name].since(since)

    def see(self, camera: str, since: int) -> tuple[Rows, NDArray[np.uint8]]:
        """Return when a camera looked, after ``since``, and its pictures (n, height, width, 3)."""
        exposed = self.read(camera, since)
        painter = self._painter
        if painter is None:
            raise DeviceLost(f"{camera}: the twin was left while it was being read")
        return exposed, painter.draw(camera, exposed["qpos"])

    def command(self, target: Row) -> None:
        """Aim for joint angles and openings, evenly, in as much time as passed since the command before.

        Raises:
            DeviceError: the target is not a number.
            DeviceLost: the arms are gone.
        """
        wanted = np.zeros(14)
        wanted[_ARM], wanted[_WIDTH] = target["q"], np.clip(target["width"], 0, scene.WIDEST)
        if not np.isfinite(wanted).all():
            self.hold()
            raise DeviceError(f"{ROBOT}: a target is 12 joint angles and 2 openings, all finite, not {target}")
        with self.lock:
            body = self.open(ROBOT)
            self.advance()
            now = self._step * TIMESTEP
            took = min(max(SHORTEST, now - self._commanded), LONGEST)
            body.goal, body.speed = wanted, np.abs(wanted - body.set_points) / (took / 1e9)
            self._commanded, self._target = now, wanted

    def hold(self) -> None:
        """Stop the arms where they can stop. The fingers finish their move: what is held stays held."""
        with self.lock:
            if self._body is not None:
                self.advance()
                body = self._body
                goal = body.goal.copy()
                goal[_ARM] = (body.q + np.clip(body.set_points - body.q, -SLACK, SLACK))[_ARM]
                body.goal, self._target, self._commanded = goal, goal, self._step * TIMESTEP - LONGEST
                body.speed[_ARM] = np.inf

    def open(self, name: str) -> Body:
        """Return the physics.

        Raises:
            DeviceLost: this device fell silent, or nobody has entered the world.
        """
        if name in self._lost:
            raise DeviceLost(f"{name}: no answer")
        if self._body is None:
            raise DeviceLost(f"{name}: the twin has not been entered; use it as a context manager")
        return self._body

    def advance(self, until: int | None = None) -> None:
        """Let time pass up to the clock's now, or to a moment before it, taking every row at its moment, in order."""
        with self.lock:
            body, now = self.open("table"), self.clock.now() if until is None else until
            if isinstance(self.clock, HostClock):
                here = self._origin + self._step * TIMESTEP
                if now - here > IDLE:
                    self._origin += now - here
            last = (now - self._origin) // TIMESTEP
            while self._step < last:
                due = {name: self._due(name) for name in self._hz}
                step = min(last, *due.values())
                body.step(step - self._step)
                self._step = step
                for name in [name for name, its in due.items() if its == step]:
                    t = self._origin + step * TIMESTEP
                    received = now if isinstance(self.clock, HostClock) else t
                    row = (t, received, self._taken[name], *self._measured(name, body))
                    self._rings[name].push(np.array([row], self._rings[name].rows.dtype))
                    self._taken[name] += 1

    def _due(self, name: str) -> int:
        """The physics step of a device's next row."""
        return round((self._taken[name] + 1) * 1e9 / self._hz[name] / TIMESTEP)

    def _begin(self, places: Mapping[str, NDArray[np.float64]]) -> None:
        body = self.open("table")
        body.reset(places or scene.places(self.task, {}))
        self._origin, self._step, self._commanded, self._target = self.clock.now(), 0, -LONGEST, body.goal
        exposure = sensed(("qpos", "<f8", (body.model.nq,)))
        dtypes = {ROBOT: ARMS, "truth": self.truth, **dict.fromkeys(scene.CAMERAS, exposure)}
        self._rings = {name: Ring(dtypes[name], max(2, round(KEPT * hz))) for name, hz in self._hz.items()}
        self._taken = dict.fromkeys(self._hz, 0)

    def _measured(self, name: str, body: Body) -> tuple[Any, ...]:
        if name == "truth":
            return *body.poses(), body.stage()
        if name != ROBOT:
            return (body.data.qpos.copy(),)
        q, target = body.q, self._target
        tools = [self._chain.tool(part) for joints in (q, target) for part in np.split(joints[_ARM], 2)]
        moved = q[_ARM], body.dq[_ARM], body.tau[_ARM]
        return (*moved, np.append(*tools[:2]), q[_WIDTH], target[_ARM], np.append(*tools[2:]), target[_WIDTH])
