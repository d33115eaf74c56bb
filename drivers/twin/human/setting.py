"""What an imagined demonstration looks like: everything that is drawn by lot, from one seed."""

import re
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from drivers.device import DeviceError
from drivers.twin.human.anatomy import Skin

Floats = NDArray[np.float64]
Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {
    "red": (0.78, 0.09, 0.08),
    "green": (0.12, 0.55, 0.17),
    "blue": (0.11, 0.26, 0.78),
    "yellow": (0.92, 0.77, 0.08),
    "purple": (0.47, 0.14, 0.58),
    "orange": (0.93, 0.45, 0.07),
    "white": (0.92, 0.91, 0.88),
    "black": (0.09, 0.09, 0.10),
    "grey": (0.48, 0.49, 0.50),
    "brown": (0.42, 0.26, 0.14),
    "pink": (0.93, 0.52, 0.66),
}
"""What colours are called. What is drawn is near them."""

THINGS = {
    "cube": ((0.034, 0.056), (1.0, 1.0), (1.0, 1.0)),
    "block": ((0.030, 0.045), (1.5, 2.4), (0.8, 1.3)),
    "can": ((0.046, 0.066), (1.0, 1.0), (1.1, 1.8)),
    "bottle": ((0.036, 0.054), (1.0, 1.0), (2.0, 2.8)),
    "ball": ((0.040, 0.064), (1.0, 1.0), (1.0, 1.0)),
}
"""What can be held: how wide it is in metres, and its length and height as multiples of that, from and to."""

GOALS = {"pad": 0.002, "mat": 0.004, "plate": 0.016, "tray": 0.012}
"""On what things can be put, and how high that is, in metres."""

AREA = ((0.24, 0.46), (-0.20, 0.16))
"""Where a right hand's things stand, before the person who sits at x = 0: from and to along x and y, in metres."""

LEFT = 0.2
"""The share of people who use their left hand."""

BETWEEN = 0.05
"""The least room between two things, in metres, so that fingers fit in."""

SKINS: tuple[Colour, ...] = (
    (0.93, 0.76, 0.66),
    (0.85, 0.65, 0.53),
    (0.72, 0.52, 0.39),
    (0.53, 0.36, 0.25),
    (0.34, 0.22, 0.16),
)
"""From light to dark."""

CLOTHS = ("plain", "wood", "checks", "speckles", "stripes")
"""What tables are covered with."""


class Unimaginable(DeviceError):
    """The instruction cannot be shown by a hand. The message says what would have been right."""


@dataclass(frozen=True)
class Thing:
    """Something on the table."""

    kind: str
    colour: str
    rgb: Colour
    size: tuple[float, float, float]
    """Length, width and height, in metres."""
    place: tuple[float, float, float]
    """x, y and yaw."""

    def __str__(self) -> str:
        return f"{self.colour} {self.kind}"

    @property
    def name(self) -> str:
        """What it is called on the robot's table."""
        return f"{self.colour}_{self.kind}"

    def mirrored(self) -> Self:
        """The same on the other side."""
        x, y, yaw = self.place
        return replace(self, place=(x, -y, -yaw))

    @property
    def top(self) -> float:
        """How high it is above the table, in metres."""
        return self.size[2]

    @property
    def reach(self) -> float:
        """The radius of the circle that it stands in, in metres."""
        return float(np.hypot(*self.size[:2])) / 2


@dataclass(frozen=True)
class Room:
    """A table somewhere, and the light on it."""

    cloth: str
    table: tuple[Colour, Colour]
    colours: tuple[Colour, Colour, Colour]
    """Floor, wall, and what stands before the wall."""
    light: tuple[float, float, float]
    """Where it comes from."""
    bright: float
    warm: float


@dataclass(frozen=True)
class Setting:
    """What is on a table, who sits at it, and where that is."""

    seed: int
    thing: Thing
    goal: Thing
    others: tuple[Thing, ...]
    skin: Skin
    room: Room | None
    """None at the robot's own table."""
    eye: Floats
    """Where the head rests, in metres."""
    gaze: Floats
    """Where it looks when nothing happens."""
    fovy: float
    """The camera's view from top to bottom, in degrees."""
    pace: float
    """How many times as long as usual everything takes."""
    side: str = "right"
    """The hand that does it."""
    rest: Floats | None = None
    """Where it is before and after; None for near the person, on the side of the hand."""

    @property
    def words(self) -> str:
        """What is done."""
        return f"put the {self.thing} on the {self.goal}"

    def mirrored(self) -> Self:
        """The same for the other hand: what stood to the left stands to the right."""
        thing, goal, *others = (one.mirrored() for one in (self.thing, self.goal, *self.others))
        across, side = np.array([1.0, -1.0, 1.0]), "left" if self.side == "right" else "right"
        eye, gaze, rest = self.eye * across, self.gaze * across, None if self.rest is None else self.rest * across
        return replace(self, thing=thing, goal=goal, others=tuple(others), eye=eye, gaze=gaze, side=side, rest=rest)


def asked(instruction: str) -> tuple[str, str, str, str]:
    """The colour and kind of what is moved, and of where it goes.

    >>> asked("put the red cube on the yellow pad")
    ('red', 'cube', 'yellow', 'pad')

    Raises:
        Unimaginable: it does not name one thing and then one goal.
    """
    named = re.findall(rf"\b({'|'.join(COLOURS)}) ({'|'.join([*THINGS, *GOALS])})\b", instruction.lower())
    match named:
        case [(colour, kind), (on, goal)] if kind in THINGS and goal in GOALS:
            return colour, kind, on, goal
    raise Unimaginable(
        f"{instruction!r} must name one thing, then where it goes, each with its colour, like 'put the red cube on the "
        f"yellow pad'; a hand can hold a {', '.join(THINGS)}, and put it on a {', '.join(GOALS)}"
    )


def draw(instruction: str, seed: int, as_asked: bool = False) -> Setting:
    """Draw everything from a seed: what the task names, or, unless ``as_asked``, other things of other colours.

    Raises:
        Unimaginable: the instruction cannot be shown.
    """
    colour, kind, on, goal = asked(instruction)
    random = np.random.default_rng([seed, 5])
    if not as_asked:
        kind, goal = str(random.choice([*THINGS])), str(random.choice([*GOALS]))
        colour, on = (str(one) for one in random.choice([*COLOURS], 2, replace=False))
    others = _others(random, colour, kind)
    target, thing, *rest = _placed(random, [(colour, kind), *others], (on, goal))
    drawn = Setting(
        seed,
        thing,
        target,
        tuple(rest),
        skin_of(random),
        Room(
            str(random.choice(CLOTHS)),
            (_any(random), _any(random)),
            (_any(random, 0.8), _any(random), _any(random)),
            (random.uniform(-0.6, 1.0), random.uniform(-1.0, 1.0), random.uniform(1.0, 1.8)),
            float(random.uniform(0.75, 1.15)),
            float(random.uniform(-1.0, 1.0)),
        ),
        np.array([random.uniform(-0.12, 0.02), random.uniform(-0.05, 0.05), random.uniform(0.42, 0.58)]),
        np.array([random.uniform(0.32, 0.42), random.uniform(-0.04, 0.04), 0.0]),
        float(random.uniform(42, 60)),
        float(random.uniform(0.8, 1.35)),
    )
    return drawn.mirrored() if random.random() < LEFT else drawn


def _others(random: np.random.Generator, colour: str, kind: str) -> list[tuple[str, str]]:
    """The colours and kinds of what else stands about, none like what is moved."""
    lots = [(str(random.choice([*COLOURS])), str(random.choice([*THINGS]))) for _ in range(int(random.integers(0, 5)))]
    return [one for one in lots if one[0] != colour or one[1] != kind]


def _placed(random: np.random.Generator, wanted: list[tuple[str, str]], goal: tuple[str, str]) -> list[Thing]:
    """The goal, then what is moved, then as many others as find room, none too near another."""
    low, high = np.array([*zip(*AREA, strict=True)])
    on, kind = goal
    placed = list[Thing]()
    while len(placed) < 2:
        beside = float(random.choice([-1, 1]) * random.uniform(0.06, 0.18))
        placed = [_goal(random, kind, on, (float(random.uniform(0.28, 0.42)), beside))]
        for number, (colour, what) in enumerate(wanted):
            spread = np.array([[0.0, -0.12], [0.14, 0.14]]) * (number > 0)
            one = _thing(random, what, colour, random.uniform(low + spread[0], high + spread[1]))
            if all(_apart(one, other) > BETWEEN for other in placed):
                placed.append(one)
            elif number == 0:
                break
    return placed


def _apart(one: Thing, other: Thing) -> float:
    between = float(np.hypot(one.place[0] - other.place[0], one.place[1] - other.place[1]))
    return between - one.reach - other.reach


def _thing(random: np.random.Generator, kind: str, colour: str, place: Floats) -> Thing:
    (least, most), long, high = THINGS[kind]
    wide = random.uniform(least, most)
    size = (float(wide * random.uniform(*long)), float(wide), float(wide * random.uniform(*high)))
    yaw = float(random.uniform(-np.pi / 2, np.pi / 2))
    return Thing(kind, colour, _near(random, colour), size, (float(place[0]), float(place[1]), yaw))


def _goal(random: np.random.Generator, kind: str, colour: str, place: tuple[float, float]) -> Thing:
    across = float(random.uniform(0.11, 0.17))
    along = across if kind in {"pad", "plate"} else across * float(random.uniform(1.0, 1.3))
    return Thing(
        kind, colour, _near(random, colour), (along, across, GOALS[kind]), (*place, float(random.uniform(-0.5, 0.5)))
    )


def skin_of(random: np.random.Generator) -> Skin:
    """Somebody's hand and sleeve."""
    tone = random.uniform(0, len(SKINS) - 1)
    colour = np.array([np.interp(tone, range(len(SKINS)), channel) for channel in zip(*SKINS, strict=True)])
    sleeve = _any(random) if random.random() < 0.65 else None
    return Skin(float(random.uniform(0.88, 1.08)), _colour(colour), sleeve, float(random.uniform(0.02, 0.16)))


def _near(random: np.random.Generator, colour: str) -> Colour:
    """A colour that goes by that name."""
    shade = np.array(COLOURS[colour]) * random.uniform(0.8, 1.15) + random.normal(0, 0.02, 3)
    return _colour(shade)


def _any(random: np.random.Generator, most: float = 1.0) -> Colour:
    """Some colour of a room: rather pale than bright."""
    grey = random.uniform(0.15, 0.85)
    return _colour((grey + random.normal(0, 0.07, 3)) * most)


def _colour(shade: Floats) -> Colour:
    r, g, b = np.clip(shade, 0.03, 0.97).tolist()
    return r, g, b
