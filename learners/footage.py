"""Film of people cut into moments: what was seen, what is seen a little later, and what was said is done.

Nobody knows what the hands did in numbers. Tokens that a model inferred can be put beside the moments (`labelled`).
What a simulation knows of its own film (stream ``truth``) is never read here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.data import NoData
from learners.senses import planes
from learners.tensors import Tensors
from storage import Episode, Stale, latest
from storage.grid import stamped
from storage.layout import arrival
from storage.pictures import Pictures, Pixels

HEAD = "head"
"""The camera that people wear."""
ARMS = ("left", "right")
"""The places of a pair, in order; an episode's attribute ``arms`` may say of each whether it does anything."""


@dataclass(frozen=True)
class FootageBatch(Tensors):
    """Some moments as tensors."""

    now: Tensor
    """(B, 3, H, W), 0..255."""
    later: Tensor
    """(B, 3, H, W): what was seen ``ahead`` seconds later, or last when the film ended before."""
    past_end: Tensor
    """(B,) bool: the film ended before."""
    arms: Tensor
    """(B, 2) bool: whether the left and the right hand count."""
    instructions: list[str]
    subtasks: list[str]
    tokens: Tensor | None = None
    """(B, 2, N) long: the codes of each hand's motion, when somebody inferred them."""


@dataclass(frozen=True)
class Footage:
    """Every moment of some films, at one rate."""

    frames: Pixels
    """Every frame that some moment shows, film after film."""
    frame: NDArray[np.intp]
    """(n,): which of them was seen."""
    later: NDArray[np.intp]
    """(n,): which of them was seen ``ahead`` seconds later."""
    past_end: NDArray[np.bool_]
    """(n,)."""
    moment: NDArray[np.int64]
    """(n,): nanoseconds of the episode's own clock."""
    episode: NDArray[np.intp]
    """(n,): which film a moment is from."""
    ids: tuple[UUID, ...]
    """Per film."""
    instructions: tuple[str, ...]
    """Per film."""
    subtasks: tuple[str, ...]
    """Per film: what is done in it, which is the instruction when nothing else was said."""
    arms: NDArray[np.bool_]
    """(films, 2): whether the left and the right hand count."""
    hz: float
    ahead: float
    """Seconds between the two frames of a moment."""
    codes: NDArray[np.uint16] | None = None
    """(n, 2, N)."""

    def __len__(self) -> int:
        return len(self.episode)

    @classmethod
    def of(
        cls,
        episodes: Sequence[Episode],
        instructions: Sequence[str],
        camera: str = HEAD,
        image: int | None = 96,
        hz: float = 10.0,
        ahead: float = 1.0,
        tell: Callable[[int, int], None] = lambda _done, _of: None,
        pixels: Callable[[str, Pictures], Pixels] = lambda _camera, pictures: pictures,
        max_age: float = 0.25,
    ) -> "Footage":
        """Cut moments ``1 / hz`` apart, from a film's first picture to its last.

        ``image`` is the height and width that pictures are brought to, and ``pixels`` may keep them unpacked, as with
        `learners.data.Windows`.

        Raises:
            NoData: there is no film, one has no such camera or was interrupted for longer than ``max_age`` seconds,
                or pictures differ in size and none is asked for.
        """
        if not episodes:
            raise NoData("no film to learn from; bring some in, or make some up: appliance imagine")
        cuts = []
        for number, episode in enumerate(episodes):
            try:
                cuts.append(_cut(episode, camera, hz, ahead, max_age))
            except Stale as error:
                raise NoData(f"{episode.path.name}: {error}; trim it or retire it") from error
            tell(number + 1, len(episodes))
        try:
            every = Pictures([each.frames(camera) for each in episodes], image)
        except ValueError as error:
            raise NoData(f"{camera}: {error}") from error
        whole = {name: np.concatenate([cut[name] for cut in cuts]) for name in cuts[0]}
        of = np.repeat(np.arange(len(episodes)), [len(cut["moment"]) for cut in cuts])
        used, shown = np.unique(np.stack([whole["frame"], whole["later"]]) + every.starts[of], return_inverse=True)
        now, later = shown.reshape(2, len(of))
        said = [
            str(each.attributes.get("subtask") or words) for each, words in zip(episodes, instructions, strict=True)
        ]
        return cls(
            frames=pixels(camera, every if len(used) == len(every) else every.only(used)),
            frame=now,
            later=later,
            past_end=whole["past_end"],
            moment=whole["moment"],
            episode=of,
            ids=tuple(each.id for each in episodes),
            instructions=tuple(instructions),
            subtasks=tuple(said),
            arms=np.stack([_arms(each) for each in episodes]),
            hz=hz,
            ahead=ahead,
        )

    def batch(self, index: NDArray[np.intp]) -> FootageBatch:
        """The moments with these numbers, in this order."""
        images = np.empty((2 * len(index), *self.frames.shape[1:]), np.uint8)
        # Both frames at once, so that a film is opened once.
        self.frames.into(np.concatenate([self.frame[index], self.later[index]]), images)
        now, later = planes(images[:, None])[:, 0].split(len(index))
        of = self.episode[index]
        return FootageBatch(
            now=now,
            later=later,
            past_end=torch.from_numpy(self.past_end[index]),
            arms=torch.from_numpy(self.arms[of]),
            instructions=[self.instructions[e] for e in of],
            subtasks=[self.subtasks[e] for e in of],
            tokens=None if self.codes is None else torch.from_numpy(self.codes[index].astype(np.int64)),
        )

    def split(self, held_out: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Moments to learn from and to check on; whole films go to one side or the other.

        A moment whose film ends before its later frame shows less than a whole motion, and is in neither.
        """
        order = np.random.default_rng(seed).permutation(len(self.ids))
        held = np.isin(self.episode, order[: round(held_out * len(order))])
        return np.flatnonzero(~held & ~self.past_end), np.flatnonzero(held & ~self.past_end)

    def within(self, arms: NDArray[np.bool_]) -> "Footage":
        """The same with only those hands that have a robot's arm (2,) to do as they do.

        A robot with one arm learns from whichever hand acts: what a hand does then counts as the right arm's.
        """
        both = self.arms & arms
        return replace(self, arms=np.where(both.any(-1, keepdims=True), both, arms))

    def labelled(self, codes: Mapping[UUID, NDArray[np.uint16]]) -> "Footage":
        """The same with the codes (moments, 2, N) that were inferred of each film.

        Raises:
            NoData: a film has none, or not as many as it has moments.
        """
        counts = np.bincount(self.episode, minlength=len(self.ids))
        for name, count in zip(self.ids, counts, strict=True):
            if name not in codes or len(codes[name]) != count:
                found = len(codes[name]) if name in codes else "no"
                raise NoData(f"film {name} has {count} moments and {found} labels; label it again: appliance label")
        return replace(self, codes=np.concatenate([codes[name] for name in self.ids]))


def _cut(episode: Episode, camera: str, hz: float, ahead: float, max_age: float) -> dict[str, NDArray[Any]]:
    """What one film adds; frames are counted from its own first.

    Raises:
        NoData: it has no such pictures.
        Stale: the camera was silent for too long.
    """
    if camera not in episode.cameras:
        raise NoData(f"{episode.path.name} has no pictures of {camera!r}; it has {episode.cameras or 'none'}")
    rows = stamped(episode, camera)
    if not len(rows):
        raise NoData(f"{episode.path.name} has no picture of {camera!r}; retire it or bring it in again")
    known = arrival(rows)
    last = int(known[-1])
    moment = np.arange(int(known[0]), last + 1, round(1e9 / hz))
    then, age = moment + round(ahead * 1e9), round(max_age * 1e9)
    return {
        "frame": latest(known, moment, age, rows["t"]),
        "later": latest(known, np.minimum(then, last), age, rows["t"]),
        "past_end": then > last,
        "moment": moment,
    }


def _arms(episode: Episode) -> NDArray[np.bool_]:
    """Whose motion counts: both hands', unless the film says which.

    Raises:
        NoData: it says something else.
    """
    said = episode.attributes.get("arms", [True, True])
    if not (isinstance(said, list | tuple) and len(said) == len(ARMS) and all(isinstance(each, bool) for each in said)):
        raise NoData(
            f"{episode.path.name} says arms = {said!r}; right is [left, right], each true or false, or nothing"
        )
    if not any(said):
        raise NoData(f"{episode.path.name} says that no hand does anything; retire it, or bring it in again")
    return np.array(said)
