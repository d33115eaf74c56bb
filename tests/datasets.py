"""LeRobot datasets to compare with: made by LeRobot, or by hand, and everything LeRobot finds in one."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage import Episode
from storage.lerobot import adopt, open_dataset
from tests.urgency import as_urgent_as_before

FPS = 10


def table(dataset: Any) -> dict[str, NDArray[Any]]:
    """Every column that is not a picture, as LeRobot has it in memory: exact, in its own kind."""
    features, arrow = dataset.meta.features, dataset.hf_dataset.with_format("arrow")[:]
    plain = [name for name in arrow.column_names if features[name]["dtype"] != "image"]
    kind = {name: "O" if features[name]["dtype"] == "string" else features[name]["dtype"] for name in plain}
    return {name: np.array(arrow[name].to_pylist(), kind[name]) for name in plain}


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
        with as_urgent_as_before():
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
