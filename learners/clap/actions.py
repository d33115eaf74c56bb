"""What an action token means: an arm's chunk of poses as numbers near [-1, 1], and the way back to a robot.

CLAP models every arm as a sequence of its own (Eq. 1): translation, three angles and the hand, relative to where the
tool is at the chunk's first moment. What two arms do stands in two slots, left and right; an arm that is not there is
zero and masked, and `active` leaves it out.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from learners.data import TRAVEL, Windows
from learners.transforms import STEP

POSE = 6
"""Numbers of a step that tell of the tool; the seventh is the hand."""
LEAST = (0.01, 0.01, 0.01, 0.05, 0.05, 0.05)
"""Half of a range (m, rad) is never less: what a tool hardly does must not become as loud as what it does."""
STILL = 1e-3
"""A pose (m and rad) as small as this is none."""

Frame = Literal["base", "tool"]
Rotation = Literal["euler", "vector"]


@dataclass(frozen=True)
class Schema:
    """How chunks become rows; whoever shares tokens shares this."""

    hz: float
    steps: int
    """Of a chunk (H)."""
    low: tuple[float, ...]
    """1 % quantiles (m, rad) of the six pose numbers over all arms; they become -1."""
    high: tuple[float, ...]
    """99 % quantiles; they become +1. Nothing is clipped."""
    open: float
    """Opening (m) of the hand that becomes -1."""
    closed: float
    """Opening (m) of the hand that becomes +1."""
    frame: Frame = "base"
    """Whose axes a motion is told in: those of the robot's base, or of the tool at the first moment."""
    rotation: Rotation = "euler"
    """Angles about x, y, z of ``R = Rz Ry Rx``, or axis times angle."""

    @classmethod
    def fit(cls, data: Windows, frame: Frame = "base", rotation: Rotation = "euler") -> Self:
        """Measure the windows, which are cut by a `ToolView`.

        Raises:
            ValueError: they are not.
        """
        some = data.sample(1 << 13)
        plan = torch.from_numpy(data.plan[some])
        if plan.shape[-1] != STEP * data.body.arms:
            raise ValueError(
                f"an action schema is fitted to tool poses, {STEP} numbers a step of each arm, and these windows have "
                f"{plan.shape[-1]} for {data.body.arms} arms: cut them with a ToolView"
            )
        bare = cls(data.hz, plan.shape[1], (-1.0,) * POSE, (1.0,) * POSE, -1.0, 1.0, frame, rotation)
        steps = bare._told(plan, torch.from_numpy(data.state[some])).reshape(-1, STEP).double().numpy()
        low, high = np.quantile(steps[:, :POSE], [0.01, 0.99], axis=0)
        middle, half = (low + high) / 2, np.maximum((high - low) / 2, LEAST)
        hand = (steps[:, POSE].min() + steps[:, POSE].max()) / 2
        reach = max(float(np.ptp(steps[:, POSE])), TRAVEL) / 2
        return cls(
            data.hz,
            plan.shape[1],
            tuple(float(number) for number in middle - half),
            tuple(float(number) for number in middle + half),
            float(hand + reach),
            float(hand - reach),
            frame,
            rotation,
        )

    @classmethod
    def said(cls, facts: Mapping[str, Any]) -> Self:
        """The schema that an artefact's facts tell of.

        Raises:
            KeyError: they tell of none.
        """
        told = dict(facts["schema"])
        return cls(**told | {name: tuple(told[name]) for name in ("low", "high")})

    @property
    def facts(self) -> dict[str, Any]:
        """How an artefact keeps it, as JSON has it; `said` reads it back."""
        return {"schema": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}}

    @property
    def id(self) -> str:
        """The same for the same meaning, 16 hexadecimal digits."""
        return blake2b(json.dumps(self.facts, sort_keys=True).encode(), digest_size=8).hexdigest()

    def rows(self, plan: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Chunks of a `ToolView` (B, H, 7 * arms) in the slots left and right: (B, 2, H, 7), and who is there (B, 2).

        ``state`` (B, history, width) is what the robot felt; it is looked at when the frame is the tool's.
        """
        told = self._told(plan, state)
        low, high = self._range(told)
        rows = (2 * (told - low) / (high - low) - 1).transpose(1, 2)
        there = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
        if rows.shape[1] == 1:
            rows = torch.cat([torch.zeros_like(rows), rows], dim=1)
            there = torch.cat([~there, there], dim=1)
        return rows, there

    def plan(self, rows: Tensor, arms: int, state: Tensor | None = None) -> Tensor:
        """What `rows` was given: (B, H, 7 * arms)."""
        steps = rows[:, -arms:].transpose(1, 2)
        low, high = self._range(steps)
        way, turn, hand = ((steps + 1) / 2 * (high - low) + low).split((3, 3, 1), dim=-1)
        turn = turned(turn) if self.rotation == "euler" else turn
        if self.frame == "tool":
            base_tool = orientation(state, arms)
            way, turn = _rotated(base_tool, way), _rotated(base_tool, turn)
        return torch.cat([way, turn, hand], dim=-1).flatten(-2)

    def unknown(self, count: int) -> tuple[Tensor, Tensor]:
        """Rows of film, in which nobody knows the action: zeros, and no arm to learn from."""
        return torch.zeros(count, 2, self.steps, STEP), torch.zeros(count, 2, dtype=torch.bool)

    def _told(self, plan: Tensor, state: Tensor | None) -> Tensor:
        """Steps (B, H, arms, 7) in this frame and by these angles, in metres and radians."""
        steps = plan.unflatten(-1, (-1, STEP))
        way, turn, hand = steps.split((3, 3, 1), dim=-1)
        if self.frame == "tool":
            tool_base = orientation(state, steps.shape[2]).mT
            way, turn = _rotated(tool_base, way), _rotated(tool_base, turn)
        return torch.cat([way, angles(turn) if self.rotation == "euler" else turn, hand], dim=-1)

    def _range(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor([*self.low, self.open]), like.new_tensor([*self.high, self.closed])


def active(rows: Tensor, mask: Tensor) -> Tensor:
    """What the arms that are there (B, 2) do: (R, ...), sample by sample, left before right."""
    return rows[mask]


def scatter(those: Tensor, mask: Tensor) -> Tensor:
    """What `active` was given (B, 2, ...), with zeros for arms that are not there."""
    rows = those.new_zeros(*mask.shape, *those.shape[1:])
    rows[mask] = those
    return rows


def still(plan: Tensor) -> Tensor:
    """Chunks of a `ToolView` (B, H, 7 * arms) that teach nothing (B,): no arm moves in half of it, and no hand at all.

    The release leaves out chunks whose tool rests for half of the steps. A hand that closes while its arm waits is what
    a grasp is, so those stay in.
    """
    steps = plan.unflatten(-1, (-1, STEP))
    resting = (steps[..., :POSE].norm(dim=-1) <= STILL).all(dim=-1).float().mean(dim=1) >= 0.5
    return resting & (steps[..., POSE].amax(1) - steps[..., POSE].amin(1) < TRAVEL).all(dim=-1)


def angles(turn: Tensor) -> Tensor:
    """Angles (..., 3) about x, y and z of rotation vectors (..., 3): ``R = Rz Ry Rx``, all in radians.

    Where y turns by a right angle, x and z are the same axis, and only their sum means something.
    """
    angle = turn.norm(dim=-1, keepdim=True)
    # sin(a/2)/a, which is 1/2 at rest
    x, y, z = (turn * 0.5 * torch.sinc(angle / (2 * torch.pi))).unbind(-1)
    w = torch.cos(angle / 2)[..., 0]
    roll = torch.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = torch.asin((2 * (w * y - x * z)).clamp(-1.0, 1.0))
    yaw = torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return torch.stack([roll, pitch, yaw], dim=-1)


def turned(angles: Tensor) -> Tensor:
    """Rotation vectors (..., 3) of angles about x, y and z: undoes `angles`."""
    (cr, cp, cy), (sr, sp, sy) = (part.unbind(-1) for part in (torch.cos(angles / 2), torch.sin(angles / 2)))
    real = cr * cp * cy + sr * sp * sy
    axis = [sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy]
    q = torch.stack([real, *axis], dim=-1)
    q = torch.where(real[..., None] < 0, -q, q)
    sine = q[..., 1:].norm(dim=-1, keepdim=True)
    whole = 2 * torch.atan2(sine, q[..., :1])
    return q[..., 1:] * torch.where(sine > 1e-7, whole / sine.clamp_min(1e-7), 2.0)


def orientation(state: Tensor | None, arms: int) -> Tensor:
    """Which way each tool points (B, 1, arms, 3, 3), as the newest of the states says.

    Raises:
        ValueError: there is no state.
    """
    if state is None:
        raise ValueError(
            "actions are told in the tool's frame, and nothing says how the tool is turned: give the state"
        )
    # An arm's state ends in the first two axes of its tool and its hand's opening: see `learners.body.Body.width`.
    axes = state[:, -1].unflatten(-1, (arms, -1))[..., -7:-1].to(torch.float32)
    first, second = axes[..., :3], axes[..., 3:]
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)[:, None]


def _rotated(by: Tensor, vectors: Tensor) -> Tensor:
    return (by.to(vectors.dtype) @ vectors[..., None])[..., 0]
