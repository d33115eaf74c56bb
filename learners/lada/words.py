"""What language calls a motion, and back: the templates of LaDA."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product, starmap
from typing import Self

WAYS = ("", "forward", "backward", "left", "right", "up", "down")
"""Translations by number: 0 is none, then along +x, -x, +y, -y, +z, -z."""
TURNS = ("", "x", "-x", "y", "-y", "z", "-z")
"""Rotations by number: 0 is none, then about that axis by the right-hand rule."""
HANDS = ("open", "close")


@dataclass(frozen=True)
class Motion:
    """One arm's primitive."""

    way: str = ""
    """One of `WAYS`; empty for none."""
    turn: str = ""
    """One of `TURNS`; empty for none."""
    hand: str = "open"
    distance: float | None = None
    """Metres; None when it is not told."""
    angle: float | None = None
    """Degrees; None when it is not told."""

    @property
    def code(self) -> tuple[int, int, int]:
        """Its numbers in `WAYS`, `TURNS` and `HANDS`."""
        return WAYS.index(self.way), TURNS.index(self.turn), HANDS.index(self.hand)

    def __str__(self) -> str:
        moved = "stay" if not self.way else "move " + _far(self.distance, "meters", f"{self.way}")
        sign, axis = ("-", self.turn[1:]) if self.turn.startswith("-") else ("", self.turn)
        turned = "keep the orientation"
        if axis:
            far = "" if self.angle is None else f"{self.angle:g} degrees "
            turned = f"rotate {far}around the {sign}{axis}-axis"
        return f"{moved}, {turned}, and {self.hand} the gripper"

    @classmethod
    def said(cls, text: str) -> Self:
        """Read what a motion is written as.

        Raises:
            ValueError: it is none.
        """
        parts = text.lower().split(", ")
        try:
            moved, turned, held = (part.removeprefix("and ").split() for part in parts)
            hand, the, gripper = held
            if (the, gripper) != ("the", "gripper") or hand not in HANDS:
                raise ValueError(held)
            way, distance = _moved(moved)
            turn, angle = _turned(turned)
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no primitive; one is: move 0.05 meters forward, rotate 10 degrees around the z-axis, "
                "and close the gripper"
            ) from error
        return cls(way, turn, hand, distance, angle)


def sentence(motions: Sequence[Motion]) -> str:
    """What one arm does, or two: left, then right."""
    if len(motions) == 1:
        return str(motions[0])
    return "; ".join(f"{side} arm: {motion}" for side, motion in zip(("left", "right"), motions, strict=True))


def read(text: str) -> list[Motion]:
    """Undo `sentence`.

    Raises:
        ValueError: it says no primitive.
    """
    if not text.startswith("left arm: "):
        return [Motion.said(text)]
    left, both, right = text.removeprefix("left arm: ").partition("; right arm: ")
    if not both:
        raise ValueError(f"{text!r} tells of a left arm and of no right one")
    return [Motion.said(left), Motion.said(right)]


def _far(far: float | None, unit: str, way: str) -> str:
    return way if far is None else f"{far:g} {unit} {way}"


def _moved(words: Sequence[str]) -> tuple[str, float | None]:
    match words:
        case ["stay"]:
            return "", None
        case ["move", way] if way in WAYS:
            return way, None
        case ["move", far, "meters", way] if way in WAYS:
            return way, float(far)
    raise ValueError(words)


def _turned(words: Sequence[str]) -> tuple[str, float | None]:
    match words:
        case ["keep", "the", "orientation"]:
            return "", None
        case ["rotate", "around", "the", axis] if axis.removesuffix("-axis") in TURNS[1:]:
            return axis.removesuffix("-axis"), None
        case ["rotate", far, "degrees", "around", "the", axis] if axis.removesuffix("-axis") in TURNS[1:]:
            return axis.removesuffix("-axis"), float(far)
    raise ValueError(words)


def examples() -> list[str]:
    """Sentences with every word and figure that a sentence may have."""
    every = list(starmap(Motion, product(WAYS, TURNS, HANDS)))
    figures = [Motion("up", "z", "open", n / 100, 5.0 * n) for n in range(1, 37)]
    return [*map(str, every), *map(str, figures), sentence([every[0], every[-1]])]
