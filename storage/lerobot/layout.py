"""Where LeRobot keeps what, in the two versions that are in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INFO = "meta/info.json"
CHUNK = 1000
"""How many files a folder holds."""

AUTOMATIC: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
"""The columns that every dataset has, after its own."""


def is_depth(about: Mapping[str, Any]) -> bool:
    """Whether a feature's pictures are distances; every version says it somewhere else."""
    said = {**(about.get("video_info") or {}), **(about.get("info") or {})}
    return bool(said.get("is_depth_map") or said.get("video.is_depth_map"))


@dataclass(frozen=True)
class Layout:
    """One version's folders. Both are written with one file per episode; newer ones may hold several in a file."""

    version: str
    data: str
    video: str

    def data_of(self, chunk: int, file: int) -> str:
        return self.data.format(chunk_index=chunk, file_index=file, episode_chunk=chunk, episode_index=file)

    def video_of(self, camera: str, chunk: int, file: int) -> str:
        return self.video.format(
            video_key=camera, chunk_index=chunk, file_index=file, episode_chunk=chunk, episode_index=file
        )

    def file_of(self, episode: int) -> tuple[int, int]:
        """The chunk and the file in which we put an episode."""
        return episode // CHUNK, episode if self is V21 else episode % CHUNK


V30 = Layout(
    "v3.0",
    "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
)
V21 = Layout(
    "v2.1",
    "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
)
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

VERSIONS = {"3.0": V30, "2.1": V21}
"""What a person calls them."""
