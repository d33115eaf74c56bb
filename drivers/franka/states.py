"""What is known of one arm: rows of the states that a thread listens for, and why it no longer obeys."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from drivers.device import Rows
from drivers.franka.rows import ARM, pose, row
from drivers.franka.words import explain_connection, explain_state
from drivers.ring import Ring
from drivers.stamps import Stamps

Floats = NDArray[np.float64]

MS = 1_000_000
"""Nanoseconds of one of the robot's ticks."""

LOOK = 0.0005
"""Seconds between two looks for a new state while the arm moves."""

KEPT = 2000
"""Rows that are kept for readers: two seconds."""

log = logging.getLogger(__name__)


class States:
    """What callers, the thread that moves the arm and the one that listens to it share, behind one ``lock``.

    Args:
        name: the arm's.
        host: where its controller is.
        width: how far its fingers are apart, in metres.
    """

    def __init__(self, name: str, host: str, width: Callable[[], float]) -> None:
        self._name, self._host, self._width = name, host, width
        self.lock = threading.RLock()
        self.leaving = threading.Event()
        self.trouble = ""
        """Why it no longer obeys, in a sentence."""

        self.wanted: Literal["nothing", "follow", "guide"] = "nothing"
        self.holding = True
        self.target: tuple[Floats, Floats, float | None] = np.zeros(7), np.zeros(7), None
        """Joints, tool and width as last commanded; where it is, while nothing is followed."""

        self.q: Floats = np.zeros(7)
        self.dq: Floats = np.zeros(7)
        self.heard = 0
        """When the newest state came."""

        self.stamps = Stamps()
        self._ring = Ring(ARM, KEPT)
        self._clock = -1
        self.listener: threading.Thread | None = None

    def since(self, t: int) -> Rows:
        """Return the rows after ``t``.

        Raises:
            Overrun: some of them are gone.
        """
        return self._ring.since(t)

    @property
    def now(self) -> int:
        """The robot's time, on the host's clock: of its newest row, so that a robot that waits is waited for."""
        rows = self._ring.rows
        return int(rows["t"][-1]) if len(rows) else time.monotonic_ns()

    def begin(self, robot: Any, state: Any) -> None:
        """Listen to a robot that has just been connected, its clock being another."""
        self.stamps, self._clock = Stamps(), -1
        self.take(state)
        self.listener = threading.Thread(target=self._listen, args=(robot,), name=f"{self._name} states", daemon=True)
        self.listener.start()

    def take(self, state: Any) -> bool:
        """Make a row of a state, and return whether it is a new one. The row that tells of trouble comes before it."""
        with self.lock:
            clock = state.time.to_msec()
            if clock <= self._clock:
                return False
            self._clock, self.heard = clock, time.monotonic_ns()
            t = self.stamps.stamp(clock * MS, self.heard)
            self.q, self.dq = np.array(state.q), np.array(state.dq)
            if self.wanted != "follow":
                self.target = self.q, pose(state.O_T_EE.matrix), self.target[2]
            q, tool, width = self.target
            here = self._width()
            self._ring.push(row(t, self.heard, state, (here, q, tool, here if width is None else width)))
        return True

    def give_up(self, why: str) -> None:
        """The arm obeys no more, and nothing is wanted of it."""
        with self.lock:
            self.wanted, self.holding = "nothing", True
            if not self.trouble:
                self.trouble = why
                log.warning("%s: %s", self._name, why)

    def _listen(self, robot: Any) -> None:
        import franky

        try:
            while not self.leaving.is_set():
                state = robot.state
                if not self.take(state):
                    time.sleep(LOOK)
                elif state.robot_mode not in {franky.RobotMode.Idle, franky.RobotMode.Move, franky.RobotMode.Guiding}:
                    self.give_up(explain_state(state))
        except (franky.Exception, RuntimeError) as error:
            self.give_up(explain_connection(self._host, error))
