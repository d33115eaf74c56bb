"""Eyes, ours, for a language model made here: it is shown key points instead of patches.

A vision transformer that begins with nothing does not find a cube within minutes; a soft-argmax does. Every picture
becomes so many tokens, each what one key point saw and where, in the place of the picture's patch tokens. What a point
looks for depends on the instruction, so that the thing it names is found before the first block; points that look for
the same whatever is said are of no use to the blocks, which in as many minutes do not learn to choose among them.
Models that are loaded see with their own eyes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.backbones import KeyPoints

WAVES = 4
"""Octaves in which a place is told beside its number, so that near places can be told apart."""
VIEWS = 3
"""Most pictures of a prompt."""


class Points(nn.Module):
    """Pictures and an instruction to tokens of pictures."""

    def __init__(self, points: int, channels: int, width: int, foretold: int = 0) -> None:
        """``foretold`` numbers of the action are read off the first picture's points, and told with the first of them.

        Finding things by which action tokens they mean takes long; by numbers it takes hundreds of steps.
        """
        super().__init__()
        self.see = KeyPoints(1, points, channels)
        self.heed = nn.Parameter(torch.randn(points, width) * 0.02)
        self.seek = nn.Linear(width, channels)
        self.tell = nn.Sequential(
            nn.Linear(self.see.width + 4 * WAVES, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.point = nn.Parameter(torch.randn(points, width) * width**-0.5)
        self.view = nn.Parameter(torch.randn(VIEWS, 1, width) * width**-0.5)
        self.foresee = self.hint = None
        if foretold:
            self.foresee = nn.Sequential(nn.Linear(points * self.see.width, 128), nn.SiLU(), nn.Linear(128, foretold))
            self.hint = nn.Linear(foretold, width)

    def forward(self, pixels: Tensor, words: Tensor, task: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tokens (B * V * points, width) of pictures (B * V, 3, H, W), -1..1; and what is foretold (B, numbers).

        ``words`` (B, L, width) are listened to where ``task`` (B, L) says that they are of the instruction.

        Raises:
            ValueError: there are more pictures to a prompt than `VIEWS`.
        """
        views = len(pixels) // len(words)
        if views > VIEWS:
            raise ValueError(f"a prompt of {views} pictures; eyes made here look at most at {VIEWS}")
        heard = F.layer_norm(words, words.shape[-1:])
        # Where nothing is said, nothing is listened to: an answer behind the prompt least of all.
        weight = (heard @ self.heed.mT).masked_fill(~task[..., None], torch.finfo(heard.dtype).min).softmax(1)
        weight = weight * task[..., None]
        aims = self.seek(F.layer_norm(weight.mT @ heard, words.shape[-1:]))
        seen = self.see(pixels[:, None], aims.repeat_interleave(views, 0))
        rate = torch.pi / 2 * 2.0 ** torch.arange(WAVES, device=seen.device, dtype=seen.dtype)
        angle = (seen[..., -3:-1, None] / 2 * rate).flatten(-2)
        told = self.tell(torch.cat([seen, angle.sin(), angle.cos()], dim=-1)) + self.point
        told = told.unflatten(0, (-1, views)) + self.view[:views]
        foretold = None
        if self.foresee is not None and self.hint is not None:
            foretold = self.foresee(seen.unflatten(0, (-1, views))[:, 0].flatten(1))
            hint = F.pad(self.hint(foretold.detach())[:, None], (0, 0, 0, told.shape[2] - 1))
            told = torch.cat([(told[:, 0] + hint)[:, None], told[:, 1:]], dim=1)
        return told.flatten(0, 2), foretold
