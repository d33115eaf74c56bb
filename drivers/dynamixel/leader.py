"""An arm that a hand moves: torque off, and everything it feels written down."""

import logging
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import numpy as np

from drivers.clock import Clock, HostClock
from drivers.device import DeviceError, Rows, sensed
from drivers.dynamixel import check
from drivers.dynamixel import registers as at
from drivers.dynamixel.bus import Bus, Plug, serial
from drivers.dynamixel.layout import BY_HAND, LAYOUTS, LEADER, Calibration, Layout
from drivers.dynamixel.line import Line
from drivers.dynamixel.sense import Sensed

ROWS = sensed(
    ("q", "<f8", (6,)),
    ("dq", "<f8", (6,)),
    ("width", "<f8"),
    ("positions", "<i4", (len(LEADER.ids),)),
    ("polled", "u1"),
    ("voltage", "<f4"),
    ("temperature", "<f4"),
    ("retries", "<i4"),
)
"""Radians, radians per second, metres of the follower's fingers; ``voltage`` and ``temperature`` are those of the
servo ``polled`` in this cycle; ``retries`` is how often something was asked again in it."""

LEFT = 0.5
"""Seconds without a word from this program after which the spring gives up."""

log = logging.getLogger(__name__)


@dataclass
class Leader:
    """A WidowX 250 S in a person's hand, or any arm that is to be calibrated.

    Entering it takes the torque from every servo: an arm that stood by its motors sinks, so hold it. It never
    moves by itself. ``spring`` opens the gripper against the finger, where the gripper's servo can steer current, and
    ends when this program dies.

    What it cannot do: it does not carry its own weight.
    """

    name: str
    port: str
    """The serial line, e.g. ``/dev/ttyDXL_leader_left``."""
    arm: Literal["WidowX 250 S", "ViperX 300 S"] = "WidowX 250 S"
    baud: int = 1_000_000
    hz: float = 100.0
    """Cycles per second."""
    calibration: Calibration = BY_HAND
    spring: float = 0.0
    """The current with which the gripper opens by itself, in amperes."""
    widest: float = 0.079
    """What an open gripper means for the follower's finger tips, in metres."""
    sink: float = 1.5
    """Seconds in which an arm that stands by its motors is let down."""
    retries: int = 2
    """How often a lost answer is asked for again."""
    slack: float = 0.008
    """Seconds that an answer may be late before it counts as lost: this computer has other things to do."""
    clock: Clock = field(default_factory=HostClock)
    plug: Plug = serial
    """Opens the port; an emulated bus brings its own."""

    dtype: ClassVar[np.dtype[np.void]] = ROWS
    __pydantic_config__: ClassVar[Any] = {"arbitrary_types_allowed": True}

    def __post_init__(self) -> None:
        if not 0 < self.hz <= 500:
            raise ValueError(f"hz must be more than 0 and at most 500, not {self.hz}")
        if not 0 <= self.spring <= 0.3:
            raise ValueError(f"spring must be 0 to 0.3 A, which a finger overcomes, not {self.spring}")
        ampere = at.MODELS[self.layout.gripper.models[0]].ampere
        if self.spring and ampere is None:
            model = self.layout.gripper.models[0]
            raise ValueError(f"spring must be 0: the gripper of a {self.arm} is an {model}, which cannot steer current")
        self._counts = round(self.spring / (ampere or 1.0)) * (
            1 if self.calibration.open > self.calibration.closed else -1
        )
        self._line = Line(self, self.layout, ROWS)
        self._masters = [self.layout.ids.index(id_) for id_ in self.layout.masters]

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.arm]

    def read(self, since: int) -> Rows:
        """Return the rows stamped after ``since``.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: a servo fell silent, or the cable is out. The message says which.
        """
        return self._line.pump.read(since)

    def __enter__(self) -> Self:
        self._line.open(self._prepare, self._cycle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close(0.0, failing=kind is not None)

    def _prepare(self, bus: Bus) -> None:
        memory = check.inspect(bus, self.layout)
        if found := check.problems(memory, self.layout, self.calibration):
            raise DeviceError(f"{self.name} cannot be used: {'; '.join(found)}")
        if failed := check.let_go(bus, self.layout, self.clock, self.sink):
            raise DeviceError(f"{self.name} cannot be moved by hand: {'; '.join(failed)}")
        bus.fast = bus.knows_fast_reads(self.layout.ids)
        if self._counts:
            self._wind(bus)

    def _wind(self, bus: Bus) -> None:
        """Let the gripper push open, and only the gripper."""
        gripper = self.layout.gripper.ids[0]
        try:
            bus.put(gripper, at.OPERATING_MODE, at.CURRENT)
            bus.put(gripper, at.GOAL_CURRENT, self._counts)  # before any torque: a servo begins with all it may spend
            bus.put(gripper, at.BUS_WATCHDOG, round(LEFT / at.WATCHDOG))
            bus.put(gripper, at.TORQUE, 1)
        except BaseException:
            for reason in check.let_go(bus, self.layout, self.clock, 0.0):
                log.exception("not safe: %s", reason)
            raise

    def _cycle(self, _bus: Bus, felt: Sensed) -> tuple[Any, ...]:
        positions = felt.positions[self._masters]
        return (
            self.calibration.angles(positions[:6]),
            felt.velocities[self._masters][:6] * np.array(self.calibration.sign),
            self.calibration.width(float(positions[6]), self.widest),
            felt.positions,
            felt.health.id,
            felt.health.voltage,
            felt.health.temperature,
            felt.retries,
        )
