"""SigLIP in both its forms, and other light on the same scene."""

import math

import pytest
import torch
import torch.nn.functional as F

from learners.clap.augment import USUAL, Light, Photometric
from learners.clap.siglip import Siglip, alike, cosine, printed, released

torch.set_num_threads(1)


def latents(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = torch.randn(2, rows, 8, 16, generator=generator)
    return ours, theirs


def test_the_loss_is_a_softplus_of_every_pair_over_the_number_of_rows() -> None:
    ours, theirs = latents(5)
    theta, bias = torch.tensor(1.3), torch.tensor(-2.0)
    total = 0.0
    for i in range(5):
        for j in range(5):
            a, b = ours[i].flatten(), theirs[j].flatten()
            logit = float(theta.exp() * (a @ b) / (a.norm() * b.norm()) + bias)
            total += math.log1p(math.exp(-logit if i == j else logit))
    assert float(released(cosine(ours, theirs), theta, bias)) == pytest.approx(total / 5, abs=1e-5)


@pytest.mark.parametrize("rows", [1, 4, 64, 256])
def test_it_begins_at_ten_for_any_batch(rows: int) -> None:
    ours, theirs = torch.randn(2, rows, 8, 1024, generator=torch.Generator().manual_seed(0))
    made = Siglip()
    assert float(made.theta.detach()) == pytest.approx(math.log(10))
    assert float(made.bias.detach()) == pytest.approx(-10)
    assert float(made(ours, theirs).detach()) == pytest.approx(10, abs=0.3)


def test_it_does_not_matter_which_side_is_which() -> None:
    ours, theirs = latents(6)
    made = Siglip()
    torch.testing.assert_close(made(ours, theirs), made(theirs, ours))


def test_the_printed_form_is_the_released_one() -> None:
    similar = cosine(*latents(7))
    theta, bias = torch.tensor(0.9), torch.tensor(-1.7)
    tau = 1 / theta.exp()
    torch.testing.assert_close(released(similar, theta, bias), printed(similar, tau, -bias * tau), atol=1e-5, rtol=0)


def test_temperature_and_bias_are_learned() -> None:
    made = Siglip()
    made(*latents(6)).backward()
    assert made.theta.grad is not None
    assert made.bias.grad is not None
    assert made.bias.grad.abs() > 0


def test_rows_that_say_the_same_are_no_wrong_pair() -> None:
    ours, theirs = latents(4)
    words = torch.tensor([[1, 2], [3, 4], [1, 2], [1, 4]])
    same = alike(words)
    assert same.nonzero().tolist() == [[0, 2], [2, 0]]
    made = Siglip()
    logits = (10 * cosine(ours, theirs) - 10).detach()
    less = F.softplus(logits[0, 2]) + F.softplus(logits[2, 0])
    torch.testing.assert_close(made(ours, theirs, words), made(ours, theirs) - less / 4)
    theirs[2] = theirs[0]
    assert made(ours, theirs, words) < made(ours, theirs)


def test_no_rows_cost_nothing() -> None:
    assert Siglip()(torch.zeros(0, 8, 16), torch.zeros(0, 8, 16), torch.zeros(0, 8)).item() == 0


def pictures() -> torch.Tensor:
    """Three pairs of the same picture twice."""
    one = torch.rand(3, 1, 3, 6, 8, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.25
    return one.expand(-1, 2, -1, -1, -1)


def test_both_frames_are_seen_in_one_light_and_samples_in_different_ones() -> None:
    still = Photometric(noise=0.0)
    seen = still.seen(pictures(), still.draw(3, torch.Generator().manual_seed(0)))
    assert torch.equal(seen[:, 0], seen[:, 1])
    change = (seen - pictures())[:, 0].flatten(1).mean(1)
    assert len(set(change.tolist())) == 3


def test_noise_is_each_frames_own_and_pictures_stay_within_their_range() -> None:
    light = Light(torch.full((3,), 1.2), torch.full((3,), 1.2), torch.tensor([False, True, False]))
    seen = Photometric(noise=0.2).seen(pictures() * 2, light)
    assert not torch.equal(seen[:, 0], seen[:, 1])
    assert seen.min() >= 0
    assert seen.max() <= 1


def test_light_is_as_it_was_drawn() -> None:
    one = pictures()
    none, no = torch.ones(3), torch.zeros(3, dtype=torch.bool)
    still = Photometric(noise=0.0)
    torch.testing.assert_close(still.seen(one, Light(none, none, no)), one)
    torch.testing.assert_close(still.seen(one, Light(none * 1.2, none, no)), one * 1.2)
    middle = one.mean((-3, -2, -1), keepdim=True)
    torch.testing.assert_close(still.seen(one, Light(none, none * 0.8, no)), middle + 0.8 * (one - middle))
    grey = still.seen(one, Light(none, none, ~no))
    assert torch.equal(grey[:, :, 0], grey[:, :, 2])
    drawn = USUAL.draw(4000, torch.Generator().manual_seed(0))
    assert drawn.brightness.min() > 0.8 - 1e-6
    assert drawn.brightness.max() < 1.2 + 1e-6
    assert float(drawn.grey.float().mean()) == pytest.approx(0.1, abs=0.02)
