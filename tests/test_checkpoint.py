"""A policy comes back from the disk as it was, or the reason why not does."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import learners
from learners import METHODS, BadCheckpoint, ChunkPolicy, method
from learners.ccol import CCoL
from learners.nearest import Nearest, Random
from storage import Observation
from storage.pictures import Unpacked
from tests.lessons import INSTRUCTION, SECOND, TINY, camera_rows, squares
from tests.takes import Take

torch.set_num_threads(1)

LEARNERS = {
    "ccol": TINY,
    "ccol of tool poses": replace(TINY, action="tool", ensemble=None, mcc=False),
    "nearest": Nearest(cameras=("front",), image=32, k=10),
    "random": Random(k=10),
}


def seen(until: int = 50) -> Observation:
    """A moment of a take, with a picture."""
    arm = Take().to("red_cube").arm()[:until]
    return Observation(int(arm["t"][-1]), {"arm": arm, "front": camera_rows(arm["t"][::5], seed=until)})


def learned(how: Any) -> ChunkPolicy:
    data = squares(episodes=4)
    if how.view.width == 7:
        data = replace(data, plan=data.plan[..., :7])
    policy: ChunkPolicy = how.fit(data)
    return policy


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies") / "ccol-1"
    learned(TINY).save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A policy of one's own, to break."""
    copy = tmp_path / "policy"
    copy.mkdir()
    for file in saved.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


@pytest.mark.parametrize("how", [pytest.param(how, id=name) for name, how in LEARNERS.items()])
def test_a_policy_read_back_plans_the_same(how: Any, tmp_path: Path) -> None:
    policy = learned(how)
    policy.save(tmp_path / "new" / "policy")
    restored = learners.load(tmp_path / "new" / "policy")
    assert (restored.name, restored.horizon, restored.ensemble) == (policy.name, policy.horizon, policy.ensemble)
    assert restored.how == how
    for until in (20, 40):
        for words in (INSTRUCTION, "something else"):
            expected, said = (each.plan(seen(until), words) for each in (policy, restored))
            np.testing.assert_array_equal(said, expected)
            assert len(said) == how.k + 1


def test_a_policy_is_two_files_and_neither_is_a_pickle(saved: Path) -> None:
    assert sorted(file.name for file in saved.iterdir()) == ["policy.json", "weights.safetensors"]


def test_a_plan_begins_with_the_target_in_force_and_goes_on_at_its_rate() -> None:
    moment = seen()
    plan = learned(TINY).plan(moment, INSTRUCTION)
    assert plan.dtype.names == ("t", "q", "width")
    assert (plan["t"] - moment.t).tolist() == [i * SECOND // 10 for i in range(TINY.k + 1)]
    row = moment.streams["arm"][-1]
    np.testing.assert_array_equal(plan["q"][0], row["q_target"])
    np.testing.assert_allclose(plan["width"][0], row["width_target"])


def test_saving_again_replaces_what_was_there(folder: Path) -> None:
    policy = learned(replace(TINY, training=replace(TINY.training, seed=5)))
    policy.save(folder)
    np.testing.assert_array_equal(learners.load(folder).plan(seen(), ""), policy.plan(seen(), ""))


@pytest.mark.parametrize("name", ["policy.json", "weights.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BadCheckpoint, match=f"holds no policy: .*{name} is missing"):
        learners.load(folder)


def test_a_folder_that_is_not_there_holds_no_policy(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="holds no policy"):
        learners.load(tmp_path / "gone")


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    whole = json.loads((folder / "policy.json").read_text())
    change(whole)
    (folder / "policy.json").write_text(json.dumps(whole))
    return folder


def put(*place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(whole: dict[str, Any]) -> None:
        for name in place[:-1]:
            whole = whole[name]
        whole[place[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("format", value=2), "is in format 2; this version reads 1"),
        (put("method", value="magic"), "there is no method 'magic'; there are: ccol, clap, "),
        (put("settings", "action", value="dance"), r"(?s)action.*'joint' or 'tool'"),
        (put("settings", "width", value="wide"), r"(?s)width.*integer"),
        (put("settings", "training", "optimizer", value="luck"), r"(?s)training.optimizer.*'adamw' or 'sgd'"),
        (put("settings", "colour", value="red"), "ccol has no setting colour"),
        (put("settings", "training", "hope", value=1), "ccol has no setting training.hope"),
        (put("settings", "width", value=64), "weights do not fit"),
        (lambda whole: whole.pop("format"), "lacks 'format'"),
        (lambda whole: whole.pop("facts"), "lacks 'facts'"),
        (lambda whole: whole["facts"].pop("vocabulary"), "lacks 'vocabulary'"),
    ],
)
def test_what_cannot_be_read_is_said(folder: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    with pytest.raises(BadCheckpoint, match=said) as caught:
        learners.load(changed(folder, change))
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["policy.json", "weights.safetensors"])
def test_half_a_file_is_said_to_be_damaged(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadCheckpoint, match=f"{name} is damaged"):
        learners.load(folder)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
def test_every_method_has_every_preset(name: str, preset: str) -> None:
    how = method(name).preset(preset)
    assert how.k > 0
    assert how.hz > 0


@pytest.mark.parametrize("name", METHODS)
def test_an_unknown_preset_names_those_that_exist(name: str) -> None:
    with pytest.raises(ValueError, match="no preset 'huge'; there are tiny, small"):
        method(name).preset("huge")


def test_an_unknown_method_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match="there is no method 'magic'; there are: ccol, clap, "):
        method("magic")


def test_nearest_does_what_was_done_when_things_looked_and_felt_most_alike() -> None:
    data = squares(episodes=4)
    data = replace(data, plan=data.plan[..., :7])
    dark = replace(data, frames=(Unpacked(np.zeros(data.frames[0].shape, np.uint8)),))
    numb = replace(data, state=0 * data.state[:])
    for remembered in (data, dark, numb):
        net = Nearest(cameras=("front",), image=32, k=10).fit(remembered).net
        for number in (0, 17, 55):
            batch = remembered.batch(np.array([number]))
            np.testing.assert_array_equal(net.steps(batch.images, batch.state, [""])[0], data.plan[number])


def test_random_says_what_was_done_at_some_moment_and_not_always_the_same() -> None:
    data = squares(episodes=4)
    net = Random(k=10).fit(replace(data, plan=data.plan[..., :7])).net
    said = [net.steps(torch.empty(0), torch.empty(0), [""])[0].numpy() for _ in range(10)]
    assert all((data.plan[..., :7] == each).all((1, 2)).any() for each in said)
    assert len({each.tobytes() for each in said}) > 1


def test_settings_are_the_same_after_a_trip_through_json() -> None:
    """Every preset, so that no field is of a kind that JSON cannot hold."""
    from pydantic import TypeAdapter

    for preset in ("tiny", "small", "paper"):
        how = CCoL.preset(preset)
        adapter = TypeAdapter(CCoL)
        assert adapter.validate_python(json.loads(adapter.dump_json(how))) == how
