"""Knowledge Matching: Eq. 7 by hand, in both directions, at the right words, and with nothing flowing the wrong way."""

from dataclasses import replace

import pytest
import torch

from learners.clap.matching import IGNORED, Matching, accuracy, cross_entropy, divergence, foretold, matched

torch.set_num_threads(1)

LABELS = torch.tensor([[IGNORED, IGNORED, 3, 7, 8, 4], [IGNORED, IGNORED, IGNORED, 3, 9, 4]])
ACTIONS = (7, 9)


def logits(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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
    term = matched(Matching(), policy, same, LABELS)
    torch.autograd.backward(term)
    assert abs(float(term.detach())) < 1e-12
    assert policy.grad is not None
    assert float(policy.grad.abs().max()) < 1e-12


def test_nothing_flows_back_into_the_reference() -> None:
    policy, reference = logits(0, 2, 6, 12).requires_grad_(), logits(1, 2, 6, 12).requires_grad_()
    torch.autograd.backward(matched(Matching(), policy, reference, LABELS))
    assert reference.grad is None
    assert policy.grad is not None


def test_the_logits_before_a_word_are_those_that_foretell_it() -> None:
    """The release takes the logits at the word itself, so it matches the end of the turn instead of the first token."""
    said, wanted = foretold(logits(0, 2, 6, 12), LABELS)
    assert torch.equal(said, logits(0, 2, 6, 12)[:, :-1])
    assert wanted.tolist() == [[IGNORED, 3, 7, 8, 4], [IGNORED, IGNORED, 3, 9, 4]]
    reference = logits(0, 2, 6, 12)
    for changed, matters in ((0, False), (1, True), (2, True), (3, True), (4, True), (5, False)):
        policy = reference.clone()
        policy[0, changed, 0] += 5
        assert (float(matched(Matching(), policy, reference, LABELS)) > 1e-6) is matters, changed


def test_action_tokens_alone_when_asked() -> None:
    how = replace(Matching(), positions="action")
    reference = logits(0, 2, 6, 12)
    counted = []
    for place in range(6):
        policy = reference.clone()
        policy[:, place, 0] += 5
        if float(matched(how, policy, reference, LABELS, ACTIONS)) > 1e-6:
            counted.append(place)
    # In the first answer the logits at 2 and 3 foretell 7 and 8, in the second those at 3 foretell 9.
    assert counted == [2, 3]
    with pytest.raises(ValueError, match="say which ids"):
        matched(how, reference, reference, LABELS)


def test_a_mean_is_a_sum_over_the_words_divided_by_how_many_there_are() -> None:
    policy, reference = logits(0, 2, 6, 12), logits(1, 2, 6, 12)
    apart = divergence(policy[:, :-1], reference[:, :-1])
    counts = LABELS[:, 1:] != IGNORED
    sums = torch.stack([row[mask].sum() for row, mask in zip(apart, counts, strict=True)])
    torch.testing.assert_close(matched(replace(Matching(), reduction="sum"), policy, reference, LABELS), sums.mean())
    means = (sums / counts.sum(-1)).mean()
    torch.testing.assert_close(matched(Matching(), policy, reference, LABELS), means)


def test_an_answer_without_words_counts_for_nothing() -> None:
    policy, reference = logits(0, 2, 6, 12), logits(1, 2, 6, 12)
    alone = matched(Matching(), policy[:1], reference[:1], LABELS[:1])
    silent = LABELS.clone()
    silent[1] = IGNORED
    torch.testing.assert_close(matched(Matching(), policy, reference, silent), alone)
    assert float(matched(Matching(), policy, reference, torch.full_like(LABELS, IGNORED))) < 1e-12


def test_accuracy_and_cross_entropy_look_at_the_same_words() -> None:
    said = torch.full((2, 6, 12), -9.0)
    _, wanted = foretold(said, LABELS)
    for row, place in (wanted != IGNORED).nonzero().tolist():
        said[row, place, wanted[row, place]] = 9.0
    assert float(accuracy(said, LABELS)) > 0.999
    assert float(cross_entropy(said, LABELS)) < 1e-6
    said[0, 1] = -said[0, 1]
    assert float(accuracy(said, LABELS)) == pytest.approx(6 / 7)
