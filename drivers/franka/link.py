"""The connection to one arm: the thread that owns it, and the thread that listens to it.

Real-time priority is inherited from the thread that connects, so one thread connects and moves, and nobody else
does. Everything here that a caller may touch is behind one lock, and nothing a caller may call waits for the robot.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Unanswered
from contextlib import suppress
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from drivers.device import DeviceError, DeviceLost, Row, Rows, telling_last
from drivers.franka.hand import Hand
from drivers.franka.reference import Reference
from drivers.franka.rows import ARM, pose, row
from drivers.franka.words import explain_connection, explain_priority, explain_state
from drivers.kinematics import HIGH, LOW, Chain
from drivers.ring import Ring
from drivers.stamps import Stamps

if TYPE_CHECKING:
    from drivers.franka.arm import Franka

Floats = NDArray[np.float64]

MS = 1_000_000
"""Nanoseconds of one of the robot's ticks."""

SLACK = 0.05
"""How far ahead of the arm its reference may stay when it holds, in radians: what a load bends it stays bent."""

STILL = 0.05
"""An arm whose joints are all slower than this stands still, in rad/s."""

LOOK = 0.0005
"""Seconds between two looks for a new state while the arm moves."""

SILENT = 300_000_000
"""A connection that brought no state for so many nanoseconds is made anew when an operator recovers."""

KEPT = 2000
"""Rows that are kept for readers: two seconds."""

LOOK_AT_IT = "Look at it: press the user stop, and connect again"
"""What to do with an arm that does not do what it was asked for."""

log = logging.getLogger(__name__)


class Link:
    """An arm that is connected, or that was: ``trouble`` says in a sentence why it no longer obeys."""

    def __init__(self, settings: "Franka") -> None:
        self.settings = settings
        self.trouble = ""
        self.stamps = Stamps()
        self.hand = Hand(settings.host, settings.hand_speed, settings.hand_force) if settings.hand else None
        self._ring = Ring(ARM, KEPT)
        self._lock = threading.RLock()
        self._wanted: Literal["nothing", "follow", "guide"] = "nothing"
        self._reference = Reference(np.array(settings.joint_velocity), np.array(settings.joint_acceleration))
        self._holding = True
        self._heard = 0
        self._clock = -1
        self._q: Floats = np.zeros(7)
        self._dq: Floats = np.zeros(7)
        self._target: tuple[Floats, Floats, float | None] = np.zeros(7), np.zeros(7), None
        self._robot: Any = None
        self._tracker: Any = None
        self._tracks = "nothing"
        self._chain, self._tool = Chain(), Chain()
        self._leaving = threading.Event()
        self._work: queue.SimpleQueue[tuple[Future[None], Callable[[], None]] | None] = queue.SimpleQueue()
        self._owner = threading.Thread(target=self._own, name=f"{settings.name} control", daemon=True)
        self._listener: threading.Thread | None = None

    def open(self) -> None:
        """Connect.

        Raises:
            DeviceLost: the arm cannot be reached, or does not want us. The message says what to do.
        """
        self._owner.start()
        try:
            host = self.settings.host
            self._have(self._connect, f"connecting to {host}", "Is another program connected to it?")
        except BaseException:
            self.close(failing=True)
            raise
        if self.hand is not None:
            self.hand.start(self.settings.patience)

    def read(self, since: int) -> Rows:
        """Return the rows after ``since``.

        Raises:
            Overrun: some of them are gone.
            DeviceLost: the arm does not obey any more; or its hand does not.
        """
        with telling_last(self._ring.since, since):
            self.check()
        return self._ring.since(since)

    def check(self) -> None:
        """Raise DeviceLost if the arm or its hand does not obey any more."""
        if not self.trouble and not self._owner.is_alive():
            self._give_up("the thread that moves the arm has failed; what it wrote says why. Connect again")
        if not self.trouble and time.monotonic_ns() - self._heard > self.settings.silence * 1e9:
            self._give_up(explain_connection(self.settings.host, TimeoutError("silent")))
        trouble = self.trouble or (self.hand.trouble if self.hand is not None else "")
        if trouble:
            raise DeviceLost(f"{self.settings.name}: {trouble}")

    def command(self, target: Row) -> None:
        """Be at ``target`` by its moment, or evenly as soon as that can be."""
        self.check()
        q = np.array(target["q"], np.float64)
        with self._lock:
            now = self._now()
            if self._wanted != "follow":
                self._reference.begin(self._q, now)
            self._reference.aim(int(target["t"]), q, now)
            self._holding, self._wanted = False, "follow"
            self._target = q, self._chain.tool(q), float(target["width"])
        self._work.put(None)
        if self.hand is not None:
            self.hand.go(float(target["width"]))

    def hold(self) -> None:
        """Stay where the arm can stop."""
        with self._lock:
            if self._holding or self.trouble:
                return
            if self._wanted == "guide":
                self._reference.begin(self._q, self._now())
            self._reference.stop(self._q, SLACK)
            self._wanted, self._holding = "follow", True
            q = self._reference.end
            self._target = q, self._chain.tool(q), self._target[2]

    def guide(self) -> None:
        """Go limp, so that a person can lead the arm."""
        self.check()
        with self._lock:
            self._wanted, self._holding = "guide", False
        self._work.put(None)

    def grip(self, width: float) -> None:
        """Send the fingers to ``width`` metres apart, whatever the arm does."""
        self.check()
        with self._lock:
            self._target = *self._target[:2], width
        if self.hand is not None:
            self.hand.go(width)

    def rest(self) -> None:
        """Come to a stop, held by the robot's own controller.

        Raises:
            DeviceLost: the arm does not obey any more.
        """
        if self.hand is not None:
            self.hand.forget()
        self._have(self._rest, "coming to rest", LOOK_AT_IT)
        self.check()

    def recover(self) -> None:
        """Clear what stopped the arm, or connect anew.

        Raises:
            DeviceLost: that is not possible yet. The message says what to do.
        """
        self._have(self._recover, "recovering", LOOK_AT_IT)
        if self.hand is not None and self.hand.trouble:
            self.hand.close()
            self.hand = Hand(self.settings.host, self.settings.hand_speed, self.settings.hand_force)
            self.hand.start(self.settings.patience)
        self.check()
        log.info("%s: obeys again", self.settings.name)

    def close(self, failing: bool) -> None:
        """Let the arm come to rest, held by its own controller, and let go of it.

        Raises:
            DeviceError: that took too long, and nobody knew of it: the caller is not ``failing``, and the arm was not
                lost before. It is logged in any case.
        """
        self._leaving.set()
        self._work.put(None)
        threads = [thread for thread in (self._owner, self._listener) if thread is not None and thread.is_alive()]
        for thread in threads:
            thread.join(self.settings.patience)
        if self.hand is not None:
            self.hand.close()
        if hung := [thread.name for thread in threads if thread.is_alive()]:
            why = (
                f"{self.settings.name}: not left within {self.settings.patience} s ({', '.join(hung)} still runs): the "
                "arm may not be at rest. Press the user stop, and end this program"
            )
            log.error("%s", why)
            if not failing and not self.trouble:
                raise DeviceError(why)

    def _have(self, work: Callable[[], None], doing: str, then: str) -> None:
        """Have the owner do something, and wait for it."""
        done: Future[None] = Future()
        self._work.put((done, work))
        try:
            done.result(self.settings.patience)
        except Unanswered:
            within = f"in {self.settings.patience} s"
            raise DeviceLost(f"{self.settings.name}: nothing came of {doing} {within}. {then}") from None

    def _own(self) -> None:
        try:
            while not self._leaving.is_set():
                self._asked()
                self._attempt(self._go_on)
        finally:
            self._rest()
            self._robot = None

    def _go_on(self) -> None:
        """Track what is wanted, for one tick."""
        with self._lock:
            wanted = self._wanted
        if wanted != self._tracks:
            self._begin(wanted)
        if self._tracker is not None and not self._advance():
            self._robot.join_motion()
            raise RuntimeError("the motion ended by itself")

    def _asked(self) -> None:
        """Do what callers asked for; wait for it while there is nothing to track."""
        try:
            entry = self._work.get(block=self._tracker is None and self._wanted == self._tracks)
        except queue.Empty:
            return
        if entry is None:
            return
        done, work = entry
        try:
            work()
        except DeviceError as error:
            done.set_exception(error)
        except Exception as error:
            done.set_exception(DeviceLost(f"{self.settings.name}: its driver failed: {type(error).__name__}: {error}"))
            raise
        else:
            done.set_result(None)

    def _connect(self) -> None:
        settings = self.settings
        try:
            import franky

            config = franky.RealtimeConfig.Enforce if settings.realtime == "enforce" else franky.RealtimeConfig.Ignore
            self._robot = franky.Robot(settings.host, realtime_config=config)
            if os.sched_getscheduler(0) not in {os.SCHED_FIFO, os.SCHED_RR}:
                log.warning("%s: %s", settings.name, explain_priority())
            state = self._robot.state
            if state.robot_mode == franky.RobotMode.Idle:
                self._prepare()
        except ImportError as error:
            raise DeviceError(f"{settings.name}: franky-control is missing: install the extra [hardware]") from error
        except (franky.Exception, RuntimeError) as error:
            clear_frames(error.__traceback__)  # or they would keep the connection open
            raise DeviceLost(f"{settings.name}: {explain_connection(settings.host, error)}") from error
        self.stamps, self._clock = Stamps(), -1
        self._take(state)
        self._listener = threading.Thread(target=self._listen, name=f"{settings.name} states", daemon=True)
        self._listener.start()

    def _prepare(self) -> None:
        """Set every limit explicitly: what the controller holds from a program before us is not ours."""
        settings, robot = self.settings, self._robot
        robot.set_collision_behavior(list(settings.torque_threshold), list(settings.force_threshold))
        robot.set_load(settings.load, list(settings.load_centre), list(settings.load_inertia))
        robot.joint_velocity_limit.set(np.array(settings.joint_velocity))
        robot.joint_acceleration_limit.set(np.array(settings.joint_acceleration))
        robot.joint_jerk_limit.set(np.array(settings.joint_jerk))

    def _recover(self) -> None:
        import franky

        if not self.trouble:
            return
        self._tracker, self._tracks = None, "nothing"
        try:
            if time.monotonic_ns() - self._heard > SILENT:
                self._reconnect()
            with suppress(franky.Exception):  # what ended the last motion is known
                self._robot.join_motion()
            if self._robot.state.robot_mode == franky.RobotMode.Reflex:
                self._robot.recover_from_errors()
            self.trouble = explain_state(self._robot.state)
            if not self.trouble:
                self._prepare()
        except (franky.Exception, RuntimeError) as error:
            raise DeviceLost(f"{self.settings.name}: it cannot be recovered yet: {self._why(error)}") from error

    def _reconnect(self) -> None:
        """Connect anew, once the old connection is gone: there can be only one."""
        self._robot = None
        if self._listener is not None:
            self._listener.join(self.settings.patience / 2)
        self._connect()

    def _rest(self) -> None:
        """End the motion. An arm that moves is stopped by its own controller, sooner than by what we could send."""
        with self._lock:
            self._wanted, self._holding = "nothing", True
        tracker, self._tracker, self._tracks = self._tracker, None, "nothing"
        if tracker is not None:
            self._attempt(tracker.stop if np.abs(self._dq).max() < STILL else self._stop)

    def _stop(self) -> None:
        import franky

        self._robot.stop()
        with suppress(franky.ControlException):  # the motion was preempted: that is what was wanted
            self._robot.join_motion()

    def _attempt(self, something: Callable[[], None]) -> None:
        """Do something with the robot; give it up if that fails."""
        import franky

        try:
            something()
        except (franky.Exception, RuntimeError) as error:
            self._tracker, self._tracks = None, "nothing"
            self._give_up(self._why(error))

    def _begin(self, wanted: str) -> None:
        """Start what is wanted; a motion that runs is taken over without a stop in between."""
        self._tracks = wanted
        if wanted == "nothing":
            self._tracker = None
            return
        if wanted == "guide":
            self._tracker = self.settings.limp(self._robot)
        else:
            self._tracker = self.settings.stiff(self._robot)

    def _advance(self) -> bool:
        """Wait for the next tick and set the reference; return whether the motion still runs."""
        if self._tracker.tick() is None:
            return False
        now = self._robot.state.time.to_msec() * MS + self.stamps.offset
        if self._tracks == "follow":
            with self._lock:
                q, dq = self._reference.step(now)
            self.settings.aim(self._tracker, self._tool, q, dq)
        return True

    def _why(self, error: Exception) -> str:
        """What stopped the arm, in words: the robot's own if it still speaks."""
        import franky

        try:
            state = self._robot.state
            self._take(state)
            return explain_state(state, str(error))
        except (franky.Exception, RuntimeError, AttributeError):
            return explain_connection(self.settings.host, error)

    def _give_up(self, why: str) -> None:
        with self._lock:
            self._wanted, self._holding = "nothing", True
            if not self.trouble:
                self.trouble = why
                log.warning("%s: %s", self.settings.name, why)

    def _listen(self) -> None:
        import franky

        robot = self._robot
        try:
            while not self._leaving.is_set():
                state = robot.state
                if not self._take(state):
                    time.sleep(LOOK)
                elif state.robot_mode not in {franky.RobotMode.Idle, franky.RobotMode.Move, franky.RobotMode.Guiding}:
                    self._give_up(explain_state(state))
        except (franky.Exception, RuntimeError) as error:
            self._give_up(explain_connection(self.settings.host, error))

    def _take(self, state: Any) -> bool:
        """Make a row of a state, and return whether it is a new one. The row that tells of trouble comes before it."""
        with self._lock:
            clock = state.time.to_msec()
            if clock <= self._clock:
                return False
            self._clock, self._heard = clock, time.monotonic_ns()
            t = self.stamps.stamp(clock * MS, self._heard)
            self._q, self._dq = np.array(state.q), np.array(state.dq)
            if self._wanted != "follow":
                self._target = self._q, pose(state.O_T_EE.matrix), self._target[2]
            q, tool, width = self._target
            here = self.hand.width if self.hand is not None else 0.0
            self._ring.push(row(t, self._heard, state, (here, q, tool, here if width is None else width)))
        return True

    def _now(self) -> int:
        """The robot's time, on the host's clock: of its newest row, so that a robot that waits is waited for."""
        rows = self._ring.rows
        return int(rows["t"][-1]) if len(rows) else time.monotonic_ns()


SLEW = 2.5
"""Most that a tracker may ask the torque of a joint to change in a millisecond, in Nm. The client's filter at 100 Hz
lets 0.386 of a change through, and the robot refuses 1 Nm: this makes it 0.965. Left at franky's own 1 Nm, torques are
so late when targets jump that the arm swings ever wider, until it breaks its speed limit."""

LIMITS = {"lower_joint_limits": np.array(LOW), "upper_joint_limits": np.array(HIGH), "max_delta_tau": SLEW}
