"""Leading the robot by hand: it gives way, a key moves its fingers, and everything it feels is written down."""

import numpy as np

from collectors.buttons import GUIDED
from collectors.events import GRIPS, Event
from collectors.ways import Lacking, Place, can, do, have
from drivers import Row, newest
from storage import Observation

NEAR = 0.05
"""A joint this near to the end of its way is told, in radians."""


class Led:
    """Lets a person lead the arm, and sends it nowhere.

    It gives way from the first row of a take on, unless the arm's own guiding button is pressed by then: the robot
    gives way by itself then, as long as it is. Pressing that button in a take that was begun otherwise stops the
    robot, which ends the take as a fault. After a take the robot's own controller holds the arm, so that the button
    may be pressed.
    """

    by_hand = True

    def __init__(self, place: Place) -> None:
        self._events = place.events
        self._robot, self._device = place.robot.name, place.devices[place.robot.name]
        limits = getattr(place.robot, "limits", None)
        joints = place.robot.action["q"].shape[0]
        self._low = np.array(limits.low if limits else (-np.inf,) * joints)
        self._high = np.array(limits.high if limits else (np.inf,) * joints)
        closed, open_ = limits.width if limits else (0.0, 0.08)
        self._widths = {Event.GRIP_CLOSE: closed, Event.GRIP_OPEN: open_}
        self.status = ""
        self.reset("")

    def reset(self, instruction: str) -> None:
        self._began = False

    def act(self, seen: Observation) -> Row | None:
        arm = newest(seen.streams[self._robot])
        if arm is None:
            return None
        if not self._began:
            self._began = True
            if not ("mode" in (arm.dtype.names or ()) and int(arm["mode"]) == GUIDED):
                do(self._device, "guide")
        if (event := self._events.take(*GRIPS)) is not None:
            do(self._device, "grip", width=self._widths[event])
        self.status = self._said(arm)
        return None

    def leave(self) -> None:
        """Let the robot's own controller hold the arm.

        Raises:
            DeviceError: the robot does not obey any more.
        """
        have(self._device, "rest")

    def _said(self, arm: Row) -> str:
        ends = np.flatnonzero((arm["q"] < self._low + NEAR) | (arm["q"] > self._high - NEAR))
        joints = ", ".join(f"joint {i + 1}" for i in ends.tolist())
        return f"lead the arm; fingers {1e3 * float(arm['width']):.0f} mm" + (
            f"; {joints} at its limit" if joints else ""
        )


def agent(place: Place) -> Led:
    """Let a person lead the arm of a place.

    Raises:
        Lacking: it is one that nobody can lead.
    """
    robot = place.devices[place.robot.name]
    if missing := [what for what in ("guide", "grip", "rest") if not can(robot, what)]:
        raise Lacking(f"a robot that a hand can lead has the methods {', '.join(missing)}; {robot.name} has not")
    return Led(place)
