"""The continuous head: what it may know of, what counts in its loss, and that it learns a flow."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from learners.clap.head import Dit, Head, Pair, early, sinusoid

torch.set_num_threads(1)

STEPS, WIDTH, SEEN, STATE = 6, 14, 20, 5
TINY = Head(width=32, heads=4, registers=3, dropout=0.0)
RELEASE = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24)


def made(how: Head = TINY, blocks: int = 2) -> Dit:
    torch.manual_seed(0)
    return Dit(how, blocks, SEEN if how.condition == "hidden" else (2, 8), STATE, STEPS, WIDTH).eval()


def prompt(how: Head = TINY, batch: int = 3, length: int = 7, blocks: int = 2) -> tuple[list[Tensor | Pair], Tensor]:
    """What a language model might say, with left padding in the first row."""
    generator = torch.Generator().manual_seed(1)
    said: list[Tensor | Pair] = []
    for _ in range(blocks):
        if how.condition == "hidden":
            said.append(torch.randn(batch, length, SEEN, generator=generator))
        else:
            keys, values = torch.randn(2, batch, 2, length, 8, generator=generator)
            said.append((keys, values))
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[0, :3] = False
    return said, mask


def asked(net: Dit, noisy: Tensor, said: list[Tensor | Pair], mask: Tensor) -> Tensor:
    found: Tensor = net(noisy, torch.full((len(noisy),), 0.3), torch.zeros(len(mask), STATE), net.read(said), mask)
    return found.detach()


def noise(batch: int = 3) -> Tensor:
    return torch.randn(batch, STEPS, WIDTH, generator=torch.Generator().manual_seed(2))


def test_the_release_list_of_blocks_is_the_rule_for_36() -> None:
    assert early(36) == RELEASE
    assert early(4) == (0, 2)
    assert early(1) == (0,)
    assert all(block < depth for depth in range(1, 80) for block in early(depth))


@pytest.mark.parametrize("attention", ["none", "interleaved"])
def test_a_step_knows_the_others_only_through_self_attention(attention: str) -> None:
    how = replace(TINY, self_attention=attention)  # type: ignore[arg-type]  # pytest passes plain strings
    net, (said, mask) = made(how), prompt()
    noisy = noise()
    before = asked(net, noisy, said, mask)
    noisy[:, 4] += 1
    apart = (asked(net, noisy, said, mask) - before).abs().amax((0, 2))
    assert float(apart[4]) > 1e-3
    others = apart[[0, 1, 2, 3, 5]]
    assert bool((others == 0).all()) if attention == "none" else bool((others > 1e-7).all())


def test_each_block_reads_its_own_block_of_the_language_model() -> None:
    net, said = made(), prompt()[0]
    for place, block in enumerate(net.blocks):
        given = said[place]
        assert isinstance(given, Tensor)
        keys, values = net.read(said)[place]
        again = block.listen(given)  # type: ignore[operator]  # it is a module
        assert torch.equal(keys.transpose(1, 2).flatten(2), again[..., : TINY.width])
        assert torch.equal(values.transpose(1, 2).flatten(2), again[..., TINY.width :])


@pytest.mark.parametrize("condition", ["hidden", "kv"])
def test_padding_of_the_prompt_has_no_influence(condition: str) -> None:
    how = replace(TINY, condition=condition)  # type: ignore[arg-type]  # pytest passes plain strings
    net, (said, mask) = made(how), prompt(how)
    before = asked(net, noise(), said, mask)
    for each in said:
        for part in (each,) if isinstance(each, Tensor) else each:
            part[0, ..., :3, :] = part[0, ..., :3, :].flip(-1)
    assert torch.equal(asked(net, noise(), said, mask), before)
    for each in said:
        for part in (each,) if isinstance(each, Tensor) else each:
            part[0, ..., 4, :] = part[0, ..., 4, :].flip(-1)
    assert not torch.allclose(asked(net, noise(), said, mask)[0], before[0])


def test_steps_and_arms_that_do_not_count_change_nothing() -> None:
    net, (said, mask) = made(), prompt()
    plan, counts = noise(), torch.ones(3, STEPS, WIDTH)
    counts[:, 4:] = 0
    counts[..., :7] = 0
    losses = []
    for filler in (0.0, 7.0):
        torch.manual_seed(3)
        filled = torch.where(counts.bool(), plan, torch.full_like(plan, filler))
        losses.append(float(net.loss(filled, counts, torch.zeros(3, STATE), net.read(said), mask).detach()))
    assert losses[0] == losses[1]


def test_the_state_and_further_tokens_are_heard() -> None:
    net, (said, mask) = made(), prompt()
    rho = torch.full((3,), 0.3)
    plain = net(noise(), rho, torch.zeros(3, STATE), net.read(said), mask)
    assert not torch.allclose(net(noise(), rho, torch.ones(3, STATE), net.read(said), mask), plain)
    more = torch.randn(3, 2, TINY.width)
    longer = torch.cat([mask, torch.ones(3, 2, dtype=torch.bool)], dim=1)
    assert not torch.allclose(net(noise(), rho, torch.zeros(3, STATE), net.read(said, more), longer), plain)


def test_draws_of_one_sample_stand_side_by_side() -> None:
    """Two plans of each prompt in one call are what two calls would give."""
    net, (said, mask) = made(), prompt()
    rho = torch.linspace(0.1, 0.9, 6)
    both = torch.stack([noise(), noise() + 1], dim=1).flatten(0, 1)
    state = torch.randn(3, STATE)
    at_once = net(both, rho, state, net.read(said), mask)
    for part in (0, 1):
        torch.testing.assert_close(net(both[part::2], rho[part::2], state, net.read(said), mask), at_once[part::2])


def test_a_plan_is_silent_where_there_is_no_arm() -> None:
    net, (said, mask) = made(), prompt()
    active = torch.arange(WIDTH) >= 7
    torch.manual_seed(0)
    plan = net.draw(active, torch.zeros(3, STATE), net.read(said), mask)
    assert plan.shape == (3, STEPS, WIDTH)
    assert bool((plan[..., :7] == 0).all())
    assert bool((plan[..., 7:] != 0).all())


@pytest.mark.parametrize("condition", ["hidden", "kv"])
def test_it_learns_which_plan_belongs_to_which_prompt(condition: str) -> None:
    """After training, four steps from noise end near the plan that each of three prompts was shown with."""
    how = replace(TINY, condition=condition, draws=8)  # type: ignore[arg-type]  # pytest passes plain strings
    net, (said, mask) = made(how).train(), prompt(how)
    plan, counts, state = noise(), torch.ones(3, STEPS, WIDTH), torch.zeros(3, STATE)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    torch.manual_seed(0)
    for _ in range(150):
        loss = net.loss(plan, counts, state, net.read(said), mask)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    found = net.eval().draw(torch.ones(WIDTH, dtype=torch.bool), state, net.read(said), mask).detach()
    missed = float((found - plan).square().mean() / plan.square().mean())
    assert missed < 0.3, missed


def test_times_are_told_apart() -> None:
    told = sinusoid(torch.tensor([0.0, 1.0, 500.0, 999.0]), 33)
    assert told.shape == (4, 33)
    assert len({tuple(row.tolist()) for row in told}) == 4
