"""A transformer with skips over its depth, like a U-Net: what an early layer saw, its late partner sees again."""

from typing import Any

import torch
from torch import Tensor, nn


class SkipTransformer(nn.Module):
    """``layers`` blocks: half of them down, one in the middle, half of them up, each told what its partner put out.

    As in motion-latent-diffusion: post-norm blocks, a linear map from both halves to one, and a last norm.
    """

    def __init__(self, width: int, layers: int, heads: int, feedforward: int, dropout: float = 0.0) -> None:
        super().__init__()
        if layers % 2 == 0:
            raise ValueError(f"a skip transformer has as many layers down as up and one between: not {layers}")
        half = layers // 2

        def block() -> nn.Module:
            return nn.TransformerEncoderLayer(width, heads, feedforward, dropout, "gelu", batch_first=True)

        self.down = nn.ModuleList(block() for _ in range(half))
        self.middle = block()
        self.up = nn.ModuleList(block() for _ in range(half))
        self.join = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(half))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, width) as (B, T, width)."""
        seen: list[Tensor] = []
        for block in self.down:
            x = block(x)
            seen.append(x)
        x = self.middle(x)
        for block, join in zip(self.up, self.join, strict=True):
            x = block(join(torch.cat([x, seen.pop()], dim=-1)))
        out: Any = self.norm(x)
        return out
