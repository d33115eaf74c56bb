"""The twin's one world: physics that follows the clock, and the rows every device takes from it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock, HostClock, StepClock
from drivers.device import DeviceLost, Row, Rows, row_type, sensed
from drivers.kinematics import Chain
from drivers.ring import Ring
from drivers.twin import scene
from drivers.twin.picture import Painter

ARM = sensed(
    ("q", "<f8", (7,)),
    ("dq", "<f8", (7,)),
    ("tau", "<f8", (7,)),
    ("tool", "<f8", (7,)),
    ("width", "<f8"),
    ("q_target", "<f8", (7,)),
    ("tool_target", "<f8", (7,)),
    ("width_target", "<f8"),
)
ACTION = row_type(("q", "<f8", (7,)), ("width", "<f8"))
TRUTH = sensed(
    *((cube, "<f8", (7,)) for cube in scene.CUBES),
    *((pad, "<f8", (3,)) for pad in scene.PADS),
    ("touched", "?", (len(scene.CUBES),)),
    ("held", "?", (len(scene.CUBES),)),
    ("collided", "?"),
)

SETTLE = 250
"""Physics steps that pass, unseen, between arranging a scene and its first row."""

FIRST = 20_000_000
"""Nanoseconds from an arrangement to the first row of truth and the first frame of every camera."""

IDLE = 500_000_000
"""On the host's clock, the world stands still during gaps longer than this many nanoseconds that nobody watched."""

KEPT = 2.0
"""Seconds of rows that are kept for readers."""


@dataclass
class _Due:
    """When a stream's next row is due, in physics steps since the arrangement."""

    first: int
    period: float
    taken: int = 0

    @property
    def step(self) -> int:
        return self.first + round(self.taken * self.period)


class World:
    """An arm on a table and everything around it. Time passes when somebody asks, up to the clock's now.

    On a ``StepClock`` the same seed and the same commands give the same rows and pictures, bit for bit: arranging
    the scene starts the clock again at zero. On a ``HostClock`` the world keeps up with real time, as far as the
    machine can. Any thread may call anything here.
    """

    def __init__(self, clock: Clock, image: tuple[int, int], camera_hz: float, robot_hz: float) -> None:
        self.clock = clock
        self._image = image
        self._hz = {"arm": robot_hz, "truth": 50.0, **dict.fromkeys(CAMERAS, camera_hz)}
        self._lock = threading.RLock()
        self._guests = 0
        self._lost: set[str] = set()
        self._body: Body | None = None
        self._painter: Painter | None = None
        self._rings: dict[str, Ring] = {}
        self._due: dict[str, _Due] = {}
        self._origin = self._step = 0
        self._pairs: set[int] = set()

    def enter(self) -> None:
        """Build the world, for the first device that enters."""
        with self._lock:
            self._guests += 1
            if self._body is None:
                self._body = Body(self._image)
                self._painter = Painter(self._body.model, self._image)
                self._begin({})

    def leave(self) -> None:
        """Put the world away, when the last device has left."""
        with self._lock:
            self._guests -= 1
            if self._guests == 0 and self._painter is not None:
                self._painter.close()
                self._body = self._painter = None

    def fail(self, name: str) -> None:
        """Let a device fall silent, as if its cable were pulled."""
        if name not in self._hz:
            raise ValueError(f"no device is called {name!r}; there are {list(self._hz)}")
        with self._lock:
            self._lost.add(name)
            if name == "arm":
                self.hold()

    def mend(self) -> None:
        """Plug every cable in again."""
        self._lost.clear()

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Set the scene, the arm at home and at rest. On a ``StepClock``, time starts again at zero.

        Raises:
            WrongCondition: the scene cannot be arranged like that.
            DeviceLost: the cell has not been entered.
        """
        with self._lock:
            cubes = scene.places(condition)
            self._open("table")
            if isinstance(self.clock, StepClock):
                self.clock.restart()
            self._begin(cubes)
            if isinstance(self.clock, HostClock) and self._painter is not None and self._body is not None:
                # Opening a drawing context takes a third of a second, which real time would not wait for.
                self._painter.draw(CAMERAS[0], np.empty((0, self._body.model.nq)))
                self._origin = self.clock.now()

    def read(self, name: str, since: int) -> Rows:
        """Return the rows of a device stamped after ``since``; for cameras, what a picture needs to be drawn."""
        with self._lock:
            self._advance(self._open(name))
            return self._rings[name].since(since)

    def see(self, camera: str, since: int) -> tuple[Rows, NDArray[np.uint8]]:
        """Return when a camera looked, after ``since``, and its pictures (n, height, width, 3)."""
        exposed = self.read(camera, since)
        painter = self._painter
        if painter is None:
            raise DeviceLost(f"{camera}: the twin was left while it was being read")
        return exposed, painter.draw(camera, exposed["qpos"])

    def command(self, target: Row) -> None:
        """Aim for joint angles and a finger opening, from now on."""
        with self._lock:
            body = self._open("arm")
            self._advance(body)
            body.aim(target["q"], float(target["width"]), self._step * scene.TIMESTEP)

    def hold(self) -> None:
        """Stop the arm where it can stop. The fingers finish their move: what is held stays held."""
        with self._lock:
            if self._body is not None:
                self._advance(self._body)
                self._body.stop()

    def _open(self, name: str) -> "Body":
        if name in self._lost:
            raise DeviceLost(f"{name}: no answer")
        if self._body is None:
            raise DeviceLost(f"{name}: the twin has not been entered; use it as a context manager")
        return self._body

    def _begin(self, cubes: Mapping[str, NDArray[np.float64]]) -> None:
        """Start a take: cubes placed, arm at home, everything at rest, nothing recorded."""
        body = self._open("table") if self._body is None else self._body
        body.reset(cubes or scene.places({}))
        self._origin, self._step = self.clock.now(), 0
        self._pairs.clear()
        exposure = sensed(("qpos", "<f8", (body.model.nq,)))
        dtypes = {"arm": ARM, "truth": TRUTH, **dict.fromkeys(CAMERAS, exposure)}
        self._rings = {name: Ring(dtypes[name], max(2, round(KEPT * hz))) for name, hz in self._hz.items()}
        self._due = {name: self._schedule(name, 1e9 / hz / scene.TIMESTEP) for name, hz in self._hz.items()}

    @staticmethod
    def _schedule(name: str, period: float) -> _Due:
        first = round(period) if name == "arm" else FIRST // scene.TIMESTEP
        return _Due(first, period)

    def _advance(self, body: "Body") -> None:
        """Let time pass up to the clock's now, taking every row at its moment, in order."""
        now = self.clock.now()
        if isinstance(self.clock, HostClock):
            here = self._origin + self._step * scene.TIMESTEP
            if now - here > IDLE:
                self._origin += now - here
        last = (now - self._origin) // scene.TIMESTEP
        while self._step < last:
            until = min(last, *(due.step for due in self._due.values()))
            body.pass_time(until - self._step, self._step * scene.TIMESTEP)
            self._step = until
            taken = [name for name, due in self._due.items() if due.step == until]
            if not taken:
                continue
            self._pairs |= body.touching()
            t = self._origin + until * scene.TIMESTEP
            received = now if isinstance(self.clock, HostClock) else t
            for name in taken:
                row = (t, received, self._due[name].taken, *self._measured(name, body))
                self._rings[name].push(np.array([row], self._rings[name].rows.dtype))
                self._due[name].taken += 1

    def _measured(self, name: str, body: "Body") -> tuple[Any, ...]:
        if name == "arm":
            return body.arm()
        if name == "truth":
            truth = body.truth(self._pairs)
            self._pairs.clear()
            return truth
        return (body.data.qpos.copy(),)


CAMERAS = ("front", "wrist")

_LEFT, _RIGHT, _ARM, _TABLE, _CUBE = 1, 2, 4, 8, 16
"""Bits that say what a contact shape belongs to; cube i has the bit ``_CUBE << i``."""

_SLACK = 0.05
"""How far ahead of the arm its set point may stay when it holds, in radians: where it comes to rest at full speed."""

_SHORTEST, _LONGEST = 20_000_000, 100_000_000
"""Bounds on the time in which the set point moves to a new target, in nanoseconds."""


class Body:
    """The physics: a compiled scene and its state. Knows nothing of clocks."""

    def __init__(self, image: tuple[int, int]) -> None:
        self.model: Any = scene.build(image)
        self.data: Any = mujoco.MjData(self.model)
        self._chain = Chain()
        self._tool = self.model.site("tool").id
        self._cubes = [self.model.joint(cube).qposadr[0] for cube in scene.CUBES]
        self._kind = np.array([self._kind_of(i) for i in range(self.model.ngeom)])
        self._target = self._from = np.array(scene.HOME)
        self._tool_target = self._chain.tool(self._target)
        self._width = 0.08
        self._commanded = self._arrives = 0

    def _kind_of(self, geom: int) -> int:
        name = self.model.geom(geom).name
        body = self.model.body(self.model.geom_bodyid[geom]).name
        if name in scene.CUBES:
            return _CUBE << list(scene.CUBES).index(name)
        return {"left_finger": _LEFT, "right_finger": _RIGHT, "world": _TABLE}.get(body, _ARM)

    def reset(self, cubes: Mapping[str, NDArray[np.float64]]) -> None:
        """Put everything in its place, and let it come to rest."""
        data = self.data
        mujoco.mj_resetData(self.model, data)
        data.qpos[:7], data.qpos[7:9] = scene.HOME, 0.04
        for address, cube in zip(self._cubes, scene.CUBES, strict=True):
            x, y, yaw = cubes[cube]
            data.qpos[address : address + 7] = [x, y, scene.CUBE / 2, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        self._width = 0.08
        self._rest(np.array(scene.HOME))
        data.ctrl[:7], data.ctrl[7:9] = scene.HOME, self._width / 2
        mujoco.mj_step(self.model, data, SETTLE)
        mujoco.mj_kinematics(self.model, data)

    def aim(self, q: NDArray[np.float64], width: float, t: int) -> None:
        """Move the set point evenly to ``q``, in as much time as passed since the command before."""
        took = min(max(_SHORTEST, t - self._commanded), _LONGEST)
        self._from, self._target, self._width = self.data.ctrl[:7].copy(), np.array(q, np.float64), width
        self._commanded, self._arrives = t, t + took
        self._tool_target = self._chain.tool(self._target)

    def stop(self) -> None:
        q = self.data.qpos[:7]
        self._rest(q + np.clip(self.data.ctrl[:7] - q, -_SLACK, _SLACK))

    def _rest(self, q: NDArray[np.float64]) -> None:
        self._from = self._target = q
        self._commanded = self._arrives = -_LONGEST
        self._tool_target = self._chain.tool(q)

    def pass_time(self, steps: int, t: int) -> None:
        """Let physics steps pass from ``t`` on. Poses, which MuJoCo computes before a step, are brought up to date."""
        after = t + steps * scene.TIMESTEP
        left = max(0.0, (self._arrives - after) / max(1, self._arrives - self._commanded))
        self.data.ctrl[:7] = self._target + left * (self._from - self._target)
        self.data.ctrl[7:9] = self._width / 2
        mujoco.mj_step(self.model, self.data, steps)
        mujoco.mj_kinematics(self.model, self.data)

    def touching(self) -> set[int]:
        """What touches what, as the bits of both."""
        pairs = self._kind[self.data.contact.geom[: self.data.ncon]]
        return set((pairs[:, 0] | pairs[:, 1]).tolist())

    def arm(self) -> tuple[Any, ...]:
        data = self.data
        tool = np.empty(7)
        tool[:3] = data.site_xpos[self._tool]
        mujoco.mju_mat2Quat(tool[3:], data.site_xmat[self._tool])
        if tool[4] < 0:
            tool[3:] *= -1
        tau = data.qfrc_actuator[:7] + data.qfrc_gravcomp[:7]
        width = float(data.qpos[7] + data.qpos[8])
        q, dq = data.qpos[:7].copy(), data.qvel[:7].copy()
        return q, dq, tau, tool, width, self._target, self._tool_target, self._width

    def truth(self, pairs: set[int]) -> tuple[Any, ...]:
        """Where things are, and what touched what since the last time, given the pairs seen since."""
        cubes = [self.data.qpos[address : address + 7].copy() for address in self._cubes]
        bits = [_CUBE << i for i in range(len(cubes))]
        left, right = [_LEFT | bit in pairs for bit in bits], [_RIGHT | bit in pairs for bit in bits]
        touched = [one or other for one, other in zip(left, right, strict=True)]
        held = [one and other for one, other in zip(left, right, strict=True)]
        collided = any(pair & _ARM for pair in pairs) or bool({_LEFT | _TABLE, _RIGHT | _TABLE} & pairs)
        return (*cubes, *scene.PLACES.values(), touched, held, collided)
