"""One emulated Franka: its clock, and everything that can be done to it from outside."""

import select
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

from drivers.device import Rows, row_type
from drivers.emulators.fci.admin import Admin
from drivers.emulators.fci.arm import Arm
from drivers.emulators.fci.hand import Hand
from drivers.emulators.fci.plant import Plant
from drivers.emulators.fci.robot import Robot
from drivers.emulators.fci.shown import Shown
from drivers.emulators.fci.wire import ERRORS
from drivers.ring import Ring
from drivers.twin.body import Body

TRACE = row_type(("clock", "<i8"), ("q", "<f8", (7,)), ("dq", "<f8", (7,)), ("mode", "u1"), ("lost", "<i8"))
"""What the arm did, every millisecond: host's and robot's time, joints, mode, and milliseconds without a command."""

KEPT = 10_000
"""Milliseconds of it that are kept."""

PATIENCE = 0.3
"""Longest that the robot's time stands still for a client, in seconds. Clients give up after a second of silence."""

BEHIND = 0.02
"""Seconds that the robot's time may lag before it stops catching up; in lockstep it never catches up."""


class Emulator:
    """A Franka arm with its hand at a loopback address: connect to it as to a real one.

    With ``lockstep``, the robot's time stands still while a client has not answered the newest state, up to
    ``PATIENCE`` seconds: nothing is lost on a busy machine, time only stretches. Without, the robot waits for
    nobody. ``with Emulator(...)`` runs it in a thread; ``run`` runs it in the thread that calls; ``step`` lets one
    millisecond pass. Faults can be called from any thread, and over the admin channel from any process here.
    """

    def __init__(self, host: str = "127.0.0.1", table: bool = False, lockstep: bool = True) -> None:
        if not host.startswith("127."):
            raise ValueError(f"an emulated robot asks nobody who they are: host must be 127.x.y.z, not {host!r}")
        self.host, self.lockstep = host, lockstep
        self.plant = Plant(Body((240, 320)) if table else None)
        self.arm = Arm(self.plant)
        self.robot = Robot(host, self.arm)
        self.hand = Hand(host, self.plant)
        self._admin = Admin(host, self)
        self._shown = Shown(host, self.plant.body) if self.plant.body is not None else None
        self._trace = Ring(TRACE, KEPT)
        self._patient = True
        self._lock = threading.RLock()
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self) -> None:
        """Let one millisecond pass; in lockstep, once the client has answered the last one."""
        if self.lockstep:
            self._wait_for_answer()
        with self._lock:
            self._admin.serve()
            self.robot.listen()
            self.hand.listen()
            self.arm.pass_time(self.robot.take())
            self.hand.pass_time()
            self.robot.tell()
            self.hand.tell()
            self._keep()
            if self._shown is not None:
                self._shown.show(self.arm.clock)

    def _wait_for_answer(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self._leaving.is_set():
            with self._lock:
                self.robot.hear()
                if self.robot.answered >= self.arm.clock:
                    self._patient = True
                move = self.arm.move
                if not self._patient or not self.robot.waiting or (move and not move.answered and move.lost < 2):
                    return
                sockets = [self.robot.door.states, *self._admin.sockets]
                if self.robot.door.guest is not None:
                    sockets.append(self.robot.door.guest.socket)
            left = end - time.monotonic()
            if left <= 0:
                self._patient = False
                return
            select.select(sockets, [], [], min(left, 0.05))
            with self._lock:
                self._admin.serve()
                self.robot.listen()

    def _keep(self) -> None:
        row = np.zeros(1, TRACE)
        lost = self.arm.move.lost if self.arm.move is not None else 0
        row[0] = (time.monotonic_ns(), self.arm.clock, self.plant.q, self.plant.dq, self.arm.mode, lost)
        self._trace.push(row)

    def run(self) -> None:
        """Let time pass, a millisecond per millisecond as far as the machine can, until ``stop``."""
        due = time.perf_counter()
        while not self._leaving.is_set():
            due += 0.001
            early = due - time.perf_counter()
            if early > 0:
                time.sleep(early)
            elif self.lockstep or early < -BEHIND:
                due -= early
            self.step()

    def stop(self) -> None:
        """End ``run``."""
        self._leaving.set()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run, name=f"emulated Franka {self.host}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self.close()

    def close(self) -> None:
        """Free the addresses."""
        self._admin.close()
        if self._shown is not None:
            self._shown.close()
        self.robot.close()
        self.hand.close()

    def reflex(self, error: str = "cartesian_reflex") -> None:
        """Let the arm brake because of an error, as if something had happened.

        Raises:
            ValueError: no robot has such an error.
        """
        if error not in ERRORS:
            raise ValueError(f"there is no error {error!r}; there are {', '.join(ERRORS)}")
        with self._lock:
            self.arm.reflex(error)

    def user_stop(self, pressed: bool) -> None:
        """Press the user stop, or release it."""
        with self._lock:
            self.arm.user_stop(pressed)

    def guide(self, pressed: bool) -> None:
        """Press the guiding button on the hand, or release it."""
        with self._lock:
            self.arm.guide(pressed)

    def push(self, wrench: list[float]) -> None:
        """Lean on the tool with a force (N) and a torque (Nm) in the base frame, until told otherwise."""
        with self._lock:
            self.plant.push[:] = wrench

    def silence(self, milliseconds: int) -> None:
        """Let no state leave for so long: an unplugged cable."""
        with self._lock:
            self.robot.silent = milliseconds

    def hang_up(self) -> None:
        """Close the robot's TCP connection."""
        with self._lock:
            self.robot.hang_up()

    def lose(self, commands: int) -> None:
        """Lose so many of the next commands."""
        with self._lock:
            self.robot.lose = commands

    def version(self, robot: int) -> None:
        """Speak another version of the protocol to clients that connect from now on."""
        with self._lock:
            self.robot.version = robot

    def restart(self, condition: Mapping[str, Any] | None = None, q: list[float] | None = None) -> None:
        """Clear every fault and put everything in its place, the arm at home or at ``q``, the table as ``condition``.

        Raises:
            WrongCondition: the scene cannot be arranged like that.
            ValueError: there is no table to arrange.
        """
        if condition and self.plant.body is None:
            raise ValueError(f"this arm stands alone; start it with a table to arrange {dict(condition)}")
        with self._lock:
            self.plant.reset(condition or {}, None if q is None else np.array(q, np.float64))
            self.arm.restart()
            self.hand.restart()
            self.robot.silent = self.robot.lose = 0
            self.robot.version = 10

    def status(self) -> dict[str, Any]:
        """What the robot is doing."""
        with self._lock:
            arm = self.arm
            return {
                "clock": arm.clock,
                "mode": arm.mode.name,
                "errors": [name for name, on in zip(ERRORS, arm.state["errors"], strict=True) if on],
                "connected": self.robot.door.guest is not None,
                "missing": arm.missing,
                "q": self.plant.q.tolist(),
                "width": self.plant.width,
            }

    def trace(self, milliseconds: int = 1000) -> Rows:
        """Return what the arm did lately, a row per millisecond, ``TRACE``."""
        with self._lock:
            return self._trace.rows[-milliseconds:].copy()
