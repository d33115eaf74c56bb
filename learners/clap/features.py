"""What a frozen eye sees in pictures, patch by patch, and a file of it so that it looks only once.

An `Eye` is a vision transformer by name or folder (DINOv3, DINOv2), or a small one made here from the very pictures
that are learned from. `looked` keeps what it saw of every frame on disk, in a few lights, and goes on after a crash.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.backbones import Pretrained
from learners.clap.augment import USUAL, Light, Photometric
from learners.senses import planes
from storage.pictures import SPARE, NoRoom, Pixels
from storage.seal import alone

SHARP = (1.5, 4.5)
"""How much more a place of an outline counts that lies half a picture further, as exponents."""
PIECE = 64
"""Frames that are looked at in one go."""

type Tell = Callable[[int, int], None]


class Eye(nn.Module):
    """A frozen backbone: pictures (n, 3, H, W) in 0..1 become patches (n, P, width), classes and registers left out."""

    def __init__(self, source: str | dict[str, Any]) -> None:
        super().__init__()
        self.model: Any = Pretrained(source, frozen=True)
        # One that is made from facts begins in training mode, in which DINOv3 draws its positions.
        self.model.eval()
        self.width = int(self.model.width)
        self.patch = int(self.model.model.config.patch_size)

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self.model.facts)

    def forward(self, pictures: Tensor) -> Tensor:
        seen: Tensor = self.model(2 * pictures[:, None] - 1)
        return seen


class Patches(nn.Module):
    """An eye made from the pictures themselves: each patch in the directions in which patches vary most, whitened."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch, self.width = patch, width
        self.register_buffer("middle", torch.zeros(3 * patch * patch))
        self.register_buffer("ways", torch.zeros(width, 3 * patch * patch))

    @classmethod
    def of(cls, sources: Sequence[Pixels], patch: int, width: int, most: int = 256) -> Self:
        """Made from evenly spaced pictures of each source."""
        return cls(patch, width).fit(torch.cat([_some(frames, most) for frames in sources]))

    @property
    def facts(self) -> dict[str, Any]:
        return {"patch": self.patch, "width": self.width}

    @torch.no_grad()
    def fit(self, pictures: Tensor) -> Self:
        """Measure pictures (n, 3, H, W) in 0..1."""
        flat = self._cut(pictures).flatten(0, 1)
        middle = flat.mean(0)
        covariance = torch.cov((flat - middle).T.double())
        spread, ways = torch.linalg.eigh(covariance)
        best = spread.argsort(descending=True)[: self.width]
        # A direction in which hardly anything varies is noise, and must not become as loud as the rest.
        scale = (spread[best] + 1e-3 * spread.sum() / len(spread)).rsqrt()
        self.get_buffer("middle").copy_(middle)
        self.get_buffer("ways").copy_((ways[:, best] * scale).T.float())
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        return (self._cut(pictures) - self.get_buffer("middle")) @ self.get_buffer("ways").T

    def _cut(self, pictures: Tensor) -> Tensor:
        return F.unfold(pictures, self.patch, stride=self.patch).mT


class Outline(nn.Module):
    """An eye for pictures of what moves (`learners.clap.moving`): how far it reaches in every direction, and where.

    For each direction there are means of all lit places, of which those further that way count more: a soft outline,
    much the same for an arm and a hand. Only where they usually are is learned. Directions up the picture are left out:
    whoever is filmed comes from there, and is seen no further than the picture goes.
    """

    def __init__(self, directions: int) -> None:
        super().__init__()
        self.directions, self.width = directions, 2
        angle = torch.linspace(0, torch.pi, directions)
        self.register_buffer("ways", torch.stack([angle.cos(), angle.sin()], dim=-1))
        self.register_buffer("middle", torch.zeros(len(SHARP) * directions, 2))
        self.register_buffer("spread", torch.ones(len(SHARP) * directions, 2))

    @classmethod
    def of(cls, sources: Sequence[Pixels], directions: int, most: int = 256) -> Self:
        """Made for evenly spaced pictures of each source."""
        eye = cls(directions)
        seen = eye(torch.cat([_some(frames, most) for frames in sources]))
        eye.get_buffer("middle").copy_(seen.mean(0))
        eye.get_buffer("spread").copy_(seen.std(0).clamp(min=0.01))
        return eye

    @property
    def facts(self) -> dict[str, Any]:
        return {"directions": self.directions}

    def forward(self, pictures: Tensor) -> Tensor:
        """Points (n, 2 * directions, 2) of pictures (n, 3, H, W), 0..1: x and y, each from where it usually is."""
        lit = pictures[:, 0].flatten(1)
        rows, columns = pictures.shape[-2:]
        y = torch.linspace(-1, 1, rows, device=lit.device).repeat_interleave(columns)
        x = torch.linspace(-1, 1, columns, device=lit.device).repeat(rows)
        places = torch.stack([x, y], dim=-1)
        reach = self.get_buffer("ways") @ places.T
        weight = torch.cat([(sharp * (reach - 2**0.5)).exp() for sharp in SHARP])
        # The middle of the picture counts a very little, for when nothing moves.
        total = torch.einsum("np,dp->nd", lit, weight) + 1e-6
        at = torch.einsum("np,dp,pc->ndc", lit, weight, places) / total[..., None]
        return (at - self.get_buffer("middle")) / self.get_buffer("spread")


@dataclass(frozen=True)
class Lights:
    """In how many lights every frame is looked at ahead of training, and which."""

    count: int = 3
    photometric: Photometric = USUAL
    seed: int = 0

    def seen(self, pictures: Tensor, first: int) -> Tensor:
        """Pictures (n, 3, H, W), 0..1, of frames ``first`` and on, as they are and in every light: (n, 1 + count, ...).

        A light is the same for every frame, so that both frames of whatever pair are seen in it; the noise is not.
        """
        light = self.photometric.draw(self.count, torch.Generator().manual_seed(self.seed))
        generator = torch.Generator().manual_seed((self.seed << 32) + first)
        lit = [
            self.photometric.seen(pictures[None], Light(*(each[k : k + 1] for each in light)), generator)[0]
            for k in range(self.count)
        ]
        return torch.stack([pictures, *lit], dim=1)


def looked(
    folder: Path, eye: nn.Module, frames: Pixels, lights: Lights, tell: Tell = lambda _done, _of: None
) -> NDArray[np.float16]:
    """What the eye sees of every frame, clean and in every light: (frames, 1 + lights, P, width), read like memory.

    It is made in ``folder`` when it is not there yet; its name says which frames, eye and lights it is of. A crash
    costs one piece of it. Two processes that ask at once make one file.

    Raises:
        NoRoom: the disk is too full.
    """
    path = folder / f"{mark(eye, frames, lights)}.npy"
    if not path.exists():
        with alone(folder / f"{path.stem}.making") as _:
            if not path.exists():
                _look(path, eye, frames, lights, tell)
    kept: NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    os.utime(path)
    return kept


def mark(eye: nn.Module, frames: Pixels, lights: Lights) -> str:
    """A name for what this eye sees of these very frames in these lights."""
    found = blake2b(repr((frames.shape, lights)).encode(), digest_size=16)
    for name, values in sorted(eye.state_dict().items()):
        found.update(name.encode())
        found.update(values.detach().cpu().contiguous().numpy().tobytes())
    for first in range(0, frames.shape[0], PIECE):
        found.update(_piece(frames, first).tobytes())
    return found.hexdigest()


def _look(path: Path, eye: nn.Module, frames: Pixels, lights: Lights, tell: Tell) -> None:
    """Look at every frame from where the last attempt stopped; the file gets its name when it is whole."""
    part, note = path.with_suffix(".npy.part"), path.with_suffix(".making") / "done.json"
    count = frames.shape[0]
    device = next(iter([*eye.parameters(), *eye.buffers()])).device
    done = json.loads(note.read_text()) if note.exists() and part.exists() else 0
    kept: Any = np.load(part, mmap_mode="r+", allow_pickle=False) if done else None
    for first in range(done, count, PIECE):
        pictures = planes(_piece(frames, first)[:, None])[:, 0].float() / 255
        seen = lights.seen(pictures, first)
        with torch.no_grad():
            patches = eye(seen.flatten(0, 1).to(device)).unflatten(0, seen.shape[:2]).cpu().numpy()
        if kept is None:
            shape = (count, *patches.shape[1:])
            _room(part, 2 * int(np.prod(shape)))
            kept = np.lib.format.open_memmap(part, "w+", np.float16, shape)
        kept[first : first + len(patches)] = patches
        kept.flush()
        _write(note, first + len(patches))
        tell(first + len(patches), count)
    part.rename(path)
    shutil.rmtree(note.parent)


def _some(frames: Pixels, most: int) -> Tensor:
    """Evenly spaced pictures (n, 3, H, W), 0..1."""
    numbers = np.linspace(0, frames.shape[0] - 1, min(most, frames.shape[0])).astype(np.intp)
    images = np.empty((len(numbers), *frames.shape[1:]), np.uint8)
    frames.into(numbers, images)
    return planes(images[:, None])[:, 0].float() / 255


def _piece(frames: Pixels, first: int) -> NDArray[np.uint8]:
    images = np.empty((min(PIECE, frames.shape[0] - first), *frames.shape[1:]), np.uint8)
    frames.into(np.arange(first, first + len(images)), images)
    return images


def _room(part: Path, need: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if need + SPARE > free:
        raise NoRoom(
            f"what the eye sees of every frame takes {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in "
            f"{part.parent}, of which {SPARE / 1e9:.1f} GB stay free; use fewer lights, or look while training"
        )


def _write(note: Path, done: int) -> None:
    unfinished = note.with_suffix(".part")
    unfinished.write_text(json.dumps(done))
    unfinished.rename(note)
