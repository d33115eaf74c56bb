"""The second stage of post-training: what the head reads, who learns from what, and a reference that stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from learners import NoData
from learners.clap.act_vae import ActVaeNet
from learners.clap.actions import Schema
from learners.clap.clap import Clap
from learners.clap.matching import Matching
from learners.clap.mixture import Mixture
from learners.clap.net import ClapNet, spoken
from learners.clap.ntp import NtpNet
from learners.clap.post import Exercise, Exercises, Insulation, PostNet, says_right
from learners.clap.prompt import ACTION, IGNORED
from learners.stages import fingerprint
from learners.train import train
from tests.clap import QUICK, SAID, film, settings, windows

torch.set_num_threads(1)


def made(how: Clap, arms: int = 1) -> tuple[ClapNet, Mixture]:
    """An untrained policy, and what it would be taught."""
    torch.manual_seed(0)
    data = windows(how, arms=arms)
    act = ActVaeNet(replace(how.act_vae, hz=how.hz, k=how.k), Schema.fit(data)).eval()
    watched = film(how).within(np.array([arms == 2, True]))
    random = np.random.default_rng(0)
    labels = {name: random.integers(0, 16, (10, 2, 4)).astype(np.uint16) for name in watched.ids}
    mixture = Mixture(data, spoken(act, data), watched.labelled(labels))
    policy = ClapNet(how, data.body, NtpNet(how.ntp, 4, 16, SAID), act)
    policy.scales.fit(data)
    return policy.eval(), mixture


def post(
    how: Clap | None = None, matching: Matching | None = None, insulation: Insulation = "none"
) -> tuple[PostNet, Exercises]:
    policy, mixture = made(how or settings())
    held = matching or Matching()
    return PostNet(policy, held, insulation, 0.5), Exercises(mixture, held, 0.0, 0)


def exercise(exercises: Exercises, count: int = 4) -> Exercise:
    return exercises.batch(np.arange(count))


def learned(net: PostNet, term: str, batch: Exercise) -> tuple[bool, bool]:
    """Whether this term of the loss moves the language model, and whether it moves the head."""
    net.zero_grad()
    torch.manual_seed(0)
    terms = net.losses(batch)
    torch.autograd.backward(terms[term])
    tokens, head = net.policy.ntp.parameters(), net.policy.head.parameters()
    return tuple(any(p.grad is not None and bool(p.grad.any()) for p in part) for part in (tokens, head))  # type: ignore[return-value]  # two parts


def nudge(ntp: NtpNet) -> None:
    """Make the token policy differ a little from its reference."""
    with torch.no_grad():
        for parameter in ntp.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))


@pytest.mark.parametrize("condition", ["hidden", "kv"])
def test_each_block_of_the_head_reads_what_one_block_of_the_language_model_gives(condition: str) -> None:
    how = settings()
    how = replace(how, head=replace(how.head, condition=condition, blocks=(1, 2)))  # type: ignore[arg-type]  # plain string
    policy, mixture = made(how)
    gave: dict[int, Tensor] = {}
    layers = policy.ntp.qwen.model.language_model.layers
    for number, layer in enumerate(layers):
        layer.register_forward_hook(
            lambda _layer, _given, out, number=number: gave.__setitem__(
                number, out[0] if isinstance(out, tuple) else out
            )
        )
    lesson = mixture.batch(np.arange(2))
    looked = policy.ntp.look(policy.ntp.inputs(lesson), remember=condition == "kv")
    for block, heard in zip((1, 2), policy.heard(looked), strict=True):
        if isinstance(heard, Tensor):
            assert torch.equal(heard, gave[block])
        else:
            assert torch.equal(heard[0], looked.cache.layers[block].keys)
            assert torch.equal(heard[1], looked.cache.layers[block].values)


def test_a_block_that_the_language_model_does_not_have_is_refused() -> None:
    how = settings()
    with pytest.raises(ValueError, match="reads block 4; the language model has 4, counted from 0"):
        made(replace(how, head=replace(how.head, blocks=(0, 4))))


def test_the_prompt_sounds_the_same_with_an_answer_behind_it() -> None:
    """So one pass can serve the flow and the tokens."""
    policy, mixture = made(settings())
    lesson = mixture.batch(np.arange(3))
    both = policy.ntp.look(policy.ntp.inputs(lesson))
    alone = policy.ntp.look(policy.ntp.ask(lesson.images, lesson.instructions, lesson.arms))
    for with_answer, without in zip(policy.heard(both), policy.heard(alone), strict=True):
        assert isinstance(with_answer, Tensor)
        assert isinstance(without, Tensor)
        torch.testing.assert_close(with_answer[both.mask], without[alone.mask], atol=1e-4, rtol=0)


def test_scores_beside_a_token_were_given_before_it() -> None:
    """The release matches the scores at a token, which foretell the next one. Here a token changes only later ones."""
    policy, mixture = made(settings())
    lesson = mixture.batch(np.arange(1))
    before = policy.ntp.look(policy.ntp.inputs(lesson))
    first = int((before.part[0] == ACTION).nonzero()[1])
    other = lesson.codes.clone()
    other[0, 1, 1] = (other[0, 1, 1] + 1) % 16
    after = policy.ntp.look(policy.ntp.inputs(replace(lesson, codes=other)))
    assert before.labels[0, first] != after.labels[0, first]
    apart = (before.logits - after.logits).detach().abs().amax(-1)[0]
    assert float(apart[: first + 1].max()) < 1e-5
    assert float(apart[first + 1 :].min()) > 1e-5


def test_matching_is_nothing_at_the_reference_and_something_beside_it() -> None:
    net, exercises = post(matching=Matching(alpha=1.0))
    batch = exercise(exercises)
    assert float(net.losses(batch)["matching"].detach()) < 1e-6
    nudge(net.policy.ntp)
    assert float(net.losses(batch)["matching"].detach()) > 1e-5


@pytest.mark.parametrize(
    ("insulation", "by_flow", "by_tokens"),
    [("none", (True, True), ("matching", (True, False))), ("insulated", (False, True), ("action", (True, False)))],
)
def test_who_learns_from_the_flow_and_from_the_tokens(
    insulation: Insulation, by_flow: tuple[bool, bool], by_tokens: tuple[str, tuple[bool, bool]]
) -> None:
    net, exercises = post(matching=Matching(alpha=1.0), insulation=insulation)
    nudge(net.policy.ntp)
    assert learned(net, "flow", exercise(exercises)) == by_flow
    assert learned(net, by_tokens[0], exercise(exercises)) == by_tokens[1]


def test_a_frozen_language_model_learns_nothing_and_stays_as_at_run_time() -> None:
    net, exercises = post(insulation="frozen")
    was = fingerprint(net.policy.ntp)
    assert set(net.losses(exercise(exercises))) == {"flow", "key"}
    assert not net.train().policy.ntp.training
    train(net, exercises, QUICK)
    assert fingerprint(net.policy.ntp) == was


def test_the_reference_is_the_same_to_the_bit_after_training_and_the_policy_is_not() -> None:
    net, exercises = post()
    was = fingerprint(net.reference)
    assert was == fingerprint(net.policy.ntp)
    train(net, exercises, replace(QUICK, ema=0.5))
    assert fingerprint(net.reference) == was
    assert fingerprint(net.policy.ntp) != was
    assert not any(name.startswith(("_reference", "reference")) for name in net.state_dict())


def test_the_second_stage_sees_robots_alone() -> None:
    _, exercises = post()
    learn, check = exercises.split(0.25, 0)
    assert set(learn) | set(check) == set(range(len(exercises.mixture.robot)))
    batch = exercises.batch(learn[:8])
    assert bool(batch.robot.of_robot.all())
    assert batch.robot.robot is not None
    assert batch.anchors is None


def test_a_batch_without_windows_of_robots_is_refused() -> None:
    net, exercises = post()
    with pytest.raises(NoData, match="learns from windows of robots"):
        net.losses(Exercise(exercises.mixture.batch(np.array([50, 51])), None))


@pytest.mark.parametrize(("anchor", "robots"), [("human", False), ("replay", True)])
def test_anchors_hold_the_tokens_elsewhere_and_never_reach_the_flow(anchor: str, robots: bool) -> None:
    how = Matching(alpha=1.0, anchor=anchor, anchors=32)  # type: ignore[arg-type]  # plain string
    net, exercises = post(matching=how)
    batch = exercise(exercises)
    assert batch.anchors is not None
    assert len(batch.anchors.arms) == 32
    assert bool(batch.anchors.of_robot.any()) is robots
    assert not batch.anchors.of_robot.all()
    again = exercise(exercises)
    assert again.anchors is not None
    assert torch.equal(again.anchors.codes, batch.anchors.codes)
    nudge(net.policy.ntp)
    assert learned(net, "anchors", batch) == (True, False)


def test_anchors_of_film_need_film() -> None:
    _, exercises = post()
    with pytest.raises(NoData, match='"human" needs film'):
        Exercises(replace(exercises.mixture, film=None), Matching(anchor="human"), 0.0, 0)
    with pytest.raises(NoData, match="film above 0"):
        Exercises(replace(exercises.mixture, share=0.0), Matching(anchor="human"), 0.0, 0)


def test_steps_past_the_end_and_pictures_of_wrists_that_are_left_out() -> None:
    """Steps past an episode's end teach the flow nothing; no wrist is left out while the head learns."""
    net, exercises = post()
    assert net.policy.ntp.how.wrist_drop == pytest.approx(0)
    batch = exercise(exercises)
    robot = batch.robot.robot
    assert robot is not None
    robot.past_end[:, 5:] = True
    losses = []
    for filler in (0.0, 3.0):
        robot.plan[:, 5:] = filler
        torch.manual_seed(0)
        losses.append(float(net.losses(batch)["flow"].detach()))
    assert losses[0] == pytest.approx(losses[1], abs=1e-7)


def test_every_parameter_that_learns_is_in_one_group() -> None:
    for insulation in ("none", "frozen"):
        net, _ = post(insulation=insulation)
        grouped = [id(p) for group in net.groups() for p in group.parameters]
        assert len(grouped) == len(set(grouped))
        assert set(grouped) == {id(p) for p in net.parameters() if p.requires_grad}
        assert [group.pace for group in net.groups()] == ([1.0, 0.5] if insulation == "none" else [1.0])


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("arms", [1, 2])
def test_what_the_flow_is_of_can_be_undone_and_a_missing_arm_is_silent(per_step: bool, arms: int) -> None:
    policy, mixture = made(replace(settings(), per_step=per_step), arms)
    batch = mixture.robot.batch(np.arange(5))
    flowed = policy.actions(batch.plan, batch.state)
    assert flowed.shape == (5, 8, 14)
    assert bool((flowed[..., :7] == 0).all()) is (arms == 1)
    torch.testing.assert_close(policy.plan(flowed, batch.state), batch.plan, atol=1e-5, rtol=1e-5)
    assert policy.arms.tolist() == [arms == 2, True]


@pytest.mark.parametrize("arms", [1, 2])
def test_both_drives_give_plans_of_the_robots_own_arms(arms: int) -> None:
    policy, mixture = made(settings(), arms)
    batch = mixture.robot.batch(np.arange(3))
    for drive in ("rf", "ntp"):
        policy.drive = drive
        plan = policy.steps(batch.images, batch.state, batch.instructions).detach()
        assert plan.shape == (3, 8, 7 * arms)
        assert bool(plan.isfinite().all())


@pytest.mark.parametrize("condition", ["hidden", "kv"])
def test_a_language_model_of_half_as_many_bits_drives_and_learns(condition: str) -> None:
    """As in the published sizes: the head keeps all bits of its own."""
    how = settings()
    vlm = replace(how.ntp.vlm, dtype="bfloat16")
    head = replace(how.head, condition=condition)  # type: ignore[arg-type]  # plain string
    how = replace(how, ntp=replace(how.ntp, vlm=vlm), head=head)
    net, exercises = post(how, Matching(alpha=1.0))
    assert next(net.policy.ntp.parameters()).dtype == torch.bfloat16
    was = fingerprint(net.policy.ntp)
    measured = train(net, exercises, replace(QUICK, steps=2, precision="bf16"))
    assert measured["loss"] > 0
    assert fingerprint(net.policy.ntp) != was
    batch = exercises.mixture.robot.batch(np.arange(2))
    for drive in ("rf", "ntp"):
        net.policy.drive = drive
        plan = net.policy.steps(batch.images, batch.state, batch.instructions)
        assert plan.dtype == torch.float32
        assert bool(plan.isfinite().all())


def test_words_acted_out_are_what_the_vocabulary_decodes() -> None:
    policy, mixture = made(settings())
    batch = mixture.robot.batch(np.arange(4))
    codes = torch.from_numpy(mixture.codes[:4].astype(np.int64))
    assert bool((codes[:, 0] == 0).all())
    act = policy.act
    rows = torch.zeros(4, 2, 8, 7)
    rows[:, 1] = act.decode(codes[:, 1]).detach()
    torch.testing.assert_close(policy.acted_out(codes, batch.state), act.schema.plan(rows, 1, batch.state))


def test_how_often_the_tokens_are_right_is_counted_on_action_tokens() -> None:
    policy, mixture = made(settings())
    lesson = mixture.batch(np.arange(8))
    looked = policy.ntp.look(policy.ntp.inputs(lesson))
    said = looked.logits.argmax(-1) == looked.labels
    counts = (looked.part == ACTION) & (looked.labels != IGNORED)
    assert says_right(policy.ntp, lesson) == pytest.approx(float(said[counts].float().mean()))
