"""What the packages in ``plugins`` do with batches and observations as LeRobot gives them."""

import importlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from learners.clap.clap import Clap
from learners.train import Training, schedule

torch.set_num_threads(1)

PLUGINS = Path(__file__).resolve().parent.parent / "plugins"
KINDS = ["ccol", "lada", "clap"]
STATE, ACTION, K = 5, 7, 8
TASKS = ["pick the cube", "push it"]
HANDED = {"primitives.open": -1.0, "primitives.closed": 1.0}
LITTLE: dict[str, dict[str, Any]] = {
    "ccol": {"image": 32, "points": 4, "channels": 4, "width": 32, "feedforward": 32, "latent": 4},
    "lada": {"image": 32, "sight.points": 4, "sight.channels": 4, "hidden": 32, "clip.sizes.width": 16} | HANDED,
    "clap": {"image": 32, "head.width": 32, "sight.points": 4, "sight.channels": 4, "act_vae.entries": 16},
}
USUAL: dict[str, dict[str, Any]] = {
    "ccol": {"n_obs_steps": 3},
    "lada": {"motion": "steps", "pretrain_steps": 1},
    "clap": {"vocabulary_steps": 1, "token_steps": 1},
}


@pytest.fixture(scope="module", autouse=True)
def theirs() -> Iterator[Any]:
    """LeRobot with the packages, as it finds them where they are installed."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(sys, "path", [*sys.path, *(str(PLUGINS / f"lerobot_policy_{kind}") for kind in KINDS)])
        warnings.simplefilter("ignore")
        from lerobot.configs import FeatureType, PolicyFeature
        from lerobot.policies import factory

        yield SimpleNamespace(
            policy=factory.get_policy_class,
            processors=factory.make_pre_post_processors,
            state=lambda width: PolicyFeature(FeatureType.STATE, (width,)),
            picture=PolicyFeature(FeatureType.VISUAL, (3, 48, 64)),
            action=lambda width: PolicyFeature(FeatureType.ACTION, (width,)),
        )


def module(kind: str, name: str) -> Any:
    return importlib.import_module(f"lerobot_policy_{kind}.{name}_{kind}")


def put(settings: Any, changes: dict[str, Any]) -> Any:
    """Settings with fields changed, within other settings too: ``sight.points``."""
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        settings = replace(settings, **{first: put(getattr(settings, first), {rest: value}) if rest else value})
    return settings


def config(theirs: Any, kind: str, ours: dict[str, Any] | None = None, action: int = ACTION, **more: Any) -> Any:
    found = module(kind, "configuration")
    made = next(each for each in vars(found).values() if getattr(each, "__module__", "") == found.__name__)
    given: dict[str, Any] = {
        "device": "cpu",
        "push_to_hub": False,
        "tasks": TASKS,
        "chunk_size": K,
        "n_action_steps": 3,
        "input_features": {
            "observation.state": theirs.state(STATE),
            "observation.images.wrist": theirs.picture,
            "observation.images.top": theirs.picture,
        },
        "output_features": {"action": theirs.action(action)},
        kind: put(found.Small(), LITTLE[kind] | (ours or {})),
    }
    return made(**given | USUAL[kind] | more)


def policy(theirs: Any, kind: str, **more: Any) -> Any:
    made = config(theirs, kind, **more)
    torch.manual_seed(0)
    return theirs.policy(kind)(made)


def processors(theirs: Any, made: Any) -> Any:
    """LeRobot's own, of a dataset whose numbers are neither of mean 0 nor of spread 1."""
    widths = {"observation.state": STATE, "action": made.config.action_feature.shape[0]}
    stats = {
        key: {"mean": torch.full((width,), 0.5), "std": torch.full((width,), 2.0)} for key, width in widths.items()
    }
    return theirs.processors(made.config, dataset_stats=stats)


def live(seed: int = 0) -> dict[str, Any]:
    """What a robot sees now."""
    random = torch.Generator().manual_seed(seed)
    pictures = {f"observation.images.{name}": torch.rand(3, 48, 64, generator=random) for name in ("top", "wrist")}
    return {"observation.state": torch.randn(STATE, generator=random), **pictures, "task": TASKS[0]}


def batch(made: Any, count: int = 4) -> dict[str, Any]:
    """What LeRobot's loader gives in training."""
    random = torch.Generator().manual_seed(3)
    past, width = made.config.n_obs_steps, made.config.action_feature.shape[0]
    names = ("observation.images.top", "observation.images.wrist")
    return {
        "observation.state": torch.randn(count, past, STATE, generator=random),
        **{name: torch.rand(count, past, 3, 48, 64, generator=random) for name in names},
        "action": 0.1 * torch.randn(count, K, width, generator=random),
        "action_is_pad": torch.arange(K).expand(count, -1) >= 6,
        "task": [TASKS[number % 2] for number in range(count)],
    }


def learn(made: Any, before: Any, steps: int) -> list[dict[str, float]]:
    """As lerobot-train does; what every step said."""
    optimizer = made.config.get_optimizer_preset().build(made.get_optim_params())
    said = []
    for _ in range(steps):
        made.train()
        loss, terms = made.forward(before(batch(made)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if hasattr(made, "update"):
            made.update()
        said.append(terms)
    return said


def weights(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: values.clone() for name, values in net.state_dict().items()}


def changed(before: dict[str, torch.Tensor], net: torch.nn.Module) -> set[str]:
    return {name for name, values in net.state_dict().items() if not torch.equal(values, before[name])}


@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_those_of_a_chunk_and_a_new_one_is_planned_when_they_are_used_up(theirs: Any, kind: str) -> None:
    made = policy(theirs, kind)
    planned: list[torch.Tensor] = []
    steps = made.steps

    def noted(*seen: Any) -> torch.Tensor:
        planned.append(steps(*seen))
        return planned[-1]

    made.steps = noted
    before, _ = processors(theirs, made)
    actions = [made.select_action(before(live(number))) for number in range(7)]
    assert len(planned) == 3
    for number, action in enumerate(actions):
        assert action.shape == (1, ACTION)
        assert torch.equal(action, planned[number // 3][:, number % 3])
    made.reset()
    assert torch.equal(made.select_action(before(live())), planned[3][:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_is_the_sum_of_plain_numbers_and_heeds_no_step_past_the_end(theirs: Any, kind: str) -> None:
    made = policy(theirs, kind)
    before, _ = processors(theirs, made)
    learn(made, before, 2)
    made.eval()
    given, wild = before(batch(made)), batch(made)
    wild["action"][:, 6:] += 100.0
    if kind == "clap":  # words are of whole chunks: the flow alone leaves steps out
        made.model.how = replace(made.model.how, alpha=0.0)
    found = []
    for each in (given, before(wild)):
        torch.manual_seed(1)
        loss, terms = made.forward(each)
        assert {type(value) for value in terms.values()} == {float}
        assert float(loss.detach()) == pytest.approx(sum(terms.values()), rel=1e-5)
        terms.pop("named", None)  # a hand past the end is the hand at the end
        found.append(terms)
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_says_the_same(theirs: Any, kind: str, tmp_path: Path) -> None:
    """Settings, weights and both processors, each read back by LeRobot."""
    made = policy(theirs, kind)
    before, after = processors(theirs, made)
    learn(made, before, 3)
    for each in (made, before, after):
        each.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    again = theirs.policy(kind).from_pretrained(tmp_path, strict=True)
    assert again.config == made.config
    assert not changed(weights(made), again)
    before_too, after_too = theirs.processors(again.config, pretrained_path=str(tmp_path))
    said = []
    for who, into, out_of in ((made, before, after), (again, before_too, after_too)):
        torch.manual_seed(2)
        who.reset()
        said.append(torch.cat([out_of(who.select_action(into(live(number)))) for number in range(4)]))
    assert torch.equal(said[0], said[1])
    losses = []
    for who, into in ((made, before), (again, before_too)):
        torch.manual_seed(2)
        losses.append(who.eval().forward(into(batch(made)))[1])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", KINDS)
def test_what_others_decide_cannot_be_set(theirs: Any, kind: str) -> None:
    """Once a policy is saved, what was usual then may have changed."""
    told, ours = SimpleNamespace(tasks=SimpleNamespace(index=TASKS)), {"replan": 3.0}
    with pytest.raises(ValueError, match=f"(?i){kind}.replan is decided elsewhere: n_action_steps"):
        theirs.policy(kind)(config(theirs, kind, ours=ours, tasks=[]), dataset_meta=told)
    policy(theirs, kind, ours=ours)
    found = module(kind, "configuration")
    assert all(attrgetter(name)(found.Small()) is not ... for name in found.DECIDED)


@pytest.mark.parametrize(
    ("name", "value"), [("ntp.light", None), ("ntp.beginnings", 2), ("ntp.alone", 9), ("ntp.vlm.sizes.foresee", 8)]
)
def test_clap_is_not_asked_for_what_lerobot_has_no_stage_for(theirs: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"clap.{name} is decided elsewhere"):
        config(theirs, "clap", ours={name: value}).demand_untouched()


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_says_what_it_lacks(theirs: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=r"give config\.tasks"):
        policy(theirs, kind, tasks=[])
    with pytest.raises(ValueError, match=r"needs a picture, observation\.state"):
        policy(theirs, kind, input_features={"observation.state": theirs.state(STATE)})
    with pytest.raises(ValueError, match="chunk of 8 steps, 9 cannot be followed"):
        policy(theirs, kind, n_action_steps=9)
    told = SimpleNamespace(tasks=SimpleNamespace(index=["b", "a"]))
    empty = config(theirs, kind, tasks=[])
    assert theirs.policy(kind)(empty, dataset_meta=told).config.tasks == ["a", "b"]


def test_a_setting_that_lerobot_reads_leaves_the_others_as_they_were(theirs: Any) -> None:
    import draccus

    found = module("clap", "configuration")
    read = draccus.decode(found.ClapConfig, {"clap": {"ntp": {"vlm": {"sizes": {"width": 64}}}}})
    assert read.clap == put(found.Small(), {"ntp.vlm.sizes.width": 64})
    assert asdict(read.clap) == asdict(put(Clap.preset("small"), {"ntp.vlm.sizes.width": 64}))


def test_a_plan_bends_in_the_numbers_that_lerobot_scaled(theirs: Any) -> None:
    made = policy(theirs, "ccol", ours={"disc_mode": "action", "disc_weight": 1.0})
    before, _ = processors(theirs, made)
    plan = torch.zeros(2, K, ACTION)
    plan[0, 4, 0], plan[1, 4, -1] = 1.0, 1.0
    bends = [float(made.model._bends(plan[number : number + 1])) for number in range(2)]
    assert bends[0] > 0.01
    assert bends[1] == pytest.approx(0.0), "the last is a hand"
    assert "disc" in learn(made, before, 1)[0]


def test_past_states_are_remembered_a_stride_apart(theirs: Any) -> None:
    made = policy(theirs, "ccol", stride=2)
    assert made.config.observation_delta_indices == [-4, -2, 0]
    felt: list[torch.Tensor] = []
    steps = made.steps

    def noted(images: torch.Tensor, state: torch.Tensor, said: list[str]) -> torch.Tensor:
        felt.append(state)
        planned: torch.Tensor = steps(images, state, said)
        return planned

    made.steps = noted
    for number in range(7):
        made.select_action(live(number) | {"observation.state": torch.full((1, STATE), float(number))} | _batched())
    assert [each[0, :, 0].tolist() for each in felt] == [[0, 0, 0], [0, 1, 3], [2, 4, 6]]


def _batched() -> dict[str, Any]:
    return {name: value[None] for name, value in live().items() if "images" in name}


def test_every_stage_warms_up_and_falls_as_in_our_own_loop(theirs: Any) -> None:
    made = config(theirs, "clap", vocabulary_steps=10, token_steps=5, warmup_steps=3, optimizer_lr=2.0)
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(4)]
    optimizer = torch.optim.SGD([{"params": [each]} for each in parameters], lr=2.0)
    plan = made.get_scheduler_preset().build(optimizer, 35)
    shares = []
    for _ in range(35):
        shares.append([group["lr"] / 2.0 for group in optimizer.param_groups])
        optimizer.step()
        plan.step()
    expected = [schedule(step, Training(steps=of, warmup=3)) for of in (10, 5, 20) for step in range(of)]
    assert [each[0] for each in shares] == pytest.approx(expected)
    slow = [share * (0.1 if step >= 15 else 1.0) for step, share in enumerate(expected)]
    assert [each[1] for each in shares] == pytest.approx(slow)
    with pytest.raises(ValueError, match="begins after 15; ask for more steps"):
        made.get_scheduler_preset().build(optimizer, 15)


def test_motions_of_steps_have_their_names_whatever_their_units(theirs: Any) -> None:
    processor, words = module("lada", "processor"), ["forward", "backward", "left", "right", "up", "down"]
    step = processor.NameMotions(1, 0.05, 0.5, {"open": -1.0, "closed": 1.0})
    way = torch.zeros(6, K, ACTION)
    for number in range(6):
        way[number, :, number // 2] = 0.1 * (-1) ** number
    turn = torch.zeros(6, K, ACTION)
    turn[..., 3:6] = way[..., :3]
    turn[..., 6] = 1.0
    pads = torch.zeros(6, K, dtype=torch.bool)
    how = processor.Primitives(open=-1.0, closed=1.0)

    def named(action: torch.Tensor, past_end: torch.Tensor = pads) -> list[str]:
        told = step({"action": action, "complementary_data": {"action_is_pad": past_end}})["complementary_data"]
        return [str(each) for each in how.words(told["lada.codes"].numpy())]

    # Eight steps of 5 mm, and of 0.05 rad: 22.9 degrees.
    assert named(way) == [f"move 0.04 meters {each}, keep the orientation, and open the gripper" for each in words]
    axes = ["x", "-x", "y", "-y", "z", "-z"]
    assert named(turn) == [f"stay, rotate 25 degrees around the {axis}-axis, and close the gripper" for axis in axes]
    late = torch.arange(K).expand(6, -1) >= 4
    assert named(way, late)[0].startswith("move 0.02 meters forward")
    assert named(turn, late)[0].startswith("stay, rotate 10 degrees around the x-axis")


def test_turns_follow_one_another(theirs: Any) -> None:
    """A quarter about z, then a quarter about x: what was along x is along z in the end."""
    action = np.zeros((1, 2, ACTION))
    action[0, 0, 5] = action[0, 1, 3] = np.pi / 2
    from learners.transforms import axes, quaternion

    plan = module("lada", "processor").amounts(action, np.zeros((1, 2), bool), 1, 1.0, 1.0)
    assert axes(quaternion(plan[0, -1, 3:6]))[:3] == pytest.approx([0, 0, 1], abs=1e-9)


def test_lada_learns_names_and_then_moves(theirs: Any) -> None:
    made = policy(theirs, "lada", pretrain_steps=2)
    before, _ = processors(theirs, made)
    began = weights(made)
    first = learn(made, before, 2)
    assert all({"imitation", "contrast"} <= terms.keys() for terms in first)
    moved = changed(began, made)
    assert any(name.startswith("model.adapter") for name in moved)
    assert not any(name.startswith(("model.act.", "model.to_plan", "words.")) for name in moved)
    began = weights(made)
    assert learn(made, before, 1)[0].keys() == {"action", "named"}
    moved = changed(began, made)
    assert any(name.startswith("model.to_plan") for name in moved)
    assert not any(name.startswith(("words.", "contrasts", "balance")) for name in moved)


def test_a_run_that_goes_on_tells_words_as_they_were_when_it_began(theirs: Any, tmp_path: Path) -> None:
    made = policy(theirs, "lada", pretrain_steps=9)
    before, _ = processors(theirs, made)
    said = ["stay, keep the orientation, and open the gripper"]
    spoken = made._naming[0].speaker(said, torch.zeros(1))
    learn(made, before, 3)
    made.save_pretrained(tmp_path)
    torch.manual_seed(5)
    again = theirs.policy("lada").from_pretrained(tmp_path, strict=True)
    assert torch.equal(again._naming[0].speaker(said, torch.zeros(1)), spoken)
    assert not torch.equal(again.model.towers.say(said), again.words.say(said)), "towers learned, words did not"


def test_without_names_lada_is_its_second_stage_alone(theirs: Any) -> None:
    made = policy(theirs, "lada", motion="none", action=8)
    before, _ = processors(theirs, made)
    assert "NameMotions" not in {type(step).__name__ for step in before.steps}
    assert made.config.ends == []
    assert learn(made, before, 1)[0].keys() == {"action"}
    assert not any(name.startswith("words.") for name in made.state_dict())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"motion": ""}, "say what an action tells of tools"),
        ({"action": 8}, "steps of 1 tools have 7 numbers, and this dataset's actions 8"),
        ({"ours": {"primitives.open": None}}, "which number of an action is an open hand"),
    ],
)
def test_lada_names_nothing_that_was_not_told(theirs: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        policy(theirs, "lada", **change)


def test_clap_learns_words_then_says_them_then_flows(theirs: Any) -> None:
    made = policy(theirs, "clap", vocabulary_steps=2, token_steps=2)
    before, _ = processors(theirs, made)
    parts = {"words.": 2, "model.policy.ntp.": 2, "model.policy.head.": 2}
    expected = [{"words."}, {"model.policy.ntp."}, {"model.policy.ntp.", "model.policy.head."}]
    terms = [{"reconstruction", "codebook", "commit"}, {"text", "action"}, {"flow", "matching"}]
    for stage in range(3):
        began, drawn = weights(made), made.reference.state_dict()
        assert all(said.keys() >= terms[stage] for said in learn(made, before, 2))
        moved = changed(began, made) - {"done"}
        assert int(made.words.done) == 2, "the vocabulary knows how far it is, and no further stage is its own"
        assert {part for part in parts if any(name.startswith(part) for name in moved)} == expected[stage]
        assert all(torch.equal(drawn[name], each) for name, each in made.reference.state_dict().items())
        if stage == 1:
            assert not changed(weights(made.model.policy.ntp), made.reference), "it is held to what it is now"
    assert changed(weights(made.model.policy.ntp), made.reference), "and what it is moves on"


@pytest.mark.parametrize("insulation", ["none", "insulated", "frozen"])
def test_however_the_flow_is_insulated_tokens_are_learned_before(theirs: Any, insulation: str) -> None:
    made = policy(theirs, "clap", ours={"insulation": insulation})
    before, _ = processors(theirs, made)
    learn(made, before, 1)
    began = weights(made.model.policy.ntp)
    learn(made, before, 1)
    assert changed(began, made.model.policy.ntp)
    began = weights(made.model.policy.ntp)
    learn(made, before, 1)
    assert bool(changed(began, made.model.policy.ntp)) == (insulation != "frozen")


@pytest.mark.parametrize("arms", [1, 2])
def test_an_arm_has_words_of_its_own(theirs: Any, arms: int) -> None:
    made = policy(theirs, "clap", arms=arms, action=8, ours={"drive": "ntp"})
    plan = torch.randn(3, K, 8)
    rows, there = made.words.schema.rows(plan)
    assert rows.shape == (3, 2, K, 8 // arms)
    assert there.tolist() == [[arms == 2, True]] * 3
    assert torch.equal(made.words.schema.plan(rows, arms), plan)
    if arms == 2:
        assert torch.equal(rows[:, 0], plan[..., :4])
    seen = processors(theirs, made)[0](live())
    said = made.eval().model.policy.ntp.draft(made._images(seen), [TASKS[0]], made.model.policy.arms)
    with torch.no_grad():
        acted = made.words.decode(said.codes[:, there[0]].flatten(0, 1)).unflatten(0, (1, -1))
    assert torch.allclose(made.predict_action_chunk(seen), acted.transpose(1, 2).flatten(2), atol=1e-5)


def test_clap_sees_the_whole_before_the_wrist(theirs: Any) -> None:
    made = policy(theirs, "clap")
    seen = {"observation.images.top": torch.zeros(1, 3, 48, 64), "observation.images.wrist": torch.ones(1, 3, 48, 64)}
    assert made._images(seen).amax((0, 2, 3, 4)).tolist() == [0.0, 255.0]


def test_an_action_falls_into_arms(theirs: Any) -> None:
    with pytest.raises(ValueError, match="7 numbers does not fall into 2 arms"):
        policy(theirs, "clap", arms=2)
