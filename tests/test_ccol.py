"""CCoL's parts do what its equations say, every switch switches, and it learns."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from learners import Batch
from learners.backbones import Words, stretch
from learners.body import ONE_ARM
from learners.ccol import CCoL, CoAttention, Discrepancy, Latent, Net, PositionAttention, divergence
from learners.train import held_out_loss
from tests.lessons import INSTRUCTION, TINY, squares

torch.set_num_threads(1)

LONG, SHORT = "take the red cube and put it on the yellow pad over there", "red cube"


def net(how: CCoL = TINY, *instructions: str) -> Net:
    """An untrained network, always the same."""
    torch.manual_seed(0)
    return Net(how, {"vocabulary": Words.vocabulary([LONG, INSTRUCTION, *instructions])})


def batch(count: int = 4) -> Batch:
    return squares(episodes=1, each=count).batch(np.arange(count))


def out(how: CCoL = TINY, training: bool = False, plan: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    made, seen = net(how).train(training), batch()
    with torch.no_grad():
        said: dict[str, torch.Tensor] = made(seen.images, seen.state, seen.instructions, plan)
    return said


def test_the_divergence_is_the_closed_form_and_nothing_at_the_prior() -> None:
    assert not divergence(torch.zeros(3, 8), torch.zeros(3, 8)).any()
    mu, log_var = torch.randn(3, 8), torch.randn(3, 8)
    ours = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    prior = torch.distributions.Normal(torch.zeros(3, 8), torch.ones(3, 8))
    closed = torch.distributions.kl_divergence(ours, prior).sum(-1).mean()
    torch.testing.assert_close(divergence(mu, log_var), closed)


def test_colours_are_measured_once() -> None:
    made, seen = net(), batch()
    made.measure(seen.images)
    first = made.vision.get_buffer("apart").clone()
    assert made.vision.fitted
    made.measure(255 - seen.images // 2)
    assert torch.equal(made.vision.get_buffer("apart"), first)


def test_a_chunk_has_k_steps_of_what_the_view_predicts() -> None:
    assert out()["plan"].shape == (4, TINY.k, 8)
    assert out(replace(TINY, action="tool", k=7))["plan"].shape == (4, 7, 7)


def test_colours_become_minus_one_to_one_and_training_draws_one_gain_for_each_picture() -> None:
    made = net(replace(TINY, brightness=0.3))
    images = torch.randint(0, 256, (5, 2, 3, 6, 7), dtype=torch.uint8)
    given, plain = images.clone(), images.double() / 127.5 - 1
    torch.testing.assert_close(made.eval()._pixels(images).double(), plain, rtol=0, atol=1e-6)
    gains = made.train()._pixels(images).double() / plain
    each = gains.flatten(2).mean(2)
    torch.testing.assert_close(gains, each[..., None, None, None].expand_as(gains), rtol=1e-4, atol=0)
    assert len(set(each.flatten().tolist())) == 10
    assert torch.equal(images, given)
    floats = images.float()
    made._pixels(floats)
    assert torch.equal(floats, images.float()), "whoever gave them keeps them"
    blind = torch.zeros(5, 0, 3, 6, 7, dtype=torch.uint8)
    assert made._pixels(blind).shape == blind.shape


def test_an_even_motion_has_no_bend_however_plans_are_scaled_and_hands_do_not_count() -> None:
    made = net(replace(TINY, action="tool"))
    random = np.random.default_rng(0)
    scale = random.uniform(0.5, 2.0, (TINY.k, 7)) * np.arange(1, TINY.k + 1)[:, None]
    made.scales._set("plan_scale", scale.astype("f4"))
    made.scales._set("plan_mean", random.normal(size=(TINY.k, 7)).astype("f4"))
    line = torch.arange(TINY.k)[None, :, None] * torch.tensor(random.normal(size=(3, 1, 7)), dtype=torch.float32)
    line[:, 4:, 6] += 5.0
    assert float(made._bends(made.scales.do("plan", line))) < 1e-8
    line[:, 4:, 0] += 1.0
    # Of 8 second differences of 6 numbers, two are 1 in the spread of the first number.
    expected = 2 / (TINY.k - 2) / 6 / scale[:, 0].mean() ** 2
    assert float(made._bends(made.scales.do("plan", line))) == pytest.approx(expected, rel=1e-3)


def test_at_run_time_the_same_is_planned_twice_and_in_training_the_latent_is_drawn() -> None:
    made, seen = net(), batch()
    with torch.no_grad():
        first, again = (made.eval()(seen.images, seen.state, seen.instructions)["plan"] for _ in range(2))
        drawn, other = (made.train()(seen.images, seen.state, seen.instructions)["plan"] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(drawn, other)


@pytest.mark.parametrize("noise", [{"state_noise": 0.1}, {"brightness": 0.3}, {"dropout": 0.3}])
def test_noise_is_for_training_alone(noise: dict[str, float]) -> None:
    made, seen = net(replace(TINY, mcc=False, **noise)), batch()  # type: ignore[arg-type]  # all three are floats
    with torch.no_grad():
        drawn, other = (made.train()(seen.images, seen.state, seen.instructions)["plan"] for _ in range(2))
        first, again = (made.eval()(seen.images, seen.state, seen.instructions)["plan"] for _ in range(2))
    assert not torch.equal(drawn, other)
    assert torch.equal(first, again)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("way", [0, 1])
def test_every_row_of_attention_sums_to_one(literal: bool, way: int) -> None:
    weights = CoAttention(32, 4, literal).weights(way, torch.randn(2, 9, 32), torch.randn(2, 9, 32))
    assert weights.shape == (2, 4, 9, 9)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 9))


def test_what_the_words_find_does_not_depend_on_the_order_of_what_is_seen() -> None:
    """Eq. 8: words on tokens are unchanged when tokens trade places; tokens on words trade places with them."""
    attention, x, words = CoAttention(32, 4, literal=False), torch.randn(2, 9, 32), torch.randn(2, 9, 32)
    order = torch.randperm(9)
    torch.testing.assert_close(attention._attend(0, words, x[:, order]), attention._attend(0, words, x))
    torch.testing.assert_close(attention._attend(1, x[:, order], words), attention._attend(1, x, words)[:, order])
    torch.testing.assert_close(attention(x, words), attention._attend(0, words, x) + attention._attend(1, x, words))


def test_attention_as_printed_has_no_projections_of_values() -> None:
    """With words that are all alike, attention on them is those words; the other kind turns them into something."""
    word = torch.randn(1, 1, 32).expand(2, 9, 32)
    literal, usual = CoAttention(32, 4, literal=True), CoAttention(32, 4, literal=False)
    torch.testing.assert_close(literal._attend(1, torch.randn(2, 9, 32), word), word)
    assert not torch.allclose(usual._attend(1, torch.randn(2, 9, 32), word), word)


def test_attention_is_the_standard_multi_head_attention() -> None:
    attention, x, words = CoAttention(32, 4, literal=False), torch.randn(2, 9, 32), torch.randn(2, 9, 32)
    asked, answered, values = attention.ask[0](words), attention.answer[0](x), attention.value[0](x)
    heads = [each.unflatten(-1, (4, 8)).transpose(1, 2) for each in (asked, answered, values)]
    expected = attention.out[0](F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention._attend(0, words, x), expected)


@pytest.mark.parametrize("how", [{}, {"csa": False, "keyframe": False}])
def test_what_is_planned_for_one_instruction_does_not_depend_on_what_others_are_told(how: dict[str, Any]) -> None:
    """A batch that says one thing is read once, and one that says several is read row by row."""
    net = Net(replace(TINY, **how), ONE_ARM.facts | {"vocabulary": ("put", "cube", "away")}).eval()
    images = torch.randint(0, 255, (3, len(TINY.cameras), 3, 32, 32), dtype=torch.uint8)
    state, said = torch.randn(3, TINY.history + 1, net.body.width), ["put cube", "put away", "put cube"]
    with torch.no_grad():
        together = net.steps(images, state, said)
        alone = torch.cat(
            [net.steps(images[row : row + 1], state[row : row + 1], said[row : row + 1]) for row in range(3)]
        )
        alike = net.steps(images, state, ["put cube"] * 3)
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together[[0, 2]], alike[[0, 2]])
    assert not torch.allclose(together[1], alike[1])


def test_words_are_stretched_to_the_length_of_what_is_seen() -> None:
    tokens = torch.tensor([[[0.0], [10.0], [99.0]], [[0.0], [10.0], [40.0]]])
    real = torch.tensor([[True, True, False], [True, True, True]])
    stretched = stretch(tokens, real, 5)[..., 0]
    torch.testing.assert_close(stretched, torch.tensor([[0.0, 2.5, 5.0, 7.5, 10.0], [0.0, 5.0, 10.0, 25.0, 40.0]]))
    expected = F.interpolate(tokens[1:].mT, 17, mode="linear", align_corners=True).mT
    torch.testing.assert_close(stretch(tokens, real, 17)[1:], expected)


def test_one_word_is_stretched_into_copies_of_itself() -> None:
    tokens, real = torch.randn(1, 4, 3), torch.tensor([[True, False, False, False]])
    torch.testing.assert_close(stretch(tokens, real, 6), tokens[:, :1].expand(1, 6, 3))


@pytest.mark.parametrize("csa", [True, False])
@pytest.mark.parametrize("keyframe", [True, False])
def test_a_short_instruction_is_not_changed_by_a_long_one_beside_it(csa: bool, keyframe: bool) -> None:
    made, seen = net(replace(TINY, csa=csa, keyframe=keyframe)).eval(), batch(2)
    with torch.no_grad():
        together = made(seen.images, seen.state, [SHORT, LONG])["plan"]
        alone = made(seen.images[:1], seen.state[:1], [SHORT])["plan"]
        other = made(seen.images[:1], seen.state[:1], [LONG])["plan"]
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(alone, other, atol=1e-4), "the instruction says nothing"


def test_a_word_never_seen_and_no_word_at_all_still_run() -> None:
    made, seen = net().eval(), batch(2)
    with torch.no_grad():
        assert made(seen.images, seen.state, ["defenestrate the tomato", ""])["plan"].isfinite().all()


def test_position_attention_mixes_by_place_alone() -> None:
    """Its weights ignore what the tokens are, so it is one linear map over positions, whatever it is given."""
    attention, a, b = PositionAttention(32, 4), torch.randn(2, 9, 32), torch.randn(2, 9, 32)
    torch.testing.assert_close(attention(2 * a - 3 * b), 2 * attention(a) - 3 * attention(b), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention(torch.ones(2, 9, 32)), torch.ones(2, 9, 32))
    order = torch.tensor([8, 7, 6, 5, 4, 3, 2, 1, 0])
    assert not torch.allclose(attention(a[:, order]), attention(a)[:, order], atol=1e-3), "places do not matter"


@pytest.mark.parametrize(
    ("mode", "terms"),
    [
        ("fd", {"recon", "kl", "disc", "key"}),
        ("encoder", {"recon", "kl", "disc", "key"}),
        ("action", {"recon", "kl", "disc", "key"}),
        ("none", {"recon", "kl", "key"}),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_every_reading_of_the_discrepancy_has_its_term(mode: Discrepancy, terms: set[str], training: bool) -> None:
    """In training, and when the loss of held-out windows is measured."""
    losses = net(replace(TINY, disc_mode=mode)).train(training).losses(batch())
    assert losses.keys() == terms
    assert all(term.ndim == 0 and term.isfinite() for term in losses.values())
    if "disc" in losses:
        assert losses["disc"] > 0


def test_what_is_held_out_is_told_no_plan() -> None:
    """With a latent of the expert's actions, which is nothing at run time."""
    made = net(replace(TINY, posterior="act")).eval()
    batch, other = (squares(episodes=1, each=2).batch(np.arange(2)) for _ in range(2))
    other = replace(other, plan=other.plan + 1)
    assert made.losses(batch)["kl"].item() == pytest.approx(0)
    assert made.losses(other)["kl"].item() == pytest.approx(0)
    assert made.train().losses(batch)["kl"].item() > 0


@pytest.mark.parametrize(
    ("wrong", "why"), [({"cameras": ()}, "give it a camera"), ({"ode_points": 1}, "ode_points is at least 2")]
)
def test_settings_that_nothing_can_be_made_of_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(TINY, **wrong)


def test_a_discrepancy_of_encoded_states_needs_states_that_are_encoded() -> None:
    with pytest.raises(ValueError, match="nothing encodes them"):
        replace(TINY, posterior="act", disc_mode="encoder")


def test_every_term_is_weighted() -> None:
    """With all weights doubled, all terms but the first double."""
    torch.manual_seed(1)
    once = net().eval().losses(batch())
    doubled = replace(
        TINY,
        kl_weight=2 * TINY.kl_weight,
        disc_weight=2 * TINY.disc_weight,
        keyframe_weight=2 * TINY.keyframe_weight,
    )
    twice = net(doubled).eval().losses(batch())
    torch.testing.assert_close(twice.pop("recon"), once.pop("recon"))
    torch.testing.assert_close(twice, {name: 2 * term for name, term in once.items()})


ABLATIONS: dict[str, CCoL] = {
    "no mcc": replace(TINY, mcc=False),
    "no csa": replace(TINY, csa=False),
    "no discrepancy": replace(TINY, disc_mode="none"),
    "no keyframe": replace(TINY, keyframe=False),
    "no residual": replace(TINY, residual=False),
    "hadamard": replace(TINY, fuse="hadamard"),
    "tcn": replace(TINY, encoder="tcn"),
    "posterior of actions": replace(TINY, posterior="act"),
    "literal attention": replace(TINY, literal_attention=True),
    "dopri5": replace(TINY, ode_solver="dopri5"),
    "five points": replace(TINY, ode_points=5),
    "two cameras": replace(TINY, cameras=("front", "wrist")),
}


@pytest.mark.parametrize("how", [pytest.param(how, id=name) for name, how in ABLATIONS.items()])
def test_without_or_with_each_part_it_plans_and_every_weight_learns(how: CCoL) -> None:
    seen = batch()
    if len(how.cameras) == 2:
        seen = replace(seen, images=seen.images.expand(-1, 2, -1, -1, -1))
    made = net(how)
    torch.stack(list(made.losses(seen).values())).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    silent = {name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()}
    if not how.csa:
        silent = {name for name in silent if not name.startswith("attention")}
    # A softmax is unchanged by what is added to all its inputs alike.
    assert {name for name in silent if not name.endswith((".bias", "in_proj_bias"))} == set(), silent
    with torch.no_grad():
        plan = made.eval()(seen.images, seen.state, seen.instructions)["plan"]
    assert plan.shape == (4, how.k, 8)
    assert plan.isfinite().all()


def test_without_motion_continuity_there_is_no_latent_and_the_newest_state_is_one_token() -> None:
    said = out(ABLATIONS["no mcc"])
    assert said.keys() == {"tokens", "plan", "key"}
    assert said["tokens"].shape == (4, 1, TINY.width)
    assert net(ABLATIONS["no mcc"]).losses(batch()).keys() == {"recon", "key"}


def test_the_flows_points_become_tokens() -> None:
    said = out(ABLATIONS["five points"])
    assert said["states"].shape == (5, 4, TINY.latent)
    assert said["tokens"].shape == (4, 5, TINY.width)
    assert said["times"][-1] == TINY.ode_horizon
    assert torch.equal(said["states"][0], said["mu"])


def test_the_latent_is_read_from_the_newest_states_and_the_state_before_is_for_the_encoders_reading() -> None:
    """Of history + 1 states, the oldest counts for ``mu_before`` alone, the newest for ``mu`` alone."""
    torch.manual_seed(0)
    latent = Latent(replace(TINY, disc_mode="encoder"), ONE_ARM.width, 8).train()
    felt = torch.randn(2, TINY.history + 1, ONE_ARM.width)
    older, newer = felt.clone(), felt.clone()
    older[:, 0] += 1
    newer[:, -1] += 1
    with torch.no_grad():
        plain, old, new = (latent(each, None) for each in (felt, older, newer))
    assert torch.equal(plain["mu"], old["mu"])
    assert not torch.equal(plain["mu_before"], old["mu_before"])
    assert torch.equal(plain["mu_before"], new["mu_before"])
    assert not torch.equal(plain["mu"], new["mu"])


@pytest.mark.parametrize("encoder", ["transformer", "tcn"])
def test_both_encoders_read_every_state(encoder: Any) -> None:
    torch.manual_seed(0)
    latent = Latent(replace(TINY, encoder=encoder), ONE_ARM.width, 8).eval()
    felt = torch.randn(1, TINY.history + 1, ONE_ARM.width)
    with torch.no_grad():
        plain = latent(felt, None)["mu"]
        for i in range(1, TINY.history + 1):
            moved = felt.clone()
            moved[:, i] += 1
            assert not torch.allclose(latent(moved, None)["mu"], plain), i


def test_a_posterior_of_actions_reads_them_in_training_and_is_zero_at_run_time() -> None:
    """The latent then says nothing, so the state enters as a token of its own."""
    how = ABLATIONS["posterior of actions"]
    taught = out(how, plan=torch.randn(4, how.k, 8))
    assert taught["mu"].any()
    told = out(how)
    assert not told["mu"].any()
    assert not told["states"][0].any()
    assert told["tokens"].shape == (4, how.ode_points + 1, how.width)
    assert torch.equal(told["tokens"][0, : how.ode_points], told["tokens"][1, : how.ode_points])
    assert not torch.equal(told["tokens"][0, -1], told["tokens"][1, -1])


def test_hadamard_is_a_product_with_the_mean_latent_token_and_adds_none() -> None:
    """A latent of nothing then leaves nothing, where beside what is seen it would be some tokens more."""
    for how, length, nothing in ((ABLATIONS["hadamard"], TINY.points, True), (TINY, TINY.points + 2, False)):
        made, seen, given = net(how).eval(), batch(), list[torch.Tensor]()
        made.attention.register_forward_hook(lambda _m, inputs, _out, given=given: given.append(inputs[0]))
        with torch.no_grad():
            made(seen.images, seen.state, seen.instructions)
            made.latent.to_token.weight.zero_()
            made.latent.to_token.bias.fill_(-1)
            made(seen.images, seen.state, seen.instructions)
        assert [each.shape[1] for each in given] == [length, length]
        assert given[0].any()
        assert given[1].any() != nothing


def test_steps_past_the_end_teach_nothing() -> None:
    made, seen = net().eval(), batch()
    past = seen.past_end.clone()
    past[0, 3:] = past[2, :] = True
    wild = seen.plan.clone()
    wild[past] = 1e6
    masked = made.losses(replace(seen, past_end=past))["recon"]
    torch.testing.assert_close(made.losses(replace(seen, past_end=past, plan=wild))["recon"], masked)
    assert made.losses(replace(seen, plan=wild))["recon"] > 1000 * masked
    assert not made.losses(replace(seen, past_end=torch.ones_like(past)))["recon"].any()


def test_the_reconstruction_is_the_mean_absolute_error_of_the_steps_that_count() -> None:
    made, seen = net().eval(), batch()
    past = seen.past_end.clone()
    past[1, 4:] = True
    with torch.no_grad():
        said = made(seen.images, seen.state, seen.instructions)["plan"]
        found = made.losses(replace(seen, past_end=past))["recon"]
    torch.testing.assert_close(found, (said - seen.plan)[~past].abs().mean())


def test_the_key_frame_is_learned_from_key_frames_alone() -> None:
    """The plan is told the prediction but may not bend it, or it would stop meaning what it says."""
    made = net()
    made.losses(batch())["recon"].backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    assert all(p.grad is None for p in made.key.parameters())
    assert all(p.grad is not None and p.grad.any() for p in made.from_key.parameters())
    made.losses(batch())["key"].backward()  # type: ignore[no-untyped-call]  # as above
    assert all(p.grad is not None and p.grad.any() for p in made.key.parameters())


def test_tiny_is_small_and_small_is_not_much_larger() -> None:
    def size(how: CCoL) -> int:
        return sum(p.numel() for p in net(how).parameters())

    assert size(CCoL.preset("tiny")) < 100_000
    assert size(CCoL.preset("small")) < 1_500_000


def test_the_paper_preset_has_the_published_sizes_and_models_by_name() -> None:
    paper = CCoL.preset("paper")
    assert (paper.k, paper.width, paper.heads, paper.latent) == (50, 512, 8, 32)
    assert (paper.encoder_layers, paper.decoder_layers, paper.feedforward, paper.dropout) == (4, 1, 3200, 0.1)
    assert (paper.ode_points, paper.ode_horizon, paper.ode_solver, paper.disc_mode) == (2, 2.0, "dopri5", "fd")
    assert (paper.image, paper.action, paper.posterior, paper.ensemble) == (224, "joint", "proprio", 0.01)
    assert (paper.kl_weight, paper.disc_weight) == (10.0, 1.0)
    assert (paper.training.lr, paper.training.weight_decay, paper.training.batch) == (1e-5, 1e-4, 8)
    assert paper.vision == "google/vit-base-patch16-224-in21k"
    assert paper.text == "FacebookAI/roberta-base"
    assert (paper.freeze_vision, paper.freeze_text) == (False, True)
    ours = (paper.residual, paper.keyframe, paper.literal_attention, paper.state_noise, paper.brightness)
    assert not any(ours)


def test_a_preset_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(ValueError, match="no preset 'huge'; there are tiny, small and paper"):
        CCoL.preset("huge")


def test_it_learns_where_the_bright_square_is_and_plans_the_way_there() -> None:
    """On squares it never saw, the plan is three times better than the mean plan, and the loss falls to half."""
    how = replace(TINY, training=replace(TINY.training, steps=300, batch=32, ema=0.9, held_out=0.2))
    data = squares(episodes=20)
    policy = how.fit(data)
    assert policy.net.vision.get_buffer("grey").all(), "colours were measured before anything was learned"
    learn, check = data.split(0.2, how.training.seed)
    seen = data.batch(check)
    with torch.no_grad():
        off = (policy.net.steps(seen.images, seen.state, seen.instructions) - seen.plan).abs().mean()
    guess = (torch.from_numpy(data.plan[learn]).mean(0) - seen.plan).abs().mean()
    assert off < 0.35 * guess, (float(off), float(guess))
    untrained = net(how, *data.instructions)
    untrained.scales.fit(data)
    before, after = (held_out_loss(each, data, check, how.training) for each in (untrained, policy.net))
    assert after < 0.5 * before, (after, before)
    assert math.isfinite(after)
