"""Knowledge Matching: Eq. 7 by hand, in both directions, at the right words, and with nothing flowing the wrong way."""

from dataclasses import replace

import pytest
import torch

from learners.clap.matching import Matching, accuracy, divergence
from learners.clap.matching import matched as term
from learners.clap.prompt import IGNORED

torch.set_num_threads(1)

LABELS = torch.tensor([[IGNORED, IGNORED, 3, 7, 8, 4], [IGNORED, IGNORED, IGNORED, 3, 9, 4]])
ACTIONS = (LABELS >= 7) & (LABELS <= 9)


def logits(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matched(how: Matching, policy: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return term(how, policy, reference, labels, ACTIONS)


def test_it_is_the_sum_over_words_of_p_log_p_over_q() -> None:
    policy, reference = torch.tensor([0.7, 0.3]), torch.tensor([0.4, 0.6])
    by_hand = 0.7 * torch.log(torch.tensor(0.7 / 0.4)) + 0.3 * torch.log(torch.tensor(0.3 / 0.6))
    torch.testing.assert_close(divergence(policy.log(), reference.log()), by_hand)
    back = 0.4 * torch.log(torch.tensor(0.4 / 0.7)) + 0.6 * torch.log(torch.tensor(0.6 / 0.3))
    torch.testing.assert_close(divergence(policy.log(), reference.log(), "reference_policy"), back)
    assert abs(float(by_hand - back)) > 1e-3


@pytest.mark.parametrize("direction", ["policy_reference", "reference_policy"])
def test_it_is_never_negative(direction: str) -> None:
    how = replace(Matching(), direction=direction)  # type: ignore[arg-type]  # pytest passes plain strings
    for seed in range(20):
        assert float(matched(how, logits(seed, 2, 6, 12), logits(100 + seed, 2, 6, 12), LABELS)) >= 0


def test_at_the_reference_it_and_its_gradient_are_zero() -> None:
    same = logits(0, 2, 6, 12)
    policy = same.clone().requires_grad_()
    found = matched(Matching(), policy, same, LABELS)
    torch.autograd.backward(found)
    assert abs(float(found.detach())) < 1e-6
    assert policy.grad is not None
    assert float(policy.grad.abs().max()) < 1e-6


def test_nothing_flows_back_into_the_reference() -> None:
    policy, reference = logits(0, 2, 6, 12).requires_grad_(), logits(1, 2, 6, 12).requires_grad_()
    torch.autograd.backward(matched(Matching(), policy, reference, LABELS))
    assert reference.grad is None
    assert policy.grad is not None


def test_only_the_answer_is_matched_and_only_its_actions_when_asked() -> None:
    reference = logits(0, 2, 6, 12)
    for positions, wanted in (("all", [2, 3, 4, 5]), ("action", [3, 4])):
        how = replace(Matching(), positions=positions)  # type: ignore[arg-type]  # a plain string
        counted = []
        for place in range(6):
            policy = reference.clone()
            policy[:, place, 0] += 5
            if float(matched(how, policy, reference, LABELS)) > 1e-6:
                counted.append(place)
        assert counted == wanted


def test_a_mean_is_a_sum_over_the_words_divided_by_how_many_there_are() -> None:
    policy, reference = logits(0, 2, 6, 12), logits(1, 2, 6, 12)
    apart = divergence(policy, reference)
    counts = LABELS != IGNORED
    sums = torch.stack([row[mask].sum() for row, mask in zip(apart, counts, strict=True)]).float()
    torch.testing.assert_close(matched(replace(Matching(), reduction="sum"), policy, reference, LABELS), sums.mean())
    means = (sums / counts.sum(-1)).mean()
    torch.testing.assert_close(matched(Matching(), policy, reference, LABELS), means)


def test_an_answer_without_words_counts_for_nothing() -> None:
    policy, reference = logits(0, 2, 6, 12), logits(1, 2, 6, 12)
    alone = term(Matching(), policy[:1], reference[:1], LABELS[:1], ACTIONS[:1])
    silent = LABELS.clone()
    silent[1] = IGNORED
    torch.testing.assert_close(matched(Matching(), policy, reference, silent), alone)
    assert float(matched(Matching(), policy, reference, torch.full_like(LABELS, IGNORED))) < 1e-6


def test_accuracy_is_that_of_the_words_that_count() -> None:
    said = torch.full((2, 6, 12), -9.0)
    for row, place in (LABELS != IGNORED).nonzero().tolist():
        said[row, place, LABELS[row, place]] = 9.0
    assert float(accuracy(said, LABELS, LABELS != IGNORED)) > 0.999
    said[0, 3] = -said[0, 3]
    assert float(accuracy(said, LABELS, LABELS != IGNORED)) == pytest.approx(6 / 7)
    assert float(accuracy(said, LABELS, ACTIONS)) == pytest.approx(2 / 3)
