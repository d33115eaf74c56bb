"""LeRobot's policies learn from our windows, run on our robots, and what is saved loads in LeRobot itself."""

import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import learners
from appliance.settings import WrongSetting, learner
from learners import BadCheckpoint, CannotGoOn, ChunkPolicy, Training, Windows
from learners.backbones import Words
from learners.body import ONE_ARM, Body
from learners.ccol import CCoL
from learners.ccol import Net as CCoLNet
from learners.lerobot import statistics
from learners.lerobot.net import PeerNet
from learners.lerobot.policy import Act, Diffusion, Peer, SmolVla
from tests.lessons import INSTRUCTION, squares

torch.set_num_threads(1)

QUICK = Training(lr=1e-3, batch=16, steps=4, warmup=1, check_every=4, save_every=2, ema=0.9)
ONE: dict[str, Any] = {"cameras": ("front",), "action": "joint", "k": 8, "training": QUICK}
KINDS: list[type[Peer]] = [Act, Diffusion]


@pytest.fixture(scope="module", autouse=True)
def theirs() -> Iterator[Any]:
    """LeRobot's own functions, without a network."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("HF_HUB_OFFLINE", "1")
        warnings.simplefilter("ignore")
        from lerobot.policies import factory

        yield factory


def lesson(body: Body = ONE_ARM, cameras: int = 1) -> Windows:
    """The squares, 8 steps of what ``body`` does, seen by so many cameras."""
    data = squares(episodes=5)
    random = np.random.default_rng(1)
    return replace(
        data,
        frames=data.frames * cameras,
        frame=np.repeat(data.frame, cameras, axis=1),
        state=random.normal(size=(len(data), 1, body.width)).astype("f4"),
        plan=np.concatenate([data.plan[:, :8]] * body.arms, axis=-1),
        left=np.full(len(data), 8),
        body=body,
    )


def small(kind: type[Peer], **changes: Any) -> Peer:
    return replace(kind.preset("tiny"), **(ONE | changes))


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.kind)
def policy(request: pytest.FixtureRequest) -> ChunkPolicy:
    return small(request.param).fit(lesson())


def plans(policy: ChunkPolicy, data: Windows, count: int = 3) -> torch.Tensor:
    seen = data.batch(np.arange(count))
    with torch.inference_mode():
        said: torch.Tensor = policy.net.steps(seen.images, seen.state, seen.instructions)
    return said


def test_small_act_has_as_many_parameters_as_small_ccol() -> None:
    peer, ours = Act.preset("small"), CCoL.preset("small")
    assert (peer.cameras, peer.image, peer.hz, peer.k) == (ours.cameras, ours.image, ours.hz, ours.k)
    assert (peer.training.steps, peer.training.batch) == (ours.training.steps, ours.training.batch)
    words = Words.vocabulary(["put the cube on the pad", INSTRUCTION])
    counts = [
        sum(each.numel() for each in net.parameters())
        for net in (PeerNet(peer, ONE_ARM.facts), CCoLNet(ours, ONE_ARM.facts | {"vocabulary": words}))
    ]
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


def test_a_chunk_has_k_steps_in_our_units_and_what_was_saved_says_the_same(policy: ChunkPolicy, tmp_path: Path) -> None:
    policy.save(tmp_path)
    again, once_more = learners.load(tmp_path), learners.load(tmp_path)
    said = plans(again, lesson())
    assert said.shape == (3, 8, 8)
    assert said.dtype == torch.float32
    torch.testing.assert_close(said, plans(once_more, lesson()), rtol=0, atol=0)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_lerobot_itself_loads_it_and_does_the_same(policy: ChunkPolicy, tmp_path: Path, theirs: Any) -> None:
    """Their class, their processors, their way to ask for one action after another."""
    policy.save(tmp_path)
    folder = tmp_path / "lerobot"
    written = json.loads((folder / "config.json").read_text())
    assert written["device"] is None, "whoever loads it chooses"
    read = theirs.get_policy_class(written["type"]).from_pretrained(folder, strict=True)
    before, after = theirs.make_pre_post_processors(read.config, pretrained_path=str(folder))
    seen = lesson().batch(np.arange(1))
    noise = learners.load(tmp_path).net.noise(1)
    given = {} if noise is None else {"noise": noise}
    observation = {
        "observation.state": seen.state[0, -1],
        "observation.images.front": seen.images[0, 0].float() / 255,
        "task": seen.instructions[0],
    }
    actions = [after(read.select_action(before(dict(observation)), **given)) for _ in range(8)]
    said = plans(learners.load(tmp_path), lesson(), count=1)[0]
    torch.testing.assert_close(torch.cat(actions), said, rtol=1e-4, atol=1e-5)
    assert said.std() > 1e-3


def untrained(kind: type[Peer], **changes: Any) -> PeerNet:
    """Always the same."""
    torch.manual_seed(0)
    return PeerNet(small(kind, **changes), {"statistics": statistics.statistics(lesson(), ("front",))})


def losses(net: Any, data: Windows, training: bool) -> float:
    """Of the same windows, with the same noise of LeRobot's own."""
    torch.manual_seed(3)
    with torch.no_grad():
        return float(net.train(training).losses(data.batch(np.arange(16)))["imitation"])


def test_steps_after_the_end_teach_nothing() -> None:
    """Of ACT; the diffusion policy, as published, still sees them under noise, and only its loss leaves them out."""
    data, wrong = lesson(), np.array(lesson().plan[:])
    wrong[:, 5:] = 7
    ends = replace(data, left=np.full(len(data), 5))
    net = untrained(Act)
    assert losses(net, ends, training=False) == losses(net, replace(ends, plan=wrong), training=False)
    assert losses(net, data, training=False) != losses(net, replace(data, plan=wrong), training=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", [{"state_noise": 0.5}, {"brightness": 0.5}])
def test_noise_is_for_training_alone(kind: type[Peer], noise: dict[str, float]) -> None:
    data, plain, noisy = lesson(), untrained(kind), untrained(kind, **noise)
    assert losses(noisy, data, training=False) == losses(plain, data, training=False)
    assert losses(noisy, data, training=True) != losses(plain, data, training=True)


def test_norms_that_never_learn_are_set_by_what_is_seen() -> None:
    """Otherwise an untrained ResNet's norms do nothing, and what it says is several times too large."""
    data, net = lesson(), untrained(Act)
    seen = net.before(net.observation(data.batch(np.arange(64)).images, torch.zeros(64, 1, 17), []))
    said: list[float] = []
    for name, module in net.policy.model.backbone.named_modules():
        if name.endswith("bn2"):
            module.register_forward_hook(lambda _module, _given, out: said.append(float(out.detach().std())))
    net.policy.model.backbone(seen["observation.images.front"])
    before = list(said)
    net.begin(data)
    said.clear()
    net.policy.model.backbone(seen["observation.images.front"])
    assert max(abs(each - 1) for each in said) < 0.1 < max(abs(each - 1) for each in before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_moved_as_one_arm_is(kind: type[Peer], tmp_path: Path) -> None:
    pair = Body(14, 2)
    how = small(kind, cameras=("front", "left"), training=replace(QUICK, steps=2))
    how.fit(lesson(pair, cameras=2)).save(tmp_path)
    made = learners.load(tmp_path)
    assert made.body == pair
    assert plans(made, lesson(pair, cameras=2)).shape == (3, 8, 16)


def test_a_run_goes_on_where_it_was_stopped_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, _of: int, _loss: float) -> None:
        if done == 3:
            raise Stopped

    data, how = lesson(), small(Act, state_noise=0.1, brightness=0.1)
    whole = how.fit(data)
    with pytest.raises(Stopped):
        how.fit(data, tmp_path, stop)
    resumed = how.fit(data, tmp_path)
    for mine, other in zip(resumed.net.state_dict().values(), whole.net.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


def test_it_learns_where_the_square_is() -> None:
    data = lesson()
    how = small(Act, training=Training(lr=2e-3, batch=32, steps=150, warmup=10, held_out=0.0))
    made, seen = how.fit(data), data.batch(np.arange(100))
    missed = (plans(made, data, 100) - seen.plan).abs().mean()
    assert missed < 0.5 * (seen.plan - seen.plan.mean(0)).abs().mean()


def test_it_goes_on_from_its_own_kind_and_robot_alone(policy: ChunkPolicy) -> None:
    how = policy.how
    assert isinstance(how, Peer)
    still = replace(how, training=replace(QUICK, steps=1, lr=1e-12, ema=0.0))
    made = still.fit(lesson(), parent=policy)
    for mine, other in zip(made.net.parameters(), policy.net.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
    with pytest.raises(CannotGoOn, match="the parent moves one arm"):
        still.fit(lesson(Body(14, 2)), parent=policy)
    ccol = replace(CCoL.preset("tiny"), cameras=("front",), action="joint", training=replace(QUICK, steps=1))
    with pytest.raises(CannotGoOn, match="a ccol policy's weights do not fit"):
        still.fit(lesson(), parent=ccol.fit(squares(episodes=2)))


def test_statistics_are_those_that_lerobot_computes() -> None:
    from lerobot.datasets.compute_stats import get_feature_stats

    data = replace(lesson(), left=np.arange(100) % 12)
    ours = statistics.statistics(data, ("front",))
    real = np.arange(8) < data.left[:, None]
    for key, values in (("observation.state", data.state[:, -1]), ("action", data.plan[:][real])):
        expected = get_feature_stats(values, axis=0, keepdims=False)
        for name in ("mean", "std", "min", "max"):
            np.testing.assert_allclose(ours[key][name], expected[name], rtol=1e-3, atol=1e-5, err_msg=f"{key} {name}")
    pixels = data.batch(np.arange(100)).images[:, 0].numpy() / 255
    expected = get_feature_stats(pixels, axis=(0, 2, 3), keepdims=True)
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(ours["observation.images.front"][name], expected[name][0], rtol=1e-3, err_msg=name)
    assert np.shape(ours["observation.images.front"]["mean"]) == (3, 1, 1)


def test_a_number_that_hardly_varied_is_not_made_loud() -> None:
    still = replace(lesson(), state=np.full((100, 1, ONE_ARM.width), 0.3, "f4"))
    felt = statistics.statistics(still, ("front",))["observation.state"]
    assert min(felt["std"]) == pytest.approx(0.05)
    assert max(felt["max"]) - min(felt["min"]) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"config.dim_modle": "64"}, "LeRobot's act has no dim_modle; it has dim_model"),
        ({"config.zzz": "1"}, "LeRobot's act has no zzz; it has the fields of its ACTConfig"),
        ({"config.dim_model": "wide"}, "dim_model.*parse"),
        ({"config.vision_backbone": "vit"}, "must be one of the ResNet variants"),
        ({"config.chunk_size": "3"}, "config has chunk_size, which is decided elsewhere: k"),
    ],
)
def test_a_setting_that_lerobot_does_not_know_is_refused_at_once(settings: dict[str, str], said: str) -> None:
    with pytest.raises(WrongSetting, match=f"(?i){said}") as caught:
        learner("lerobot.act", "tiny", settings)
    assert len(str(caught.value)) < 250, "nobody wants to read all that was set"


def test_one_setting_of_lerobot_is_changed_and_the_others_stay() -> None:
    how = learner("lerobot.act", "tiny", {"config.dim_model": "64", "lr": "0.5"})
    assert how.config == Act.preset("tiny").config | {"dim_model": 64}
    assert how.training == replace(Act.preset("tiny").training, lr=0.5)


def test_channels_that_cannot_be_normalised_in_whole_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="narrow may be 1, 2 or 4 here"):
        small(Diffusion, narrow=8).fit(lesson())


@pytest.mark.parametrize(
    ("change", "said"),
    [({"config": {"nonsense": 1}}, "nonsense"), ({"narrow": 8}, "whole groups"), ({"narrow": 3}, "1, 2, 4 or 8")],
)
def test_a_policy_whose_settings_do_not_go_together_is_said_to_be_bad(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    small(Diffusion).fit(lesson()).save(tmp_path)
    whole = json.loads((tmp_path / "policy.json").read_text())
    whole["settings"] |= change
    (tmp_path / "policy.json").write_text(json.dumps(whole))
    with pytest.raises(BadCheckpoint, match=said):
        learners.load(tmp_path)


def test_smolvla_without_its_model_says_what_to_fetch() -> None:
    with pytest.raises(BadCheckpoint, match=r"HuggingFaceTB/SmolVLM2-500M-Video-Instruct, which is not at hand; fetch"):
        small(SmolVla).fit(lesson())


def test_smolvla_learns_from_a_folder_and_loads_in_lerobot(tmp_path: Path, theirs: Any) -> None:
    from tests.smolvlm import tiny_smolvlm

    model = {"vlm_model_name": str(tiny_smolvlm(tmp_path / "vlm")), "num_vlm_layers": 2}
    how = small(SmolVla, config=model | {"load_vlm_weights": True, "resize_imgs_with_padding": [32, 32]})
    how.fit(lesson()).save(tmp_path / "policy")
    made, again = learners.load(tmp_path / "policy"), learners.load(tmp_path / "policy")
    said = plans(made, lesson(), 1)
    folder = tmp_path / "policy" / "lerobot"
    read = theirs.get_policy_class("smolvla").from_pretrained(folder, strict=True)
    before, after = theirs.make_pre_post_processors(read.config, pretrained_path=str(folder))
    seen = lesson().batch(np.arange(1))
    observation = {
        "observation.state": seen.state[0, -1],
        "observation.images.front": seen.images[0, 0].float() / 255,
        "task": seen.instructions[0],
    }
    chunk = after(read.predict_action_chunk(before(observation), noise=again.net.noise(1)))
    torch.testing.assert_close(chunk, said, rtol=1e-3, atol=1e-4)
    start = replace(how, pretrained=str(folder), training=replace(QUICK, steps=1, lr=1e-12, ema=0.0))
    torch.testing.assert_close(plans(start.fit(lesson()), lesson(), 1), said, rtol=1e-3, atol=1e-3)


def test_weights_of_another_policy_are_no_start(tmp_path: Path) -> None:
    how = small(Act)
    how.fit(lesson()).save(tmp_path / "act")
    folder = tmp_path / "act" / "lerobot"
    weights = load_file(folder / "model.safetensors")
    save_file({f"other.{name}": each for name, each in weights.items()}, folder / "model.safetensors")
    with pytest.raises(BadCheckpoint, match=r"(?s)no weights to start from in .*Missing key"):
        replace(how, pretrained=str(folder)).fit(lesson())


def test_nothing_is_fetched() -> None:
    """All presets that a person may train at once draw their weights."""
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    for kind in KINDS:
        for name in ("tiny", "small", "paper"):
            assert kind.preset(name).config["pretrained_backbone_weights"] is None
