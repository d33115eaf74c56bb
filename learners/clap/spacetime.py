"""Attention over the patches of two frames: within each, and from the later one back to the earlier. Never forward."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.backbones import sinusoids

FEW = 8
"""Numbers of a patch."""


class Attention(nn.Module):
    """Multi-head attention of a sequence (B, T, width) on itself."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not fall into {heads} heads")
        self.heads = heads
        self.causal = causal
        self.ask = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.ask(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention within a frame, causal attention of each token over the frames, and a feed-forward net; pre-norm.

    With ``temporal=False`` there is one frame, and attention within it alone.
    """

    def __init__(self, width: int, heads: int, temporal: bool = True) -> None:
        super().__init__()
        self.spatial = nn.Sequential(nn.LayerNorm(width), Attention(width, heads, causal=False))
        self.temporal = nn.Sequential(nn.LayerNorm(width), Attention(width, heads, causal=True)) if temporal else None
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, frames, P, width) as the same."""
        frames = x.shape[1]
        x = x + self.spatial(x.flatten(0, 1)).unflatten(0, (-1, frames))
        if self.temporal is not None:
            over_time = x.transpose(1, 2)
            seen = self.temporal(over_time.flatten(0, 1)).unflatten(0, over_time.shape[:2])
            x = x + seen.transpose(1, 2)
        out: Tensor = x + self.feed(x)
        return out


class Inverse(nn.Module):
    """What was done between two frames: queries read it off their patches (``E_inv``).

    ``nuisance`` queries come first, then the left arm's, then the right arm's. All are read at the later frame.
    """

    def __init__(
        self, seen: int, patches: int, width: int, blocks: int, heads: int, nuisance: int, count: int, code: int
    ) -> None:
        """Patches of fewer than `FEW` numbers are taken as they are: brought to one size, they would say little."""
        super().__init__()
        self.nuisance = nuisance
        self.queries = nn.Parameter(torch.empty(nuisance + 2 * count, seen).uniform_(-1, 1))
        level = nn.LayerNorm(seen) if seen >= FEW else nn.Identity()
        self.enter = nn.Sequential(level, nn.Linear(seen, width), nn.LayerNorm(width))
        self.register_buffer("places", sinusoids(len(self.queries) + patches, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.to_action = nn.Linear(width, code)
        self.to_nuisance = nn.Linear(width, code)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of the arms' actions (B, 2, N, code) and of everything else (B, nuisance, code).

        ``patches`` (B, 2, P, seen) are those of the earlier and the later frame.
        """
        read = self.tokens(patches)[:, 1]
        action = self.to_action(read[:, self.nuisance : len(self.queries)]).unflatten(1, (2, -1))
        return action, self.to_nuisance(read[:, : self.nuisance])

    def tokens(self, patches: Tensor) -> Tensor:
        """Every token of both frames after the last block: (B, 2, queries + P, width)."""
        queries = self.queries.expand(*patches.shape[:2], -1, -1)
        x = self.enter(torch.cat([queries, patches], dim=2)) + self.get_buffer("places")
        for block in self.blocks:
            x = block(x)
        return x


class Forward(nn.Module):
    """What will be seen after an action: the earlier frame's patches and latents to the later's patches (``D_fwd``)."""

    def __init__(self, seen: int, patches: int, width: int, blocks: int, heads: int, latents: int, code: int) -> None:
        super().__init__()
        self.from_code = nn.Linear(code, width)
        self.from_seen = nn.Linear(seen, width)
        self.register_buffer("places", sinusoids(latents + patches, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads, temporal=False) for _ in range(blocks))
        self.to_seen = nn.Linear(width, seen)

    def forward(self, patches: Tensor, latents: Tensor) -> Tensor:
        """Patches (B, P, seen) from patches (B, P, seen) and latents (B, L, code)."""
        x = torch.cat([self.from_code(latents), self.from_seen(patches)], dim=1) + self.get_buffer("places")
        x = x[:, None]
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.to_seen(x[:, 0, latents.shape[1] :])
        return out
