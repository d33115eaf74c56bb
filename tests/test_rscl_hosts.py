"""CLAP and LaDA can be held to the robot's states too, and a person switches it on by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import learners
from appliance.settings import WrongSetting, learner
from learners.clap.clap import Clap
from learners.clap.post import PostNet
from learners.lada.lada import LaDA
from learners.lada.net import Finetuning, Pretraining
from learners.rscl import RsCl
from tests import clap as squares
from tests.lada import made, settings, windows
from tests.test_clap_post import exercise, post

torch.set_num_threads(1)

LITTLE = RsCl.preset("tiny")
OUTER = replace(LITTLE, layout="published")


def taught(net: PostNet, term: Tensor) -> set[str]:
    """Which parts learn from a term."""
    torch.autograd.backward(term)
    parts = {"ntp": net.policy.ntp, "head": net.policy.head, "rscl": net.policy.rscl}
    return {
        name
        for name, part in parts.items()
        if part is not None and any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
    }


def clap(rscl: RsCl | None, insulation: Any = "none", **changed: Any) -> tuple[PostNet, Any]:
    net, exercises = post(
        replace(squares.settings(), rscl=rscl, insulation=insulation, **changed), insulation=insulation
    )
    return net.train(), exercise(exercises)


def test_clap_holds_its_prompt_to_the_state_in_one_pass_of_the_language_model() -> None:
    net, batch = clap(LITTLE)
    asked: list[int] = []
    net.policy.ntp.qwen.model.language_model.register_forward_hook(lambda *_: asked.append(1))
    terms = net.losses(batch)
    # One pass for flow, matching and RS-CL, and the reference's own, that matching asks for.
    assert asked == [1]
    assert taught(net, terms["rscl"]) == {"ntp", "rscl"}
    assert net.notes["rscl_excess"] > 0
    net.after(QUARTER)
    assert net.losses(batch)["rscl"] < terms["rscl"]
    assert "rscl" not in net.eval().losses(batch)


QUARTER = squares.QUICK.steps // 2


def test_answers_are_no_part_of_what_clap_sums_up() -> None:
    net, batch = clap(LITTLE)
    lesson = batch.robot
    other = replace(batch, robot=replace(lesson, codes=(lesson.codes + 1) % 16))
    first, second = (float(net.losses(each)["rscl"].detach()) for each in (batch, other))
    assert first == pytest.approx(second, abs=1e-4)


def test_pictures_of_a_prompt_are_told_apart_by_their_tokens() -> None:
    net, batch = clap(None)
    inputs = net.policy.ntp.inputs(batch.robot)
    picture = inputs.picture
    assert torch.equal(picture >= 0, inputs.seen == 1)
    for row, seen in zip(picture, inputs.seen, strict=True):
        among = row[seen == 1].tolist()
        assert among == sorted(among)
        assert {among.count(number) for number in (0, 1)} == {len(among) // 2}


@pytest.mark.parametrize("insulation", ["frozen", "insulated"])
def test_a_language_model_out_of_reach_has_layers_put_behind_it(insulation: Any) -> None:
    with pytest.raises(ValueError, match=f'insulation "{insulation}" keeps rscl from the language model'):
        clap(LITTLE, insulation)
    net, batch = clap(OUTER, insulation)
    terms = net.losses(batch)
    assert taught(net, terms["rscl"]) == {"rscl"}
    net.zero_grad()
    # What the head hears goes through them, so the flow teaches them as well.
    assert taught(net, net.losses(batch)["flow"]) == {"head", "rscl"}


def test_without_a_weight_claps_other_terms_are_the_same_to_the_bit() -> None:
    found = []
    for rscl in (None, replace(LITTLE, weight=0.0)):
        net, batch = clap(rscl)
        torch.manual_seed(5)
        found.append(net.losses(batch))
    without, held = found
    assert not held.pop("rscl").detach().any()
    assert without.keys() == held.keys()
    for name, each in without.items():
        assert torch.equal(each, held[name])


def test_keys_and_values_can_be_summed_up_but_not_changed() -> None:
    kv = replace(squares.settings().head, condition="kv")
    with pytest.raises(ValueError, match="hears no tokens that rscl"):
        clap(OUTER, head=kv)
    net, batch = clap(LITTLE, head=kv)
    assert taught(net, net.losses(batch)["rscl"]) == {"ntp", "rscl"}


@pytest.mark.parametrize("rscl", [LITTLE, OUTER])
def test_clap_learns_with_it_reports_and_comes_back(rscl: RsCl, tmp_path: Path) -> None:
    how = replace(squares.settings(), rscl=rscl)
    how = replace(how, training=replace(how.training, held_out=0.2))
    policy = how.fit(squares.windows(how, 5, 24))
    assert {"rscl_excess", "z_cknna", "h_cknna", "z_chance_cka", "h_knn"} <= policy.measured.keys()
    policy.save(tmp_path)
    back = learners.load(tmp_path)
    batch = squares.windows(how).batch(np.arange(2))
    planned = []
    for each in (policy, back):
        torch.manual_seed(0)
        planned.append(each.net.steps(batch.images, batch.state, batch.instructions))
    assert torch.equal(*planned)


def lada(rscl: RsCl | None, sharp: bool = True) -> LaDA:
    how = replace(settings(sharp), cameras=("front", "wrist"), rscl=rscl)
    return replace(how, training=replace(how.training, held_out=0.25))


@pytest.mark.parametrize("sharp", [True, False])
@pytest.mark.parametrize("rscl", [LITTLE, OUTER])
def test_lada_learns_with_it_reports_and_comes_back(rscl: RsCl, sharp: bool, tmp_path: Path) -> None:
    how = lada(rscl, sharp)
    policy = how.fit(windows(how, 4, 24))
    assert {"rscl_excess", "z_cknna", "h_cknna", "z_chance_cka", "h_knn"} <= policy.measured.keys()
    policy.save(tmp_path)
    back = learners.load(tmp_path)
    batch = windows(how).batch(np.arange(2))
    assert torch.equal(*(each.net.steps(batch.images, batch.state, batch.instructions) for each in (policy, back)))


@pytest.mark.parametrize("rscl", [LITTLE, OUTER])
def test_ladas_first_stage_knows_nothing_of_it_and_the_second_does(rscl: RsCl) -> None:
    net, lessons = made(lada(rscl))
    lesson = lessons.batch(np.arange(12))
    first = Pretraining(net).train()
    terms = first.losses(lesson)
    assert "rscl" not in terms
    torch.autograd.backward(list(terms.values()))
    for name, each in net.named_parameters():
        # What is left without a gradient is frozen, as a run on several machines needs it.
        if name.startswith("rscl."):
            assert each.requires_grad == (each.grad is not None), name
    second = Finetuning(net).train()
    terms = second.losses(lesson)
    net.zero_grad()
    torch.autograd.backward(terms["rscl"])
    learned = {name.split(".")[0] for name, each in net.named_parameters() if each.grad is not None and each.grad.any()}
    assert {"rscl", "eyes", "film"} <= learned
    assert "rscl" not in second.eval().losses(lesson)
    assert second.notes["rscl_excess"] > 0


def test_lada_that_is_not_told_the_state_or_has_one_token_is_refused() -> None:
    with pytest.raises(ValueError, match="set feels=true"):
        replace(settings(False), feels=False, rscl=LITTLE)
    with pytest.raises(ValueError, match="give it a second camera"):
        replace(settings(False), rscl=LITTLE)


@pytest.mark.parametrize("method", ["ccol", "lada", "clap"])
def test_a_person_switches_it_on_by_its_name_or_by_any_of_its_fields(method: str) -> None:
    def typed(**settings: str) -> Any:
        return learner(method, "tiny", {name.replace("__", "."): text for name, text in settings.items()}).rscl

    assert typed() is None
    assert typed(rscl="true") == typed(rscl="{}") == RsCl()
    assert typed(rscl__beta="0.5") == typed(rscl='{"beta": 0.5}') == RsCl(beta=0.5)
    assert typed(rscl__hidden="512", rscl="true", rscl__beta_auto="median") == RsCl(beta_auto="median", hidden=512)
    assert typed(rscl__state_weights="[1, 0.5, 1]") == RsCl(state_weights=(1, 0.5, 1))
    assert typed(rscl="false") is None
    assert typed(rscl="null") is None
    for wrong in ({"rscl__bta": "1"}, {"rscl": '{"bta": 1}'}):
        with pytest.raises(WrongSetting, match="rscl has no bta; it takes: beta, beta_auto"):
            typed(**wrong)
    with pytest.raises(WrongSetting, match="'masked' or 'published'"):
        typed(rscl__layout="odd")
    with pytest.raises(WrongSetting, match=r"rscl = 'yes'"):
        typed(rscl="yes")


def test_what_was_switched_on_can_be_changed_and_switched_off() -> None:
    from appliance.settings import changed

    on = replace(Clap.preset("tiny"), rscl=RsCl(beta=0.5))
    assert changed(on, {"rscl.hidden": "64"}, "clap").rscl == RsCl(beta=0.5, hidden=64)
    assert changed(on, {"rscl": "true"}, "clap").rscl == RsCl(beta=0.5)
    assert changed(on, {"rscl": "false"}, "clap").rscl is None


def test_a_part_that_is_always_there_can_be_named_as_a_whole() -> None:
    how = learner("clap", "tiny", {"matching": '{"alpha": 0.5}', "head": "true"})
    assert how == replace(Clap.preset("tiny"), matching=replace(Clap.preset("tiny").matching, alpha=0.5))
    with pytest.raises(WrongSetting, match="matching = None"):
        learner("clap", "tiny", {"matching": "false"})
