"""LeRobot datasets, checked with LeRobot's own reader on either side."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from drivers import Rows, row_type
from storage import Episode, EpisodeWriter, Stale, check
from storage.export import CannotWrite, Take
from storage.lerobot import CannotRead, Coding, Export, adopt, open_dataset, video, write
from storage.lerobot.adopt import sweep
from storage.lerobot.stats import QUANTILES, of_pictures
from storage.seal import lock, unlock
from tests import takes
from tests.driven import CAMERA, drive

FPS = 10


@pytest.fixture(scope="session")
def lerobot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """LeRobot as its users have it, without a network and with its caches out of the way. Loading it takes seconds."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hugging")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        warnings.simplefilter("ignore")
        from lerobot.configs import DepthEncoderConfig, RGBEncoderConfig
        from lerobot.datasets import compute_stats
        from lerobot.datasets.lerobot_dataset import LeRobotDataset
        from lerobot.scripts import convert_dataset_v21_to_v30

        yield SimpleNamespace(
            open=lambda folder: LeRobotDataset("ours/data", root=folder, video_backend="pyav", return_uint8=True),
            create=LeRobotDataset.create,
            rgb=RGBEncoderConfig,
            depth=DepthEncoderConfig,
            aggregate=compute_stats.aggregate_stats,
            stats_of=compute_stats.get_feature_stats,
            convert=convert_dataset_v21_to_v30.convert_dataset,
        )


def table(dataset: Any) -> dict[str, NDArray[Any]]:
    """Every column that is not a picture, as LeRobot has it in memory: exact, in its own kind."""
    features, arrow = dataset.meta.features, dataset.hf_dataset.with_format("arrow")[:]
    plain = [name for name in arrow.column_names if features[name]["dtype"] != "image"]
    kind = {name: "O" if features[name]["dtype"] == "string" else features[name]["dtype"] for name in plain}
    return {name: np.array(arrow[name].to_pylist(), kind[name]) for name in plain}


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


FEATURES: dict[str, dict[str, Any]] = {
    "observation.state": {"dtype": "float32", "shape": (6,), "names": [f"motor_{i}" for i in range(6)]},
    "observation.state.effort": {"dtype": "float64", "shape": (6,), "names": None},
    "observation.grid": {"dtype": "float32", "shape": (2, 3), "names": None},
    "action": {"dtype": "float32", "shape": (6,), "names": [f"motor_{i}" for i in range(6)]},
    "action.original": {"dtype": "float32", "shape": (2,), "names": None},
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    "count": {"dtype": "int64", "shape": (1,), "names": None},
    "stamp.arm": {"dtype": "int64", "shape": (1,), "names": None},
    "note": {"dtype": "string", "shape": (1,), "names": None},
}
PICTURE = {"shape": (48, 64, 3), "names": ["height", "width", "channels"]}
LENGTHS = (7, 4, 9)


def theirs(lerobot: Any, folder: Path, cameras: dict[str, str], lengths: tuple[int, ...] = LENGTHS, **how: Any) -> Any:
    """A dataset that LeRobot made: several episodes per file, several tasks, also within an episode."""
    features = FEATURES | {f"observation.images.{name}": PICTURE | {"dtype": kind} for name, kind in cameras.items()}
    made = lerobot.create("their/data", FPS, features, folder, robot_type="so101", use_videos=bool(cameras), **how)
    random = np.random.default_rng(0)
    for episode, length in enumerate(lengths):
        for i in range(length):
            frame: dict[str, Any] = {"task": f"task {episode % 2}" if i < 5 else "tidy up"}
            for name, about in features.items():
                if about["dtype"] in {"image", "video"}:
                    frame[name] = np.roll(np.linspace(0, 255, 64 * 48 * 3).astype("u1").reshape(48, 64, 3), 5 * i, 1)
                elif about["dtype"] == "string":
                    frame[name] = f"note {i // 3}"
                else:
                    frame[name] = np.array(random.normal(size=about["shape"]) * 1e4).astype(about["dtype"])
            made.add_frame(frame)
        made.save_episode(parallel_encoding=False)
    made.finalize()
    return lerobot.open(folder)


def bring(folder: Path, root: Path, **more: Any) -> list[Episode]:
    """Every episode of a dataset, as ours."""
    dataset = open_dataset(folder)
    return [Episode(adopt(dataset, each, root, {"task": "sort"}, **more).path) for each in dataset.episodes]


def same(one: Any, other: Any) -> None:
    """Two datasets, as LeRobot reads them, are the same in every number, word and pixel."""
    assert one.fps == other.fps
    assert one.meta.robot_type == other.meta.robot_type
    assert one.meta.features == other.meta.features
    assert list(one.meta.features) == list(other.meta.features)
    assert one.meta.tasks.to_dict() == other.meta.tasks.to_dict()
    for name in ("episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index"):
        assert one.meta.episodes[name] == other.meta.episodes[name]
    here, there = table(one), table(other)
    assert here.keys() == there.keys()
    for name, values in here.items():
        assert values.dtype == there[name].dtype, name
        assert (
            values.tobytes() == there[name].tobytes() if values.dtype != object else list(values) == list(there[name])
        )
    for step in range(len(one)):
        a, b = one[step], other[step]
        assert a["task"] == b["task"]
        for camera in one.meta.camera_keys:
            assert (a[camera] == b[camera]).all(), (camera, step)


CAMERAS = [
    ({}, None),
    ({"top": "video", "wrist-2": "video"}, None),
    ({"top": "video"}, "h264"),
    ({"top": "image"}, None),
]


@pytest.mark.parametrize(("cameras", "codec"), CAMERAS, ids=["blind", "av1", "h264", "image"])
def test_what_came_from_lerobot_goes_back_unchanged(
    tmp_path: Path, lerobot: Any, cameras: dict[str, str], codec: str | None
) -> None:
    """H.264 as LeRobot writes it has frames that are not kept in the order they are shown."""
    how = {} if codec is None else {"rgb_encoder": lerobot.rgb(vcodec=codec, g=5)}
    before = theirs(lerobot, tmp_path / "theirs", cameras, **how)
    episodes = bring(tmp_path / "theirs", tmp_path / "home")
    assert all(check(episode.path) == [] for episode in episodes)
    assert all((episodes[1].frames(name).clip is not None) == (kind == "video") for name, kind in cameras.items())
    write([Take(episode) for episode in episodes], tmp_path / "back", Export(FPS))
    same(before, lerobot.open(tmp_path / "back"))
    again = bring(tmp_path / "back", tmp_path / "second")
    assert [episode.id for episode in again] == [episode.id for episode in episodes]
    write([Take(episode) for episode in again], tmp_path / "forth", Export(FPS))
    same(before, lerobot.open(tmp_path / "forth"))


def test_our_own_dataset_comes_back_unchanged(tmp_path: Path, lerobot: Any) -> None:
    """What was ours, was LeRobot's and is ours again has the streams it had, and gives the same dataset."""
    given = [Take(drive(tmp_path / "home", seed=i), {"success": 1 - i, "policy": None, "gap": 0.1}) for i in range(2)]
    write(given, tmp_path / "out", Export(FPS))
    episodes = bring(tmp_path / "out", tmp_path / "second")
    assert {"arm", "front", "action", "observation", "stamp", "ticks"} < set(episodes[0].streams)
    assert (episodes[0]["arm", "q_target"] == table(lerobot.open(tmp_path / "out"))["arm.q_target"][:12]).all()
    write([Take(episode) for episode in episodes], tmp_path / "back", Export(FPS))
    same(lerobot.open(tmp_path / "out"), back := lerobot.open(tmp_path / "back"))
    assert back.meta.episodes["success"] == [1, 0]
    assert back.meta.episodes["gap"] == [0.1, 0.1]


def test_an_imported_episode_says_where_it_came_from(tmp_path: Path, lerobot: Any) -> None:
    theirs(lerobot, tmp_path / "theirs", {"top": "image"})
    episodes = bring(tmp_path / "theirs", tmp_path / "home")
    said = episodes[2].attributes
    assert (said["task"], said["agent"], said["ended_by"]) == ("sort", "import", "done")
    assert said["lerobot"]["features"]["action"]["names"] == FEATURES["action"]["names"]
    assert said["lerobot"]["number"] == 2
    assert sorted(said["lerobot"]["tasks"]) == ["task 0", "task 1", "tidy up"]
    assert episodes[0]["observation", "state"].shape == (7, 6)
    assert episodes[0]["observation", "state.effort"].dtype == np.float64
    assert episodes[0]["next", "done"].dtype == bool
    assert (episodes[0]["action", "t"] == np.arange(7) * 100_000_000).all()
    started = [episode.attributes["started"] for episode in episodes]
    assert started == sorted(started)
    assert len(set(started)) == 3


def test_importing_twice_adds_nothing(tmp_path: Path, lerobot: Any) -> None:
    theirs(lerobot, tmp_path / "theirs", {"top": "image"})
    first = bring(tmp_path / "theirs", tmp_path / "home")
    there = sorted((tmp_path / "home").rglob("*"))
    (tmp_path / "theirs").rename(tmp_path / "moved")
    dataset = open_dataset(tmp_path / "moved")
    again = [adopt(dataset, each, tmp_path / "home", {"task": "sort"}) for each in dataset.episodes]
    assert [each.id for each in again] == [episode.id for episode in first]
    assert not any(each.new for each in again)
    assert sorted((tmp_path / "home").rglob("*")) == there
    purged = adopt(dataset, dataset.episodes[0], tmp_path / "third", {"task": "sort"}, known=lambda _id: True)
    assert not purged.new
    assert not purged.path.exists()


def test_the_same_episode_twice_in_a_dataset_is_two(tmp_path: Path, lerobot: Any) -> None:
    made = lerobot.create("their/data", FPS, {"count": FEATURES["count"]}, tmp_path / "theirs", use_videos=False)
    for _ in range(2):
        for i in range(3):
            made.add_frame({"task": "count", "count": np.array([i])})
        made.save_episode()
    made.finalize()
    assert len({episode.id for episode in bring(tmp_path / "theirs", tmp_path / "home")}) == 2


def test_an_interrupted_import_leaves_nothing_half_done(tmp_path: Path, lerobot: Any) -> None:
    theirs(lerobot, tmp_path / "theirs", {"top": "image"}, lengths=(3,))
    dataset = open_dataset(tmp_path / "theirs")
    with pytest.raises(TypeError):
        adopt(dataset, dataset.episodes[0], tmp_path / "home", {"task": object()})
    assert list((tmp_path / "home").rglob("*")) == [tmp_path / "home/episodes"]


def test_what_a_killed_import_left_is_swept_and_a_running_one_is_let_be(tmp_path: Path) -> None:
    for name in (".import-dead", ".import-alive", "episodes"):
        (tmp_path / name).mkdir()
    held = lock(tmp_path / ".import-alive")
    assert held is not None
    assert sweep(tmp_path) == [tmp_path / ".import-dead"]
    unlock(held)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".import-alive", "episodes"]


def test_a_film_that_does_not_begin_with_the_episode_is_unpacked(tmp_path: Path, lerobot: Any) -> None:
    """One long film with a single key frame: the second episode's frames need those of the first."""
    made = theirs(lerobot, tmp_path / "theirs", {"top": "video"})
    film = next((tmp_path / "theirs/videos").rglob("*.mp4"))
    video.encode(list(video.decode(film, 0, FPS, sum(LENGTHS))), film, FPS, Coding(gop=1000))
    made = lerobot.open(tmp_path / "theirs")
    episodes = bring(tmp_path / "theirs", tmp_path / "home")
    assert episodes[1].frames("top").clip is None
    shown = np.concatenate([episode.frames("top")[:] for episode in episodes])
    for step in range(len(made)):
        assert (made[step]["observation.images.top"].numpy().transpose(1, 2, 0) == shown[step]).all()


@pytest.mark.parametrize("kind", ["video", "image"])
def test_depth_comes_and_goes_unchanged(tmp_path: Path, lerobot: Any, kind: str) -> None:
    seen = {"dtype": kind, "shape": (48, 64, 1), "names": PICTURE["names"], "info": {"is_depth_map": True}}
    made = lerobot.create("their/data", FPS, {"observation.images.deep": seen}, tmp_path / "theirs")
    random = np.random.default_rng(0)
    for _ in range(2):
        for _ in range(4):
            made.add_frame(
                {"task": "look", "observation.images.deep": random.integers(0, 9000, (48, 64, 1)).astype("u2")}
            )
        made.save_episode(parallel_encoding=False)
    made.finalize()
    before = lerobot.open(tmp_path / "theirs")
    episodes = bring(tmp_path / "theirs", tmp_path / "home")
    assert episodes[1].frames("deep", "depth").dtype == np.uint16
    shown = before[4]["observation.images.deep"].numpy()[0]
    assert np.abs(episodes[1].frames("deep", "depth")[0] - shown).max() <= 1
    write([Take(episode) for episode in episodes], tmp_path / "back", Export(FPS))
    same(before, lerobot.open(tmp_path / "back"))


def test_an_episode_whose_last_frames_lean_on_the_next_one_is_unpacked(tmp_path: Path) -> None:
    """A film coded in one go, with frames that need later ones, across the episodes' border too."""
    film, rate = tmp_path / "film.mp4", 10
    with av.open(str(film), "w") as out:
        options = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=6:min-keyint=6:scenecut=0"}
        stream: Any = out.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(24):
            picture = np.roll(np.linspace(0, 255, 48 * 64 * 3).astype("u1").reshape(48, 64, 3), 3 * i, 1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode())
    with av.open(str(film)) as file:
        keys = [
            (packet.pts or 0) * packet.time_base * rate for packet in file.demux() if packet.is_keyframe and packet.size
        ]
    begin, end = int(keys[1]), int(keys[2])
    _, copied = video.cut(film, begin / rate, rate, end - begin, tmp_path / "some.mp4")
    assert not copied
    _, copied = video.cut(film, begin / rate, rate, 24 - begin, tmp_path / "rest.mp4")
    assert copied
    every = list(video.decode(film, 0, rate, 24))
    for one, other in zip(video.decode(tmp_path / "rest.mp4", 0, rate, 24 - begin), every[begin:], strict=True):
        assert (one == other).all()


def test_an_imported_episode_is_written_at_another_rate(tmp_path: Path, lerobot: Any) -> None:
    """Every other row at half the rate, each one twice at double the rate; never one of the future."""
    before = theirs(lerobot, tmp_path / "theirs", {"top": "video"})
    episodes = bring(tmp_path / "theirs", tmp_path / "home")
    for fps, row in ((FPS / 2, np.arange(0, 9, 2)), (FPS * 2, np.arange(17) // 2)):
        write([Take(episodes[2])], tmp_path / f"at-{fps}", Export(int(fps), coding=Coding(crf=1)))
        read = lerobot.open(tmp_path / f"at-{fps}")
        after = table(read)
        assert (after["action"] == table(before)["action"][11:][row]).all()
        assert (after["timestamp"] == (np.arange(len(row)) / fps).astype("f4")).all()
        assert list(after["note"]) == list(table(before)["note"][11:][row])
        for step, its in enumerate(row):
            shown = read[step]["observation.images.top"].numpy().transpose(1, 2, 0).astype(int)
            assert np.abs(shown - episodes[2].frames("top")[int(its)]).mean() < 2


def test_numbers_of_a_camera_called_image_do_not_spoil_the_statistics(tmp_path: Path, lerobot: Any) -> None:
    """LeRobot takes every name with "image" in it for a camera's when it adds statistics up."""
    with EpisodeWriter(tmp_path / "home", {"image": CAMERA}, {"task": "look"}) as writer:
        rows: Rows = np.zeros(4, CAMERA)
        rows["t"] = np.arange(4) * 100_000_000
        writer.append("image", rows)
        episode = Episode(writer.seal().path)
    write([Take(episode)] * 2, tmp_path / "out", Export(FPS))
    stats = lerobot.open(tmp_path / "out").meta.stats
    assert set(stats) >= {"observation.images.image", "timestamp"}
    assert lerobot.aggregate([stats, stats]).keys() == stats.keys()


def test_a_film_larger_than_its_pictures_is_coded_again(tmp_path: Path, lerobot: Any) -> None:
    """A film of odd pictures has a row and a column more than they; LeRobot is to see none of that."""
    video.encode(np.full((4, 48, 64, 3), 90, np.uint8), tmp_path / "film.mp4", FPS, Coding())
    odd = row_type(("rgb", "u1", (47, 63, 3)))
    rows: Rows = np.zeros(4, row_type())
    rows["t"] = np.arange(4) * 100_000_000
    with EpisodeWriter(tmp_path / "home", {"odd": odd}, {"task": "look"}) as writer:
        writer.film("odd", rows, tmp_path / "film.mp4")
        episode = Episode(writer.seal().path)
    write([Take(episode)], tmp_path / "out", Export(FPS))
    assert lerobot.open(tmp_path / "out")[3]["observation.images.odd"].shape == (3, 47, 63)


def test_a_film_that_is_coded_again_is_described_as_it_is_now(tmp_path: Path, lerobot: Any) -> None:
    theirs(lerobot, tmp_path / "theirs", {"top": "video"})
    first = bring(tmp_path / "theirs", tmp_path / "home")[0]
    write([Take(Episode(first.path, keep=(0.2, 0.5)))], tmp_path / "out", Export(FPS))
    read = lerobot.open(tmp_path / "out")
    assert table(read)["timestamp"].tolist() == (np.arange(len(read)) / FPS).astype("f4").tolist()
    info = read.meta.features["observation.images.top"]["info"]
    assert (info["video.codec"], info["video.crf"]) == ("h264", 18)
    assert "video.fast_decode" not in info


def test_a_dataset_that_cannot_be_read_says_so_in_one_line(tmp_path: Path, lerobot: Any) -> None:
    theirs(lerobot, tmp_path / "theirs", {"top": "video"})
    info = tmp_path / "theirs/meta/info.json"
    said = json.loads(info.read_text())

    def refused(reason: str) -> None:
        with pytest.raises(CannotRead, match=reason) as refusal:
            open_dataset(tmp_path / "theirs")
        assert "\n" not in str(refusal.value)

    with pytest.raises(CannotRead, match=r"is no LeRobot dataset: it has no meta/info\.json"):
        open_dataset(tmp_path)
    for version in ("v1.6", "v4"):
        info.write_text(json.dumps(said | {"codebase_version": version}))
        refused(rf"theirs is LeRobot {version}; v2.0, v2.1, v3.0 can be read")
    info.write_text(json.dumps(said)[:-20])
    refused("meta/info.json is damaged")
    info.write_text(json.dumps({"codebase_version": "v3.0"}))
    refused("meta is damaged: KeyError: 'features'")
    info.write_text(json.dumps(said))
    file = tmp_path / "theirs/meta/episodes/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:100])
    refused("file-000.parquet is damaged; its episodes cannot be read")
    file.unlink()
    refused("lists no episodes")


def test_a_picture_that_cannot_be_kept_is_named(tmp_path: Path, lerobot: Any) -> None:
    theirs(lerobot, tmp_path / "theirs", {"top": "image"}, lengths=(3,))
    data = tmp_path / "theirs/data/chunk-000/file-000.parquet"
    good = pq.read_table(data)
    place = good.schema.get_field_index("observation.images.top")
    whole = good["observation.images.top"].to_pylist()
    grey, small = (cv2.imencode(".png", np.zeros(shape, "u1"))[1].tobytes() for shape in ((48, 64), (24, 32, 3)))
    for broken, reason in (
        (b"no picture", "frame 1: the picture is damaged"),
        (grey, r"frame 1: pictures of uint8 \(48, 64\) cannot be kept"),
        (small, r"not all of one size but \[\(24, 32, 3\), \(48, 64, 3\)\]"),
        (None, "a picture is missing"),
    ):
        cells = pa.array([whole[0], {"bytes": broken, "path": None}, whole[2]], good.schema.field(place).type)
        pq.write_table(good.set_column(place, good.schema.field(place), cells), data)
        dataset = open_dataset(tmp_path / "theirs")
        with pytest.raises(CannotRead, match=rf"episode 0, 'observation.images.top'.*{reason}"):
            adopt(dataset, dataset.episodes[0], tmp_path / "home", {"task": "sort"})


def test_a_damaged_file_is_named_with_its_episode(tmp_path: Path, lerobot: Any) -> None:
    theirs(lerobot, tmp_path / "theirs", {"top": "video"})
    dataset = open_dataset(tmp_path / "theirs")

    def refused(reason: str, episode: int) -> None:
        with pytest.raises(CannotRead, match=reason):
            adopt(open_dataset(tmp_path / "theirs"), dataset.episodes[episode], tmp_path / "home", {"task": "sort"})
        assert list((tmp_path / "home").rglob("*")) == [tmp_path / "home/episodes"]

    film = next((tmp_path / "theirs/videos").rglob("*.mp4"))
    whole = film.read_bytes()
    film.write_bytes(whole[: len(whole) // 2])
    refused(r"episode 2: .*file-000.mp4 ", 2)
    film.unlink()
    refused(r"episode 1: .*file-000.mp4 is missing", 1)
    film.write_bytes(whole)
    data = tmp_path / "theirs/data/chunk-000/file-000.parquet"
    good = pq.read_table(data)
    pq.write_table(good.slice(1), data)
    refused(r"file-000.parquet has 6 rows of episode 0, not the 7 of meta", 0)
    pq.write_table(good.drop_columns(["action"]), data)
    refused(r"file-000.parquet has no column 'action', which meta/info.json promises", 1)
    tasks = pa.array([7] * len(good), pa.int64())
    pq.write_table(good.set_column(good.schema.get_field_index("task_index"), "task_index", tasks), data)
    refused(r"episode 1 has a task_index that names no task", 1)
    missing = pa.array([None, *good["count"].to_pylist()[1:]], pa.int64())
    pq.write_table(good.set_column(good.schema.get_field_index("count"), "count", missing), data)
    refused(r"episode 0, column 'count': it holds 6 numbers for 7 rows of shape \(1,\)", 0)
    pq.write_table(good, data)
    data.write_bytes(data.read_bytes()[:-50])
    refused(r"data/chunk-000/file-000.parquet is damaged; episode 0 cannot be read", 0)
    data.unlink()
    refused(r"data/chunk-000/file-000.parquet is missing; episode 1 cannot be read", 1)


def by_hand(folder: Path) -> None:
    """A v2.1 dataset as its description says it is, written without any of our code: two episodes, one camera."""
    info = {
        "codebase_version": "v2.1",
        "robot_type": "koch",
        "total_episodes": 2,
        "total_frames": 7,
        "total_tasks": 2,
        "total_videos": 2,
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": "0:2"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.images.laptop": {
                "dtype": "video",
                "shape": [48, 64, 3],
                "names": ["height", "width", "channels"],
                "info": {"video.fps": 10.0, "video.codec": "h264", "video.pix_fmt": "yuv420p", "has_audio": False},
            },
            "action": {"dtype": "float32", "shape": [2], "names": ["a", "b"]},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            "frame_index": {"dtype": "int64", "shape": [1], "names": None},
            "episode_index": {"dtype": "int64", "shape": [1], "names": None},
            "index": {"dtype": "int64", "shape": [1], "names": None},
            "task_index": {"dtype": "int64", "shape": [1], "names": None},
        },
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "wave"}\n{"task_index": 1, "task": "bow"}\n')
    episodes, stats, begin = [], [], 0
    for number, length in enumerate((3, 4)):
        action = np.arange(2 * length, dtype="f4").reshape(length, 2) / 3 + number
        columns = {
            "action": pa.array(list(action), pa.list_(pa.float32())),
            "timestamp": pa.array([i / FPS for i in range(length)], pa.float32()),
            "frame_index": pa.array(range(length), pa.int64()),
            "episode_index": pa.array([number] * length, pa.int64()),
            "index": pa.array(range(begin, begin + length), pa.int64()),
            "task_index": pa.array([number] * length, pa.int64()),
        }
        data = folder / f"data/chunk-000/episode_{number:06d}.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), data)
        film = folder / f"videos/chunk-000/observation.images.laptop/episode_{number:06d}.mp4"
        film.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(film), "w") as out:
            stream: Any = out.add_stream("libx264", rate=FPS, options={"g": "2"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for i in range(length):
                picture = np.full((48, 64, 3), 40 * i + 20, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            out.mux(stream.encode())
        of = {"min": action.min(0), "max": action.max(0), "mean": action.mean(0), "std": action.std(0)}
        numbers = {name: value.tolist() for name, value in of.items()} | {"count": [length]}
        picture_of = {name: [[[0.5]]] * 3 for name in of} | {"count": [length]}
        known = {"action": numbers, "observation.images.laptop": picture_of}
        episodes.append({"episode_index": number, "tasks": [["wave"], ["bow"]][number], "length": length})
        stats.append({"episode_index": number, "stats": known})
        begin += length
    for name, lines in (("episodes", episodes), ("episodes_stats", stats)):
        (folder / f"meta/{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


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
