"""A simulated world in time: physics that follows the clock, and the rows every device takes from it."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock, HostClock, StepClock
from drivers.device import DeviceLost, Row, Rows, sensed
from drivers.ring import Ring
from drivers.twin.picture import Painter

TIMESTEP = 2_000_000
"""Nanoseconds of one physics step."""

IDLE = 500_000_000
"""On the host's clock, the world stands still during gaps longer than this many nanoseconds that nobody watched."""

KEPT = 2.0
"""Seconds of rows that are kept for readers."""

ROBOT = "arm"
"""What moves, whether one arm or two."""

type Places = Mapping[str, NDArray[np.float64]]


class Body(Protocol):
    """The physics of a world. Knows nothing of clocks: moments are nanoseconds since the arrangement."""

    model: Any
    data: Any

    def reset(self, places: Places) -> None:
        """Put everything in its place, and let it come to rest."""
        ...

    def aim(self, target: Row, t: int) -> None:
        """Move evenly to a target, from ``t`` on."""
        ...

    def stop(self) -> None:
        """Stop where it can stop. Fingers finish their move: what is held stays held."""
        ...

    def pass_time(self, steps: int, t: int) -> None:
        """Let physics steps pass from ``t`` on."""
        ...

    def notice(self) -> None:
        """Look at what touches what, at a moment at which some row is taken."""
        ...

    def measured(self, name: str) -> tuple[Any, ...]:
        """What a device's row says, after its stamps and its number."""
        ...


class Simulation[B: Body](ABC):
    """A table and everything on it. Time passes when somebody asks, up to the clock's now.

    On a ``StepClock`` the same seed and the same commands give the same rows and pictures, bit for bit: arranging
    the scene starts the clock again at zero. On a ``HostClock`` the world keeps up with real time, as far as the
    machine can. Any thread may call anything here.
    """

    def __init__(
        self,
        clock: Clock,
        image: tuple[int, int],
        layouts: Mapping[str, np.dtype[np.void]],
        cameras: Sequence[str],
        hz: Mapping[str, float],
    ) -> None:
        self.clock = clock
        self.layouts = layouts
        """The rows of everything but cameras."""
        self.lock = threading.RLock()
        """Held while physics is touched."""
        self._image, self._cameras, self._hz = image, cameras, hz
        self._guests = 0
        self._lost: set[str] = set()
        self._body: B | None = None
        self._scenery: object = None
        self._painter: Painter | None = None
        self._rings: dict[str, Ring] = {}
        self._taken: dict[str, int] = {}
        self._origin = self._step = 0

    def scenery(self, _condition: Mapping[str, Any]) -> object:
        """What the physics are made for, beside where things are; when it changes they are made anew."""
        return None

    @abstractmethod
    def build(self, scenery: Any) -> B:
        """Make the physics for a scenery."""

    @abstractmethod
    def places(self, condition: Mapping[str, Any]) -> Places:
        """Where everything goes; WrongCondition, if it cannot."""

    @abstractmethod
    def due(self, name: str, taken: int) -> int:
        """The physics step, since the arrangement, of a device's next row, given how many it has taken."""

    def enter(self) -> None:
        """Build the world, for the first device that enters."""
        with self.lock:
            if self._body is None:
                self._make(self.scenery({}))
                self._begin({})
            self._guests += 1

    def leave(self) -> None:
        """Put the world away, when the last device has left."""
        with self.lock:
            self._guests -= 1
            if self._guests == 0:
                self._unmake()

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
        """Set the scene, what moves at its start and at rest. On a ``StepClock``, time starts again at zero.

        Raises:
            WrongCondition: the scene cannot be arranged like that.
            DeviceLost: the cell has not been entered.
        """
        with self.lock:
            places, scenery = self.places(condition), self.scenery(condition)
            self.open("table")
            if scenery != self._scenery:
                self._make(scenery)
            if isinstance(self.clock, StepClock):
                self.clock.restart()
            self._begin(places)
            if isinstance(self.clock, HostClock) and self._painter is not None:
                # Opening a drawing context takes a third of a second, which real time would not wait for.
                self._painter.draw(self._cameras[0], np.empty((0, self.open("table").model.nq)))
                self._origin = self.clock.now()

    def read(self, name: str, since: int) -> Rows:
        """Return the rows of a device stamped after ``since``; for cameras, what a picture needs to be drawn."""
        with self.lock:
            self.open(name)
            self.advance()
            return self._rings[name].since(since)

    def see(self, camera: str, since: int) -> tuple[Rows, NDArray[np.uint8]]:
        """Return when a camera looked, after ``since``, and its pictures (n, height, width, 3)."""
        while True:
            with self.lock:
                exposed, painter = self.read(camera, since), self._painter
            if painter is None:
                raise DeviceLost(f"{camera}: the twin was left while it was being read")
            try:
                return exposed, painter.draw(camera, exposed["qpos"])
            except RuntimeError:
                if painter is self._painter:
                    raise
                # The painter was put away meanwhile: the world was left, or built anew and has another one.

    def command(self, target: Row) -> None:
        """Aim for a target, from now on.

        Raises:
            DeviceLost: what moves is gone.
        """
        with self.lock:
            body = self.open(ROBOT)
            self.advance()
            body.aim(target, self._step * TIMESTEP)

    def hold(self) -> None:
        """Stop where it can stop. The fingers finish their move: what is held stays held."""
        with self.lock:
            if self._body is not None:
                self.advance()
                self._body.stop()

    def open(self, name: str) -> B:
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
                due = {name: self.due(name, taken) for name, taken in self._taken.items()}
                step = min(last, *due.values())
                body.pass_time(step - self._step, self._step * TIMESTEP)
                self._step = step
                taken = [name for name, its in due.items() if its == step]
                if taken:
                    self._take(body, taken, now)

    def _take(self, body: B, names: Sequence[str], now: int) -> None:
        """Take the rows that are due."""
        body.notice()
        t = self._origin + self._step * TIMESTEP
        received = now if isinstance(self.clock, HostClock) else t
        for name in names:
            said = (body.data.qpos.copy(),) if name in self._cameras else body.measured(name)
            self._rings[name].push(np.array([(t, received, self._taken[name], *said)], self._rings[name].rows.dtype))
            self._taken[name] += 1

    def _make(self, scenery: object) -> None:
        """Build a world, in place of the one there was."""
        body = self.build(scenery)
        self._unmake()
        self._body, self._scenery, self._painter = body, scenery, Painter(body.model, self._image)

    def _unmake(self) -> None:
        if self._painter is not None:
            self._painter.close()
        self._body = self._painter = None

    def _begin(self, places: Places) -> None:
        """Start a take: everything placed and at rest, nothing recorded."""
        body = self.open("table")
        body.reset(places or self.places({}))
        self._origin, self._step = self.clock.now(), 0
        exposure = sensed(("qpos", "<f8", (body.model.nq,)))
        dtypes = {**self.layouts, **dict.fromkeys(self._cameras, exposure)}
        self._rings = {name: Ring(dtypes[name], max(2, round(KEPT * hz))) for name, hz in self._hz.items()}
        self._taken = dict.fromkeys(self._hz, 0)
