"""Measures of alignment are one for the same, chance for strangers, and blind to turns and to scale."""

import pytest
import torch
from torch import Tensor

from learners.alignment import Alignment, aligned, by_chance, cka, cknna, mutual_knn

torch.set_num_threads(1)

COUNT, K = 500, 10


def features(width: int, seed: int, count: int = COUNT) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def turned(each: Tensor) -> Tensor:
    turn: Tensor = torch.linalg.qr(features(each.shape[1], 9, each.shape[1])).Q
    return each @ turn


def test_the_same_is_aligned_wholly() -> None:
    one = features(16, 0)
    assert aligned(one, one) == Alignment(pytest.approx(1), pytest.approx(1), 1)  # type: ignore[arg-type]  # stands for a float


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_strangers_are_aligned_by_chance(seed: int) -> None:
    one, other = features(16, 0), features(10, seed)
    found, chance = aligned(one, other), by_chance(one, other)
    assert abs(found.cknna) < 0.05
    assert abs(found.cka) < 0.05
    assert found.knn == pytest.approx(K / (COUNT - 1), abs=0.01)
    for name, value in found.named("x").items():
        assert value == pytest.approx(chance.named("x")[name], abs=0.02)


def test_turns_and_scale_change_nothing_and_shuffling_leaves_chance() -> None:
    one = features(16, 0)
    other = one @ features(16, 5, 16) + 0.3 * features(16, 6)
    found, moved = aligned(one, other), aligned(turned(one) * 7, turned(other) * 0.2)
    for name, value in found.named("x").items():
        assert value == pytest.approx(moved.named("x")[name], abs=1e-6)
        assert value > by_chance(one, other).named("x")[name] + 0.1


@pytest.mark.parametrize("measure", [cknna, cka, mutual_knn])
def test_the_more_noise_the_less_alignment_from_both_sides_alike(measure: object) -> None:
    assert callable(measure)
    one, noise = features(8, 0), features(8, 1)
    found = [measure(one, one + share * noise) for share in (0.1, 0.5, 2.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] + 0.2
    assert measure(one, one + noise) == pytest.approx(measure(one + noise, one), abs=1e-4)


def test_neighbours_that_are_common_are_counted_by_hand() -> None:
    angle = torch.tensor([0.0, 0.1, 0.2, 1.0, 1.1, 1.2])
    one = torch.stack([angle.cos(), angle.sin()], dim=1)
    other = one[[0, 1, 3, 2, 4, 5]]
    # Among six, each knows two neighbours; by hand, samples 0, 1, 4 and 5 keep one, and 2 and 3 lose both.
    assert mutual_knn(one, one, k=2) == 1
    assert mutual_knn(one, other, k=2) == pytest.approx(4 / 12)


def test_kernels_by_hand() -> None:
    one, other = features(3, 0, 20).double(), features(2, 1, 20).double()
    a, b = one - one.mean(0), other - other.mean(0)
    kernels = a @ a.T, b @ b.T
    by_hand = (kernels[0] * kernels[1]).sum() / (kernels[0].norm() * kernels[1].norm())
    assert cka(one, other) == pytest.approx(float(by_hand))
    # With every other sample a neighbour, the masks hide nothing: centred alignment without the diagonal.
    n = 20
    raw = [torch.nn.functional.normalize(each, dim=1) for each in (one, other)]
    k, other_k = ((each @ each.T) * (1 - torch.eye(n)) for each in raw)

    def unbiased(x: Tensor, y: Tensor) -> Tensor:
        ones = torch.ones(n, dtype=x.dtype)
        sums = (ones @ x @ ones) * (ones @ y @ ones) / ((n - 1) * (n - 2))
        return (torch.trace(x @ y) + sums - 2 / (n - 2) * (ones @ x @ y @ ones)) / (n * (n - 3))

    wanted = unbiased(k, other_k) / (unbiased(k, k) * unbiased(other_k, other_k)).sqrt()
    assert cknna(one, other, k=n - 1) == pytest.approx(float(wanted))


def test_what_is_all_alike_is_aligned_with_nothing() -> None:
    assert cka(features(4, 0), torch.ones(COUNT, 3)) == 0


@pytest.mark.parametrize(("one", "other"), [(12, 12), (40, 39)])
def test_too_few_or_unpaired_samples_are_refused(one: int, other: int) -> None:
    with pytest.raises(ValueError, match="10 neighbours need as many of both, and at least 13"):
        aligned(features(4, 0, one), features(4, 1, other))
