"""What moves before a camera that stands still: where each picture differs from what its film shows most of the time.

A small eye made from pictures knows an arm by its paint. A hand has none of it, so that what was learned of the one
says nothing of the other; outlines of what moves are much alike. A large backbone sees that for itself.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learners.data import NoData, Windows
from learners.footage import Footage
from storage.images import Image
from storage.pictures import Pixels

ENOUGH = 48
"""Frames of a film from which is told what stands still."""


@dataclass(frozen=True)
class Moving:
    """Pictures in black, with what moves in white."""

    frames: Pixels
    film: NDArray[np.intp]
    """(frames,): which film a frame is of; -1 for those that nobody will ask for."""
    still: Image
    """(films, height, width, 3): the median of each."""
    least: int
    """What differs by more than this in some colour, of 255, is something else."""

    @classmethod
    def of(cls, frames: Pixels, film: NDArray[np.intp], least: int) -> "Moving":
        """Find out what stands still in each film."""
        still = np.zeros((int(film.max()) + 1, *frames.shape[1:]), np.uint8)
        for number in np.unique(film[film >= 0]):
            every = np.flatnonzero(film == number)
            some = every[np.linspace(0, len(every) - 1, min(ENOUGH, len(every))).astype(np.intp)]
            shown = np.empty((len(some), *frames.shape[1:]), np.uint8)
            frames.into(some, shown)
            still[number] = np.median(shown, axis=0)
        return cls(frames, film, still, least)

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures, height, width, 3."""
        return self.frames.shape

    def into(self, wanted: NDArray[np.intp], images: Image) -> None:
        """Write the pictures with these numbers over ``images`` (n, height, width, 3), in this order."""
        self.frames.into(wanted, images)
        off = np.abs(images.astype(np.int16) - self.still[self.film[wanted]]).max(axis=-1, keepdims=True)
        images[:] = np.where(off > self.least, 255, 0)


def in_windows(data: Windows, least: int) -> Windows:
    """The same windows, whose first camera sees what moves.

    Raises:
        NoData: the windows show nothing, or not what was seen a chunk later.
    """
    if data.later is None or not data.frames:
        raise NoData("pairs of frames need a camera, and windows cut with Senses.ahead")
    owners = _owners(data.frames[0], data.episode, data.frame[:, 0], data.later[:, 0])
    return replace(data, frames=(Moving.of(data.frames[0], owners, least), *data.frames[1:]))


def in_film(film: Footage, least: int, number: int | None = None) -> Footage:
    """The same film, in which is seen what moves; with ``number``, in that one alone."""
    owners = _owners(film.frames, film.episode, film.frame, film.later)
    if number is not None:
        owners[owners != number] = -1
    return replace(film, frames=Moving.of(film.frames, owners, least))


def _owners(frames: Pixels, episode: NDArray[np.intp], *shown: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which episode each frame is of."""
    owners = np.full(frames.shape[0], -1)
    for numbers in shown:
        owners[numbers] = episode
    return owners
