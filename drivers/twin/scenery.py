"""How the twin's table may differ: the axes along which a condition varies it, each in numbered variants.

Variant 3 of ``lighting`` is the same light over every table: a draw is a function of the axis and the number alone.
"""

import colorsys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from drivers.kinematics import Chain

type Colour = tuple[float, float, float]
type Point = tuple[float, float, float]
type Area = tuple[tuple[float, float], tuple[float, float]]
type Draw = np.random.Generator

Shape = Literal["box", "cylinder", "octagon", "stump"]
"""An octagon is a prism with eight sides; a stump is a box that is narrower at its top, by a tenth."""

Pattern = Literal["plain", "checks", "stripes", "speckles"]


@dataclass(frozen=True)
class Solid:
    """Something that stands on the table."""

    shape: Shape
    size: Point
    """Width, depth and height, in metres."""
    colour: Colour


@dataclass(frozen=True)
class Light:
    """What lights the scene: evenly from everywhere, from where the camera is, and a lamp far away."""

    ambient: Colour
    head: Colour
    lamp: Colour
    towards: Point
    """Where the lamp's rays go."""


@dataclass(frozen=True)
class Scenery:
    """Everything about a table but where its things stand. Metres and radians."""

    table: Colour
    floor: Colour
    pattern: Pattern
    """Of the table."""
    light: Light
    eye: Point
    """Where the front camera is."""
    gaze: Point
    """A point that it looks at."""
    cubes: tuple[tuple[str, Solid], ...]
    """Each by its name."""
    others: tuple[Solid, ...]
    """What else stands on the table, to no purpose."""
    start: tuple[float, ...]
    """Joint angles the arm starts from."""
    area: Area
    """Where cubes are put: from and to along x and y."""
    spared: Area | None = None
    """Where in that area none are put."""


def vary(usual: Scenery, numbers: Mapping[str, int]) -> Scenery:
    """Return a scenery varied along some axes of `AXES`; each is given the number, 1 or more, of its variant."""
    varied = usual
    for axis, change in AXES.items():
        if axis in numbers:
            varied = change(varied, np.random.default_rng([zlib.crc32(axis.encode()), numbers[axis]]))
    return varied


def _background(usual: Scenery, draw: Draw) -> Scenery:
    """Table and floor in other, paler colours than cubes have, the table in one of four patterns."""
    table, floor = _pale(draw, 0.35), _pale(draw, 0.15)
    return replace(usual, table=table, floor=floor, pattern=_one(draw, get_args(Pattern)))


def _lighting(usual: Scenery, draw: Draw) -> Scenery:
    """Darker or brighter, warmer or cooler, with the lamp elsewhere."""
    strength = _either(draw, (0.45, 0.7), (1.2, 1.5))
    tint = strength * np.array(_one(draw, (WARM, COOL))) ** draw.uniform(0.4, 1.0)
    lamp = draw.uniform(0.6, 1.8)
    round_, down = draw.uniform(0, 2 * np.pi), draw.uniform(np.radians(35), np.radians(75))
    towards = np.array([np.cos(round_) * np.cos(down), np.sin(round_) * np.cos(down), -np.sin(down)])
    lit = usual.light
    light = Light(_three(tint * lit.ambient), _three(tint * lit.head), _three(lamp * tint * lit.lamp), _three(towards))
    return replace(usual, light=light)


def _camera(usual: Scenery, draw: Draw) -> Scenery:
    """The front camera 2 to 5 cm from its place, looking 1 to 4 degrees aside."""
    eye, gaze = np.array(usual.eye), np.array(usual.gaze)
    moved = eye + _direction(draw) * draw.uniform(0.02, 0.05)
    ahead = gaze - eye
    aside = np.cross(ahead, _direction(draw))
    aside *= np.linalg.norm(ahead) / np.linalg.norm(aside) * np.tan(np.radians(draw.uniform(1, 4)))
    return replace(usual, eye=_three(moved), gaze=_three(moved + ahead + aside))


def _distractor(usual: Scenery, draw: Draw) -> Scenery:
    """One to three other things, of no colour that a cube or a pad has, and low enough to reach over."""
    colours = draw.permutation(len(OTHERS))
    return replace(usual, others=tuple(_other(draw, OTHERS[k]) for k in colours[: int(draw.integers(1, 4))]))


def _other(draw: Draw, colour: Colour) -> Solid:
    shape = _one(draw, get_args(Shape))
    wide, deep, high = draw.uniform((0.03, 0.03, 0.025), (0.06, 0.06, 0.055)).tolist()
    return Solid(shape, (wide, deep if shape in {"box", "stump"} else wide, high), colour)


def _novel_instance(usual: Scenery, draw: Draw) -> Scenery:
    """What is called a cube is another solid, in another shade of its colour."""
    shape = _one(draw, get_args(Shape))
    size = (draw.uniform(0.030, 0.034), 0.044, 0.044) if shape == "box" else (0.042, 0.042, 0.040)
    lighter, greyer = _either(draw, (0.55, 0.8), (1.15, 1.3)), draw.uniform(0.7, 0.95)
    turned = draw.uniform(-0.025, 0.025)

    def shade(colour: Colour) -> Colour:
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        return colorsys.hsv_to_rgb((hue + turned) % 1.0, saturation * greyer, min(1.0, value * lighter))

    cubes = tuple((name, Solid(shape, size, shade(each.colour))) for name, each in usual.cubes)
    return replace(usual, cubes=cubes)


def _size_shift(usual: Scenery, draw: Draw) -> Scenery:
    """All cubes smaller or larger: edges of 40 mm become 30 to 36 or 44 to 50."""
    scale = _either(draw, (0.75, 0.9), (1.1, 1.25))
    cubes = tuple((name, replace(each, size=_three(scale * np.array(each.size)))) for name, each in usual.cubes)
    return replace(usual, cubes=cubes)


def _start_shift(usual: Scenery, draw: Draw) -> Scenery:
    """The arm begins elsewhere, pointing down as ever; or cubes stand around their area; or both."""
    shifted = _one(draw, (("arm",), ("cubes",), ("arm", "cubes")))
    chain, home = Chain(), np.array(usual.start)
    tool = chain.tool(home)
    way = draw.uniform((-0.08, -0.12, -0.10), (0.08, 0.12, 0.06))
    tool[:3] += way * max(1.0, 0.06 / float(np.linalg.norm(way)))
    half = draw.uniform(-0.4, 0.4) / 2
    tool[3:] = 0.0, np.cos(half), np.sin(half), 0.0
    moved = replace(usual, start=tuple(chain.joints(home, tool).tolist())) if "arm" in shifted else usual
    (near, far), (right, left) = usual.area
    wide = draw.uniform((0.03, 0.03, 0.04, 0.04), (0.06, 0.06, 0.08, 0.08)).tolist()
    band = ((near - wide[0], far + wide[1]), (right - wide[2], left + wide[3]))
    return replace(moved, area=band, spared=usual.area) if "cubes" in shifted else moved


AXES: Mapping[str, Callable[[Scenery, Draw], Scenery]] = {
    "background": _background,
    "lighting": _lighting,
    "camera": _camera,
    "distractor": _distractor,
    "novel_instance": _novel_instance,
    "size_shift": _size_shift,
    "start_shift": _start_shift,
}
"""What can be varied, in the order in which it is."""

WARM, COOL = (1.0, 0.80, 0.55), (0.72, 0.88, 1.0)
"""White, as a camera that is balanced for daylight sees it under an old light bulb, and under a blue sky."""

OTHERS: tuple[Colour, ...] = (
    (0.95, 0.45, 0.05),
    (0.92, 0.92, 0.92),
    (0.08, 0.08, 0.09),
    (0.95, 0.55, 0.70),
    (0.40, 0.24, 0.12),
    (0.10, 0.70, 0.72),
)
"""Orange, white, black, pink, brown and turquoise."""


def _one[T](draw: Draw, among: tuple[T, ...]) -> T:
    return among[int(draw.integers(len(among)))]


def _either(draw: Draw, low: tuple[float, float], high: tuple[float, float]) -> float:
    """Between two numbers, or between two others: never what lies in the middle, which is as usual."""
    return float(draw.uniform(*_one(draw, (low, high))))


def _pale(draw: Draw, darkest: float) -> Colour:
    return colorsys.hsv_to_rgb(*draw.uniform((0.0, 0.0, darkest), (1.0, 0.45, 0.9)).tolist())


def _direction(draw: Draw) -> NDArray[np.float64]:
    way = draw.normal(size=3)
    return np.asarray(way / np.linalg.norm(way))


def _three(values: NDArray[np.float64]) -> Point:
    x, y, z = values.tolist()
    return x, y, z
