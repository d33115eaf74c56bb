"""What a chunk of motion is called: which way, about which axis, and whether the hand closes.

LaDA names the classes and gives no thresholds; those here are ours. A chunk is what it amounts to from its first moment
to its last step, because single steps are shorter than any noise. Forward is +x of the frame, left is +y, up is +z.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.clap.actions import orientation
from learners.lada.words import HANDS, TURNS, WAYS, Motion, sentence
from learners.transforms import STEP

COUNTS = (len(WAYS), len(TURNS), len(HANDS))
"""Classes of translation, rotation and hand."""
BINS = 5
"""Numbers that a stored label has of each arm: the three classes, then distance and angle in bins."""
MILLIMETRES = 1000
MARGIN = 0.01
"""Openings are measured between these shares of all there are, so that a slip of the fingers does not count."""

type Codes = NDArray[np.uint16]


@dataclass(frozen=True)
class Primitives:
    """How chunks are named. Whoever shares labels shares this."""

    frame: Literal["base", "tool"] = "base"
    """Whose axes a motion is named by: those of the robot's base, or of the tool at the first moment."""
    window: int | None = None
    """Steps that a motion is added up over; None for all of a chunk."""
    least_way: float = 0.005
    """A shorter way (m) is none."""
    least_turn: float = 2.0
    """A smaller turn (degrees) is none."""
    way_bin: float = 0.01
    """Words round distances (m) to multiples of this."""
    turn_bin: float = 5.0
    """Words round angles (degrees) to multiples of this."""
    hysteresis: float = 0.1
    """A hand that is asked for less than this beyond half open, as a share of half its reach, stays what it was."""
    open: float | None = None
    """Opening (m) of an open hand; None until it is measured."""
    closed: float | None = None
    """Opening (m) of a closed hand; None until it is measured."""

    def measured(self, openings: NDArray[Any]) -> Self:
        """The same, with the hand's reach read off the openings (m) that it was asked for, to a millimetre.

        A hand that never moved is open.
        """
        if self.open is not None and self.closed is not None:
            return self
        low, high = np.round(np.quantile(openings, [MARGIN, 1 - MARGIN]) * MILLIMETRES) / MILLIMETRES
        if high <= low:
            low = high - 2 / MILLIMETRES
        return replace(
            self,
            open=float(high) if self.open is None else self.open,
            closed=float(low) if self.closed is None else self.closed,
        )

    @property
    def digest(self) -> str:
        """The same for the same meaning: 32 hexadecimal digits."""
        return blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """How labels keep what they mean, as JSON has it; `said` reads it back."""
        return {"primitives": asdict(self)}

    @classmethod
    def said(cls, facts: Mapping[str, Any]) -> Self:
        """The labeller that facts tell of.

        Raises:
            KeyError: they tell of none.
        """
        return cls(**facts["primitives"])

    def label(self, plan: Tensor, state: Tensor | None = None) -> "Labels":
        """Name chunks of a `ToolView` (B, k, 7 * arms). ``state`` is looked at when the frame is the tool's.

        Raises:
            ValueError: they are no such chunks, the hand's reach is not known, or the state is needed and missing.
        """
        if plan.shape[-1] % STEP:
            raise ValueError(f"primitives name tool motions, {STEP} numbers of each arm, not {plan.shape[-1]}")
        if self.open is None or self.closed is None:
            raise ValueError("nobody measured how far the hand opens; call Primitives.measured first")
        steps = plan[:, : self.window].unflatten(-1, (-1, STEP))
        way, turn = steps[:, -1, :, :3], steps[:, -1, :, 3:6]
        if self.frame == "tool":
            tool_base = orientation(state, steps.shape[2]).mT[:, 0].to(way.dtype)
            way, turn = ((tool_base @ each[..., None])[..., 0] for each in (way, turn))
        turn = turn.rad2deg()
        half = (self.open - self.closed) / 2
        shut = ((self.open + self.closed) / 2 - steps[..., 6]) / half
        kinds = [_signed(way, self.least_way), _signed(turn, self.least_turn), _held(shut, self.hysteresis)]
        classes = torch.stack(kinds, dim=-1)
        # What is told is how far it goes that way, not how far it goes in all.
        return Labels(classes, way.abs().amax(-1) * (classes[..., 0] > 0), turn.abs().amax(-1) * (classes[..., 1] > 0))

    def codes(self, labels: "Labels") -> Codes:
        """Labels as they are stored: (B, arms, 5). What moves at all goes one bin far at least."""
        bins = torch.stack([labels.distance / self.way_bin, labels.angle / self.turn_bin], dim=-1).round().long()
        bins = torch.where(labels.classes[..., :2] > 0, bins.clamp_min(1), 0)
        return torch.cat([labels.classes, bins], dim=-1).cpu().numpy().astype(np.uint16)

    def words(self, codes: NDArray[Any], magnitude: bool = True) -> list[str]:
        """Codes (B, arms, 5) in words; those (B, arms, 3) say nothing of how far."""
        known: dict[tuple[int, ...], str] = {}
        found = []
        for row in np.asarray(codes):
            key = tuple(int(number) for number in row.flat)
            if key not in known:
                known[key] = sentence([self.motion(arm, magnitude) for arm in row])
            found.append(known[key])
        return found

    def motion(self, code: Sequence[int] | NDArray[Any], magnitude: bool = True) -> "Motion":
        """One arm's code (5,) or (3,)."""
        way, turn, hand, *far = (int(number) for number in code)
        if not far or not magnitude:
            return Motion(WAYS[way], TURNS[turn], HANDS[hand])
        distance, angle = round(far[0] * self.way_bin, 6), round(far[1] * self.turn_bin, 6)
        return Motion(WAYS[way], TURNS[turn], HANDS[hand], distance if way else None, angle if turn else None)


@dataclass(frozen=True)
class Labels:
    """What chunks are called, arm by arm."""

    classes: Tensor
    """(B, arms, 3): numbers in `WAYS`, `TURNS` and `HANDS`."""
    distance: Tensor
    """(B, arms): metres along that way."""
    angle: Tensor
    """(B, arms): degrees about that axis."""


def _signed(vector: Tensor, least: float) -> Tensor:
    """Which axis (..., 3) is the largest and which way it points, as 1 to 6; 0 where it is less than ``least``."""
    axis = vector.abs().argmax(-1, keepdim=True)
    back = vector.gather(-1, axis) < 0
    return (1 + 2 * axis + back).squeeze(-1) * (vector.norm(dim=-1) >= least)


def _held(shut: Tensor, hysteresis: float) -> Tensor:
    """Whether hands close at the end of steps (B, k, arms) that are -1 open and +1 closed."""
    clear = shut.abs() > hysteresis
    # The newest step that is clear; without any, the first step's side.
    place = torch.arange(shut.shape[1], device=shut.device)[:, None]
    newest = (clear * place).amax(1, keepdim=True)
    return (shut.gather(1, newest)[:, 0] > 0).long()
