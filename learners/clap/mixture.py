"""What the token policy is taught: robot windows and film of people, mixed by weight, with their action tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.clap.prompt import HUMAN, KINDS
from learners.data import Batch, NoData, Windows
from learners.footage import Footage
from learners.tensors import Tensors
from learners.transforms import slots


@dataclass(frozen=True)
class Lesson(Tensors):
    """Some questions with their answers, of robots and of film."""

    images: Tensor
    """(B, V, 3, H, W), 0..255; film shows its one picture in the place of every camera."""
    arms: Tensor
    """(B, 2) bool: left, right."""
    codes: Tensor
    """(B, 2, N) long."""
    of_robot: Tensor
    """(B,) bool: the others are film."""
    categories: list[str]
    instructions: list[str]
    subtasks: list[str]
    robot: Batch | None = None
    """The robot windows of it, in order; None when all is film."""


@dataclass(frozen=True)
class Mixture:
    """Robot windows, then film; numbers of the one kind come before those of the other."""

    robot: Windows
    codes: NDArray[np.uint16]
    """(windows, 2, N): of the robot."""
    film: Footage | None = None
    """Labelled, with pictures of the robot's size."""
    share: float = 0.5
    """Of a pass over everything, how much is film."""
    subtasks: Sequence[str] | None = None
    """Of each window; without them the instruction is the subtask."""
    taught: NDArray[np.intp] | None = None
    """Windows that are learned from, and may repeat; without it, all."""

    def __post_init__(self) -> None:
        """Refuse what cannot be taught.

        Raises:
            NoData: tokens are missing, or the two kinds of pictures differ in size.
        """
        if len(self.codes) != len(self.robot):
            raise NoData(f"{len(self.robot)} windows have {len(self.codes)} action tokens; label them anew")
        if self.film is None:
            return
        if self.film.codes is None:
            raise NoData("film without action tokens teaches nothing to a token policy; label it: appliance label")
        if self.film.codes.shape[1:] != self.codes.shape[1:]:
            raise NoData(
                f"film has {self.film.codes.shape[2]} codes a hand, the robot {self.codes.shape[2]}; label it anew"
            )
        if self.robot.frames and self.film.frames.shape[1:] != self.robot.frames[0].shape[1:]:
            raise NoData(
                f"film of {self.film.frames.shape[1:]} beside pictures of {self.robot.frames[0].shape[1:]}; "
                "cut both at one size"
            )

    def __len__(self) -> int:
        return len(self.robot) + (0 if self.film is None else len(self.film))

    @property
    def arms(self) -> tuple[bool, bool]:
        """Whether the robot has a left and a right arm."""
        left, right = slots(np.zeros((1, 7 * self.robot.body.arms)))[1]
        return bool(left), bool(right)

    def batch(self, index: NDArray[np.intp]) -> Lesson:
        """Those with these numbers, in this order."""
        ours = index < len(self.robot)
        kinds = []
        if ours.any():
            kinds.append(self._windows(index[ours]))
        if not ours.all():
            kinds.append(self._moments(index[~ours] - len(self.robot)))
        # The robot's stand first; this is where each of what was asked for stands now.
        place = np.argsort(np.argsort(~ours, kind="stable"))
        return Lesson(
            images=torch.cat([each.images for each in kinds])[place],
            arms=torch.cat([each.arms for each in kinds])[place],
            codes=torch.cat([each.codes for each in kinds])[place],
            of_robot=torch.from_numpy(ours),
            categories=_each(place, [each.categories for each in kinds]),
            instructions=_each(place, [each.instructions for each in kinds]),
            subtasks=_each(place, [each.subtasks for each in kinds]),
            robot=kinds[0].robot,
        )

    def _windows(self, index: NDArray[np.intp]) -> Lesson:
        batch = self.robot.batch(index)
        many = len(index)
        return Lesson(
            images=batch.images,
            arms=torch.tensor(self.arms).expand(many, -1),
            codes=torch.from_numpy(self.codes[index].astype(np.int64)),
            of_robot=torch.ones(many, dtype=torch.bool),
            categories=[KINDS[self.arms]] * many,
            instructions=batch.instructions,
            subtasks=batch.instructions if self.subtasks is None else [self.subtasks[number] for number in index],
            robot=batch,
        )

    def _moments(self, index: NDArray[np.intp]) -> Lesson:
        if self.film is None or (batch := self.film.batch(index)).tokens is None:
            raise NoData("there is no film with action tokens")
        return Lesson(
            images=batch.now[:, None].expand(-1, max(1, len(self.robot.frames)), -1, -1, -1),
            arms=batch.arms,
            codes=batch.tokens,
            of_robot=torch.zeros(len(index), dtype=torch.bool),
            categories=[HUMAN] * len(index),
            instructions=batch.instructions,
            subtasks=batch.subtasks,
        )

    def split(self, held_out: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Whole episodes and whole films go to one side; the smaller kind repeats until its share is as asked for."""
        learn, check = self.robot.split(held_out, seed)
        if self.taught is not None:
            learn = self.taught[np.isin(self.taught, learn)]
        if self.film is None:
            return learn, check
        of_film, of_film_check = (each + len(self.robot) for each in self.film.split(held_out, seed))
        both = np.concatenate([check, of_film_check])
        if not 0 < self.share < 1:
            return (of_film if self.share else learn), both
        if not len(learn) or not len(of_film):
            raise NoData(f"a mixture of {len(learn)} robot windows and {len(of_film)} moments of film; it needs both")
        many = max(len(learn) / (1 - self.share), len(of_film) / self.share)
        kinds = [(learn, 1 - self.share), (of_film, self.share)]
        return np.concatenate([np.resize(each, round(many * share)) for each, share in kinds]), both


def _each(place: NDArray[np.intp], texts: list[list[str]]) -> list[str]:
    """Texts of several kinds, one kind after the other, at these places."""
    every = list(chain.from_iterable(texts))
    return [every[number] for number in place]
