"""Version 2.1 of LeRobot's format, which openpi and GR00T read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from storage.export import Take
from storage.lerobot import Export, write
from storage.lerobot.modality import modality
from tests.datasets import FPS, bring, by_hand, same, table
from tests.driven import PAIR, drive


def test_what_came_as_version_2_goes_back_unchanged(tmp_path: Path, lerobot: Any) -> None:
    """Both go through LeRobot's own converter, so that its reader sees what was there before and after."""
    by_hand(tmp_path / "theirs")
    episodes = bring(tmp_path / "theirs", tmp_path / "home")
    assert [episode.attributes["instruction"] for episode in episodes] == ["wave", "bow"]
    assert episodes[1].attributes["lerobot"]["version"] == "v2.1"
    for version, name in (("2.1", "back"), ("3.0", "newer")):
        write([Take(episode) for episode in episodes], tmp_path / name, Export(FPS, version))
    for name in ("theirs", "back"):
        lerobot.convert("their/data", root=tmp_path / name, push_to_hub=False)
    before = lerobot.open(tmp_path / "theirs")
    same(before, lerobot.open(tmp_path / "back"))
    newer = lerobot.open(tmp_path / "newer")
    assert (table(before)["action"] == table(newer)["action"]).all()
    assert (before[5]["observation.images.laptop"] == newer[5]["observation.images.laptop"]).all()


def test_our_episodes_as_version_2_pass_through_lerobots_converter(tmp_path: Path, lerobot: Any) -> None:
    given = [Take(drive(tmp_path / "home", seed=i), {"success": i, "policy": None}) for i in range(2)]
    write(given, tmp_path / "new", Export(FPS))
    write(given, tmp_path / "old", Export(FPS, "2.1"))
    assert (tmp_path / "old/data/chunk-000/episode_000001.parquet").exists()
    assert (tmp_path / "old/videos/chunk-000/observation.images.front/episode_000001.mp4").exists()
    info = json.loads((tmp_path / "old/meta/info.json").read_text())
    assert (info["codebase_version"], info["total_videos"], info["total_chunks"]) == ("v2.1", 2, 1)
    lerobot.convert("our/data", root=tmp_path / "old", push_to_hub=False)
    new, old = lerobot.open(tmp_path / "new"), lerobot.open(tmp_path / "old")
    assert old.meta.filter_episodes(lambda ep: ep["success"] == 1) == [1]
    here, there = table(new), table(old)
    assert here.keys() == there.keys()
    for name, values in here.items():
        assert values.tobytes() == there[name].tobytes(), name
    for step in range(len(new)):
        assert (new[step]["observation.images.front"] == old[step]["observation.images.front"]).all()
        assert new[step]["task"] == old[step]["task"]
    assert new.meta.stats["action"]["q99"] == pytest.approx(old.meta.stats["action"]["q99"])


def test_gr00t_is_told_what_belongs_together(tmp_path: Path) -> None:
    """Start and end of every part of state and action, the films in colour, and where the words of the task are."""
    write([Take(drive(tmp_path / "home"))], tmp_path / "one", Export(FPS, "2.1"))
    told = json.loads((tmp_path / "one/meta/modality.json").read_text())
    parts = {"joint": {"start": 0, "end": 7}, "gripper": {"start": 7, "end": 8}}
    assert told == {
        "state": parts,
        "action": parts,
        "video": {"front": {"original_key": "observation.images.front"}},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }
    write([Take(drive(tmp_path / "home"))], tmp_path / "three", Export(FPS))
    assert not (tmp_path / "three/meta/modality.json").exists()


def test_of_two_arms_gr00t_is_told_which_is_which(tmp_path: Path) -> None:
    """And every number of theirs is there, the left arm's before the right one's."""
    episode = drive(tmp_path / "home", robot=PAIR)
    write([Take(episode)], tmp_path / "pair", Export(FPS, "2.1"))
    told = json.loads((tmp_path / "pair/meta/modality.json").read_text())
    ends = {"left_joint": (0, 6), "right_joint": (6, 12), "left_gripper": (12, 13), "right_gripper": (13, 14)}
    assert told["action"] == {name: {"start": start, "end": end} for name, (start, end) in ends.items()}
    state = pq.read_table(tmp_path / "pair/data/chunk-000/episode_000000.parquet")["observation.state"].to_pylist()
    arm = episode.rows("arm")
    assert state[0] == np.concatenate([arm["q"][1], arm["width"][1]]).astype("f4").tolist()


VECTOR = {"dtype": "float32", "shape": [3], "names": None}
COLOUR = {"dtype": "video", "shape": [48, 64, 3]}
DEPTH = {"dtype": "video", "shape": [48, 64, 1], "info": {"is_depth_map": True}}
WHOLE = {"all": {"start": 0, "end": 3}}


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (None, WHOLE),
        ({"motors": ["a", "b", "c"]}, WHOLE),
        (["a", "b"], WHOLE),
        (["arm_1", "hand", "arm_2"], WHOLE),
        (["arm_1", "arm_2", "hand"], {"arm": {"start": 0, "end": 2}, "hand": {"start": 2, "end": 3}}),
        (["7", "8", "x.pos"], {name: {"start": i, "end": i + 1} for i, name in enumerate(("7", "8", "x.pos"))}),
    ],
)
def test_numbers_are_parted_by_their_names_when_these_allow(names: Any, parts: Any) -> None:
    told = modality({"observation.state": VECTOR | {"names": names}, "action": VECTOR, "wrist": COLOUR})
    assert told is not None
    assert (told["state"], told["action"]) == (parts, WHOLE)
    assert told["video"] == {"wrist": {"original_key": "wrist"}}


@pytest.mark.parametrize(
    "features",
    [
        {"action": VECTOR, "observation.images.front": COLOUR},
        {"observation.state": VECTOR, "observation.images.front": COLOUR},
        {"observation.state": VECTOR, "action": VECTOR},
        {"observation.state": VECTOR, "action": VECTOR, "observation.images.front_depth": DEPTH},
        {"observation.state": VECTOR, "action": VECTOR | {"shape": [2, 3]}, "observation.images.front": COLOUR},
    ],
)
def test_what_gr00t_could_not_learn_from_it_is_told_nothing_of(features: Any) -> None:
    assert modality(features) is None
