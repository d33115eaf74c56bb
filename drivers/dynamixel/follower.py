"""An arm that follows: it holds where it is, and goes where it is told."""

import logging
import threading
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from drivers.clock import Clock, HostClock
from drivers.device import DeviceError, Kinematics, Row, Rows, row_type, sensed
from drivers.dynamixel import check
from drivers.dynamixel import registers as at
from drivers.dynamixel.bus import Bus, Plug, serial
from drivers.dynamixel.kinematics import Chain
from drivers.dynamixel.layout import FOLLOWER, Calibration, Floats
from drivers.dynamixel.line import Line
from drivers.dynamixel.sense import Sensed, sense

SERVOS = len(FOLLOWER.ids)

ACTION = row_type(("q", "<f8", (6,)), ("width", "<f8"))

ROWS = sensed(
    ("q", "<f8", (6,)),
    ("dq", "<f8", (6,)),
    ("current", "<f8", (6,)),
    ("tool", "<f8", (7,)),
    ("width", "<f8"),
    ("grip", "<f8"),
    ("q_target", "<f8", (6,)),
    ("tool_target", "<f8", (7,)),
    ("width_target", "<f8"),
    ("positions", "<i4", (SERVOS,)),
    ("polled", "u1"),
    ("voltage", "<f4"),
    ("temperature", "<f4"),
    ("retries", "<i4"),
)
"""Radians, radians per second, amperes (``grip`` is the gripper's), metres; ``voltage`` and ``temperature`` are those
of the servo ``polled`` in this cycle; ``retries`` is how often something was asked again in it."""

SLACK = 0.05
"""How far ahead of the arm its goal may stay when it holds, in radians: where it comes to rest at full speed."""

LONGEST = 100_000_000
"""Longest time in which the goal moves to a new target, in nanoseconds."""

log = logging.getLogger(__name__)


@dataclass
class Follower:
    """A ViperX 300 S: six joints and a gripper, turned by nine servos on one line.

    Entering it looks before it acts (every servo there, the right model, powered, cool, pairs agreeing, joints
    within reach) and refuses with everything that is wrong. Then it switches torque on where the arm stands. A
    cycle reads all servos and one servo's health, and moves the goal evenly towards the target, never faster than
    ``speed``. Servos stop by themselves when this program dies: their bus watchdog trips. Leaving it lets the arm
    sink and takes torque from every servo, whatever the others do.

    A servo that falls silent, or switches itself off, loses the arm: the others finish the cycle they are in, no
    goal follows, and they hold there. The arm has to be left and entered again.

    What it cannot do: it feels no contact, and does not compensate gravity; a joint's current is what its first
    servo takes. The gripper's opening is linear in its angle, as ALOHA's is. A tripped watchdog stops a servo in
    the emulator as the manual says; what a real one does with torque then has not been measured.
    """

    name: str
    port: str
    """The serial line, e.g. ``/dev/ttyDXL_follower_left``."""
    baud: int = 1_000_000
    hz: float = 100.0
    """Cycles per second."""
    calibration: Calibration = field(default_factory=Calibration)
    speed: float = 3.0
    """Fastest that any joint turns, in radians per second; the servos keep it, too."""
    pwm: float = 1.0
    """The share of their voltage that servos may use."""
    grip: float = 0.5
    """The most current that the gripper squeezes with, in amperes."""
    widest: float = 0.079
    """How far the finger tips are apart when the gripper is open, in metres."""
    watchdog: float = 0.08
    """Seconds without a word from this program after which the servos stop by themselves."""
    sink: float = 1.5
    """Seconds in which the arm is let down when it is left; an arm without torque falls."""
    retries: int = 2
    """How often a lost answer is asked for again."""
    slack: float = 0.008
    """Seconds that an answer may be late before it counts as lost: this computer has other things to do."""
    clock: Clock = field(default_factory=HostClock)
    plug: Plug = serial
    """Opens the port; an emulated bus brings its own."""

    dtype: ClassVar[np.dtype[np.void]] = ROWS
    action: ClassVar[np.dtype[np.void]] = ACTION
    __pydantic_config__: ClassVar[Any] = {"arbitrary_types_allowed": True}

    def __post_init__(self) -> None:
        if not self.watchdog >= at.WATCHDOG or round(self.watchdog / at.WATCHDOG) > 254:
            raise ValueError(f"watchdog must be {at.WATCHDOG} to 5.08 s, not {self.watchdog}")
        if not 0 < self.hz <= 500 or self.watchdog < 2 / self.hz:
            raise ValueError(f"hz must be at most 500, and the watchdog longer than two cycles, not {self.hz}")
        if not (0 < self.speed <= 2 * np.pi and 0 < self.pwm <= 1 and 0 < self.grip <= 3.2):
            raise ValueError("speed is at most 6.28 rad/s, pwm at most 1, and grip at most 3.2 A")
        self._lock = threading.Lock()
        self._line = Line(self, FOLLOWER, ROWS)
        self._pump = self._line.pump
        # Where the arm is, where its servos are aimed, where they come from and go to: six angles and a width.
        self._now: Floats = np.zeros(7)
        self._goal: Floats = self._now
        self._start: Floats = self._now
        self._target: Floats = self._now
        self._commanded = self._arrives = self._moved = 0
        self._resting = False

    @cached_property
    def kinematics(self) -> Kinematics:
        return Chain(self.calibration.low, self.calibration.high)

    def read(self, since: int) -> Rows:
        """Return the rows stamped after ``since``.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: a servo fell silent or switched itself off, or the cable is out. The message says which.
        """
        return self._pump.read(since)

    def command(self, target: Row) -> None:
        """Move evenly to ``target``: to arrive at its moment or, if that has passed, as fast as commands come.

        Raises:
            DeviceError: the target is not a number.
            DeviceLost: the arm is lost.
        """
        self._pump.check()
        wanted = np.append(target["q"], target["width"])
        if wanted.shape != (7,) or not np.isfinite(wanted).all():
            self.hold()
            raise DeviceError(f"{self.name}: a target is 6 joint angles and a width, all finite, not {target}")
        with self._lock:
            now = self.clock.now()
            if self._resting:
                self._wake()
            took = min(max(round(1e9 / self.hz), now - self._commanded), LONGEST)
            self._start, self._target = self._goal, self._reachable(wanted)
            self._commanded = now
            self._arrives = int(target["t"]) if target["t"] > now else now + took

    def hold(self) -> None:
        """Stop the arm where it can stop. The fingers finish their move: what is held stays held."""
        with self._lock:
            if self._pump.running:
                self._stop()

    def rest(self) -> None:
        """Send the servos nowhere any more, as before the first command: they hold by themselves where they are aimed.

        The next command goes on from where the arm is then.

        Raises:
            DeviceLost: the arm is lost.
        """
        self._pump.check()
        with self._lock:
            self._resting = True

    def _stop(self) -> None:
        q = self._now[:6] + np.clip(self._goal[:6] - self._now[:6], -SLACK, SLACK)
        self._start = self._goal = self._target = self._reachable(np.append(q, self._target[6]))
        self._commanded = self._arrives = self.clock.now() - LONGEST

    def _reachable(self, target: Floats) -> Floats:
        limits = self.calibration
        return np.append(np.clip(target[:6], limits.low, limits.high), np.clip(target[6], 0, self.widest))

    def __enter__(self) -> Self:
        self._line.open(self._prepare, self._cycle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold()
        self._line.close(self.sink, failing=kind is not None)

    def _prepare(self, bus: Bus) -> None:
        self._look(bus)
        self._switch_on(bus)

    def _look(self, bus: Bus) -> None:
        """See whether this arm may be switched on, and bring its permanent registers in order."""
        memory = check.inspect(bus, FOLLOWER)
        found = check.problems(memory, FOLLOWER, self.calibration)
        gripper = FOLLOWER.gripper.ids[0]
        limit = at.CURRENT_LIMIT.of(memory[gripper], 0)
        if self._grip_counts() > limit:
            found.append(f"servo {gripper} (gripper) is limited to {limit} counts of current; grip asks for more")
        if found:
            raise DeviceError(f"{self.name} is not switched on: {'; '.join(found)}")
        modes = dict.fromkeys(FOLLOWER.ids, at.POSITION) | {gripper: at.CURRENT_POSITION}
        wanted = {id_: {at.OPERATING_MODE: mode, at.RETURN_DELAY: 0} for id_, mode in modes.items()}
        check.settle(bus, memory, wanted)
        bus.fast = bus.knows_fast_reads(FOLLOWER.ids)

    def _switch_on(self, bus: Bus) -> None:
        """Torque on where the arm stands, from the foot on. If a servo refuses, none keeps torque."""
        try:
            for id_ in FOLLOWER.ids:
                bus.put(id_, at.BUS_WATCHDOG, 0)
                bus.put(id_, at.PROFILE_ACCELERATION, 0)
                bus.put(id_, at.PROFILE_VELOCITY, max(1, round(self.speed / at.SPEED)))
                bus.put(id_, at.GOAL_PWM, round(self.pwm * 885))
                here = bus.get(id_, at.PRESENT_POSITION)
                if not bus.get(id_, at.TORQUE):
                    bus.put(id_, at.TORQUE, 1)
                self._stay(bus, id_, here)
            bus.put(FOLLOWER.gripper.ids[0], at.GOAL_CURRENT, self._grip_counts())
            sensed = sense(bus, FOLLOWER, self.clock, 0)
            for id_ in FOLLOWER.ids:
                if not bus.get(id_, at.TORQUE):
                    raise DeviceError(f"{self.name}: servo {id_} ({FOLLOWER.joint(id_)}) takes no torque: reboot it")
                bus.put(id_, at.BUS_WATCHDOG, round(self.watchdog / at.WATCHDOG))
        except BaseException:
            for reason in check.let_go(bus, FOLLOWER, self.clock, self.sink):
                log.exception("not safe: %s", reason)
            raise
        self._feel(sensed)
        with self._lock:
            self._wake()

    def _wake(self) -> None:
        """Aim where the arm is."""
        self._resting = False
        self._goal = self._target = self._now
        self._stop()
        self._moved = self.clock.now()

    @staticmethod
    def _stay(bus: Bus, id_: int, position: int) -> None:
        """Aim where the servo stands, or the nearest that its own limits allow."""
        low, high = bus.get(id_, at.MIN_POSITION), bus.get(id_, at.MAX_POSITION)
        bus.put(id_, at.GOAL_POSITION, min(max(position, low), high))

    def _cycle(self, bus: Bus, sensed: Sensed) -> tuple[Any, ...]:
        self._mind(sensed)
        with self._lock:
            self._feel(sensed)
            if self._resting:
                return self._row(sensed, self._now)
            goal, target = self._advance(), self._target
            bus.write_all(at.GOAL_POSITION, self._goals(goal))
        return self._row(sensed, target)

    def _mind(self, sensed: Sensed) -> None:
        """Notice a servo that has stopped obeying without an error: nothing that is written to it is answered."""
        health = sensed.health
        where = f"{self.name}: servo {health.id} ({FOLLOWER.joint(health.id)})"
        if health.watchdog == at.TRIPPED:
            raise DeviceError(
                f"{where} heard nothing for {self.watchdog} s and stopped by itself: this computer is too busy, or "
                "a program garbles the line. Connect again"
            )
        if not health.torque:
            raise DeviceError(f"{where} has lost its torque: it was restarted, or its power dropped. Connect again")

    def _feel(self, sensed: Sensed) -> None:
        self._now = self._angles(sensed)

    def _angles(self, sensed: Sensed) -> Floats:
        """Joint angles (6,), and the opening of the fingers."""
        positions = sensed.positions[_MASTERS]
        width = self.calibration.width(float(positions[6]), self.widest)
        return np.append(self.calibration.angles(positions[:6]), width)

    def _advance(self) -> Floats:
        """Bring the goal on its way to the target, as far as time and speed allow."""
        now = self.clock.now()
        left = max(0.0, (self._arrives - now) / max(1, self._arrives - self._commanded))
        goal = self._target + left * (self._start - self._target)
        reach = self.speed * min(max(0, now - self._moved), LONGEST) / 1e9
        goal[:6] = np.clip(goal[:6], self._goal[:6] - reach, self._goal[:6] + reach)
        self._goal, self._moved = goal, now
        return goal

    def _goals(self, goal: Floats) -> dict[int, int]:
        positions = [*self.calibration.positions(goal[:6]).tolist(), self.calibration.grip(goal[6], self.widest)]
        return dict(zip(FOLLOWER.masters, positions, strict=True))

    def _row(self, sensed: Sensed, target: Floats) -> tuple[Any, ...]:
        here, chain, health = self._now, self.kinematics, sensed.health
        currents = sensed.currents[_MASTERS]
        return (
            here[:6],
            (sensed.velocities[_MASTERS][:6] * self.calibration.sign),
            currents[:6],
            chain.tool(here[:6]),
            here[6],
            currents[6],
            target[:6],
            chain.tool(target[:6]),
            target[6],
            sensed.positions,
            health.id,
            health.voltage,
            health.temperature,
            sensed.retries,
        )

    def _grip_counts(self) -> int:
        return round(self.grip / (at.MODELS[FOLLOWER.gripper.models[0]].ampere or 1.0))


_MASTERS = [FOLLOWER.ids.index(id_) for id_ in FOLLOWER.masters]
