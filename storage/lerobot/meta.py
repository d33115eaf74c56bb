"""What a LeRobot dataset says of itself: info, tasks, episodes and statistics, in the files of either version."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.lerobot import stats
from storage.lerobot.layout import CHUNK, EPISODES, INFO, V21, Layout
from storage.lerobot.modality import MODALITY, modality
from storage.lerobot.stats import Stats

DATA_MB, VIDEO_MB = 100, 200
"""How large LeRobot lets its own files grow when somebody adds episodes to the dataset."""


@dataclass(frozen=True)
class About:
    """What is true of all episodes."""

    fps: float
    robot_type: str | None
    features: Mapping[str, Mapping[str, Any]]
    tasks: Sequence[str]
    """In the order of their ``task_index``."""


@dataclass(frozen=True)
class Row:
    """One episode: where it lies among all frames, and what is said of it."""

    number: int
    begin: int
    end: int
    tasks: Sequence[str]
    stats: Mapping[str, Stats]
    said: Mapping[str, Any]


def write(folder: Path, layout: Layout, about: About, episodes: Sequence[Row]) -> None:
    """Write everything in ``meta``."""
    (folder / "meta").mkdir(exist_ok=True)
    films = [name for name, feature in about.features.items() if feature["dtype"] == "video"]
    info: dict[str, Any] = {
        "codebase_version": layout.version,
        "robot_type": about.robot_type,
        "total_episodes": len(episodes),
        "total_frames": episodes[-1].end,
        "total_tasks": len(about.tasks),
        "chunks_size": CHUNK,
        "fps": int(about.fps) if about.fps == int(about.fps) else about.fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": layout.data,
        "video_path": layout.video if films else None,
        "features": about.features,
    }
    if layout is V21:
        info |= {"total_videos": len(films) * len(episodes), "total_chunks": -(-len(episodes) // CHUNK)}
        _write_21(folder, about, episodes)
        if (parts := modality(about.features)) is not None:
            (folder / MODALITY).write_text(json.dumps(parts, indent=4, ensure_ascii=False))
    else:
        info |= {"data_files_size_in_mb": DATA_MB, "video_files_size_in_mb": VIDEO_MB}
        _write_30(folder, layout, about, episodes, films)
    (folder / INFO).write_text(json.dumps(info, indent=4, ensure_ascii=False))


def _write_30(folder: Path, layout: Layout, about: About, episodes: Sequence[Row], films: list[str]) -> None:
    whole = {name: stats.together([row.stats[name] for row in episodes]) for name in episodes[0].stats}
    (folder / "meta/stats.json").write_text(json.dumps(stats.as_json(whole), indent=4))
    pq.write_table(_tasks(about.tasks), folder / "meta/tasks.parquet")
    lines = []
    for row in episodes:
        chunk, file = layout.file_of(row.number)
        line = {"episode_index": row.number, "tasks": list(row.tasks), "length": row.end - row.begin}
        line |= {"data/chunk_index": chunk, "data/file_index": file}
        line |= {"dataset_from_index": row.begin, "dataset_to_index": row.end}
        for film in films:
            place = {"chunk_index": chunk, "file_index": file, "from_timestamp": 0.0}
            place["to_timestamp"] = (row.end - row.begin) / about.fps
            line |= {f"videos/{film}/{name}": value for name, value in place.items()}
        for feature, of in stats.as_json(row.stats).items():
            line |= {f"stats/{feature}/{name}": value for name, value in of.items()}
        lines.append(line | dict(row.said) | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
    path = folder / EPISODES.format(chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True)
    names = dict.fromkeys(name for line in lines for name in line)
    pq.write_table(pa.table({name: pa.array([line.get(name) for line in lines]) for name in names}), path)


def _write_21(folder: Path, about: About, episodes: Sequence[Row]) -> None:
    _write_lines(folder / "meta/tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(about.tasks)])
    _write_lines(
        folder / "meta/episodes.jsonl",
        [
            {"episode_index": row.number, "tasks": list(row.tasks), "length": row.end - row.begin} | dict(row.said)
            for row in episodes
        ],
    )
    _write_lines(
        folder / "meta/episodes_stats.jsonl",
        [{"episode_index": row.number, "stats": stats.as_json(row.stats)} for row in episodes],
    )


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _tasks(tasks: Sequence[str]) -> Any:
    """The tasks as a table in which pandas, and so LeRobot, finds a task by its words."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    number, words = (
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    )
    described = {"index_columns": ["task"], "column_indexes": [], "columns": [number, words], "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({"pandas": json.dumps(described)})
