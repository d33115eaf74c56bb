"""Bytes on the disk and the quality they buy: our episodes and their compact copies beside LeRobot's default."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bench import ours, peer
from tests.bench.beside import Demand, tell
from tests.bench.content import BUILD, CAMERAS, FRAMES, Images, frames, psnr

if TYPE_CHECKING:
    from storage import Episode

EPISODES = 4
LOOKED_AT = list(range(0, FRAMES, 7))


def main() -> None:
    """Print bytes of both tiers as a ratio, and that neither looks worse than the peer."""
    from storage import Episode
    from storage.compact import compact

    theirs, hot = peer.dataset(EPISODES), ours.dataset(EPISODES)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        cold = [compact(path, Path(folder) / path.name).path for path in hot]
        usual = ours.size(theirs) / EPISODES
        dataset = peer.opened(theirs, 1)
        for tier, paths, bound in (("hot", hot, 4.5), ("compact", cold, 0.5)):
            mean = sum(map(ours.size, paths)) / EPISODES
            tell(f"bytes of the {tier} tier", "bytes an episode", mean, usual, Demand("ratio", "most", bound))
            episodes = [Episode(path) for path in paths]
            for camera in CAMERAS:
                found, loss = _quality(partial(_ours, episodes), camera), _quality(partial(_peer, dataset), camera)
                tell(f"quality of {camera}, {tier} tier", "dB PSNR", found, loss, Demand("ratio", "least", 1.0))


def _quality(shown: Callable[[str, int], Images], camera: str) -> float:
    """PSNR of some frames of every episode, in dB."""
    seen = [frames(episode, camera)[LOOKED_AT] for episode in range(EPISODES)]
    return psnr(np.concatenate([shown(camera, episode) for episode in range(EPISODES)]), np.concatenate(seen))


def _ours(episodes: list[Episode], camera: str, episode: int) -> Images:
    return episodes[episode].frames(camera)[LOOKED_AT]


def _peer(dataset: Any, camera: str, episode: int) -> Images:
    first = episode * FRAMES
    return np.stack([dataset[first + i][f"observation.images.{camera}"].permute(1, 2, 0) for i in LOOKED_AT])


if __name__ == "__main__":
    peer.prepare("tests.bench.bench_bytes")
    main()
