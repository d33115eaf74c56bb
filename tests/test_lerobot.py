"""LeRobot datasets that we write, checked with LeRobot's own reader."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers import row_type
from storage import Episode, EpisodeWriter, Stale
from storage.export import CannotWrite, Take
from storage.lerobot import Coding, Export, write
from storage.lerobot.stats import QUANTILES, of_pictures
from tests import takes
from tests.datasets import FPS, table
from tests.driven import drive


def test_an_episode_is_read_by_lerobot_as_it_was_recorded(tmp_path: Path, lerobot: Any) -> None:
    episode = drive(tmp_path / "home")
    written = write([Take(episode)], tmp_path / "out", Export(FPS))
    read = lerobot.open(tmp_path / "out")
    columns, arm = table(read), episode.rows("arm")
    assert written.steps == len(read) == 12
    assert read.fps == FPS
    assert read.meta.robot_type == "franka-1"
    at = 1_020_000_000 + np.arange(12) * 100_000_000
    row = (at - 1_000_000_000) // 20_000_000
    assert (columns["arm.q"] == arm["q"][row]).all()
    assert columns["arm.q"].dtype == np.float64
    assert (columns["stamp.arm"] == arm["t"][row]).all()
    assert (columns["timestamp"] == (np.arange(12) / FPS).astype("f4")).all()
    assert (columns["frame_index"] == np.arange(12)).all()
    state = np.concatenate([arm["q"][row], arm["width"][row, None]], axis=1)
    assert (columns["observation.state"] == state.astype("f4")).all()
    assert read.meta.features["observation.state"]["names"] == [*(f"joint_{i}" for i in range(1, 8)), "gripper"]
    assert read.meta.features["observation.state"]["units"] == ["rad"] * 7 + ["m"]
    assert read[3]["task"] == takes.TASK


def test_the_action_of_a_step_is_the_target_in_force_at_the_next(tmp_path: Path, lerobot: Any) -> None:
    """What was seen is answered by what was commanded afterwards; the last step's answer is the last target."""
    episode = drive(tmp_path / "home")
    write([Take(episode)], tmp_path / "out", Export(FPS))
    arm, columns = episode.rows("arm"), table(lerobot.open(tmp_path / "out"))
    row = np.minimum(np.arange(12) * 5 + 1 + 5, len(arm) - 1)
    target = np.concatenate([arm["q_target"][row], arm["width_target"][row, None]], axis=1)
    assert (columns["action"] == target.astype("f4")).all()


def test_a_step_shows_the_newest_frame_that_was_there(tmp_path: Path, lerobot: Any) -> None:
    episode = drive(tmp_path / "home")
    write([Take(episode)], tmp_path / "out", Export(FPS, coding=Coding(crf=1)))
    read = lerobot.open(tmp_path / "out")
    seen = np.searchsorted(episode["front", "t"], table(read)["stamp.arm"], side="right") - 1
    assert (table(read)["stamp.front"] == episode["front", "t"][seen]).all()
    for step in (0, 5, 11):
        shown = read[step]["observation.images.front"].numpy().transpose(1, 2, 0)
        error = np.abs(shown.astype(int) - episode.frames("front")[int(seen[step])]).mean()
        assert error < 3
        assert error < np.abs(shown.astype(int) - episode.frames("front")[int(seen[step]) - 1]).mean()


def test_what_the_loop_had_not_said_yet_is_not_a_number(tmp_path: Path, lerobot: Any) -> None:
    """The ticks of this take begin after the arm: missing is neither zero nor the first one."""
    episode = drive(tmp_path / "home")
    write([Take(episode)], tmp_path / "out", Export(FPS))
    columns = table(lerobot.open(tmp_path / "out"))
    assert np.isnan(columns["ticks.late"][:2]).all()
    assert not np.isnan(columns["ticks.late"][2:]).any()
    assert (columns["stamp.ticks"][:2] == -1).all()


def test_a_silent_stream_is_named_with_episode_and_moment(tmp_path: Path) -> None:
    episode = drive(tmp_path / "home", gap=(0.4, 0.8))
    with pytest.raises(
        Stale, match=rf"{episode.id}: stream 'front' was silent for 0.3\d\d s at 0.720 s .* at most 0.25"
    ):
        write([Take(episode)], tmp_path / "out", Export(FPS))
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]
    write([Take(episode)], tmp_path / "out", Export(FPS, max_age=0.5))


def test_a_stream_that_comes_late_is_silent_too(tmp_path: Path) -> None:
    episode = drive(tmp_path / "home", gap=(0.0, 0.5))
    with pytest.raises(
        Stale, match=rf"{episode.id}: stream 'front' says nothing for the first 0.5\d\d s, at most 0.25"
    ):
        write([Take(episode)], tmp_path / "out", Export(FPS))


def test_a_stream_that_nobody_wants_may_be_silent(tmp_path: Path, lerobot: Any) -> None:
    episode = drive(tmp_path / "home", gap=(0.4, 0.8))
    write([Take(episode)], tmp_path / "out", Export(FPS, columns=["observation.state", "action"]))
    assert {"observation.state", "action"} == set(lerobot.open(tmp_path / "out").meta.features) - {
        *("timestamp", "frame_index", "episode_index", "index", "task_index")
    }


def test_episodes_are_filtered_by_what_is_said_of_them(tmp_path: Path, lerobot: Any) -> None:
    given = [
        Take(drive(tmp_path / "home", seed=i, instruction=f"task {i % 2}"), {"success": s, "policy": p, "gap": g})
        for i, (s, p, g) in enumerate([(1, "bc-1", 0.1), (0, None, None), (-1, "bc-1", 0.3), (1, None, 0.2)])
    ]
    write(given, tmp_path / "out", Export(FPS))
    read = lerobot.open(tmp_path / "out")
    meta = read.meta
    assert meta.filter_episodes(lambda ep: ep["success"] == 1) == [0, 3]
    assert meta.filter_episodes(lambda ep: ep["policy"] == "bc-1" and ep["gap"] < 0.2) == [0]
    assert [ep["appliance_id"] for ep in meta.episodes] == [str(take.episode.id) for take in given]
    assert [ep["appliance_digest"] for ep in meta.episodes] == [take.episode.digest for take in given]
    assert [ep["tasks"] for ep in meta.episodes] == [["task 0"], ["task 1"]] * 2
    assert read[-1]["task"] == "task 1"
    assert (table(read)["episode_index"] == np.repeat(np.arange(4), 12)).all()


def test_statistics_are_those_that_lerobot_computes(tmp_path: Path, lerobot: Any) -> None:
    given = [Take(drive(tmp_path / "home", seed=i, seconds=5)) for i in range(2)]
    write(given, tmp_path / "out", Export(50))
    read = lerobot.open(tmp_path / "out")
    columns, stats = table(read), read.meta.stats
    each = [columns["arm.q"][columns["episode_index"] == i] for i in range(2)]
    theirs = lerobot.aggregate([{"arm.q": lerobot.stats_of(values, axis=0, keepdims=False)} for values in each])
    for name, value in theirs["arm.q"].items():
        assert stats["arm.q"][name] == pytest.approx(value, abs=0.01), name
    picture = stats["observation.images.front"]
    assert {name: value.shape for name, value in picture.items()} == dict.fromkeys(picture, (3, 1, 1)) | {"count": (1,)}
    assert 0.3 < picture["mean"][0, 0, 0] < 0.6
    assert lerobot.aggregate([stats, stats]).keys() == stats.keys()


def test_episodes_that_differ_are_refused_with_what_differs(tmp_path: Path) -> None:
    one, other = drive(tmp_path / "home"), Episode(takes.Take().wait(1).record(tmp_path / "home").path)
    with pytest.raises(CannotWrite, match=rf"{one.id} and {other.id} do not fit .* 'front.exposure' is float32 \(1,\)"):
        write([Take(one), Take(other)], tmp_path / "out", Export(FPS))
    with pytest.raises(CannotWrite, match=r"has no column arm\.torque; it has observation\.state, action"):
        write([Take(one)], tmp_path / "out", Export(FPS, columns=["arm.torque"]))
    with pytest.raises(CannotWrite, match="there are no episodes"):
        write([], tmp_path / "out", Export(FPS))
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="is there already"):
        write([Take(drive(tmp_path / "home"))], tmp_path / "out", Export(FPS))


def test_progress_is_told_and_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    given = [Take(drive(tmp_path / "home", seed=i)) for i in range(2)]
    told: list[tuple[int, int]] = []

    def stop(done: int, of: int) -> None:
        told.append((done, of))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(given, tmp_path / "out", Export(FPS), stop)
    assert told == [(1, 2), (2, 2)]
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


def test_a_trimmed_episode_is_written_as_trimmed(tmp_path: Path, lerobot: Any) -> None:
    whole = drive(tmp_path / "home", seconds=2)
    write([Take(Episode(whole.path, keep=(0.5, 1.0)))], tmp_path / "out", Export(FPS))
    columns = table(lerobot.open(tmp_path / "out"))
    assert len(columns["index"]) in {5, 6}
    assert columns["stamp.arm"][0] >= 1_500_000_000
    assert columns["stamp.arm"][-1] <= 2_000_000_000
    assert columns["timestamp"][0] == 0


@pytest.mark.parametrize(("far", "error"), [(4000, 0), (9000, 2)])
def test_depth_is_read_back_in_millimetres(tmp_path: Path, lerobot: Any, far: int, error: int) -> None:
    """A cell's depths come back exactly, those of a room nearly; nothing known stays nothing known."""
    seeing = row_type(("depth", "<u2", (48, 64)))
    rows = np.zeros(8, seeing)
    rows["t"] = 1_000_000_000 + np.arange(8) * 100_000_000
    rows["depth"] = np.random.default_rng(0).integers(200, far, (8, 48, 64))
    rows["depth"][:, :10] = 0
    with EpisodeWriter(tmp_path / "home", {"front": seeing}, {"task": "look"}) as writer:
        writer.append("front", rows)
        episode = Episode(writer.seal().path)
    write([Take(episode)], tmp_path / "out", Export(FPS))
    read = lerobot.open(tmp_path / "out")
    assert read.meta.depth_keys == ["observation.images.front_depth"]
    for step in (0, 7):
        depth = read[step]["observation.images.front_depth"].numpy()[0]
        assert np.abs(np.rint(depth).astype(int) - rows["depth"][step]).max() <= error
        assert (np.rint(depth[:10]) == 0).all()


def test_the_files_are_one_per_episode(tmp_path: Path) -> None:
    write([Take(drive(tmp_path / "home", seed=i)) for i in range(2)], tmp_path / "out", Export(FPS))
    found = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert found == [
        "data/chunk-000/file-000.parquet",
        "data/chunk-000/file-001.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "videos/observation.images.front/chunk-000/file-000.mp4",
        "videos/observation.images.front/chunk-000/file-001.mp4",
    ]
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["features"]["observation.images.front"]["info"]["video.codec"] == "h264"
    assert info["features"]["observation.images.front"]["info"]["video.crf"] == 18


@pytest.mark.parametrize(("kind", "channels", "scale"), [("u1", 3, 255.0), ("u2", 1, 1.0)])
def test_counting_values_says_of_pictures_what_looking_at_them_all_would(
    kind: str, channels: int, scale: float
) -> None:
    shape = (7, 24, 32, channels) if channels > 1 else (7, 24, 32)
    pictures = np.random.default_rng(3).gamma(2, 30, shape).clip(0, np.iinfo(kind).max).astype(kind)
    told = of_pictures(iter(pictures), scale)
    whole = pictures.reshape(-1, channels) / scale
    for name, q in QUANTILES.items():
        expected = np.quantile(whole, q, axis=0, method="inverted_cdf")
        assert told[name].ravel().tolist() == expected.tolist(), name
    assert told["min"].shape == (channels, 1, 1)
    for name, found in (("min", whole.min(0)), ("max", whole.max(0)), ("mean", whole.mean(0)), ("std", whole.std(0))):
        np.testing.assert_allclose(told[name].ravel(), found, rtol=1e-12)
    assert told["count"].tolist() == [7]
