"""Low-rank updates: a large model learns with few numbers of its own. Hu et al. 2021, LoRA.

Beside them the rows of the action tokens learn, which the model did not know before.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRank(nn.Module):
    """A linear map that stays as it is, and beside it a low-rank one that is zero at first."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.empty(rank, base.in_features, dtype=base.weight.dtype))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, dtype=base.weight.dtype))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Twice the update, the usual choice: alpha is two times the rank."""
        return self.base(x) + 2 * F.linear(F.linear(x, self.down), self.up)


class ActRows(nn.Module):
    """A table of which only the action tokens' rows learn; it embeds tokens, and it scores them."""

    def __init__(self, base: nn.Embedding | nn.Linear, first: int, count: int) -> None:
        """``base`` is the embedding, or the output layer of a model that has one of its own."""
        super().__init__()
        self.base = base
        self.first, self.count = first, count
        self.rows = nn.Parameter(base.weight[first : first + count].detach().clone())

    @property
    def weight(self) -> Tensor:
        """All rows as they count."""
        table = self.base.weight
        return torch.cat([table[: self.first], self.rows, table[self.first + self.count :]])

    def forward(self, ids: Tensor) -> Tensor:
        place = (ids - self.first).clamp(0, self.count - 1)
        ours = (ids >= self.first) & (ids < self.first + self.count)
        return torch.where(ours[..., None], F.embedding(place, self.rows), self.base(ids))


def adapt(language: Any, rank: int, first: int, count: int) -> None:
    """Give a frozen language model low-rank updates of its attention, and rows of ``count`` tokens that learn."""
    for layer in language.layers:
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(layer.self_attn, name, LowRank(getattr(layer.self_attn, name), rank))
    language.embed_tokens = ActRows(language.embed_tokens, first, count)
