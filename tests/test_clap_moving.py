"""What moves before a camera that stands still, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from learners.clap.moving import Moving, in_film, in_windows
from learners.data import NoData
from storage.pictures import Unpacked
from tests.clap import film, settings, windows

torch.set_num_threads(1)


def scene(paint: int, where: int) -> NDArray[np.uint8]:
    """A film of 9 frames: a striped table, and a square of some paint that goes over it from ``where`` on."""
    frames = np.zeros((9, 16, 16, 3), np.uint8)
    frames[:, :, ::2] = 90
    for number, frame in enumerate(frames):
        frame[where : where + 3, number : number + 3] = (paint, 200, 40)
    return frames


def shown(moving: Moving, numbers: list[int]) -> NDArray[np.uint8]:
    images = np.empty((len(numbers), *moving.shape[1:]), np.uint8)
    moving.into(np.array(numbers), images)
    return images


def test_the_same_motion_looks_the_same_in_any_paint_and_on_any_table() -> None:
    one, other = scene(250, 4), 255 - scene(10, 4)
    moving = Moving.of(Unpacked(np.concatenate([one, other])), np.repeat([0, 1], 9), 30)
    seen = shown(moving, list(range(18)))
    assert np.array_equal(seen[:9], seen[9:])
    assert set(np.unique(seen)) == {0, 255}
    for number in range(9):
        lit = seen[number, :, :, 0] > 0
        assert lit.sum() == 9
        assert lit[4:7, number : number + 3].all()


def test_frames_come_in_the_order_asked_for_each_against_its_own_film() -> None:
    frames = np.concatenate([scene(250, 2), 255 - scene(10, 9)])
    moving = Moving.of(Unpacked(frames), np.repeat([0, 1], 9), 30)
    assert np.array_equal(shown(moving, [17, 0, 3]), shown(moving, list(range(18)))[[17, 0, 3]])


def test_one_film_can_be_looked_at_without_the_others() -> None:
    how = settings()
    every = film(how, films=3)
    of_one = np.flatnonzero(every.episode == 1)
    alone, all_ = in_film(every, 30, 1).batch(of_one), in_film(every, 30).batch(of_one)
    assert torch.equal(alone.now, all_.now)
    assert torch.equal(alone.later, all_.later)
    assert torch.equal(alone.now[:, 0], alone.now[:, 1])


def test_windows_that_show_nothing_later_are_refused() -> None:
    with pytest.raises(NoData, match=r"Senses\.ahead"):
        in_windows(replace(windows(settings()), later=None), 30)
