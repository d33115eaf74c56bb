"""Eyes of the head's own, ours: key points, a key frame, and what they say to every step of the plan.

A language model that was trained from nothing on two CPU cores knows hardly where things are. `KeyPoints` do after
minutes, and where the hand will next act is learned from the demonstrations themselves. It is told from the state, too,
unlike that of `learners.keyframe` (DECISIONS.md 9). The ``paper`` and ``release`` presets have none of this.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.backbones import KeyPoints
from learners.body import Body
from learners.data import KEY
from learners.policy import Scales


@dataclass(frozen=True)
class Sight:
    """What the head sees by itself."""

    points: int = 0
    """Key points per camera; without any, it sees nothing by itself."""
    channels: int = 32
    hidden: int = 256
    keyframe: float = 1.0
    """Weight of saying where each hand will next open or close."""
    state_noise: float = 0.0
    """Spread of noise on normalised states in training, so that small errors are seen there."""
    brightness: float = 0.0
    """Spread of one random gain per picture in training."""


@dataclass(frozen=True)
class Seen:
    """What was seen in some samples."""

    tokens: Tensor
    """(B, cameras * points, width): what the head attends to beside the prompt."""
    hint: Tensor
    """(B, width): what every step of the plan is told."""
    key: Tensor | None
    """(B, 9 * arms): the next key frame, normalised; None where nobody knows of tools."""


class Eyes(nn.Module):
    """Key points of every camera and the key frame that they foretell."""

    def __init__(self, how: Sight, cameras: int, body: Body | None, felt: int, width: int) -> None:
        """``felt`` is numbers of a state. Without a body, nobody knows where in it tools are: no key frame then."""
        super().__init__()
        self.how, self.body = how, body
        self.vision = KeyPoints(cameras, how.points, how.channels)
        self.tokens = nn.Sequential(nn.Linear(self.vision.width, width), nn.SiLU(), nn.Linear(width, width))
        told = felt
        if body is not None:
            self.key = nn.Sequential(
                nn.Linear(self.vision.summary_width + felt, how.hidden),
                nn.SiLU(),
                nn.Linear(how.hidden, KEY * body.arms),
            )
            told += (KEY + 3) * body.arms
        self.hint = nn.Sequential(nn.Linear(told, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, images: Tensor, felt: Tensor, state: Tensor, scales: Scales) -> Seen:
        """Look at pictures (B, V, 3, H, W), 0..255, with normalised and raw newest states (B, width)."""
        pixels = images.float() / 127.5 - 1
        if self.training and self.how.brightness:
            gain = torch.randn(*images.shape[:2], 1, 1, 1, device=images.device)
            pixels = pixels * (1 + self.how.brightness * gain)
        seen = self.vision(pixels)
        if self.body is None:
            return Seen(self.tokens(seen), self.hint(felt), None)
        key = self.key(torch.cat([self.vision.summary(seen), felt], dim=-1))
        told = key.detach()
        there = scales.undo("key", told).unflatten(-1, (-1, KEY))[..., :3].flatten(-2)
        # The way to there (decimetres) from where each tool is.
        way = 10 * (there - state[:, self.body.tools])
        return Seen(self.tokens(seen), self.hint(torch.cat([told, way, felt], dim=-1)), key)

    def losses(self, seen: Seen, key: Tensor, scales: Scales) -> dict[str, Tensor]:
        """How far off the key frame is, if there is one; a knee of a tenth keeps the pull on the last centimetres."""
        if seen.key is None:
            return {}
        return {"key": self.how.keyframe * F.smooth_l1_loss(seen.key, scales.do("key", key), beta=0.1)}
