"""LaDA embeds, names and moves: two stages, one policy, and what it was made with can be read off it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from learners import BadCheckpoint, CannotGoOn, load
from learners.lada import lada as module
from learners.lada.clip import Clip, make_tiny
from learners.lada.lada import LaDA, Lessons
from learners.lada.net import Finetuning, Net, Pretraining, Speaker
from learners.lada.primitives import Primitives
from learners.lada.words import examples, read
from learners.learner import method
from learners.policy import ChunkPolicy
from learners.train import train
from tests.lada import HANDED, QUICK, SAID, made, settings, windows

torch.set_num_threads(1)


def planned(policy: ChunkPolicy, how: LaDA, arms: int = 1) -> torch.Tensor:
    batch = windows(how, arms=arms).batch(np.arange(5))
    with torch.no_grad():
        found: torch.Tensor = policy.net.steps(batch.images, batch.state, batch.instructions)
    return found


@pytest.mark.parametrize("sharp", [True, False])
@pytest.mark.parametrize("arms", [1, 2])
def test_it_learns_moves_names_and_comes_back_from_disk(tmp_path: Path, sharp: bool, arms: int) -> None:
    how = settings(sharp)
    data = windows(how, arms=arms)
    policy = how.fit(data, tmp_path / "run")
    steps = planned(policy, how, arms)
    assert steps.shape == (5, how.k, 7 * arms)
    policy.save(tmp_path / "policy")
    again = load(tmp_path / "policy")
    assert again.method == "lada"
    assert torch.equal(planned(again, how, arms), steps)
    assert Primitives.said(again.facts) == HANDED
    batch = data.batch(np.arange(3))
    said = again.net.explain(batch.images, batch.state, batch.instructions)
    assert said == policy.net.explain(batch.images, batch.state, batch.instructions)
    assert all(len(read(text)) == arms for text in said)
    for name in ("pretrain_imitation_loss", "pretrain_contrast_excess", "pretrain_imitation_weight", "action"):
        assert np.isfinite(policy.measured[name])


def test_it_is_known_by_its_name_in_three_sizes() -> None:
    assert method("lada") is LaDA
    for name in ("tiny", "small", "paper"):
        assert LaDA.preset(name).k
    with pytest.raises(ValueError, match="tiny, small and paper"):
        LaDA.preset("huge")


def test_what_is_ours_is_off_in_the_paper() -> None:
    paper = LaDA.preset("paper")
    assert (paper.sight.points, paper.feels, paper.centre, len(paper.cameras)) == (0, False, False, 1)
    assert paper.contrast.kind == "soft"
    assert paper.contrast.adaptive == "ma"
    assert paper.clip.source == "openai/clip-vit-large-patch14"


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="feels=true"):
        replace(settings(), feels=False)
    with pytest.raises(ValueError, match="give it a camera"):
        replace(settings(), cameras=())


def test_tiny_is_small() -> None:
    for sharp in (True, False):
        net, _ = made(settings(sharp))
        assert sum(each.numel() for each in net.parameters()) < 1_000_000


def test_a_blind_state_is_no_input_unless_it_feels() -> None:
    net, lessons = made(replace(settings(sharp=False), feels=False))
    batch = lessons.windows.batch(np.arange(4))
    with torch.no_grad():
        net.eval()
        assert torch.equal(
            net.steps(batch.images, batch.state, batch.instructions),
            net.steps(batch.images, batch.state + 1, batch.instructions),
        )


@pytest.mark.parametrize("contrast", ["soft", "hard", "none"])
@pytest.mark.parametrize("adaptive", ["ma", "excess", "fixed"])
def test_every_ablation_is_a_setting(contrast: Any, adaptive: Any) -> None:
    how = settings()
    how = replace(how, contrast=replace(how.contrast, kind=contrast, adaptive=adaptive, imitation=0.3))
    net, lessons = made(how)
    stage = Pretraining(net).train()
    terms = stage.losses(lessons.batch(np.arange(16)))
    torch.autograd.backward(list(terms.values()))
    learned = {name for name, each in stage.named_parameters() if each.grad is not None and each.grad.any()}
    assert any(name.startswith("net.heads") for name in learned)
    assert not any(name.startswith(("net.act", "net.to_plan")) for name in learned)
    assert ("contrast" in terms) == (contrast != "none")
    if contrast == "none":
        return
    told = stage.notes
    assert float(terms["imitation"].detach()) == pytest.approx(told["imitation_weight"] * told["imitation_loss"])
    assert float(terms["contrast"].detach()) == pytest.approx((1 - told["imitation_weight"]) * told["contrast_loss"])
    if adaptive == "fixed":
        assert told["imitation_weight"] == pytest.approx(0.3)


def test_weights_carry_no_gradient_into_the_losses() -> None:
    """The gradient of the heads is the imitation's own, times its weight."""
    net, lessons = made(settings())
    stage, lesson = Pretraining(net.eval()), lessons.batch(np.arange(16))
    stage.balance.train()
    terms = stage.losses(lesson)
    head = net.heads[0].get_parameter("weight")
    ours = torch.autograd.grad(terms["imitation"], head)[0]
    embedded = net.embed(lesson.windows.images, lesson.windows.state, lesson.windows.instructions)
    imitation = net.imitation(embedded.action, lesson.classes)
    plain = torch.autograd.grad(imitation, head)[0]
    torch.testing.assert_close(ours, (terms["imitation"] / imitation).detach() * plain)


def test_the_first_stage_leaves_the_head_that_moves_alone_and_the_second_moves_it() -> None:
    net, lessons = made(settings())
    head = {name: each.clone() for name, each in net.to_plan.state_dict().items()}
    stage = Pretraining(net)
    # What has no gradient must not ask for one, or several GPUs wait for it for ever.
    assert not any(each.requires_grad for part in (net.act, net.to_plan) for each in part.parameters())
    train(stage, lessons, QUICK)
    assert all(torch.equal(each, net.to_plan.state_dict()[name]) for name, each in head.items())
    train(Finetuning(net), lessons, QUICK)
    assert not torch.equal(head["weight"], net.to_plan.weight)


def test_naming_goes_on_in_the_second_stage_and_moves_nothing_of_the_embedding() -> None:
    net, lessons = made(settings())
    terms = Finetuning(net).losses(lessons.batch(np.arange(8)))
    torch.autograd.backward(terms["named"])
    touched = {name.split(".")[0] for name, each in net.named_parameters() if each.grad is not None}
    assert touched == {"heads"}


def test_steps_past_the_end_do_not_count() -> None:
    net, lessons = made(settings())
    lesson = lessons.batch(np.arange(6))
    late = lesson.windows.past_end.clone()
    late[:, 4:] = True
    wild = lesson.windows.plan.clone()
    wild[:, 4:] += 9

    def loss(plan: torch.Tensor) -> torch.Tensor:
        batch = replace(lesson.windows, plan=plan, past_end=late)
        return Finetuning(net.eval()).losses(replace(lesson, windows=batch))["action"]

    torch.testing.assert_close(loss(wild), loss(lesson.windows.plan))


def test_words_for_motions_are_looked_up_once_and_never_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _ = made(settings())
    speaker = Speaker(net.towers, centre=False)
    before = speaker(SAID, torch.zeros(1))
    with torch.no_grad():
        for each in net.towers.parameters():
            each.add_(1.0)
    asked: list[list[str]] = []
    say = speaker.towers.say

    def heard(texts: Sequence[str]) -> torch.Tensor:
        asked.append(list(texts))
        return say(texts)

    monkeypatch.setattr(speaker.towers, "say", heard)
    assert torch.equal(speaker(SAID, torch.zeros(1)), before)
    speaker([*SAID, "stay"], torch.zeros(1))
    assert asked == [["stay"]]
    assert not before.requires_grad
    assert not any("speaker" in name for name in Pretraining(net).state_dict())


def test_what_all_sentences_share_can_be_taken_away() -> None:
    net, _ = made(settings())
    said = Speaker(net.towers, centre=True)(examples(), torch.zeros(1))
    torch.testing.assert_close(said.mean(0), torch.zeros_like(said[0]), atol=1e-4, rtol=0)
    plain = Speaker(net.towers, centre=False)(examples(), torch.zeros(1))
    torch.testing.assert_close(plain - plain.mean(0), said, atol=1e-4, rtol=0)


def test_words_tell_how_far_unless_they_are_told_not_to() -> None:
    data = windows(settings())
    assert any("meters" in text for text in Lessons.of(data, HANDED).said)
    assert not any("meters" in text for text in Lessons.of(data, HANDED, magnitude=False).said)


class Killed(Exception):
    """The process is gone."""


@pytest.mark.parametrize("step", [3, 5, 6, 7, 9, 11])
def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path, step: int) -> None:
    how = settings()
    whole = how.fit(windows(how), tmp_path / "whole")

    def tell(done: int, of: int, _loss: float) -> None:
        assert of == 12
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        how.fit(windows(how), tmp_path / "cut", tell)
    told: list[int] = []
    again = how.fit(windows(how), tmp_path / "cut", lambda done, _of, _loss: told.append(done))
    assert told[0] > (step - 1) // 2 * 2 - 1, "it began anew"
    for name, values in whole.net.state_dict().items():
        torch.testing.assert_close(again.net.state_dict()[name], values, atol=1e-6, rtol=0, msg=name)


def test_the_first_stage_is_kept_and_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = settings()
    first = how.fit(windows(how), tmp_path)
    kept = tmp_path / "pretrain" / "artefact"
    assert (kept / "policy.json").is_file()
    monkeypatch.setattr(module, "Pretraining", lambda _net: pytest.fail("it was trained again"))
    again = how.fit(windows(how), tmp_path)
    assert again.measured["pretrain_imitation_loss"] == first.measured["pretrain_imitation_loss"]
    # Of other data, or damaged, it does not count.
    with pytest.raises(BadCheckpoint, match="was made with"):
        how.fit(windows(how, seed=3), tmp_path)
    (kept / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadCheckpoint, match="damaged"):
        how.fit(windows(how), tmp_path)


def test_it_goes_on_from_another_without_pre_training(tmp_path: Path) -> None:
    how = settings()
    parent = how.fit(windows(how))
    told: list[tuple[int, int]] = []
    child = how.fit(windows(how, seed=1), None, lambda done, of, _loss: told.append((done, of)), parent)
    assert told[-1] == (6, 6)
    assert child.facts == parent.facts
    assert not torch.equal(planned(child, how), planned(parent, how))
    with pytest.raises(CannotGoOn, match="the parent moves"):
        how.fit(windows(how, arms=2), parent=parent)
    with pytest.raises(CannotGoOn, match="do not fit"):
        replace(how, hidden=96).fit(windows(how), parent=parent)


def test_with_towers_from_a_folder_the_folder_may_go(tmp_path: Path) -> None:
    how = settings(sharp=False)
    make_tiny(str(tmp_path / "clip"), [*SAID, *examples()], how.clip.sizes)
    how = replace(how, clip=Clip(str(tmp_path / "clip"), freeze_words=True))
    policy = how.fit(windows(how))
    policy.save(tmp_path / "policy")
    (tmp_path / "clip").rename(tmp_path / "gone")
    torch.testing.assert_close(planned(load(tmp_path / "policy"), how), planned(policy, how), atol=1e-6, rtol=0)


def test_a_damaged_embedding_is_refused(tmp_path: Path) -> None:
    net, _ = made(settings())
    module.Embedding(net, {}).save(tmp_path / "embedding")
    assert module.Embedding.load(tmp_path / "embedding").digest == module.Embedding(net, {}).digest
    net.to_plan = torch.nn.Linear(3, 3)
    module.Embedding(net, {}).save(tmp_path / "other")
    with pytest.raises(BadCheckpoint, match="damaged"):
        module.Embedding.load(tmp_path / "other")
    how = settings()
    policy = ChunkPolicy("lada", how, Net(how, net.facts), net.facts)
    policy.save(tmp_path / "policy")
    with pytest.raises(BadCheckpoint, match="not an embedding"):
        module.Embedding.load(tmp_path / "policy")
