"""Pairs of functions that undo each other: what a method wants, and what a robot is told.

Poses are seven numbers, ``x y z`` in metres and a unit quaternion ``qw qx qy qz``. A *view* turns the targets
that followed a moment into what a method predicts, and its inverse turns a prediction back into timed targets.
What two arms are asked for stands side by side, each arm's opening last, the left arm's numbers before the right's.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from learners.body import Body, by_arm, openings, side_by_side, widths

Floats = NDArray[np.floating[Any]]


def quaternion_product(a: Floats, b: Floats) -> Floats:
    """Hamilton product of quaternions (..., 4), real part first."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(q: Floats) -> Floats:
    """The inverse rotation of unit quaternions (..., 4)."""
    return q * np.array([1.0, -1.0, -1.0, -1.0])


def rotation_vector(q: Floats) -> Floats:
    """Axis times angle (..., 3), in radians, of unit quaternions (..., 4); the angle is at most pi."""
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., :1])
    return q[..., 1:] * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 2.0)


def quaternion(vector: Floats) -> Floats:
    """Unit quaternions (..., 4) of rotation vectors (..., 3)."""
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    # sin(a/2)/a, which is 1/2 at rest
    share = 0.5 * np.sinc(angle / (2 * np.pi))
    return np.concatenate([np.cos(angle / 2), vector * share], axis=-1)


def axes(q: Floats) -> Floats:
    """The first two columns of the rotation matrices (..., 6): continuous, unlike any three numbers."""
    w, x, y, z = np.moveaxis(q, -1, 0)
    first = [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]
    second = [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)]
    return np.stack([*first, *second], axis=-1)


class View(Protocol):
    """How a method sees targets. Implementations are frozen dataclasses; ``decode`` undoes ``encode``."""

    @property
    def width(self) -> int:
        """Numbers per step."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of the robot's rows that the targets are read from."""
        ...

    def of(self, body: Body) -> Self:
        """The same view of the targets of this robot."""
        ...

    def encode(self, targets: dict[str, Floats], now: dict[str, Floats]) -> Floats:
        """Targets (N, k, ...) that followed a moment, seen from it (N, ...), as (N, k, width)."""
        ...

    def decode(self, steps: Floats, now: dict[str, Floats]) -> dict[str, Floats]:
        """What ``encode`` was given: fields of an action row, each (N, k, ...)."""
        ...


@dataclass(frozen=True)
class JointView:
    """Absolute joint targets and gripper opening, as CCoL and ACT predict them (radians, metres)."""

    joints: int = 7
    """Of all arms together."""
    arms: int = 1

    @property
    def width(self) -> int:
        return self.joints + self.arms

    @property
    def needs(self) -> tuple[str, ...]:
        return ("q_target", "width_target")

    def of(self, body: Body) -> Self:
        return replace(self, joints=body.joints, arms=body.arms)

    def encode(self, targets: dict[str, Floats], now: dict[str, Floats]) -> Floats:
        q, opening = by_arm(targets["q_target"], self.arms), openings(targets["width_target"], self.arms)
        return side_by_side(np.concatenate([q, opening], axis=-1))

    def decode(self, steps: Floats, now: dict[str, Floats]) -> dict[str, Floats]:
        each = by_arm(steps, self.arms)
        return {"q": side_by_side(each[..., :-1]), "width": widths(each[..., -1:])}


@dataclass(frozen=True)
class ToolView:
    """Tool pose relative to where the tool is at the first step, in the base frame, and gripper opening.

    Seven numbers an arm: translation (m), rotation vector of ``R[t+i] R[t]^T`` (rad), opening (m).
    """

    arms: int = 1

    @property
    def width(self) -> int:
        return STEP * self.arms

    @property
    def needs(self) -> tuple[str, ...]:
        return ("tool_target", "width_target")

    def of(self, body: Body) -> Self:
        return replace(self, arms=body.arms)

    def encode(self, targets: dict[str, Floats], now: dict[str, Floats]) -> Floats:
        there, here = by_arm(targets["tool_target"], self.arms), by_arm(now["tool"], self.arms)[:, None]
        turn = rotation_vector(quaternion_product(there[..., 3:], conjugate(here[..., 3:])))
        way = there[..., :3] - here[..., :3]
        return side_by_side(np.concatenate([way, turn, openings(targets["width_target"], self.arms)], axis=-1))

    def decode(self, steps: Floats, now: dict[str, Floats]) -> dict[str, Floats]:
        each, here = by_arm(steps, self.arms), by_arm(now["tool"], self.arms)[:, None]
        turned = quaternion_product(quaternion(each[..., 3:6]), here[..., 3:])
        tool = np.concatenate([here[..., :3] + each[..., :3], turned], axis=-1)
        return {"tool": side_by_side(tool), "width": widths(each[..., 6:])}


STEP = 7
"""Numbers that `ToolView` has of each arm and step."""


def slots(steps: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Steps of a `ToolView` in the places of a pair (..., 14), and which of the two arms (2,) they tell of.

    A single arm takes the right one's place; the left one's is zero and counts for nothing.
    """
    if steps.shape[-1] == 2 * STEP:
        return steps, np.array([True, True])
    return np.concatenate([np.zeros_like(steps), steps], axis=-1), np.array([False, True])


def out_of_slots(steps: Floats, arms: NDArray[np.bool_]) -> Floats:
    """What `slots` was given: the steps of the arms (2,) that count."""
    return side_by_side(by_arm(steps, 2)[..., arms, :])


@dataclass(frozen=True)
class Affine:
    """Shift and scale, remembered so that it can be undone. Arrays end in the numbers it was fitted to."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def fit(cls, values: Floats, least: float = 1e-3) -> "Affine":
        """Zero mean over all but the last axis, and unit spread, where a spread below ``least`` counts as ``least``.

        A number that hardly varied in training must not become a loud one when it varies a little more later.
        """
        flat = values.reshape(-1, values.shape[-1])
        return cls(flat.mean(0).astype("f4"), np.maximum(flat.std(0), least).astype("f4"))

    def do(self, values: Floats) -> NDArray[np.float32]:
        return ((values - self.mean) / self.scale).astype("f4")

    def undo(self, values: Floats) -> Floats:
        return values * self.scale + self.mean


VIEWS: dict[str, View] = {"joint": JointView(), "tool": ToolView()}
"""The action views a method may name; `View.of` fits one to a robot."""
