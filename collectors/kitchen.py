"""An operator that opens what has a handle in Franka Kitchen: it reaches for the handle, closes, and pulls."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from collectors.scripted import Unclear, smooth
from drivers import Kinematics, Row, newest
from storage import Observation

Floats = NDArray[np.float64]

OPEN = 0.08
"""The fingers' widest opening, in metres."""

BEFORE = 0.10
"""How far in front of a handle the hand waits, in metres."""

DEEP = 0.015
"""How far in front of a handle the tool point is when the fingers close, in metres: their tips reach 4 cm on."""

EAGER, MOST = 0.2, 0.08
"""The share of what the hand is off that it leans against it, a step, and how far it leans at most, in metres."""

SLOWLY = 2.2
"""Seconds that a joint takes for each radian: the suite's arm follows no faster."""

NAMES = {
    "microwave": ("microwave",),
    "slide_cabinet": ("slide", "sliding"),
    "hinge_cabinet": ("hinge", "left door"),
    "light_switch": ("light",),
    "kettle": ("kettle",),
    "bottom_burner": ("bottom burner",),
    "top_burner": ("top burner", "knob"),
}
"""Every element of the kitchen as truth calls it, and the words that ask for it."""


def asked(instruction: str, names: Sequence[str]) -> str:
    """Return which element an instruction asks for, among the fields of truth.

    >>> asked("open the microwave", ["t", "microwave", "off"])
    'microwave'

    Raises:
        Unclear: it asks for something else than what is to be done here.
    """
    here = [name for name in NAMES if name in names]
    for name in here:
        if any(re.search(rf"\b{word}\b", instruction.lower()) for word in NAMES[name]):
            return name
    words = " or ".join(word for name in here for word in NAMES[name])
    raise Unclear(
        f"{instruction!r} does not ask for what is to be done here; it has to say {words or 'something else'}"
    )


def shown(instruction: str, names: Sequence[str]) -> str:
    """The same, for what this operator can show.

    Raises:
        Unclear: it asks for something else, or for what this operator cannot do.
    """
    element = asked(instruction, names)
    if element not in HANDLES:
        raise Unclear(f"the operator cannot do {element.replace('_', ' ')}; it can do {', '.join(HANDLES)}")
    return element


@dataclass(frozen=True)
class Handle:
    """An upright bar, and the way it goes."""

    way: Callable[[float], Floats]
    """How far the bar is from where it began, in metres, at a share of the pull from 0 to 1."""
    seconds: float
    """How long the pull takes."""
    yaw: float
    pitch: float
    """How the hand is turned when it comes, in radians: to the left, and downwards. At 0 and 0 it points ahead."""

    @property
    def turn(self) -> Floats:
        """The same as a quaternion; the fingers close from the sides."""
        half = np.pi / 4 + self.pitch / 2
        aside, ahead = np.sin(self.yaw / 2), np.cos(self.yaw / 2)
        sine, cosine = np.sin(half), np.cos(half)
        return np.array([-aside * cosine, ahead * sine, aside * sine, ahead * cosine])

    @property
    def ahead(self) -> Floats:
        """Where the hand points."""
        level = np.cos(self.pitch)
        return np.array([level * np.cos(self.yaw), level * np.sin(self.yaw), -np.sin(self.pitch)])


def _about(hinge: tuple[float, float], angle: float) -> Callable[[float], Floats]:
    """Around a hinge that is so far from the bar, level, by an angle in radians."""
    arm = -np.array(hinge)

    def way(share: float) -> Floats:
        cosine, sine = np.cos(share * angle), np.sin(share * angle)
        turned = np.array([[cosine, -sine], [sine, cosine]]) @ arm
        return np.append(turned - arm, 0.0)

    return way


def _along(step: Floats) -> Callable[[float], Floats]:
    """Straight, by a step in metres."""
    return lambda share: np.asarray(share * step)


HANDLES = {
    "microwave": Handle(_about((-0.0375, 0.4856), -0.8), 4.0, 0.6, 0.7),
    "slide_cabinet": Handle(_along(np.array([0.0, -0.25, 0.0])), 5.0, 0.0, -0.2),
}
"""What can be opened. Places are in the frame of the arm's foot: x to the kitchen, y to the left."""


@dataclass(frozen=True)
class _Swing:
    """From joint angles to joint angles, beginning and ending at rest."""

    start: Floats
    end: Floats
    width: tuple[float, float]
    seconds: float


@dataclass(frozen=True)
class _Move:
    """The tool point goes on from a place by ``way``, beginning and ending at rest."""

    start: Floats
    way: Callable[[float], Floats]
    width: tuple[float, float]
    seconds: float
    still: bool = False
    """Whether it stays, so that what it is off is no delay."""


class KitchenHand:
    """Opens the microwave or slides the cabinet. It looks again before it closes, and errs a little, as people do.

    The suite's arm hangs below where it is told to be, by up to 5 cm, so the hand leans against that. The same seed
    and the same scene give the same motion. ``done`` ends the episode when the pull is over.
    """

    def __init__(self, kinematics: Kinematics, action: np.dtype[np.void], seed: int = 0) -> None:
        self._kinematics, self._action, self._seed = kinematics, action, seed
        self.reset("")

    def reset(self, instruction: str) -> None:
        """Begin again."""
        self._instruction = instruction
        self._random = np.random.default_rng(self._seed)
        self._moves: Iterator[_Swing | _Move] | None = None
        self._move: _Swing | _Move | None = None
        self._since = 0
        self._q: Floats = np.zeros(7)
        self._turn: Floats = np.zeros(4)
        self._lean: Floats = np.zeros(3)
        self._seen: Observation | None = None

    def act(self, seen: Observation) -> Row | None:
        """Return the next target, or None while there is nothing to go by, and when it is done."""
        arm, truth = newest(seen.streams["arm"]), newest(seen.streams["truth"])
        if arm is None or truth is None:
            return None
        self._seen = seen
        if self._moves is None:
            self._q = np.array(arm["q_target"])
            self._moves = self._plan(float(arm["width_target"]))
            self._move, self._since = next(self._moves), seen.t
        while self._move is not None and seen.t - self._since >= self._move.seconds * 1e9:
            self._since += round(self._move.seconds * 1e9)
            self._move = next(self._moves, None)
        if (move := self._move) is None:
            return None
        share = smooth((seen.t - self._since) / 1e9 / move.seconds)
        if isinstance(move, _Swing):
            self._q = move.start + share * (move.end - move.start)
        else:
            place = move.start + move.way(share)
            if move.still:
                self._lean = np.clip(self._lean + EAGER * (place - arm["tool"][:3]), -MOST, MOST)
            self._q = self._kinematics.joints(self._q, np.append(place + self._lean, self._turn))
        target = np.zeros(1, self._action)
        target["t"], target["q"] = seen.t, self._q
        target["width"] = move.width[0] + share * (move.width[1] - move.width[0])
        return cast("Row", target[0])

    def done(self, seen: Observation) -> bool:
        """Whether the episode may end."""
        truth = newest(seen.streams["truth"])
        return (self._moves is not None and self._move is None) or (truth is not None and bool(truth["over"]))

    def _plan(self, width: float) -> Iterator[_Swing | _Move]:
        names = self._truth().dtype.names or ()
        element = shown(self._instruction, names)
        handle = HANDLES[element]
        front = self._truth()[element] - BEFORE * handle.ahead + self._random.uniform(-0.02, 0.02, 3)
        self._turn = handle.turn
        end = self._q
        for _ in range(5):
            end = self._kinematics.joints(end, np.append(front, self._turn))
        far = float(np.abs(end - self._q).max())
        yield _Swing(self._q, end, (width, OPEN), self._time(SLOWLY * far))
        stay = _along(np.zeros(3))
        yield _Move(front, stay, (OPEN, OPEN), self._time(0.8), still=True)
        at = self._truth()[element] - DEEP * handle.ahead + self._random.uniform(-0.004, 0.004, 3)
        yield _Move(front, _along(at - front), (OPEN, OPEN), self._time(1.8))
        yield _Move(at, stay, (OPEN, OPEN), self._time(0.6), still=True)
        yield _Move(at, stay, (OPEN, 0.0), self._time(0.8))
        yield _Move(at, handle.way, (0.0, 0.0), self._time(handle.seconds))

    def _truth(self) -> Row:
        row = None if self._seen is None else newest(self._seen.streams["truth"])
        if row is None:
            raise Unclear("nothing has been seen yet")
        return row

    def _time(self, seconds: float) -> float:
        """About ``seconds``, as people are never twice equally fast."""
        return float(seconds * self._random.uniform(0.85, 1.2))
