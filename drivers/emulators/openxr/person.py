"""The person who wears the emulated headset: where head and hands are, and what the fingers do."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from drivers.device import DeviceError

Three = tuple[float, float, float]
Four = tuple[float, float, float, float]

SIDES = ("left", "right")


@dataclass(frozen=True)
class Pose:
    """A place in metres and a turn as a quaternion x y z w. ``a @ b`` is the pose ``b`` in ``a``, seen from outside."""

    p: Three = (0.0, 0.0, 0.0)
    q: Four = (0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        length = math.hypot(*self.q)
        if not 0.9 < length < 1.1:  # NaN too
            raise ValueError(f"a pose's quaternion (x y z w) must have length 1, not {length}")
        object.__setattr__(self, "q", tuple(number / length for number in self.q))

    def __matmul__(self, other: "Pose") -> "Pose":
        x, y, z = turned(self.q, other.p)
        return Pose((self.p[0] + x, self.p[1] + y, self.p[2] + z), product(self.q, other.q))

    def inverse(self) -> "Pose":
        back = (-self.q[0], -self.q[1], -self.q[2], self.q[3])
        x, y, z = turned(back, self.p)
        return Pose((-x, -y, -z), back)

    def towards(self, other: "Pose", share: float) -> "Pose":
        """The pose on the straight way to ``other``, of which ``share`` is done."""
        sign = 1.0 if sum(a * b for a, b in zip(self.q, other.q, strict=True)) >= 0 else -1.0
        mixed = [a + share * (sign * b - a) for a, b in zip((*self.p, *self.q), (*other.p, *other.q), strict=True)]
        place = [a + share * (b - a) for a, b in zip(self.p, other.p, strict=True)]
        length = math.hypot(*mixed[3:])
        turn = [number / length for number in mixed[3:]]
        return Pose((place[0], place[1], place[2]), (turn[0], turn[1], turn[2], turn[3]))


def product(a: Four, b: Four) -> Four:
    """Return the quaternion of the turn ``b`` and then ``a``."""
    (ax, ay, az, aw), (bx, by, bz, bw) = a, b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def turned(q: Four, v: Three) -> Three:
    """Return ``v`` turned by ``q``."""
    x, y, z, _ = product(product(q, (*v, 0.0)), (-q[0], -q[1], -q[2], q[3]))
    return (x, y, z)


@dataclass(frozen=True)
class Hand:
    """One controller and the hand that holds it, in the STAGE space: on the floor, +Y up."""

    grip: Pose = field(default_factory=Pose)
    aim: Pose | None = None
    """None where it is the grip's."""
    trigger: float = 0.0
    squeeze: float = 0.0
    stick: tuple[float, float] = (0.0, 0.0)
    buttons: int = 0
    """Bits: 1 lower (X, A), 2 upper (Y, B), 4 the stick, 8 menu."""


@dataclass(frozen=True)
class Person:
    """A head and two hands at one moment."""

    head: Pose = field(default_factory=lambda: Pose((0.0, 1.6, 0.0)))
    left: Hand = field(default_factory=lambda: Hand(Pose((-0.2, 1.2, -0.3))))
    right: Hand = field(default_factory=lambda: Hand(Pose((0.2, 1.2, -0.3))))

    @property
    def hands(self) -> tuple[Hand, Hand]:
        return self.left, self.right


Script = Callable[[float], Person]
"""What the person does, by the seconds since the runtime came up."""


def circles(seconds: float) -> Person:
    """Squeeze the right hand for three of every four seconds, and draw a circle of 10 cm in the air with it."""
    angle = 2 * math.pi * seconds / 4
    place = (0.2 + 0.1 * math.cos(angle), 1.2 + 0.1 * math.sin(angle), -0.3)
    closed = 1.0 if seconds % 4 >= 1 else 0.0
    return replace(Person(), right=Hand(Pose(place), squeeze=closed, trigger=0.5 - 0.5 * math.cos(angle)))


def changed(person: Person, said: Mapping[str, Any]) -> Person:
    """Return ``person`` after what is ``said``, e.g. ``{"right": {"grip": [7 numbers], "squeeze": 1.0}}``.

    Raises:
        ValueError: there is no such part of a person.
    """
    new: dict[str, Any] = {}
    for part, value in said.items():
        if part == "head":
            new[part] = pose(value)
        elif part in SIDES:
            new[part] = _moved(getattr(person, part), value)
        else:
            raise ValueError(f"a person has a head, a left and a right hand, no {part!r}")
    return replace(person, **new)


def _moved(hand: Hand, said: Mapping[str, Any]) -> Hand:
    known = [entry.name for entry in fields(Hand)]
    if unknown := sorted(said.keys() - set(known)):
        raise ValueError(f"a hand has no {unknown[0]!r}; it has {', '.join(known)}")
    reads: dict[str, Callable[[Any], Any]] = {"grip": pose, "aim": pose, "stick": _stick, "buttons": int}
    new: dict[str, Any] = {name: reads.get(name, float)(value) for name, value in said.items()}
    return replace(hand, **new)


def _stick(numbers: Any) -> tuple[float, float]:
    right, forward = map(float, numbers)
    return right, forward


def pose(numbers: Any) -> Pose:
    """Read x y z qx qy qz qw.

    Raises:
        ValueError: that is no pose.
    """
    if not isinstance(numbers, list | tuple) or len(numbers) != 7:
        raise ValueError(f"a pose is 7 numbers, x y z in metres and qx qy qz qw, not {numbers!r}")
    x, y, z, qx, qy, qz, qw = map(float, numbers)
    return Pose((x, y, z), (qx, qy, qz, qw))


def played(path: Path) -> Script:
    """Read a script: a line of JSON per moment, ``{"t": 1.5, "right": {"grip": [...], "squeeze": 1}}``.

    What a line does not say stays; between two moments poses, triggers, squeezes and sticks go evenly, buttons at once.

    Raises:
        DeviceError: it cannot be read. The message says which line, and why.
    """
    moments: list[tuple[float, Person]] = []
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise DeviceError(f"the script {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            said = json.loads(line)
            t = float(said.pop("t"))
            if moments and t <= moments[-1][0]:
                raise ValueError(f"t = {t} s does not come after {moments[-1][0]} s")
            moments.append((t, changed(moments[-1][1] if moments else Person(), said)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DeviceError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
    if not moments:
        raise DeviceError(f"the script {path} is empty; it takes a line of JSON per moment")

    def at(seconds: float) -> Person:
        after = next((index for index, (t, _) in enumerate(moments) if t > seconds), len(moments))
        if after in {0, len(moments)}:
            return moments[max(0, after - 1)][1]
        (t0, before), (t1, later) = moments[after - 1], moments[after]
        return _between(before, later, (seconds - t0) / (t1 - t0))

    return at


def _between(a: Person, b: Person, share: float) -> Person:
    return Person(
        a.head.towards(b.head, share),
        *(_halfway(one, other, share) for one, other in zip(a.hands, b.hands, strict=True)),
    )


def _halfway(a: Hand, b: Hand, share: float) -> Hand:
    def mix(x: float, y: float) -> float:
        return x + share * (y - x)

    return Hand(
        a.grip.towards(b.grip, share),
        (a.aim or a.grip).towards(b.aim or b.grip, share) if a.aim or b.aim else None,
        mix(a.trigger, b.trigger),
        mix(a.squeeze, b.squeeze),
        (mix(a.stick[0], b.stick[0]), mix(a.stick[1], b.stick[1])),
        a.buttons,
    )
