"""What comes from LeRobot is kept whole, and goes back as it came."""

import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drivers import Rows, row_type
from storage import Episode, EpisodeWriter, check
from storage.apart import sweep
from storage.export import Take
from storage.lerobot import CannotRead, Coding, Export, adopt, open_dataset, video, write
from storage.seal import lock, unlock
from tests.datasets import FEATURES, FPS, LENGTHS, PICTURE, bring, same, table, theirs
from tests.driven import CAMERA, drive

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
