"""Act-VAE: its parts do what Eq. 2 says, what it learned survives on disk, and it learns words for motions."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from learners import BadCheckpoint, Training, Windows
from learners.body import Body
from learners.checkpoint import FACTS
from learners.clap.act_vae import ActVae, ActVaeNet, Chunks, Rows
from learners.clap.actions import Schema
from learners.clap.rate import measure, psnr
from learners.clap.skip import SkipTransformer
from tests.motions import reaching, wandering, windows

torch.set_num_threads(1)

PAIR = Body(12, 2)
TINY = replace(
    ActVae.preset("tiny"),
    k=8,
    tokens=3,
    entries=16,
    code=6,
    width=16,
    feedforward=16,
    patch=2,
    restart=4,
    training=Training(lr=2e-3, batch=16, steps=10, warmup=2, check_every=10, save_every=5, workers=0),
)


def lesson(count: int = 40, arms: int = 1) -> Windows:
    return windows(wandering(count, TINY.k, arms), PAIR if arms == 2 else Body())


def net(how: ActVae = TINY) -> ActVaeNet:
    """An untrained vocabulary, always the same, whose codes lie apart."""
    torch.manual_seed(0)
    made = ActVaeNet(how, Schema.fit(windows(wandering(40, how.k)))).eval()
    with torch.no_grad():
        made.codes.vectors.normal_()
    return made


def rows(count: int = 5) -> torch.Tensor:
    return torch.randn(count, TINY.k, 7, generator=torch.Generator().manual_seed(1))


def test_a_chunk_becomes_so_many_words_and_words_become_a_chunk() -> None:
    made = net()
    assert made.encode(rows()).shape == (5, 3, 6)
    said = made.tokens(rows())
    assert said.shape == (5, 3)
    assert said.dtype == torch.long
    assert 0 <= said.min() <= said.max() < 16
    assert made.decode(said).shape == (5, TINY.k, 7)


@pytest.mark.parametrize("patch", [1, 2, 8])
def test_steps_keep_their_order_however_many_make_a_token(patch: int) -> None:
    made = net(replace(TINY, patch=patch))
    with torch.no_grad():
        one, other = made.encode(rows()), made.encode(rows().flip(1))
    assert not torch.allclose(one, other, atol=1e-5)
    with pytest.raises(ValueError, match="does not fall into patches"):
        replace(TINY, patch=3)


def test_words_are_the_codes_nearest_to_the_latents_and_decoding_acts_them_out() -> None:
    made = net()
    z = made.encode(rows())
    quantised = made.codes(z)
    assert torch.equal(made.tokens(rows()), quantised.index)
    torch.testing.assert_close(made.decode(quantised.index), made.act(quantised.z_q))
    features = made.features(rows())
    torch.testing.assert_close(features, z)
    assert not features.requires_grad


def test_the_losses_are_means_as_in_equation_2() -> None:
    made = net(replace(TINY, commit=0.25))
    terms = made.losses(Rows(rows()))
    z = made.encode(rows())
    codes = made.codes.lookup(made.codes.nearest(z))
    torch.testing.assert_close(terms["reconstruction"], F.mse_loss(made.decode(made.tokens(rows())), rows()))
    torch.testing.assert_close(terms["codebook"], (z - codes).square().mean())
    torch.testing.assert_close(terms["commit"], 0.25 * (z - codes).square().mean())


def test_every_part_learns_and_the_codes_at_their_own_pace_without_decay() -> None:
    made = net()
    torch.autograd.backward(list(made.losses(Rows(rows())).values()))
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())
    others, codes = made.groups()
    assert {id(p) for p in [*others.parameters, *codes.parameters]} == {id(p) for p in made.parameters()}
    assert [*codes.parameters] == [made.codes.vectors]
    assert (others.pace, others.weight_decay) == (1.0, None)
    assert (codes.pace, codes.weight_decay) == (TINY.codebook_pace, 0.0)


def test_codes_begin_anew_every_few_steps_and_not_at_the_end() -> None:
    made = net().train()
    restarted = []
    for step in range(TINY.training.steps):
        made.codes.used.zero_()
        made.codes.used[0] = 1
        before = made.codes.vectors.clone()
        made.after(step)
        if not torch.equal(before, made.codes.vectors):
            restarted.append(step + 1)
    assert restarted == [4], "after 8 of 10 steps there is no time to learn"


def test_in_the_first_steps_latents_are_not_quantised_and_then_the_codes_are_where_latents_are() -> None:
    made = net(replace(TINY, warm=0.35, restart=2)).train()
    assert made.warm == 3, "a share of the 10 steps, rounded down"
    batch, before = Rows(rows(30)), made.codes.vectors.detach().clone()
    with torch.no_grad():
        z = made.encode(batch.rows)
        plain = F.mse_loss(made.act(z), batch.rows)
    for step in range(3):
        terms = made.losses(batch)
        torch.testing.assert_close(terms["reconstruction"], plain)
        assert sum(terms.values()) == terms["reconstruction"]
        made.after(step)
        assert torch.equal(made.codes.vectors, before), "nobody used them, and none begins anew"
        assert not torch.equal(made.eval().losses(batch)["reconstruction"], plain), "it is measured with words"
        assert torch.equal(made.train().codes.vectors, before), "and measuring moves nothing"
    torch.autograd.backward(list(terms.values()))
    assert all(parameter.grad is not None for parameter in made.parameters()), "also what learns nothing yet"
    terms = made.train().losses(batch)
    assert terms["commit"] < 0.8 * z.var((0, 1)).mean()
    placed = made.codes.vectors.detach().clone()
    assert not torch.equal(placed, before)
    made.after(3)
    made.losses(batch)
    assert not made.codes.used.eq(0).all()
    assert made.done == 4
    with pytest.raises(ValueError, match="share of the steps"):
        replace(TINY, warm=1.0)


def test_a_straight_way_leads_past_the_transformers_and_the_published_sizes_have_none() -> None:
    """Where the transformers say nothing, latents and chunks add up; without a straight way nothing is left."""
    one, other = rows(), rows().flip(0)
    for straight in (True, False):
        made = net(replace(TINY, straight=straight))
        with torch.no_grad():
            for last in (made.to_code[-1], made.to_steps):
                for numbers in last.parameters():
                    numbers.zero_()
            nothing = made.encode(0 * one)
            told = made.encode(one) - nothing
            torch.testing.assert_close(told + made.encode(other), made.encode(one + other))
            z = torch.randn(5, 3, 6)
            way = made.act(z) - made.act(0 * z)
            torch.testing.assert_close(2 * way, made.act(2 * z) - made.act(0 * z))
            assert bool(told.abs().sum() > 0) is straight
            assert bool(way.abs().sum() > 0) is straight
    assert not ActVae.preset("paper").straight
    assert not ActVae.preset("release").straight


def test_without_first_steps_the_codes_are_where_the_paper_puts_them() -> None:
    made = net(replace(TINY, warm=ActVae.preset("paper").warm)).train()
    before = made.codes.vectors.detach().clone()
    assert set(made.losses(Rows(rows()))) == {"reconstruction", "codebook", "commit"}
    assert torch.equal(made.codes.vectors, before)


def test_a_skip_transformer_gives_what_a_layer_saw_to_its_partner() -> None:
    torch.manual_seed(0)
    made = SkipTransformer(16, 5, 4, 16).eval()
    assert (len(made.down), len(made.up)) == (2, 2)
    with torch.no_grad():
        x = torch.randn(2, 6, 16)
        before = made(x)
        assert before.shape == x.shape
        last = made.join[1]
        assert isinstance(last, torch.nn.Linear)
        last.weight[:, 16:] += 1
        assert not torch.allclose(before, made(x)), "the last layer is told what the first put out"
    with pytest.raises(ValueError, match="as many layers down as up"):
        SkipTransformer(16, 4, 4, 16)


def test_presets_have_the_published_sizes_and_tiny_is_tiny() -> None:
    paper, release = ActVae.preset("paper"), ActVae.preset("release")
    sizes = (paper.k, paper.tokens, paper.entries, paper.code, paper.width, paper.layers, paper.feedforward)
    assert sizes == (32, 8, 256, 128, 512, 15, 1024)
    assert paper.training.lr * paper.codebook_pace == pytest.approx(1e-3)
    assert (paper.restart, paper.training.batch, paper.training.steps) == (2000, 4096, 100_000)
    assert (release.entries, release.training.steps, release.training.least) == (512, 50_000, 0.1)
    for name in ("tiny", "small"):
        how = ActVae.preset(name)
        made = ActVaeNet(how, Schema.fit(windows(wandering(8, how.k))))
        assert sum(parameter.numel() for parameter in made.parameters()) < 1e6
    with pytest.raises(ValueError, match="there are tiny, small, paper and release"):
        ActVae.preset("huge")


def test_an_arm_that_is_not_there_gives_no_row_and_two_arms_give_two() -> None:
    index = np.arange(6)
    for arms in (1, 2):
        data = lesson(20, arms)
        schema = Schema.fit(data)
        found, there = schema.rows(torch.from_numpy(data.plan[index]))
        batch = Chunks.of(data, schema).batch(index)
        assert len(batch.rows) == 6 * arms
        assert torch.equal(batch.rows, found[there])


def test_windows_in_which_nothing_happens_teach_nothing_and_are_measured_all_the_same() -> None:
    plan = wandering(40, TINY.k)
    plan[::2, :, :6] = 0
    data = windows(plan)
    learn, check = Chunks.of(data, Schema.fit(data), at_once=7).split(0.2, 0)
    assert len(learn) == 16
    assert (learn % 2 == 1).all()
    assert len(check) == 8
    nothing = windows(np.zeros_like(plan))
    assert len(Chunks.of(nothing, Schema.fit(nothing)).split(0.2, 0)[0]) == 32, "nothing else is there to learn"


@pytest.mark.parametrize("arms", [1, 2])
def test_a_vocabulary_survives_on_disk(tmp_path: Path, arms: int) -> None:
    made = TINY.fit(lesson(arms=arms))
    assert "held_out" in made.measured
    made.save(tmp_path / "words")
    back = ActVaeNet.load(tmp_path / "words")
    assert back.how == TINY
    assert back.schema == made.schema
    assert back.digest == made.digest
    assert not back.training
    said = made.tokens(rows())
    assert torch.equal(back.tokens(rows()), said)
    torch.testing.assert_close(back.decode(said), made.decode(said))


def test_the_name_of_a_vocabulary_tells_other_weights_and_other_meanings_apart() -> None:
    made = net()
    first = made.digest
    made.codes.used[0] = 5
    assert made.digest == first, "how often a code was used is no part of what it means"
    with torch.no_grad():
        made.codes.vectors[3, 2] += 1e-4
    assert made.digest != first
    other = net()
    assert other.digest == first
    other.schema = replace(other.schema, hz=99.0)
    assert other.digest != first


def test_a_damaged_vocabulary_is_not_read(tmp_path: Path) -> None:
    made = net()
    made.save(tmp_path)
    whole = json.loads((tmp_path / FACTS).read_text())

    def told(**changes: object) -> str:
        (tmp_path / FACTS).write_text(json.dumps(whole | changes))
        with pytest.raises(BadCheckpoint) as raised:
            ActVaeNet.load(tmp_path)
        return str(raised.value)

    assert "not an action vocabulary" in told(method="ccol")
    assert "schema" in told(facts={})
    assert "is not what was saved" in told(facts=whole["facts"] | {"digest": "0"})
    assert "damaged" in told(settings=whole["settings"] | {"width": 32})
    assert "entries" in told(settings=whole["settings"] | {"entries": "many"})


def test_a_run_that_was_cut_short_goes_on_to_the_same_words(tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    def cut(done: int, _of: int, _loss: float) -> None:
        if done == 7:
            raise Cut

    how = replace(TINY, warm=0.55)
    with pytest.raises(Cut):
        how.fit(lesson(), tmp_path / "run", cut)
    assert how.fit(lesson(), tmp_path / "run").digest == how.fit(lesson()).digest


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_words_reconstruct_motions_four_times_better_than_the_mean_and_fewer_words_worse(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """900 steps on chunks of minimum jerk with a hand that switches at any step; 26 times was measured."""
    how = replace(ActVae.preset("small"), entries=64)
    how = replace(how, training=replace(how.training, steps=900))
    data = windows(reaching(8192), each=8)
    learn, held = data.split(0.1, 0)
    made = how.fit(data)
    seen = Chunks.of(data, made.schema)
    batch = seen.batch(held).rows
    mean = (batch - seen.batch(learn).rows.mean(0)).square().mean().item()
    kept = measure(made, data, held)
    z_q = made.codes.lookup(made.tokens(batch))
    errors = []
    with torch.no_grad():
        for words in (8, 6, 4, 2):
            cut = z_q.clone()
            cut[:, words:] = made.codes.vectors.mean(0)
            errors.append((made.act(cut) - batch).square().mean().item())
    said = f"{mean / kept.mse:.1f} times better than the mean, {psnr(kept.mse):.1f} dB, {kept.used} of 64 codes"
    with capsys.disabled():
        sys.stdout.write(f"\nAct-VAE, 900 steps: {said}; with 8, 6, 4, 2 words MSE {[round(e, 4) for e in errors]}\n")
    assert kept.mse < mean / 4
    assert errors[0] < errors[1] < errors[2]
    assert errors[0] < errors[3]
    assert kept.used >= 0.9 * 64
