"""Buttons in a person's hands, told from the rows of what they hold."""

from collections.abc import Sequence

import numpy as np

from collectors.events import Event, Press
from drivers import Row, Rows
from drivers.openxr.rows import LOWER, MENU, STICK, UPPER

LEFT, RIGHT = 0, 1

MEANS: dict[tuple[int, int], Press] = {
    (RIGHT, LOWER): (Event.SUCCESS,),
    (RIGHT, UPPER): (Event.FAILURE,),
    (RIGHT, STICK): (Event.DISCARD,),
    (LEFT, LOWER): (Event.START, Event.AGAIN),
    (LEFT, STICK): (Event.STOP,),
    (LEFT, MENU): (Event.STOP,),
}
"""A succeeds, B fails, X starts or resets. Pressed in, the right stick discards and the left one stops, as does the
menu button, which a browser keeps to itself.

Y is whoever drives's: from then on forward is where the person looks."""

HELP = (
    "squeeze moves  trigger closes  X start/again  A success  B failure  "
    "stick in: right discard, left end  Y forward is where you look"
)

GUIDED = 3
"""The ``mode`` of a Franka whose guiding button is pressed."""

AILING = (4, 5, 6)
"""Its modes after a reflex, when its stop button is pressed, and while it recovers: they say nothing of that button."""

CLOSED, OPEN = 0.3, 0.6
"""Shares of the widest opening at which a leader's gripper counts as closed, and as open again."""


class Buttons:
    """The buttons of a headset's two controllers, as they go down.

    One that is down when its controller is first heard, or heard again, does not count.
    """

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._t = -1
        self._down: list[int | None] | None = None

    def hear(self, rows: Rows) -> Sequence[Press]:
        found: list[Press] = []
        for row in rows[rows["t"] > self._t]:
            found += self._edges(row)
        return found

    def _edges(self, row: Row) -> list[Press]:
        before, self._t = self._down, int(row["t"])
        if not row["focused"]:
            self._down = None  # what is pressed meanwhile is meant for the headset's own menus
            return []
        told = zip(row["buttons"], row["active"], strict=True)
        self._down = [int(bits) if active else None for bits, active in told]
        if before is None:
            return []
        return [press for (hand, bit), press in MEANS.items() if _went_down(before[hand], self._down[hand], bit)]


def _went_down(before: int | None, now: int | None, bit: int) -> bool:
    """Whether a button is down that was known to be up."""
    return before is not None and now is not None and bool(now & bit & ~before)


class Grasped:
    """A Franka's guiding button: pressing it means something, and so does letting go."""

    def __init__(self, stream: str, pressed: Press = (Event.START,), released: Press = (), kind: int = GUIDED) -> None:
        self.stream = stream
        self._pressed, self._released, self._kind = pressed, released, kind
        self._t = -1
        self._guided: bool | None = None

    def hear(self, rows: Rows) -> Sequence[Press]:
        found = []
        for row in rows[rows["t"] > self._t]:
            mode, before, self._t = int(row["mode"]), self._guided, int(row["t"])
            self._guided = None if mode in AILING else mode == self._kind
            if before is not None and self._guided is not None and before != self._guided:
                found.append(self._pressed if self._guided else self._released)
        return [press for press in found if press]


class Closing:
    """Leaders' grippers: once every one of them was open, closing them all is a press.

    Every leader is a stream of its own: give each its `Finger`, all of them of one of these.
    """

    def __init__(self, streams: Sequence[str], widest: float, means: Press = (Event.START,)) -> None:
        self._closed: dict[str, bool | None] = dict.fromkeys(streams)
        self._low, self._high, self._means = CLOSED * widest, OPEN * widest, means
        self._armed = False

    def fingers(self) -> list["Finger"]:
        """One source for each leader."""
        return [Finger(stream, self) for stream in self._closed]

    def feel(self, stream: str, width: float) -> Press:
        """Take note of how far a gripper is open; return the press when this was the last to close."""
        if width <= self._low:
            self._closed[stream] = True
        elif width >= self._high:
            self._closed[stream] = False
        if all(closed is False for closed in self._closed.values()):
            self._armed = True
        if self._armed and all(self._closed.values()):
            self._armed = False
            return self._means
        return ()


class Finger:
    """One leader's gripper."""

    def __init__(self, stream: str, both: Closing) -> None:
        self.stream = stream
        self._both = both
        self._t = -1

    def hear(self, rows: Rows) -> Sequence[Press]:
        found = []
        for row in rows[rows["t"] > self._t]:
            self._t = int(row["t"])
            if np.isfinite(row["width"]) and (press := self._both.feel(self.stream, float(row["width"]))):
                found.append(press)
        return found
