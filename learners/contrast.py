"""Soft InfoNCE: which of the others something belongs to, as a cross-entropy against soft targets, and its floor."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Contrasted:
    """A soft-target cross-entropy and the least it could be."""

    loss: Tensor
    floor: Tensor
    """Entropy of the targets."""

    @property
    def excess(self) -> Tensor:
        """Kullback-Leibler divergence of what is said from the targets: never negative."""
        return self.loss - self.floor


def targets(alike: Tensor, itself: bool) -> Tensor:
    """Rows of similarities (B, B) as distributions; without ``itself`` the diagonal is nobody's target.

    A row that is like no other is all zero.
    """
    if not itself:
        alike = alike.masked_fill(_diagonal(alike), 0.0)
    return alike / alike.sum(-1, keepdim=True).clamp_min(1e-12)


def contrast(queries: Tensor, keys: Tensor, alike: Tensor, temperature: Tensor | float, itself: bool) -> Contrasted:
    """Soft InfoNCE: cross-entropy of cosines (B, e) x (B, e), over ``temperature``, against rows of similarities.

    With the identity and ``itself`` it is InfoNCE. Without ``itself``, nothing is compared with itself.
    """
    logits = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).T / temperature
    return cross_entropy(logits, alike, itself)


def cross_entropy(logits: Tensor, alike: Tensor, itself: bool) -> Contrasted:
    """Mean over the rows (B, B) that are like some other."""
    wanted = targets(alike, itself)
    if not itself:
        logits = logits.masked_fill(_diagonal(logits), -torch.inf)
    # What is nobody's target may be impossible; 0 * inf is not a number.
    said = logits.log_softmax(-1).masked_fill(wanted == 0, 0.0)
    counts = wanted.sum(-1) > 0
    rows = counts.sum().clamp_min(1)
    floor = torch.special.entr(wanted).sum() / rows
    return Contrasted(-(wanted * said).sum() / rows, floor)


def _diagonal(square: Tensor) -> Tensor:
    return torch.eye(len(square), dtype=torch.bool, device=square.device)
