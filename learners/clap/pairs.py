"""Pairs of frames to learn from, of robots and of people in one sequence, as the eye sees them."""

from dataclasses import dataclass, field
from itertools import starmap

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.clap.actions import Schema, still
from learners.data import NoData, Windows
from learners.footage import Footage
from learners.senses import planes
from learners.tensors import Tensors
from storage.pictures import Pixels

type Looked = NDArray[np.float16]
"""What the eye saw: (frames, 1 + lights, P, width); the first is without other light."""


@dataclass(frozen=True)
class PairBatch(Tensors):
    """Pairs of frames; ``B`` of them, of robots and of people."""

    clean: Tensor
    """Pictures (B, 2, 3, H, W), 0..255, or what the eye saw (B, 2, P, width)."""
    light: Tensor | None
    """What the eye saw in other light (B, 2, P, width); with pictures it is drawn when it is needed."""
    rows: Tensor
    """(B, 2, H, 7): what the arms did; zero for people."""
    arms: Tensor
    """(B, 2) bool: which arms or hands count."""
    robot: Tensor
    """(B,) bool: whether it is known what they did."""


@dataclass(frozen=True)
class Pairs:
    """Robot windows first, then moments of film; each once for every light."""

    data: Windows
    film: Footage | None
    schema: Schema
    share: float = 0.5
    """Of what is learned from, how much is film."""
    looked: tuple[Looked, ...] | None = None
    """Of the robot's frames, then of the film's; None looks while training."""
    idle: NDArray[np.bool_] = field(init=False)
    """(windows,): the robot stands still."""

    def __post_init__(self) -> None:
        if (
            self._later is not None
            and self.film is not None
            and self.film.frames.shape[1:] != self.data.frames[0].shape[1:]
        ):
            robot, people = self.data.frames[0].shape[1:], self.film.frames.shape[1:]
            raise NoData(f"the robot's pictures are {robot} and the film's {people}; ask for one size")
        parts = np.array_split(np.arange(len(self.data)), -(-len(self.data) // (1 << 14)))
        idle = [still(torch.from_numpy(self.data.plan[part])).numpy() for part in parts]
        object.__setattr__(self, "idle", np.concatenate(idle))

    @property
    def lights(self) -> int:
        """How often every pair comes."""
        return 1 if self.looked is None else self.looked[0].shape[1] - 1

    def __len__(self) -> int:
        return self.lights * (len(self.data) + (0 if self.film is None else len(self.film)))

    def batch(self, index: NDArray[np.intp]) -> PairBatch:
        """Those with these numbers, robots before people; ``lights * n + l`` is the pair ``n`` in light ``l``."""
        number, light = np.divmod(np.sort(index), self.lights)
        windows, moments = np.split(number, [np.searchsorted(number, len(self.data))])
        clean, lit = self._seen(windows, moments - len(self.data), light)
        rows, arms = self.schema.rows(*(torch.from_numpy(each[windows]) for each in (self.data.plan, self.data.state)))
        if self.film is not None:
            unknown, _ = self.schema.unknown(len(moments))
            rows = torch.cat([rows, unknown.to(rows)])
            hands = self.film.arms[self.film.episode[moments - len(self.data)]]
            arms = torch.cat([arms, torch.from_numpy(hands)])
        return PairBatch(clean, lit, rows, arms, robot=torch.from_numpy(number < len(self.data)))

    def split(self, held_out: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Numbers to learn from, where film or robot comes more than once so that film has its share, and to check on.

        Windows in which the robot stands still are only checked on.
        """
        learn, check = self.data.split(held_out, seed)
        learn = learn[~self.idle[learn]]
        if self.film is None:
            return self._lit(learn), self._lit(check)[:: self.lights]
        watch, watched = (len(self.data) + part for part in self.film.split(held_out, seed))
        wanted = self.share / max(1e-9, 1 - self.share) * len(learn)
        if len(watch):
            often = wanted / len(watch)
            watch, learn = np.tile(watch, max(1, round(often))), np.tile(learn, max(1, round(1 / max(often, 1e-9))))
        return self._lit(np.concatenate([learn, watch])), self._lit(np.concatenate([check, watched]))[:: self.lights]

    def _lit(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        return (numbers[:, None] * self.lights + np.arange(self.lights)).ravel()

    def _seen(
        self, windows: NDArray[np.intp], moments: NDArray[np.intp], light: NDArray[np.intp]
    ) -> tuple[Tensor, Tensor | None]:
        """Of both frames of these robot windows, then of these moments of film: what is seen, also in other light."""
        numbers = [np.stack([self.data.frame[windows, 0], self._later[windows, 0]], axis=1)]
        if self.film is not None:
            numbers.append(np.stack([self.film.frame[moments], self.film.later[moments]], axis=1))
        if self.looked is None:
            return torch.cat(list(starmap(_pictures, zip(self._frames, numbers, strict=True)))), None
        lights = np.split(light, [len(windows)])[: len(numbers)]
        clean, lit = [], []
        for looked, frames, which in zip(self.looked, numbers, lights, strict=True):
            clean.append(looked[frames, 0])
            lit.append(looked[frames, 1 + which[:, None]])
        return torch.from_numpy(np.concatenate(clean)).float(), torch.from_numpy(np.concatenate(lit)).float()

    @property
    def _frames(self) -> list[Pixels]:
        return [self.data.frames[0], *([] if self.film is None else [self.film.frames])]

    @property
    def _later(self) -> NDArray[np.intp]:
        """Which frames the robot's windows show later.

        Raises:
            NoData: none.
        """
        if self.data.later is None or not self.data.frames:
            raise NoData("pairs of frames need a camera, and windows cut with Senses.ahead")
        return self.data.later


def _pictures(frames: Pixels, numbers: NDArray[np.intp]) -> Tensor:
    """Pictures (B, 2, 3, H, W) with these numbers (B, 2)."""
    images = np.empty((*numbers.shape, *frames.shape[1:]), np.uint8)
    frames.into(numbers.ravel(), images.reshape(-1, *frames.shape[1:]))
    return planes(images)
