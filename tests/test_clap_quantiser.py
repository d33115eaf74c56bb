"""The codebook: nearest codes, gradients by hand, codes that begin anew."""

import torch
from torch import Tensor

from learners.clap.quantiser import Codes

torch.set_num_threads(1)

K, WIDTH = 16, 5


def codes(entries: int = K, spread: float = 1.0) -> Codes:
    """A codebook that has learned something."""
    torch.manual_seed(0)
    made = Codes(entries, WIDTH)
    with torch.no_grad():
        made.vectors.normal_(0, spread)
    return made


def latents(*shape: int) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(1), requires_grad=True)


def gradients(of: Tensor, z: Tensor, made: Codes) -> tuple[Tensor | None, Tensor | None]:
    """Of latents and of codes."""
    to_latents, to_codes = torch.autograd.grad(of, [z, made.vectors], allow_unused=True)
    return to_latents, to_codes


def test_the_gradient_goes_through_to_the_latents_unchanged_and_none_to_the_codes() -> None:
    made, z = codes(), latents(7, 3)
    toll = torch.randn(7, 3, WIDTH)
    to_latents, to_codes = gradients((made(z).z_q * toll).sum(), z, made)
    assert to_latents is not None
    assert torch.equal(to_latents, toll)
    assert to_codes is None


def test_what_comes_out_are_the_codes() -> None:
    made, z = codes(), latents(7, 3)
    out = made(z)
    torch.testing.assert_close(out.z_q, made.lookup(out.index))
    assert out.index.shape == (7, 3)


def test_the_codebook_loss_moves_the_codes_alone_as_worked_out_by_hand() -> None:
    """d/de of mean |z - e|^2 is the sum over a code's latents of 2 (e - z) / (latents * width)."""
    made, z = codes(), latents(40)
    out = made(z)
    to_latents, to_codes = gradients(out.codebook_loss, z, made)
    assert to_latents is None
    by_hand = torch.zeros(K, WIDTH)
    for one, index in zip(z.detach(), out.index, strict=True):
        by_hand[index] += 2 * (made.vectors.detach()[index] - one) / (40 * WIDTH)
    torch.testing.assert_close(to_codes, by_hand)


def test_the_commit_loss_moves_the_latents_alone_as_worked_out_by_hand() -> None:
    made, z = codes(), latents(40)
    out = made(z)
    to_latents, to_codes = gradients(out.commit_loss, z, made)
    assert to_codes is None
    torch.testing.assert_close(to_latents, 2 * (z - made.lookup(out.index)).detach() / (40 * WIDTH))
    torch.testing.assert_close(out.commit_loss, out.codebook_loss)


def test_frozen_codes_have_no_gradient_and_are_neither_counted_nor_restarted() -> None:
    made, z = codes().train(), latents(40)
    made.freeze()
    before = made.vectors.clone()
    out = made(z)
    (out.z_q.sum() + out.codebook_loss + out.commit_loss).backward()
    assert made.vectors.grad is None
    assert out.codebook_loss == 0
    assert out.commit_loss > 0
    assert not made.used.any()
    made.used[0] = 1
    assert made.restart(torch.Generator()) == 0
    assert torch.equal(made.vectors, before)


def test_the_nearest_code_is_the_nearest() -> None:
    made, z = codes(64), latents(500).detach()
    far = (z[:, None] - made.vectors).square().sum(-1)
    assert torch.equal(made.nearest(z), far.argmin(1))


def test_every_code_is_nearest_to_itself_also_where_numbers_are_short() -> None:
    made = codes()
    assert torch.equal(made.nearest(made.vectors.detach()), torch.arange(K))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made.nearest(made.vectors.detach()), torch.arange(K))


def test_codes_in_another_order_say_the_same_by_other_numbers() -> None:
    made, z = codes(), latents(50)
    order = torch.randperm(K)
    other = codes()
    with torch.no_grad():
        other.vectors.copy_(made.vectors[order])
    one, another = made(z), other(z)
    torch.testing.assert_close(one.z_q, another.z_q)
    assert torch.equal(order[another.index], one.index)
    assert one.commit_loss == another.commit_loss


def test_codes_begin_small() -> None:
    made = Codes(K, 400).vectors
    assert made.abs().max() <= 1 / K
    assert made.abs().max() > 0.9 / K


def test_only_training_counts_what_is_used() -> None:
    made, z = codes(), latents(50)
    made.eval()(z)
    assert not made.used.any()
    index = made.train()(z).index
    assert torch.equal(made.used, torch.bincount(index, minlength=K).float())


def test_codes_that_nobody_used_begin_anew_beside_used_ones() -> None:
    made = codes().train()
    made(made.vectors.detach()[[3, 5, 5, 9]])
    before = made.vectors.detach().clone()
    assert made.restart(torch.Generator().manual_seed(0)) == K - 3
    kept = [3, 5, 9]
    assert torch.equal(made.vectors[kept], before[kept])
    to_used = torch.cdist(made.vectors.detach(), before[kept]).amin(1)
    apart = torch.cdist(before[kept], before[kept]).max()
    assert to_used.max() < apart / 2
    assert len({tuple(vector) for vector in made.vectors.tolist()}) == K, (
        "in the very place of another it would never be the nearest"
    )
    assert not made.used.any()


def test_without_anything_used_or_with_everything_used_nothing_begins_anew() -> None:
    made = codes().train()
    before = made.vectors.detach().clone()
    assert made.restart(torch.Generator()) == 0
    made(made.vectors.detach())
    assert made.restart(torch.Generator()) == 0
    assert torch.equal(made.vectors, before)


def test_codes_begin_where_latents_are_however_far_away() -> None:
    made, z = codes(spread=0.01), 4 + latents(200)
    made.begin(z, torch.Generator().manual_seed(0))
    index = made.nearest(z)
    assert len({*index.tolist()}) == K, "each is the nearest to something"
    means = torch.stack([z[index == code].mean(0) for code in range(K)])
    assert (made.vectors - means).norm(dim=1).max() < 1, "and in the middle of that"
    assert (z - made.lookup(index)).square().mean() < z.var(0).mean() / 2
    again = codes(spread=0.01)
    torch.manual_seed(5)
    again.begin(z, torch.Generator().manual_seed(0))
    assert torch.equal(made.vectors, again.vectors), "which depends on the generator alone"
    few = codes()
    few.begin(z[:3], torch.Generator())
    assert torch.equal(few.vectors[3:], codes().vectors[3:]), "three latents place three codes"


def test_a_restart_depends_on_the_generator_alone() -> None:
    found = []
    for _ in range(2):
        made = codes().train()
        made(latents(4))
        made.restart(torch.Generator().manual_seed(7))
        found.append(made.vectors.detach().clone())
    assert torch.equal(*found)


def share_used(restarts: bool) -> float:
    """Of 64 codes that learned latents far from where codes begin."""
    torch.manual_seed(0)
    made = Codes(64, WIDTH).train()
    optimizer = torch.optim.Adam([made.vectors], lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for done in range(1, 161):
        loss = made(4 + 0.5 * torch.randn(256, WIDTH, generator=generator)).codebook_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if restarts and done % 20 == 0 and done < 160:
            made.restart(generator)
    index = made.eval()(4 + 0.5 * torch.randn(4096, WIDTH, generator=generator)).index
    return int((torch.bincount(index, minlength=64) > 0).sum()) / 64


def test_with_restarts_nine_of_ten_codes_are_used_and_without_few() -> None:
    assert share_used(restarts=False) < 0.5
    assert share_used(restarts=True) >= 0.9
