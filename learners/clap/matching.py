"""Knowledge Matching: what the token policy says may not drift from what it said before the head was trained. Eq. 7."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from learners.clap.prompt import IGNORED

Direction = Literal["policy_reference", "reference_policy"]


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


def matched(how: Matching, policy: Tensor, reference: Tensor, labels: Tensor, actions: Tensor) -> Tensor:
    """The term of Eq. 7 without its weight: a mean over the answers in which there is something to match.

    Args:
        how: direction, positions and reduction.
        policy: scores (B, A, V) of the answers' tokens under teacher forcing, each from the position before it.
        reference: the same of the reference; nothing flows back into it.
        labels: (B, A): the tokens that these are scores of, `IGNORED` where there is none.
        actions: (B, A) bool: which of them are action codes.
    """
    counts = labels != IGNORED
    if how.positions == "action":
        counts &= actions
    apart = torch.zeros(counts.shape, device=policy.device)
    apart[counts] = divergence(policy[counts].float(), reference.detach()[counts].float(), how.direction)
    each = apart.sum(-1)
    if how.reduction == "mean":
        each = each / counts.sum(-1).clamp_min(1)
    some = counts.any(-1)
    return each[some].sum() / some.sum().clamp_min(1)


def accuracy(scores: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Share of the tokens (B, A) that count for which the scores (B, A, V) are highest at the label."""
    return (scores.argmax(-1) == labels)[counts & (labels != IGNORED)].float().mean()
