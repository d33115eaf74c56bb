"""The thread that connects to one arm and moves it.

Real-time priority is inherited from the thread that connects, so one thread connects and moves, and nobody else
does.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.device import DeviceError, DeviceLost
from drivers.franka.reference import Reference
from drivers.franka.states import MS, States
from drivers.franka.words import explain_connection, explain_priority, explain_state
from drivers.kinematics import Chain

if TYPE_CHECKING:
    from drivers.franka.arm import Franka

STILL = 0.05
"""An arm whose joints are all slower than this stands still, in rad/s."""

SILENT = 300_000_000
"""A connection that brought no state for so many nanoseconds is made anew when an operator recovers."""

log = logging.getLogger(__name__)


class Owner:
    """Whose the robot is: it tracks what ``states`` say is wanted, along ``reference``, and does what it is asked."""

    def __init__(self, settings: "Franka", states: States, reference: Reference) -> None:
        self._settings, self._states, self._reference = settings, states, reference
        self._robot: Any = None
        self._tracker: Any = None
        self._tracks = "nothing"
        self._tool = Chain()
        self._work: queue.SimpleQueue[tuple[Future[None], Callable[[], None]] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._own, name=f"{settings.name} control", daemon=True)

    def look(self) -> None:
        """See what is wanted now, though there may be nothing to track."""
        self._work.put(None)

    def connect(self) -> None:
        """Connect.

        Raises:
            DeviceLost: the arm cannot be reached, or does not want us. The message says what to do.
        """
        host = self._settings.host
        self._have(self._connect, f"connecting to {host}", "Is another program connected to it?")

    def rest(self, then: str) -> None:
        """End the motion.

        Raises:
            DeviceLost: nothing came of it; ``then`` says what to do.
        """
        self._have(self._rest, "coming to rest", then)

    def recover(self, then: str) -> None:
        """Clear what stopped the arm, or connect anew.

        Raises:
            DeviceLost: nothing came of it; ``then`` says what to do.
        """
        self._have(self._recover, "recovering", then)

    def _have(self, work: Callable[[], None], doing: str, then: str) -> None:
        """Have the thread do something, and wait for it."""
        done: Future[None] = Future()
        self._work.put((done, work))
        try:
            done.result(self._settings.patience)
        except Unanswered:
            within = f"in {self._settings.patience} s"
            raise DeviceLost(f"{self._settings.name}: nothing came of {doing} {within}. {then}") from None

    def _own(self) -> None:
        try:
            while not self._states.leaving.is_set():
                self._asked()
                self._attempt(self._go_on)
        finally:
            self._rest()
            self._robot = None

    def _go_on(self) -> None:
        """Track what is wanted, for one tick."""
        with self._states.lock:
            wanted = self._states.wanted
        if wanted != self._tracks:
            self._begin(wanted)
        if self._tracker is not None and not self._advance():
            self._robot.join_motion()
            raise RuntimeError("the motion ended by itself")

    def _asked(self) -> None:
        """Do what callers asked for; wait for it while there is nothing to track."""
        try:
            entry = self._work.get(block=self._tracker is None and self._states.wanted == self._tracks)
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
            done.set_exception(DeviceLost(f"{self._settings.name}: its driver failed: {type(error).__name__}: {error}"))
            raise
        else:
            done.set_result(None)

    def _connect(self) -> None:
        settings = self._settings
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
        self._states.begin(self._robot, state)

    def _prepare(self) -> None:
        """Set every limit explicitly: what the controller holds from a program before us is not ours."""
        settings, robot = self._settings, self._robot
        robot.set_collision_behavior(list(settings.torque_threshold), list(settings.force_threshold))
        robot.set_load(settings.load, list(settings.load_centre), list(settings.load_inertia))
        robot.joint_velocity_limit.set(np.array(settings.joint_velocity))
        robot.joint_acceleration_limit.set(np.array(settings.joint_acceleration))
        robot.joint_jerk_limit.set(np.array(settings.joint_jerk))

    def _recover(self) -> None:
        import franky

        if not self._states.trouble:
            return
        self._tracker, self._tracks = None, "nothing"
        try:
            if time.monotonic_ns() - self._states.heard > SILENT:
                self._reconnect()
            with suppress(franky.Exception):  # what ended the last motion is known
                self._robot.join_motion()
            if self._robot.state.robot_mode == franky.RobotMode.Reflex:
                self._robot.recover_from_errors()
            self._states.trouble = explain_state(self._robot.state)
            if not self._states.trouble:
                self._prepare()
        except (franky.Exception, RuntimeError) as error:
            raise DeviceLost(f"{self._settings.name}: it cannot be recovered yet: {self._why(error)}") from error

    def _reconnect(self) -> None:
        """Connect anew, once the old connection is gone: there can be only one."""
        self._robot = None
        if self._states.listener is not None:
            self._states.listener.join(self._settings.patience / 2)
        self._connect()

    def _rest(self) -> None:
        """End the motion. An arm that moves is stopped by its own controller, sooner than by what we could send."""
        with self._states.lock:
            self._states.wanted, self._states.holding = "nothing", True
        tracker, self._tracker, self._tracks = self._tracker, None, "nothing"
        if tracker is not None:
            self._attempt(tracker.stop if np.abs(self._states.dq).max() < STILL else self._stop)

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
            self._states.give_up(self._why(error))

    def _begin(self, wanted: str) -> None:
        """Start what is wanted; a motion that runs is taken over without a stop in between."""
        self._tracks = wanted
        if wanted == "nothing":
            self._tracker = None
            return
        if wanted == "guide":
            self._tracker = self._settings.limp(self._robot)
        else:
            self._tracker = self._settings.stiff(self._robot)

    def _advance(self) -> bool:
        """Wait for the next tick and set the reference; return whether the motion still runs."""
        if self._tracker.tick() is None:
            return False
        now = self._robot.state.time.to_msec() * MS + self._states.stamps.offset
        if self._tracks == "follow":
            with self._states.lock:
                q, dq = self._reference.step(now)
            self._settings.aim(self._tracker, self._tool, q, dq)
        return True

    def _why(self, error: Exception) -> str:
        """What stopped the arm, in words: the robot's own if it still speaks."""
        import franky

        try:
            state = self._robot.state
            self._states.take(state)
            return explain_state(state, str(error))
        except (franky.Exception, RuntimeError, AttributeError):
            return explain_connection(self._settings.host, error)
