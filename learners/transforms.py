"""Pairs of functions that undo each other: what a method wants, and what a robot is told.

Poses are seven numbers, ``x y z`` in metres and a unit quaternion ``qw qx qy qz``. A *view* turns the targets
that followed a moment into what a method predicts, and its inverse turns a prediction back into timed targets.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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

    @property
    def width(self) -> int:
        return self.joints + 1

    @property
    def needs(self) -> tuple[str, ...]:
        return ("q_target", "width_target")

    def encode(self, targets: dict[str, Floats], now: dict[str, Floats]) -> Floats:
        return np.concatenate([targets["q_target"], targets["width_target"][..., None]], axis=-1)

    def decode(self, steps: Floats, now: dict[str, Floats]) -> dict[str, Floats]:
        return {"q": steps[..., :-1], "width": steps[..., -1]}


@dataclass(frozen=True)
class ToolView:
    """Tool pose relative to where the tool is at the first step, in the base frame, and gripper opening.

    Seven numbers: translation (m), rotation vector of ``R[t+i] R[t]^T`` (rad), opening (m).
    """

    @property
    def width(self) -> int:
        return 7

    @property
    def needs(self) -> tuple[str, ...]:
        return ("tool_target", "width_target")

    def encode(self, targets: dict[str, Floats], now: dict[str, Floats]) -> Floats:
        there, here = targets["tool_target"], now["tool"][:, None]
        turn = rotation_vector(quaternion_product(there[..., 3:], conjugate(here[..., 3:])))
        return np.concatenate([there[..., :3] - here[..., :3], turn, targets["width_target"][..., None]], axis=-1)

    def decode(self, steps: Floats, now: dict[str, Floats]) -> dict[str, Floats]:
        here = now["tool"][:, None]
        turned = quaternion_product(quaternion(steps[..., 3:6]), here[..., 3:])
        return {"tool": np.concatenate([here[..., :3] + steps[..., :3], turned], axis=-1), "width": steps[..., 6]}


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
"""The action views a method may name."""
