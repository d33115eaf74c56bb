"""A person with a headset, for tests: sees the scene, and moves a hand so that the tool does what is asked for."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]  # scipy ships no types

from collectors.agents import Agent, Finishing
from collectors.retarget import BASE
from collectors.vr import VrAgent
from drivers import Clock, Kinematics, Row, Rows, newest
from drivers.openxr.rows import HANDS, LOWER, unseen
from drivers.ring import Ring
from storage import Observation

Floats = NDArray[np.float64]

QUICK, TURNS = 0.22, 1.0
"""How fast the person moves a hand, in metres, and turns it, in radians per second."""

REST = np.array([0.2, 1.2, -0.3, 0.0, 0.0, 0.0, 1.0])
"""Where a hand is at first."""


class Hands:
    """A headset whose hands are where a test puts them, 90 times a second of any clock."""

    dtype = HANDS

    def __init__(self, clock: Clock, name: str = "hands", hz: float = 90.0) -> None:
        self.name, self._clock, self._beat = name, clock, round(1e9 / hz)
        self.now = unseen()
        self.now["focused"] = 1
        for what in ("active", "valid", "tracked"):
            self.now[what] = 1
        self.now["grip"], self.now["aim"], self.now["head"] = REST, REST, (0, 1.6, 0, 0, 0, 0, 1)
        self.now["trigger"] = self.now["squeeze"] = 0.0
        self.silent = False
        self._ring, self._last = Ring(HANDS, 200), clock.now()

    def put(self, hands: Sequence[Floats], squeeze: float, triggers: Sequence[float], buttons: int) -> None:
        """Be there from now on: a ``Move``."""
        self.now["grip"], self.now["squeeze"], self.now["trigger"] = hands, squeeze, triggers
        self.now["buttons"][1] = buttons

    def read(self, since: int) -> Rows:
        now = self._clock.now()
        if now < self._last:  # the clock was started anew
            self._ring, self._last = Ring(HANDS, 200), now
        while self._last + self._beat <= now:
            self._last += self._beat
            if not self.silent:
                self.now["t"] = self.now["received"] = self._last
                self.now["seq"] += 1
                self._ring.push(np.array([self.now], HANDS))
        return self._ring.since(since)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Shown(Agent, Finishing, Protocol):
    """Knows where tools should be, and when that is all."""


Move = Callable[[Sequence[Floats], float, Sequence[float], int], None]
"""Given where the hands are (left, right), how hard both squeeze, each trigger, and the right hand's buttons."""


class Wearer:
    """Drives through ``VrAgent`` alone: ``wants`` says where the tools should be, and hands are moved accordingly.

    It begins without squeezing, and presses A when it is done; of the clutch it knows what it feels, ``engaged``.
    """

    def __init__(self, vr: VrAgent, wants: Shown, kinematics: Kinematics, move: Move, feet: Sequence[float]) -> None:
        self._vr, self._wants, self._kinematics, self._move = vr, wants, kinematics, move
        self._hands = [REST.copy() for _ in range(2)]
        self._sides = [1] if len(feet) == 1 else [0, 1]
        self._bases = [Rotation.from_euler("z", foot, degrees=True) * Rotation.from_matrix(BASE) for foot in feet]
        self._latched: list[tuple[Floats, Floats] | None] = [None for _ in feet]
        self._relaxed, self._trigger = 0, [0.0, 0.0]
        self._traced: Rows = vr.trace()
        self._t = 0

    trace_dtype = VrAgent.trace_dtype

    @property
    def status(self) -> str:
        return self._vr.status

    def leave(self) -> None:
        self._vr.leave()

    def reset(self, instruction: str) -> None:
        self._vr.reset(instruction)
        self._wants.reset(instruction)

    def trace(self) -> Rows:
        return self._traced

    def act(self, seen: Observation) -> Row | None:
        target = self._vr.act(seen)
        self._traced = self._vr.trace()
        arm = newest(seen.streams["arm"])
        if arm is not None:
            self._go_on(seen, arm, self._traced[-1]["engaged"])
        return target

    def _go_on(self, seen: Observation, arm: Row, engaged: Any) -> None:
        """Move the hands a little further towards where they should be."""
        dt, self._t = (min(0.1, (seen.t - self._t) / 1e9) if self._t else 0.0), seen.t
        here = np.split(arm["tool_target"], len(self._sides))
        self._relaxed += 1
        squeezes = self._relaxed > 3
        if all(engaged[side] for side in self._sides):
            wanted = self._wants.act(seen)
            tools = here if wanted is None else np.split(self._kinematics.tool(wanted["q"]), len(self._sides))
            for i, side in enumerate(self._sides):
                hand, tool = self._latched[i] or (self._hands[side].copy(), here[i].copy())
                self._latched[i] = hand, tool
                self._hands[side] = nearer(self._hands[side], held(hand, tool, tools[i], self._bases[i]), dt)
                widths = arm["width_target"] if wanted is None else wanted["width"]
                self._trigger[side] = 1 - float(np.reshape(widths, -1)[i]) / (0.08 if len(self._sides) == 1 else 0.079)
        else:
            self._latched = [None for _ in self._sides]
            if self._relaxed > 10:
                self._relaxed, squeezes = 0, False
        self._move(self._hands, float(squeezes), self._trigger, LOWER if self._wants.done(seen) else 0)


def held(hand: Floats, tool: Floats, wanted: Floats, base: Any) -> Floats:
    """Where a hand that was at ``hand`` when the tool was at ``tool`` has to be for the tool to be as wanted."""
    turn = Rotation.from_quat(np.roll(wanted[3:], -1)) * Rotation.from_quat(np.roll(tool[3:], -1)).inv()
    turned = base.inv() * turn * base * Rotation.from_quat(hand[3:])
    return np.concatenate([hand[:3] + base.inv().apply(wanted[:3] - tool[:3]), turned.as_quat()])


def nearer(hand: Floats, goal: Floats, dt: float) -> Floats:
    """Go from one pose towards another, as fast as people do."""
    way = goal[:3] - hand[:3]
    here = Rotation.from_quat(hand[3:])
    turn = (Rotation.from_quat(goal[3:]) * here.inv()).as_rotvec()
    far = max(np.linalg.norm(way) / (QUICK * dt + 1e-9), np.linalg.norm(turn) / (TURNS * dt + 1e-9), 1.0)
    return np.concatenate([hand[:3] + way / far, (Rotation.from_rotvec(turn / far) * here).as_quat()])
