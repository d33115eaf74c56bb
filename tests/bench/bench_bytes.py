"""Bytes on the disk and the quality they buy: our episodes and their compact copies beside LeRobot's default."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench import ours, peer
from tests.bench.beside import Demand, tell
from tests.bench.content import BUILD, CAMERAS, FRAMES, Images, frames, psnr

EPISODES = 4
LOOKED_AT = range(0, FRAMES, 7)


def main() -> None:
    """Print bytes of both tiers as a ratio, and that neither looks worse than the peer."""
    from storage.compact import compact

    from storage import Episode

    theirs, hot = peer.dataset(EPISODES), ours.dataset(EPISODES)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        cold = [compact(path, Path(folder) / path.name).path for path in hot]
        usual = ours.size(theirs) / EPISODES
        seen = [Episode(path) for path in hot], [Episode(path) for path in cold]
        tell("bytes of the hot tier", "bytes an episode", _mean(hot), usual, Demand("ratio", "most", 4.5))
        tell("bytes of the compact tier", "bytes an episode", _mean(cold), usual, Demand("ratio", "most", 0.5))
        dataset = peer.opened(theirs, 1)
        for camera in CAMERAS:
            loss = _loss(lambda e, i, c=camera: _peer_frame(dataset, c, e, i), camera)
            for tier, episodes in zip(("hot", "compact"), seen, strict=True):
                films = [episode.frames(camera) for episode in episodes]
                found = _loss(lambda e, i, f=films: f[e][i], camera)
                name = f"quality of {camera}, {tier} tier"
                tell(name, "dB PSNR", found, loss, Demand("ratio", "least", 1.0))


def _mean(folders: list[Path]) -> float:
    return sum(map(ours.size, folders)) / len(folders)


def _loss(frame, camera: str) -> float:
    """PSNR of some frames of every episode, in dB."""
    shown = [np.stack([frame(e, i) for i in LOOKED_AT]) for e in range(EPISODES)]
    seen = [frames(e, camera)[list(LOOKED_AT)] for e in range(EPISODES)]
    return psnr(np.concatenate(shown), np.concatenate(seen))


def _peer_frame(dataset, camera: str, episode: int, i: int) -> Images:
    return dataset[episode * FRAMES + i][f"observation.images.{camera}"].permute(1, 2, 0).numpy()


if __name__ == "__main__":
    peer.prepare("tests.bench.bench_bytes")
    sys.exit(main())
