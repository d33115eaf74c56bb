"""How alike two views of the same samples are: what is near in one is near in the other, whatever the axes.

Every measure stands beside what it is for samples that are paired by chance. None of them is ever minimised.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Alignment:
    """Three answers, each 1 for what is the same but for a turn of its axes."""

    cknna: float
    """How alike similarities among common nearest neighbours are. Huh et al. 2024, appendix A."""
    cka: float
    """How alike all similarities are, by linear kernels. Kornblith et al. 2019, section 3."""
    knn: float
    """Share of the nearest neighbours that are common; ``k / (n - 1)`` by chance."""

    def named(self, name: str) -> dict[str, float]:
        """The three, each by this name and its own."""
        return {f"{name}_{measure}": value for measure, value in asdict(self).items()}


def aligned(one: Tensor, other: Tensor, k: int = 10) -> Alignment:
    """How alike features (n, a) and (n, b) are.

    Raises:
        ValueError: there are fewer than ``k + 3`` samples, or not as many of one as of the other.
    """
    if len(one) != len(other) or len(one) < k + 3:
        raise ValueError(
            f"{len(one)} and {len(other)} samples; {k} neighbours need as many of both, and at least {k + 3}"
        )
    return Alignment(cknna(one, other, k), cka(one, other), mutual_knn(one, other, k))


def by_chance(one: Tensor, other: Tensor, k: int = 10, seed: int = 0, times: int = 5) -> Alignment:
    """The same for samples that do not belong together, the mean over a few shufflings."""
    random = torch.Generator().manual_seed(seed)
    drawn = [aligned(one, other[torch.randperm(len(other), generator=random)], k) for _ in range(times)]
    return Alignment(*(sum(each) / times for each in zip(*(asdict(one).values() for one in drawn), strict=True)))


def cknna(one: Tensor, other: Tensor, k: int = 10) -> float:
    """Centred kernel alignment of cosines, among a sample's ``k`` nearest neighbours that are the same in both."""
    a, b = _similar(one), _similar(other)
    near_a, near_b = _nearest(a, k), _nearest(b, k)
    both = near_a & near_b
    own = _hsic(near_a * a, near_a * a) * _hsic(near_b * b, near_b * b)
    return _share(_hsic(both * a, both * b), own)


def cka(one: Tensor, other: Tensor) -> float:
    """Linear centred kernel alignment."""
    a, b = (each.detach().cpu().double() for each in (one, other))
    a, b = a - a.mean(0), b - b.mean(0)
    own = (a.T @ a).square().sum() * (b.T @ b).square().sum()
    return _share((a.T @ b).square().sum(), own)


def mutual_knn(one: Tensor, other: Tensor, k: int = 10) -> float:
    """Share of each sample's ``k`` nearest neighbours, by cosine, that are the same in both."""
    return float((_nearest(_similar(one), k) & _nearest(_similar(other), k)).sum() / (k * len(one)))


def _similar(features: Tensor) -> Tensor:
    """Cosines (n, n)."""
    unit = F.normalize(features.detach().cpu().double(), dim=-1)
    return unit @ unit.T


def _nearest(similar: Tensor, k: int) -> Tensor:
    """Whether each (n, n) is among the ``k`` most similar to the sample of its row, which is none of its own."""
    others = similar.masked_fill(torch.eye(len(similar), dtype=torch.bool), -torch.inf)
    return torch.zeros_like(similar, dtype=torch.bool).scatter_(1, others.topk(k, dim=1).indices, value=True)


def _hsic(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased estimate of Song et al. 2012, Eq. 5, for kernels (n, n), whose diagonals count for nothing."""
    n = len(a)
    a, b = (each - each.diag().diag() for each in (a, b))
    means = a.sum() * b.sum() / ((n - 1) * (n - 2))
    return ((a * b.T).sum() + means - 2 * (a @ b).sum() / (n - 2)) / (n * (n - 3))


def _share(common: Tensor, own: Tensor) -> float:
    """Features that are all alike align with nothing."""
    return float(common / own.sqrt()) if own > 0 else 0.0
