"""The connection to one arm, as callers see it.

One thread owns the arm and moves it, another listens to it. Everything here that a caller may touch is behind one lock,
and nothing a caller may call to move the arm waits for the robot.
"""

import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from drivers.device import DeviceError, DeviceLost, Row, Rows, telling_last
from drivers.franka.hand import Hand
from drivers.franka.owner import Owner
from drivers.franka.reference import Reference
from drivers.franka.states import States
from drivers.franka.words import explain_connection
from drivers.kinematics import Chain
from drivers.stamps import Stamps

if TYPE_CHECKING:
    from drivers.franka.arm import Franka

SLACK = 0.05
"""How far ahead of the arm its reference may stay when it holds, in radians: what a load bends it stays bent."""

LOOK_AT_IT = "Look at it: press the user stop, and connect again"
"""What to do with an arm that does not do what it was asked for."""

log = logging.getLogger(__name__)


class Link:
    """An arm that is connected, or that was: then it says in a sentence why it no longer obeys."""

    def __init__(self, settings: "Franka") -> None:
        self.settings = settings
        self.hand = Hand(settings.host, settings.hand_speed, settings.hand_force) if settings.hand else None
        self._states = States(settings.name, settings.host, lambda: 0.0 if self.hand is None else self.hand.width)
        self._reference = Reference(np.array(settings.joint_velocity), np.array(settings.joint_acceleration))
        self._owner = Owner(settings, self._states, self._reference)
        self._chain = Chain()

    @property
    def stamps(self) -> Stamps:
        return self._states.stamps

    def open(self) -> None:
        """Connect.

        Raises:
            DeviceLost: the arm cannot be reached, or does not want us. The message says what to do.
        """
        self._owner.thread.start()
        try:
            self._owner.connect()
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
        with telling_last(self._states.since, since):
            self.check()
        return self._states.since(since)

    def check(self) -> None:
        """Raise DeviceLost if the arm or its hand does not obey any more."""
        if not self._states.trouble and not self._owner.thread.is_alive():
            self._states.give_up("the thread that moves the arm has failed; what it wrote says why. Connect again")
        if not self._states.trouble and time.monotonic_ns() - self._states.heard > self.settings.silence * 1e9:
            self._states.give_up(explain_connection(self.settings.host, TimeoutError("silent")))
        trouble = self._states.trouble or (self.hand.trouble if self.hand is not None else "")
        if trouble:
            raise DeviceLost(f"{self.settings.name}: {trouble}")

    def command(self, target: Row) -> None:
        """Be at ``target`` by its moment, or evenly as soon as that can be."""
        self.check()
        q = np.array(target["q"], np.float64)
        with self._states.lock:
            now = self._states.now
            if self._states.wanted != "follow":
                self._reference.begin(self._states.q, now)
            self._reference.aim(int(target["t"]), q, now)
            self._states.holding, self._states.wanted = False, "follow"
            self._states.target = q, self._chain.tool(q), float(target["width"])
        self._owner.look()
        if self.hand is not None:
            self.hand.go(float(target["width"]))

    def hold(self) -> None:
        """Stay where the arm can stop."""
        with self._states.lock:
            if self._states.holding or self._states.trouble:
                return
            if self._states.wanted == "guide":
                self._reference.begin(self._states.q, self._states.now)
            self._reference.stop(self._states.q, SLACK)
            self._states.wanted, self._states.holding = "follow", True
            q = self._reference.end
            self._states.target = q, self._chain.tool(q), self._states.target[2]

    def guide(self) -> None:
        """Go limp, so that a person can lead the arm."""
        self.check()
        with self._states.lock:
            self._states.wanted, self._states.holding = "guide", False
        self._owner.look()

    def grip(self, width: float) -> None:
        """Send the fingers to ``width`` metres apart, whatever the arm does."""
        self.check()
        with self._states.lock:
            self._states.target = *self._states.target[:2], width
        if self.hand is not None:
            self.hand.go(width)

    def rest(self) -> None:
        """Come to a stop, held by the robot's own controller.

        Raises:
            DeviceLost: the arm does not obey any more.
        """
        if self.hand is not None:
            self.hand.forget()
        self._owner.rest(LOOK_AT_IT)
        self.check()

    def recover(self) -> None:
        """Clear what stopped the arm, or connect anew.

        Raises:
            DeviceLost: that is not possible yet. The message says what to do.
        """
        self._owner.recover(LOOK_AT_IT)
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
        self._states.leaving.set()
        self._owner.look()
        threads = [
            thread for thread in (self._owner.thread, self._states.listener) if thread is not None and thread.is_alive()
        ]
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
            if not failing and not self._states.trouble:
                raise DeviceError(why)
