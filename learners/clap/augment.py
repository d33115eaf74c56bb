"""Other light on the same scene: what may change in a picture without changing what was done in it.

Nothing is moved, turned or mirrored, because the action would have to change with it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

GREY = (0.299, 0.587, 0.114)
"""How bright red, green and blue look (ITU-R BT.601)."""


class Light(NamedTuple):
    """One draw per sample (B,). Both frames of a pair are seen in it."""

    brightness: Tensor
    contrast: Tensor
    grey: Tensor
    """bool."""


@dataclass(frozen=True)
class Photometric:
    """How far the light varies."""

    brightness: float = 0.2
    """Largest share that pictures become brighter or darker."""
    contrast: float = 0.2
    grey: float = 0.1
    """Share of samples that lose their colour."""
    noise: float = 0.02
    """Spread of each pixel's own noise, of 1."""

    def draw(self, count: int, generator: torch.Generator | None = None) -> Light:
        """Light for that many samples."""
        one, other, third = torch.rand(3, count, generator=generator)
        return Light(1 + self.brightness * (2 * one - 1), 1 + self.contrast * (2 * other - 1), third < self.grey)

    def seen(self, pictures: Tensor, light: Light, generator: torch.Generator | None = None) -> Tensor:
        """Pictures (B, T, 3, H, W), 0..1, in that light. Noise is drawn for every picture by itself."""
        brightness, contrast, grey = (each.to(pictures.device).view(-1, 1, 1, 1, 1) for each in light)
        bright = pictures * brightness
        middle = bright.mean((-3, -2, -1), keepdim=True)
        seen = middle + (bright - middle) * contrast
        weights = seen.new_tensor(GREY).view(3, 1, 1)
        seen = torch.where(grey, (seen * weights).sum(-3, keepdim=True), seen)
        if self.noise:
            drawn = torch.randn(seen.shape, generator=generator).to(seen) if generator else torch.randn_like(seen)
            seen = seen + self.noise * drawn
        return seen.clamp(0, 1)


USUAL = Photometric()
"""As far as the release lets the light vary."""

STEADY = Photometric(brightness=0.0, contrast=0.0, grey=0.0, noise=0.0)
"""The light as it is."""
