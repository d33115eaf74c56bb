"""LeRobot 0.6.1, used the way its users use it: record, save, load."""

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.content import BUILD, CAMERAS, FPS, FRAMES, HEIGHT, JOINTS, WIDTH, Images, arm, frames

TASK = "put the red cube on the yellow pad"
NAMES = [*(f"joint_{k + 1}" for k in range(JOINTS)), "gripper"]


def prepare(module: str) -> None:
    """Run the bench again so that torchcodec, its faster decoder, finds the FFmpeg that PyAV brings.

    torchcodec looks for ``libavcodec.so.61``; PyAV's copy has a longer name. Warnings of the peer are not ours to fix.
    """
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "SVT_LOG": "0"}
    links = BUILD / "ffmpeg"
    if str(links) in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        return
    found = find_spec("av")
    if found is None or found.origin is None:
        raise SystemExit("PyAV is missing; run make setup")
    libraries = Path(found.origin).parents[1] / "av.libs"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    for library in libraries.glob("lib*.so.*"):
        stem, _, rest = library.name.partition("-")
        if stem.startswith(("libav", "libsw")):
            (links / f"{stem}.so.{rest.partition('.so.')[2].split('.')[0]}").symlink_to(library)
    os.environ["LD_LIBRARY_PATH"] = f"{links}:{libraries}"
    os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


def features() -> dict[str, Any]:
    """What a dataset of ours holds, in LeRobot's words."""
    shape = {"dtype": "video", "shape": (HEIGHT, WIDTH, 3), "names": ["height", "width", "channels"]}
    numbers = {"dtype": "float32", "shape": (len(NAMES),), "names": NAMES}
    return {f"observation.images.{camera}": shape for camera in CAMERAS} | {
        "observation.state": numbers,
        "action": numbers,
    }


class Recording:
    """A dataset being recorded: ``default`` encodes when an episode is saved, ``streaming`` meanwhile."""

    def __init__(self, folder: Path, streaming: bool) -> None:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        shutil.rmtree(folder, ignore_errors=True)
        how: dict[str, Any] = {"streaming_encoding": True} if streaming else {"image_writer_threads": 8}
        self.dataset = LeRobotDataset.create("bench/bench", FPS, features(), root=folder, **how)

    def add(self, pictures: dict[str, Images], state: np.ndarray[Any, Any], action: np.ndarray[Any, Any]) -> None:
        self.dataset.add_frame(
            {f"observation.images.{camera}": image for camera, image in pictures.items()}
            | {"observation.state": state, "action": action, "task": TASK}
        )

    def save(self) -> None:
        self.dataset.save_episode()

    def frames_on_disk(self) -> int:
        """Frames in all the films there are: counted, not believed."""
        import av

        count = 0
        for path in Path(self.dataset.root).glob("videos/**/*.mp4"):
            with av.open(str(path)) as film:
                count += sum(packet.size > 0 for packet in film.demux(video=0))
        return count


def numbers(episode: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """States at the cameras' rate (151, 8): the action of a moment is the state of the next."""
    q = arm(episode, FPS, (FRAMES + 1) / FPS)
    rows: np.ndarray[Any, np.dtype[np.float32]] = np.concatenate([q, np.full((len(q), 1), 0.04)], axis=1).astype("f4")
    return rows


def dataset(episodes: int) -> Path:
    """A dataset of some episodes in LeRobot's default encoding, made once."""
    folder = BUILD / f"lerobot-{episodes}"
    if not (folder / "whole").exists():
        recording = Recording(folder, streaming=False)
        for episode in range(episodes):
            pictures, row = {camera: frames(episode, camera) for camera in CAMERAS}, numbers(episode)
            for i in range(FRAMES):
                recording.add({camera: pictures[camera][i] for camera in CAMERAS}, row[i], row[i + 1])
            recording.save()
        recording.dataset.finalize()
        (folder / "whole").touch()
    return folder


def opened(folder: Path, chunk: int, resize: int | None = None) -> Any:
    """The dataset as a map from a moment's number to what was seen and the chunk of actions that followed, uint8."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    transform: Callable[..., Any] | None = None
    if resize is not None:
        from torchvision.transforms import v2

        transform = v2.Resize((resize, resize), antialias=True)
    return LeRobotDataset(
        "bench/bench",
        root=folder,
        delta_timestamps={"action": [k / FPS for k in range(chunk)]},
        video_backend="torchcodec",
        image_transforms=transform,
        return_uint8=True,
    )


def for_ever(length: int, seed: int = 5) -> Iterator[int]:
    """Moments at random, for ever: the sampler of both sides."""
    dice = np.random.default_rng(seed)
    while True:
        yield int(dice.integers(length))
