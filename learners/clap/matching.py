"""Knowledge Matching: what the token policy says may not drift from what it said before the head was trained. Eq. 7."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Direction = Literal["policy_reference", "reference_policy"]

IGNORED = -100
"""A label that teaches nothing, as transformers has it."""


@dataclass(frozen=True)
class Matching:
    """How the token policy is held to its reference."""

    alpha: float = 0.005
    """Weight of the term beside the flow's; zero leaves it out. The paper does not say; the release has this."""
    direction: Direction = "policy_reference"
    """``KL(policy || reference)`` as Eq. 7 has it, or the other way round as the release computes it."""
    positions: Literal["all", "action"] = "all"
    """Every word of the answer, or only its action tokens."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over the words of an answer. With 16 of them, 0.005 as a mean is 3e-4 as a sum."""
    anchor: Literal["none", "replay", "human"] = "none"
    """Further contexts on which it is held: none (the paper), the stage-1 mixture, or its film of people alone. Ours:
    contexts that training never shows are lost otherwise."""
    anchors: int = 16
    """How many of them beside each batch."""


def divergence(policy: Tensor, reference: Tensor, direction: Direction = "policy_reference") -> Tensor:
    """KL of the distributions that logits (..., V) stand for: (...)."""
    ours, theirs = policy.log_softmax(-1), reference.log_softmax(-1)
    if direction == "reference_policy":
        ours, theirs = theirs, ours
    return (ours.exp() * (ours - theirs)).sum(-1)


def foretold(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, L - 1, V) beside the labels (B, L - 1) that they foretell: those at ``l - 1`` foretell ``l``."""
    return logits[:, :-1], labels[:, 1:]


def matched(
    how: Matching, policy: Tensor, reference: Tensor, labels: Tensor, actions: tuple[int, int] | None = None
) -> Tensor:
    """The term of Eq. 7 without its weight: a mean over the answers in which there is something to match.

    Args:
        how: direction, positions and reduction.
        policy: logits (B, L, V) under teacher forcing.
        reference: the same of the reference; nothing flows back into it.
        labels: (B, L), `IGNORED` outside the answer.
        actions: first and last id of the action tokens; needed when only they count.

    Raises:
        ValueError: only action tokens count, and nobody says which they are.
    """
    said, wanted = foretold(policy, labels)
    known, _ = foretold(reference.detach(), labels)
    counts = wanted != IGNORED
    if how.positions == "action":
        if actions is None:
            raise ValueError("to match action tokens alone, say which ids they have")
        counts &= (wanted >= actions[0]) & (wanted <= actions[1])
    apart = torch.zeros(counts.shape, dtype=said.dtype, device=said.device)
    apart[counts] = divergence(said[counts], known[counts], how.direction)
    each = apart.sum(-1)
    if how.reduction == "mean":
        each = each / counts.sum(-1).clamp_min(1)
    some = counts.any(-1)
    return each[some].sum() / some.sum().clamp_min(1)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the answer's words (B, L) that greedy decoding under teacher forcing gets right."""
    said, wanted = foretold(logits, labels)
    counts = wanted != IGNORED
    return (said.argmax(-1) == wanted)[counts].float().mean()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Eq. 5: mean over the answer's words (B, L)."""
    said, wanted = foretold(logits, labels)
    return F.cross_entropy(said.flatten(0, 1).float(), wanted.flatten(), ignore_index=IGNORED)
