"""The pictures of a window are what was seen live, at any size, unpacked when they are asked for or once for all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from drivers import row_type
from learners import NoData, Windows
from learners.loading import loader
from learners.transforms import VIEWS
from storage import Episode, Jpeg, Observation
from storage.pictures import Pictures, cached
from tests.lessons import SECOND, record
from tests.windowed import MS, SENSES, STEPS, cut, devices, first_moment, inputs, same


def test_a_frame_is_made_smaller_by_averaging_the_pixels_it_covers() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype="u1")
    small = replace(SENSES, image=16).fit(list(frames))
    expected = frames.reshape(3, 16, 2, 16, 3, 3).mean((2, 4))
    assert np.abs(small - expected).max() <= 0.5
    one = np.zeros((1, 32, 32, 3), "u1")
    one[0, 5, 5] = 200
    assert replace(SENSES, image=8).fit(list(one)).sum() in (36, 39), "a small thing was lost"


def test_a_frame_of_the_right_size_is_left_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype="u1")
    np.testing.assert_array_equal(SENSES.fit(list(frames)), frames)
    np.testing.assert_array_equal(replace(SENSES, image=None).fit(list(frames[:, :9])), frames[:, :9])


@pytest.mark.parametrize("size", [16, 12, 20, 48, None])
def test_frames_kept_exactly_look_the_same_live_and_in_training_at_every_size(size: int | None, tmp_path: Path) -> None:
    senses = replace(SENSES, image=size)
    arm, cameras = devices()
    episode = Episode(record(tmp_path, arm, cameras, np.array([2 * SECOND])).path)
    seen = next(episode.replay(memory=64))
    data = cut([episode.path], senses, hz=1000)
    number = (2 * SECOND - first_moment(arm, cameras)) // MS
    assert torch.equal(inputs(data, number)[0], senses.live(seen)[0])


def test_a_jpeg_differs_from_what_was_seen_live_by_little(tmp_path: Path) -> None:
    """Soft shapes with the noise of a sensor: made smaller, they differ by less than JPEG itself loses."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:96, :128]
    waves = [128 + 90 * np.sin(x / a + y / b + c) for a, b, c in ((9, 14, 0), (23, 8, 1), (15, 31, 2))]
    shown = np.clip(np.stack(waves, -1) + random.normal(0, 2, (96, 128, 3)), 0, 255).astype("u1")
    arm, cameras = devices()
    camera = np.zeros(len(cameras["front"]), row_type(("rgb", "u1", (96, 128, 3))))
    camera["t"], camera["rgb"] = cameras["front"]["t"], shown
    senses = replace(SENSES, cameras=("front",), image=40)
    paths = [record(tmp_path, arm, {"front": camera}, codec=Jpeg()).path]
    data = cut(paths, senses)
    live = senses.fit([shown])[0].transpose(2, 0, 1).astype(int)
    off = np.abs(inputs(data, 0)[0][0, 0].numpy() - live)
    lost = np.abs(
        inputs(cut(paths, replace(senses, image=None)), 0)[0][0, 0].numpy().transpose(1, 2, 0) - shown.astype(int)
    )
    assert 0.5 < off.mean() < 1.5 < lost.mean()
    assert np.percentile(off, 99) <= 6


def test_pictures_are_unpacked_only_when_a_batch_asks_for_them(tmp_path: Path) -> None:
    """Frames that are no pictures any more do not disturb the cutting; the batch that needs one says so."""
    arm, cameras = devices()
    path = record(tmp_path, arm, cameras).path
    footer = 16 * len(cameras["front"]) + 4
    whole = next(file for file in (path / "front" / "rgb" / "c").rglob("0") if file.is_file())
    content = whole.read_bytes()
    whole.write_bytes(bytes(len(content) - footer) + content[-footer:])
    data = cut([path])
    for workers in (0, 2):
        with pytest.raises(Exception, match=r"(?i)zstd"):
            next(loader(data, 4, 0, workers))


def test_the_frame_a_while_ahead_is_the_one_seen_then_and_the_last_when_it_is_over(tmp_path: Path) -> None:
    arm, cameras = devices()
    path = record(tmp_path, arm, cameras).path
    data, plain = cut([path], replace(SENSES, ahead=0.5), hz=10), cut([path], hz=10)
    every = np.arange(len(data))
    seen, known = data.batch(every), plain.batch(every)
    assert torch.equal(seen.images, known.images)
    assert known.later is None
    assert seen.later is not None
    assert seen.later_past_end is not None
    assert torch.equal(seen.later[:-5], seen.images[5:])
    at = first_moment(arm, cameras) + every * (SECOND // 10)
    np.testing.assert_array_equal(seen.later_past_end, at + SECOND // 2 > arm["t"][-1])
    past = seen.later[seen.later_past_end]
    assert 4 <= len(past) <= 6
    assert torch.equal(past, past[-1:].expand_as(past))
    last = Observation(int(arm["t"][-1]), {"arm": arm, **cameras})
    assert torch.equal(past[0], SENSES.live(last)[0][0])


def test_cameras_of_different_sizes_need_one_to_be_brought_to(tmp_path: Path) -> None:
    arm, cameras = devices()
    small = np.zeros(len(cameras["wrist"]), row_type(("rgb", "u1", (8, 8, 3))))
    small["t"] = cameras["wrist"]["t"]
    path = record(tmp_path, arm, cameras | {"wrist": small}).path
    assert inputs(cut([path]), 0)[0].shape == (1, 2, 3, 16, 16)
    with pytest.raises(NoData, match=r"cameras give pictures of \[\(8, 8, 3\), \(24, 40, 3\)\]; ask for one size"):
        cut([path], replace(SENSES, image=None))


def test_a_cache_gives_the_same_windows_and_keeps_only_what_they_show(tmp_path: Path) -> None:
    each = [record(tmp_path / str(i), *devices(1.0, seed=10 * i)).path for i in range(3)]
    kept: dict[str, int] = {}

    def pixels(camera: str, pictures: Pictures) -> Any:
        kept[camera] = len(pictures)
        return cached(tmp_path / "cache", camera, pictures)

    plain = cut(each, hz=5)
    data = Windows.of([Episode(p) for p in each], [""] * 3, SENSES, VIEWS["tool"], 5, STEPS, pixels=pixels)
    every = np.arange(len(data))[::-1]
    same(data.batch(every), plain.batch(every))
    assert kept == {"front": len(data), "wrist": len(data)}, "30 frames a second, of which 5 are seen"
