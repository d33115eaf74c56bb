"""The pictures of a take, unpacked: those that training needs, the right way up, at the size that is wanted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.human_video.clip import CannotUse, Clip, container
from collectors.human_video.faces import Faces, Picture, covered
from collectors.human_video.takes import Take

FACES = 360
"""Rows of the picture in which faces are looked for, at least, if the film has as many; else as many as are kept."""

SAME = 1.05
"""Up to so many times the wanted rate, every picture is taken."""


@dataclass(frozen=True)
class Shown:
    """One picture, and where it comes from."""

    image: Picture
    at: float
    """Seconds of the take."""
    number: int
    """Its number in the take."""
    clip: int
    shown: float
    """Seconds of its clip, as the container says."""
    faces: int
    """How many faces were covered in it."""


def chosen(moments: NDArray[np.float64], start: float, end: float, hz: float) -> NDArray[np.intp]:
    """The numbers of the pictures from ``start`` to ``end`` that make a film of about ``hz``, none twice.

    They keep their own times: of a film at 59.94 it is every second picture, of one at 29.97 every one.
    """
    within = np.flatnonzero((moments >= start - 1e-6) & (moments < end - 1e-6))
    if len(within) < 2:
        return within
    own = (len(within) - 1) / (moments[within[-1]] - moments[within[0]])
    if own <= hz * SAME:
        return within
    grid = moments[within[0]] + np.arange(int((moments[within[-1]] - moments[within[0]]) * hz + 1.5)) / hz
    after = np.clip(np.searchsorted(moments[within], grid), 1, len(within) - 1)
    nearer = grid - moments[within[after - 1]] < moments[within[after]] - grid
    kept: NDArray[np.intp] = within[np.unique(np.where(nearer, after - 1, after))]
    return kept


def size(clip: Clip, height: int) -> tuple[int, int]:
    """Height and width of pictures of so many rows, upright; both are even."""
    turned = abs(rotation(clip)) == 90
    wide, high = (clip.height, clip.width) if turned else (clip.width, clip.height)
    return height, max(2, round(wide / high * height / 2) * 2)


def rotation(clip: Clip) -> int:
    """By how many degrees, counterclockwise, its pictures have to be turned to be upright.

    Raises:
        CannotUse: no picture can be unpacked.
    """
    first = next(_decoded(clip, float(clip.moments[0])), None)
    if first is None:
        raise CannotUse(f"{clip.path}: none of its pictures can be unpacked; copy it from the card again")
    return int(first.rotation)


def pictures(take: Take, numbers: NDArray[np.intp], height: int, faces: Faces | None) -> Iterator[Shown]:
    """Unpack pictures of a take, by their numbers, which grow; cover faces when there is somebody to find them.

    Raises:
        CannotUse: one of them cannot be unpacked.
    """
    about = list(_places(take, numbers))
    wanted = size(take.clips[0], height)
    both = _both(take, about, wanted, max(FACES, height) if faces else 0)
    times = take.moments[numbers]
    kept = (
        ((small, 0) for _, small in both)
        if faces is None
        else covered(both, faces, 1 / float(np.median(np.diff(times))))
    )
    for (number, clip, shown), (image, count) in zip(about, kept, strict=True):
        yield Shown(image, take.offsets[clip] + shown, number, clip, shown, count)


def _places(take: Take, numbers: NDArray[np.intp]) -> Iterator[tuple[int, int, float]]:
    """Each picture's number, its clip, and when it is shown there."""
    first = np.cumsum([0, *(len(clip.moments) for clip in take.clips)])
    for number in numbers.tolist():
        clip = int(np.searchsorted(first, number, side="right")) - 1
        yield number, clip, float(take.clips[clip].moments[number - first[clip]])


def _both(
    take: Take, about: list[tuple[int, int, float]], wanted: tuple[int, int], least: int
) -> Iterator[tuple[Picture, Picture]]:
    """Each picture with ``least`` rows to look for faces in, 0 for nobody, and at the size that is wanted."""
    from storage.images import bring

    for place, clip in enumerate(take.clips):
        moments = [shown for _, of, shown in about if of == place]
        if not moments:
            continue
        frames = _decoded(clip, moments[0])
        for moment in moments:
            frame = next((each for each in frames if each.time is not None and each.time > moment - 0.0005), None)
            if frame is None or abs(frame.time - moment) > 0.0005:
                raise CannotUse(f"{clip.path}: the picture at {moment:.3f} s cannot be unpacked; copy it again")
            rows = max(least, wanted[0], wanted[1])
            few = min(1.0, 2 * rows / frame.height)
            colour = frame.to_ndarray(format="rgb24", width=round(frame.width * few), height=round(frame.height * few))
            upright = np.ascontiguousarray(np.rot90(colour, round(frame.rotation / 90)))
            large = upright
            if least and upright.shape[0] > least:
                large = np.empty((least, round(upright.shape[1] * least / upright.shape[0]), 3), np.uint8)
                bring(upright, large)
            small: Picture = np.empty((*wanted, 3), np.uint8)
            bring(upright, small)
            yield large, small


def _decoded(clip: Clip, since: float) -> Iterator[Any]:
    """Frames from the last one that stands alone before ``since``."""
    from av.error import FFmpegError

    try:
        with container(clip.path) as film:
            video = film.streams.video[0]
            video.thread_type = "AUTO"
            film.seek(int(since / float(video.time_base or 1)), stream=video)
            yield from film.decode(video)
    except FFmpegError as error:
        raise CannotUse(f"{clip.path}: its pictures cannot be unpacked ({error.strerror}); copy it again") from error
