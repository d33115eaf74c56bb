"""Which servos turn which joints, and what their positions mean."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from drivers.device import DeviceError
from drivers.dynamixel.registers import TURN

Floats = NDArray[np.float64]
Positions = NDArray[np.int32]


class Joint(NamedTuple):
    """A joint and the servos that turn it: the first is commanded, a second one follows it on the wire."""

    name: str
    ids: tuple[int, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Six joints and a gripper."""

    name: str
    arm: tuple[Joint, ...]
    gripper: Joint

    @property
    def joints(self) -> tuple[Joint, ...]:
        """The joints from the foot on, then the gripper."""
        return (*self.arm, self.gripper)

    @property
    def ids(self) -> tuple[int, ...]:
        """Every servo, from the foot on."""
        return tuple(id_ for joint in self.joints for id_ in joint.ids)

    @property
    def masters(self) -> tuple[int, ...]:
        """The servo of every joint that is commanded; the gripper's is the last."""
        return tuple(joint.ids[0] for joint in self.joints)

    def joint(self, id_: int) -> str:
        """Return the name of the joint that a servo turns."""
        return next(joint.name for joint in self.joints if id_ in joint.ids)


def _layout(name: str, big: str, small: str, wrist: str) -> Layout:
    arm = (
        Joint("waist", (1,), (big,)),
        Joint("shoulder", (2, 3), (big, big)),
        Joint("elbow", (4, 5), (big, big)),
        Joint("forearm_roll", (6,), (big,)),
        Joint("wrist_angle", (7,), (wrist,)),
        Joint("wrist_rotate", (8,), (small,)),
    )
    return Layout(name, arm, Joint("gripper", (9,), (small,)))


FOLLOWER = _layout("ViperX 300 S", "XM540-W270", "XM430-W350", "XM540-W270")
"""The arm that follows. Check the models against the arm that stands there; connecting does, too."""

LEADER = _layout("WidowX 250 S", "XM430-W350", "XL430-W250", "XM430-W350")
"""The smaller arm that a hand moves."""

LAYOUTS = {layout.name: layout for layout in (FOLLOWER, LEADER)}
"""The arms this driver knows."""


@dataclass(frozen=True)
class Calibration:
    """What an arm's positions (4096 a turn) mean in radians and metres. ``id`` is what the catalog calls it."""

    zero: tuple[int, ...] = (2048,) * 6
    """Positions at which the joint angles are zero."""
    sign: tuple[int, ...] = (1,) * 6
    """1 where the angle grows with the position, -1 where it falls."""
    low: tuple[float, ...] = (-3.1, -1.85, -1.76, -3.1, -1.86, -3.1)
    """Lowest joint angles, in radians."""
    high: tuple[float, ...] = (3.1, 1.25, 1.60, 3.1, 2.23, 3.1)
    """Highest joint angles, in radians."""
    closed: int = 1643
    """The gripper's position when its fingers touch."""
    open: int = 3020
    """Its position when they are furthest apart."""
    id: int | None = None

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.zero, self.sign, self.low, self.high)}
        if lengths != {6}:
            raise DeviceError(f"a calibration has 6 joints, from waist to wrist; this one has {sorted(lengths)}")
        if set(self.sign) - {1, -1} or self.closed == self.open or not (np.array(self.low) < self.high).all():
            raise DeviceError(f"a calibration needs signs 1 or -1, low below high, closed unlike open; this is {self}")

    def values(self) -> dict[str, Any]:
        """Return it as a value that JSON can hold, without its id."""
        return {key: value for key, value in asdict(self).items() if key != "id"}

    @classmethod
    def of(cls, values: Mapping[str, Any], id_: int | None = None) -> Self:
        """Return the calibration that ``values`` describes, as the catalog keeps it under ``id_``.

        Raises:
            DeviceError: something is missing, or too much.
        """
        known = set(cls.__dataclass_fields__) - {"id"}
        if values.keys() != known:
            raise DeviceError(f"a calibration has {sorted(known)}, not {sorted(values)}")
        given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**given, id=id_)

    def angles(self, positions: NDArray[Any]) -> Floats:
        """Return joint angles (..., 6) in radians for positions (..., 6)."""
        return np.asarray((positions - np.array(self.zero)) * (2 * np.pi / TURN) * self.sign, np.float64)

    def positions(self, angles: Floats) -> Positions:
        """Return the positions (6,) nearest to joint angles (6,), within the joints' limits."""
        within = np.clip(angles, self.low, self.high) * self.sign
        return np.asarray(np.rint(within * (TURN / (2 * np.pi))) + self.zero, np.int32)

    def width(self, position: float, widest: float) -> float:
        """Return how far the fingers are apart, in metres, where ``widest`` is the most."""
        return float((position - self.closed) / (self.open - self.closed) * widest)

    def grip(self, width: float, widest: float) -> int:
        """Return the gripper's position for an opening, within what it can open."""
        return round(self.closed + float(np.clip(width / widest, 0, 1)) * (self.open - self.closed))


BY_HAND = Calibration(
    low=(-3.1, -1.88, -2.14, -3.1, -1.74, -3.1), high=(3.1, 1.98, 1.60, 3.1, 2.14, 3.1), closed=1602, open=2249
)
"""What a leader's positions mean as it leaves the shop."""
