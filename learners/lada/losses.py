"""How LaDA holds actions to what language calls them: soft contrast, and two losses in balance.

Notable, where the paper is silent or its sums would not train: similarities are normalised row by row, so that they are
targets; an action is no target of itself; what is reported is how far a contrast is above its floor, the entropy of its
targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from learners.contrast import Contrasted, contrast

Kind = Literal["soft", "hard", "none"]
Adaptive = Literal["ma", "excess", "fixed"]


@dataclass(frozen=True)
class Contrast:
    """What pulls embeddings together and apart, and how much."""

    kind: Kind = "soft"
    """``hard`` matches every action to its own words alone (InfoNCE); ``none`` leaves the classes to teach. Both are
    readings of the paper's "without soft contrastive learning"."""
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of translation, rotation and hand in a similarity. Hands agree by chance half of the time; (2, 2, 1) heeds it."""
    temperature: float = 0.07
    learn_temperature: bool = False
    words: float = 1.0
    """Weight of the action-primitive path beside the action-action path (lambda)."""
    adaptive: Adaptive = "ma"
    """How imitation and contrast are weighed: by moving averages of both; with the contrast counted above its floor;
    or not at all."""
    average: int = 100
    """Steps of the moving averages."""
    imitation: float = 0.5
    """Weight of imitation when it is fixed; the contrast has the rest."""


def similarity(classes: Tensor, weights: Sequence[float]) -> Tensor:
    """How alike labels (B, arms, 3) are: (B, B), the weighted share of translation, rotation and hand that agree.

    Symmetric, 1 on the diagonal; two arms count alike.
    """
    share = torch.tensor(weights, dtype=torch.float32, device=classes.device)
    same = (classes[:, None] == classes[None]).float() @ (share / share.sum())
    # Sums of shares may miss 1 by a rounding; what agrees in all agrees wholly.
    alike = (classes[:, None] == classes[None]).flatten(2).all(-1)
    return torch.where(alike, 1.0, same.mean(-1))


class Contrasts(nn.Module):
    """Both paths: actions with actions, and actions with the words for them."""

    def __init__(self, how: Contrast) -> None:
        super().__init__()
        self.how = how
        start = torch.tensor(how.temperature).log()
        self.cold = nn.Parameter(start, requires_grad=how.learn_temperature)

    @property
    def temperature(self) -> Tensor:
        """Never below a hundredth, as in CLIP."""
        return self.cold.exp().clamp_min(0.01)

    def forward(self, actions: Tensor, words: Tensor, classes: Tensor) -> Contrasted:
        """Embeddings of actions (B, e), of the words for each (B, e), and labels (B, arms, 3).

        Hard contrast has the action-primitive path alone: an action is like itself without being taught.
        """
        how = self.how
        if how.kind == "hard":
            own = torch.eye(len(actions), device=actions.device)
            return contrast(actions, words, own, self.temperature, itself=True)
        alike = similarity(classes, how.weights)
        among = contrast(actions, actions, alike, self.temperature, itself=False)
        named = contrast(actions, words, alike, self.temperature, itself=True)
        return Contrasted(among.loss + how.words * named.loss, among.floor + how.words * named.floor)


class Balance(nn.Module):
    """Weights of imitation and contrast: each loss counts in proportion to its own moving average.

    ``w = MA(imitation) / (MA(imitation) + MA(contrast))``; they sum to 1 and carry no gradient. Averages are
    stored with the weights, so that a run goes on as it was.
    """

    def __init__(self, how: Contrast) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("seen", torch.zeros(how.average, 2))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, imitation: Tensor, contrasted: Contrasted) -> tuple[Tensor, Tensor]:
        """The two weights. In training, the losses join the averages first."""
        how = self.how
        if how.adaptive == "fixed":
            share = imitation.new_tensor(how.imitation)
            return share, 1 - share
        other = contrasted.excess if how.adaptive == "excess" else contrasted.loss
        now = torch.stack([imitation.detach(), other.detach()]).float().clamp_min(LEAST)
        seen, count = self.get_buffer("seen"), self.get_buffer("count")
        if self.training:
            seen[count % how.average] = now
            count += 1
        filled = int(count.clamp_max(how.average))
        mean = seen[:filled].mean(0) if filled else now
        share = mean[0] / mean.sum()
        return share, 1 - share


LEAST = 1e-6
"""A loss is never so small that it has no weight."""
