"""Similarities are what agrees, contrast is cross-entropy above a floor, and two losses are held in balance."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from learners.contrast import Contrasted, contrast, cross_entropy, targets
from learners.lada.losses import Balance, Contrast, Contrasts, similarity

torch.set_num_threads(1)


def labels(count: int = 12, arms: int = 1, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    each = [torch.randint(0, most, (count, arms), generator=random) for most in (7, 7, 2)]
    return torch.stack(each, dim=-1)


def embeddings(count: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(count, 16, generator=random, requires_grad=True) for _ in range(2))
    return one, other


@pytest.mark.parametrize("weights", [(1, 1, 1), (2, 2, 1), (0.3, 0.5, 0.9)])
@pytest.mark.parametrize("arms", [1, 2])
def test_similarities_are_symmetric_one_for_the_same_and_shares_of_the_weights(
    weights: tuple[float, float, float], arms: int
) -> None:
    found = labels(40, arms)
    alike = similarity(found, weights)
    assert torch.equal(alike, alike.T)
    assert torch.equal(alike.diagonal(), torch.ones(40))
    total = sum(weights) * arms
    for i in range(0, 40, 7):
        for j in range(40):
            shared = sum(
                share * bool(found[i, arm, kind] == found[j, arm, kind])
                for arm in range(arms)
                for kind, share in enumerate(weights)
            )
            assert float(alike[i, j]) == pytest.approx(shared / total, abs=1e-6)


def test_similarities_follow_the_order_of_a_batch() -> None:
    found, order = labels(20), torch.randperm(20)
    alike = similarity(found, (2, 2, 1))
    assert torch.equal(similarity(found[order], (2, 2, 1)), alike[order][:, order])


def test_targets_are_distributions_and_an_action_is_no_target_of_itself() -> None:
    alike = similarity(labels(), (1, 1, 1))
    torch.testing.assert_close(targets(alike, itself=True).sum(-1), torch.ones(12))
    without = targets(alike, itself=False)
    assert not without.diagonal().any()
    torch.testing.assert_close(without.sum(-1), torch.ones(12))


def test_what_is_like_no_other_teaches_nothing_and_is_not_counted() -> None:
    found = torch.tensor([[[1, 1, 0]], [[1, 1, 0]], [[2, 2, 1]]])
    one, _ = embeddings(3)
    alike = similarity(found, (1, 1, 1))
    said = contrast(one, one, alike, 0.5, itself=False)
    logits = (F.normalize(one, dim=-1) @ F.normalize(one, dim=-1).T / 0.5).masked_fill(torch.eye(3).bool(), -torch.inf)
    by_hand = -(logits.log_softmax(-1)[0, 1] + logits.log_softmax(-1)[1, 0]) / 2
    torch.testing.assert_close(said.loss, by_hand)
    assert not said.floor.any()
    assert not contrast(one, one, torch.eye(3), 0.5, itself=False).loss.any()
    assert torch.autograd.grad(said.loss, one)[0].isfinite().all()


def test_with_the_identity_and_the_diagonal_it_is_info_nce() -> None:
    one, other = embeddings()
    logits = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / 0.07
    said = contrast(one, other, torch.eye(12), 0.07, itself=True)
    torch.testing.assert_close(said.loss, F.cross_entropy(logits, torch.arange(12)), atol=1e-5, rtol=0)
    assert not said.floor.any()


def test_soft_contrast_is_what_the_sums_of_the_paper_say_row_by_row() -> None:
    one, other = embeddings()
    alike = similarity(labels(), (1, 1, 1))
    one, other = one.detach(), other.detach()
    logits = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / 0.07
    total = 0.0
    for i in range(12):
        for j in range(12):
            total -= float(alike[i, j] / alike[i].sum() * logits.log_softmax(-1)[i, j])
    assert float(contrast(one, other, alike, 0.07, itself=True).loss.detach()) == pytest.approx(total / 12, abs=1e-4)


@pytest.mark.parametrize("itself", [True, False])
def test_where_what_is_said_is_the_target_the_excess_and_the_gradient_are_nothing(itself: bool) -> None:
    alike = similarity(labels(), (1, 1, 1)) + 0.01
    logits = targets(alike, itself).clamp_min(1e-9).log().requires_grad_()
    said = cross_entropy(logits, alike, itself)
    assert float(said.excess.detach()) == pytest.approx(0, abs=1e-5)
    assert torch.autograd.grad(said.loss, logits)[0].abs().max() < 1e-6


@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_the_excess_is_never_negative(itself: bool, seed: int) -> None:
    one, other = embeddings(seed=seed)
    said = contrast(one, other, similarity(labels(seed=seed), (1, 1, 1)), 0.07, itself)
    assert float(said.excess.detach()) >= -1e-5


def test_no_action_is_compared_with_itself() -> None:
    """However loud an action's likeness to itself is, the action-action path does not hear it."""
    alike = similarity(labels(), (1, 1, 1))
    logits = torch.randn(12, 12)
    loud = logits + 100 * torch.eye(12)
    torch.testing.assert_close(
        cross_entropy(loud, alike, itself=False).loss, cross_entropy(logits, alike, itself=False).loss
    )
    assert cross_entropy(loud, alike, itself=True).loss > cross_entropy(logits, alike, itself=True).loss + 10


def test_both_paths_are_added_and_lambda_weighs_the_words() -> None:
    one, other = embeddings()
    alike = similarity(labels(), (2, 2, 1))
    among, named = contrast(one, one, alike, 0.1, itself=False), contrast(one, other, alike, 0.1, itself=True)
    said = Contrasts(Contrast(weights=(2, 2, 1), temperature=0.1, words=0.3))(one, other, labels())
    torch.testing.assert_close(said.loss, among.loss + 0.3 * named.loss)
    torch.testing.assert_close(said.floor, among.floor + 0.3 * named.floor)


def test_hard_contrast_is_info_nce_of_actions_and_their_own_words() -> None:
    one, other = embeddings()
    said = Contrasts(Contrast(kind="hard"))(one, other, labels())
    torch.testing.assert_close(said.loss, contrast(one, other, torch.eye(12), 0.07, itself=True).loss)


def test_the_temperature_learns_when_it_is_told_to() -> None:
    assert not Contrasts(Contrast()).cold.requires_grad
    learned = Contrasts(Contrast(learn_temperature=True))
    one, other = embeddings()
    learned(one, other, labels()).loss.backward()
    assert learned.cold.grad is not None
    assert float(learned.temperature.detach()) == pytest.approx(0.07)
    with torch.no_grad():
        learned.cold.fill_(-100)
    assert float(learned.temperature.detach()) == pytest.approx(0.01)


def said(loss: float, floor: float = 0.0) -> Contrasted:
    return Contrasted(torch.tensor(loss, requires_grad=True), torch.tensor(floor))


@pytest.mark.parametrize("adaptive", ["ma", "excess", "fixed"])
def test_weights_sum_to_one_are_positive_and_carry_no_gradient(adaptive: str) -> None:
    balance = Balance(Contrast(adaptive=adaptive))  # type: ignore[arg-type]  # one of three words
    for imitation, other in ((3.0, 1.0), (0.0, 5.0), (1e3, 1e-9), (2.0, 0.0)):
        share, rest = balance(torch.tensor(imitation, requires_grad=True), said(other))
        assert torch.equal(share + rest, torch.ones(()))
        assert float(share) > 0
        assert float(rest) > 0
        assert not share.requires_grad
        assert not rest.requires_grad


@pytest.mark.parametrize("adaptive", ["ma", "excess"])
def test_a_loss_that_begins_at_nothing_still_has_a_weight(adaptive: str) -> None:
    for imitation, other in ((0.0, 5.0), (5.0, 0.0), (0.0, 0.0)):
        share, rest = Balance(Contrast(adaptive=adaptive))(torch.tensor(imitation), said(other))  # type: ignore[arg-type]  # one of three words
        assert 0 < float(share) < 1
        assert 0 < float(rest) < 1


def test_equal_losses_have_equal_weights_and_the_first_step_goes_by_itself() -> None:
    share, _ = Balance(Contrast())(torch.tensor(2.5), said(2.5))
    assert torch.equal(share, torch.tensor(0.5))
    share, _ = Balance(Contrast())(torch.tensor(3.0), said(1.0))
    assert float(share) == pytest.approx(0.75)


def test_weights_go_by_averages_over_the_last_steps() -> None:
    balance = Balance(Contrast(average=3))
    seen = [(4.0, 1.0), (2.0, 2.0), (1.0, 3.0), (5.0, 5.0), (0.5, 2.0)]
    for step, (imitation, other) in enumerate(seen):
        share, _ = balance(torch.tensor(imitation), said(other))
        last = seen[max(0, step - 2) : step + 1]
        expected = sum(i for i, _ in last) / sum(i + o for i, o in last)
        assert float(share) == pytest.approx(expected, abs=1e-6)


def test_checking_on_held_out_windows_leaves_the_averages_alone() -> None:
    balance = Balance(Contrast())
    balance(torch.tensor(3.0), said(1.0))
    before = balance.get_buffer("seen").clone()
    balance.eval()
    share, _ = balance(torch.tensor(100.0), said(1.0))
    assert float(share) == pytest.approx(0.75)
    assert torch.equal(before, balance.get_buffer("seen"))
    assert int(balance.get_buffer("count")) == 1


def test_a_floor_counts_unless_it_is_taken_off() -> None:
    """A contrast on its floor of 4 outweighs imitation of 1, though nothing is left to learn of it."""
    share, _ = Balance(Contrast())(torch.tensor(1.0), said(4.0, 4.0))
    assert float(share) == pytest.approx(0.2)
    share, _ = Balance(Contrast(adaptive="excess"))(torch.tensor(1.0), said(4.0, 4.0))
    assert float(share) > 0.99
    share, _ = Balance(Contrast(adaptive="fixed", imitation=0.3))(torch.tensor(1.0), said(4.0, 4.0))
    assert float(share) == pytest.approx(0.3)


def test_averages_are_stored() -> None:
    one, other = Balance(Contrast()), Balance(Contrast())
    one(torch.tensor(3.0), said(1.0))
    other.load_state_dict(one.state_dict())
    assert float(other.eval()(torch.tensor(9.0), said(1.0))[0]) == pytest.approx(0.75)
