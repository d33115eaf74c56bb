"""A codebook that learns by its loss: nearest neighbours, straight-through gradients, codes that begin anew (Eq. 2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Quantised:
    """What becomes of latents (..., width)."""

    z_q: Tensor
    """The nearest codes; their gradient goes to the latents unchanged."""
    index: Tensor
    """(...,): which they are."""
    codebook_loss: Tensor
    """Draws codes to latents; nothing when the codes are frozen."""
    commit_loss: Tensor
    """Draws latents to codes."""


class Codes(nn.Module):
    """``entries`` vectors of ``width`` numbers, shared by whoever speaks with them.

    They are learned by the codebook loss, not by averages, so that a second network can share them frozen.
    """

    used: Tensor

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.entries = entries
        self.width = width
        self.vectors = nn.Parameter(torch.empty(entries, width).uniform_(-1 / entries, 1 / entries))
        self.register_buffer("used", torch.zeros(entries))

    @property
    def frozen(self) -> bool:
        return not self.vectors.requires_grad

    def freeze(self) -> None:
        """Let nothing move the codes any more."""
        self.vectors.requires_grad_(False)

    def forward(self, z: Tensor) -> Quantised:
        """Quantise latents (..., width); in training, remember which codes were used."""
        index = self.nearest(z)
        codes = self.lookup(index)
        if self.training and not self.frozen:
            self.used.index_add_(0, index.flatten(), torch.ones_like(index.flatten(), dtype=self.used.dtype))
        codebook = z.new_zeros(()) if self.frozen else F.mse_loss(codes, z.detach())
        return Quantised(z + (codes - z).detach(), index, codebook, F.mse_loss(z, codes.detach()))

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """Which code is nearest to each latent, by Euclidean distance: (...,)."""
        with torch.autocast(z.device.type, enabled=False):
            flat, codes = z.reshape(-1, self.width).float(), self.vectors.float()
            # |z - e|^2 without |z|^2, which is the same for every code
            return torch.addmm(codes.square().sum(1), flat, codes.T, alpha=-2).argmin(1).view(z.shape[:-1])

    def lookup(self, index: Tensor) -> Tensor:
        """The codes (..., width) with these numbers."""
        return F.embedding(index, self.vectors)

    @torch.no_grad()
    def begin(self, z: Tensor, generator: torch.Generator, rounds: int = 5) -> None:
        """Put the codes where latents (..., width) are: k-means from latents drawn at random.

        Fewer latents than codes leave the rest of the codes where they were.
        """
        flat = z.detach().reshape(-1, self.width).to(self.vectors)
        drawn = torch.randperm(len(flat), generator=generator)[: self.entries].to(flat.device)
        self.vectors[: len(drawn)] = flat[drawn]
        for _ in range(rounds):
            index = self.nearest(flat)
            count = torch.bincount(index, minlength=self.entries)[:, None]
            sums = torch.zeros_like(self.vectors).index_add_(0, index, flat)
            self.vectors.copy_(torch.where(count > 0, sums / count.clamp_min(1), self.vectors))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast(self.vectors, 0)

    @torch.no_grad()
    def restart(self, generator: torch.Generator, spread: float = 0.1) -> int:
        """Put codes that nobody used since the last restart beside used ones, drawn as often as they were used.

        ``spread`` is how far beside, as a share of how far the used codes lie apart: a code in the very place of
        another would never be the nearest.

        Returns:
            How many began anew.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.used)
        dead = torch.nonzero(self.used == 0).flatten()
        if self.frozen or not 0 < len(dead) < self.entries:
            self.used.zero_()
            return 0
        beside = torch.multinomial(self.used.cpu(), len(dead), replacement=True, generator=generator)
        noise = torch.randn(len(dead), self.width, generator=generator).to(self.vectors)
        alive = self.vectors[self.used > 0]
        apart = alive.std(0, correction=0).mean()
        self.vectors[dead] = self.vectors[beside.to(self.vectors.device)] + spread * apart * noise
        self.used.zero_()
        return len(dead)
