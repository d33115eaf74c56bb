"""How often words seen in pictures are those of what the arms did, and how often they would be by chance."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.clap.act_vae import ActVaeNet
from learners.clap.vd_vae import VdVaeNet
from learners.data import NoData, Windows

AT_ONCE = 64


@dataclass(frozen=True)
class Agreement:
    """Of some windows, all shares 0..1."""

    share: float
    """Words seen that are those done."""
    chance: float
    """The same when what is seen is put beside what was done at other moments, or all words were as likely, whichever
    is more: some words are said more often than others."""
    apart: float
    """Squared distance of the chunks that the words seen mean from those done, over the variance of those done."""

    @property
    def times_chance(self) -> float:
        return self.share / self.chance

    @classmethod
    def of(cls, seen: Tensor, done: Tensor, entries: int, seed: int = 0) -> Self:
        """Of words seen and done (n, N); how far apart they are is left open."""
        other = done[torch.randperm(len(done), generator=torch.Generator().manual_seed(seed))]
        by_chance = float((seen == other).float().mean())
        return cls(float((seen == done).float().mean()), max(by_chance, 1 / entries), float("nan"))


@torch.no_grad()
def agreement(vd: VdVaeNet, act: ActVaeNet, data: Windows, numbers: NDArray[np.intp]) -> Agreement:
    """Compare over these windows, and over the arms that are there.

    Raises:
        NoData: the windows do not show what is seen a chunk later.
    """
    data = vd.windows(data)
    seen, done, chunks = [], [], []
    device = next(vd.parameters()).device
    for first in range(0, len(numbers), AT_ONCE):
        batch = data.batch(numbers[first : first + AT_ONCE])
        if batch.later is None:
            raise NoData("agreement is measured on windows cut with Senses.ahead")
        rows, arms = act.schema.rows(batch.plan, batch.state)
        words = vd.tokens(batch.images[:, 0].to(device), batch.later[:, 0].to(device)).cpu()
        seen.append(words[arms])
        done.append(act.tokens(rows[arms]))
        chunks.append(rows[arms])
    said, true, rows = torch.cat(seen), torch.cat(done), torch.cat(chunks)
    found = Agreement.of(said, true, act.codes.entries)
    apart = (act.decode(said) - rows).square().mean() / rows.var(0, correction=0).mean()
    return Agreement(found.share, found.chance, float(apart))
