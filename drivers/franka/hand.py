"""The hand, in a thread of its own: its calls take as long as the fingers do, so the newest target wins."""

import threading
from typing import Any

NEAR = 0.002
"""Fingers this close to a target (m) are not sent there again."""

FAR = 0.02
"""A newer target this far from where the fingers go (m) is not made to wait, though a hand stops in between."""

WIDEST = 0.08
"""Assumed until the hand has said how far it opens, in metres."""


class Hand:
    """Sends the fingers where they were last told to go.

    A move that meets something while closing becomes a grasp, which holds what it met with the force that was set. A
    target in the opposite direction, or far from the last, interrupts; any other waits until the fingers are done, and
    only the newest is kept. A hand that fails to do something is tried again at the next target.
    """

    def __init__(self, host: str, speed: float, force: float) -> None:
        self._host, self._speed, self._force = host, speed, force
        self.width = WIDEST
        """How far the fingers are apart, in metres, as the hand last said."""

        self.trouble = ""
        """Why the hand is no longer heard, in words for a person; empty while it is."""

        self._target: float | None = None
        self._leaving = threading.Event()
        self._called = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"hand {host}", daemon=True)

    def start(self, patience: float) -> None:
        """Connect; ``trouble`` says when that fails."""
        self._thread.start()
        if not self._ready.wait(patience):
            self.trouble = f"the hand at {self._host} does not answer; is another program connected to it?"

    def go(self, width: float) -> None:
        """Send the fingers to ``width`` metres apart. Returns at once."""
        self._target = width
        self._called.set()

    def forget(self) -> None:
        """Finish what the fingers do, and nothing after it."""
        self._target = None

    def close(self) -> None:
        """Leave the hand as it is; what it holds stays held."""
        self._leaving.set()
        self._called.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _run(self) -> None:
        import franky

        try:
            hand = franky.Gripper(self._host)
            self.width = float(hand.state.width)
            self._ready.set()
            doing: float | None = None
            while not self._leaving.is_set():
                self._called.wait(0.03)
                self._called.clear()
                self.width = float(hand.state.width)
                target = self._target
                if target is not None and target != doing and (doing is None or abs(target - doing) > NEAR):
                    doing = target
                    self._do(hand, target)
        except (franky.Exception, RuntimeError) as error:
            self.trouble = f"the hand at {self._host} is gone ({_short(error)}): check its cable, then recover"
            self._ready.set()

    def _do(self, hand: Any, target: float) -> None:
        """Bring the fingers to ``target``, until they are there, meet something, or a newer target turns them round."""
        opening = target > self.width
        arrived = self._finished(hand, hand.move_async(target, self._speed), target, opening)
        if not arrived and not opening and self._target == target and self.width > target + NEAR:
            grasp = hand.grasp_async(self.width, self._speed, self._force, self.width, 2 * WIDEST)
            self._finished(hand, grasp, target, opening)

    def _finished(self, hand: Any, result: Any, target: float, opening: bool) -> bool:
        """Wait until the fingers are done, or interrupt them; return whether they did what they were asked for."""
        import franky

        while not result.wait(0.01):
            self.width = float(hand.state.width)
            newer = self._target
            turned = newer is not None and abs(newer - target) > NEAR and (newer > self.width) != opening
            outdated = newer is not None and abs(newer - target) > FAR
            if turned or outdated or self._leaving.is_set():
                hand.stop()
        try:
            return bool(result.get())
        except franky.CommandException:  # interrupted, or it met something: a grasp or the next target deals with it
            return False


def _short(error: BaseException) -> str:
    return str(error).removeprefix("libfranka gripper: ").removeprefix("libfranka: ")
