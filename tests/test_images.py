"""Frames come back as they were kept, one by one, and zarr sees the same."""

import pickle
import resource
from pathlib import Path

import imagecodecs.zarr
import numpy as np
import pytest
import zarr

from storage import Episode, EpisodeWriter, Frames, ImageCodec, Jpeg, Lossless, Sealed
from storage.images import Image, decoder

CAMERA = np.dtype([("t", "<i8"), ("rgb", "u1", (48, 64, 3)), ("exposure", "<f4")])


def scene(i: int) -> Image:
    """A smooth background with a bright square that moves, 48 by 64."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[...] = np.linspace(20, 200, 64, dtype=np.uint8)[None, :, None]
    image[10:20, i % 50 : i % 50 + 10] = (250, 60, 30)
    return image


def record(root: Path, codec: ImageCodec, count: int = 20) -> Sealed:
    with EpisodeWriter(root, {"front": CAMERA}, {}, codec) as writer:
        for i in range(count):
            writer.append("front", np.array([(i, scene(i), i / 2)], CAMERA))
        return writer.seal()


def in_zarr(sealed: Sealed, array: str) -> Image:
    imagecodecs.zarr.register_codecs()
    return np.asarray(zarr.open_array(sealed.path / array, mode="r")[:])


@pytest.mark.parametrize("codec", [Jpeg(), Jpeg(quality=97, subsampling="444"), Lossless()])
def test_zarr_reads_the_same_pixels(tmp_path: Path, codec: ImageCodec) -> None:
    sealed = record(tmp_path, codec)
    episode = Episode(sealed.path)
    assert np.array_equal(in_zarr(sealed, "front/rgb"), episode["front", "rgb"])
    assert np.array_equal(in_zarr(sealed, "front/exposure"), episode["front", "exposure"])


def test_lossless_is_exact(tmp_path: Path) -> None:
    frames = Episode(record(tmp_path, Lossless()).path).frames("front")
    assert all(np.array_equal(frame, scene(i)) for i, frame in enumerate(frames))


def test_jpeg_is_close_and_smaller(tmp_path: Path) -> None:
    frames = Episode(record(tmp_path, Jpeg()).path).frames("front")
    assert np.abs(frames[7].astype(int) - scene(7)).mean() < 4
    assert len(next(frames.stored([7]))) < scene(7).size / 4


def test_frames_are_found_in_any_order(tmp_path: Path) -> None:
    frames = Episode(record(tmp_path, Lossless()).path).frames("front")
    assert len(frames) == 20
    assert frames.shape == (20, 48, 64, 3)
    assert np.array_equal(frames[-1], scene(19))
    assert np.array_equal(frames[[9, 2, 9]], np.stack([scene(9), scene(2), scene(9)]))
    assert np.array_equal(frames[np.array([3])], scene(3)[None])
    assert np.array_equal(frames[4:8:2], np.stack([scene(4), scene(6)]))
    assert frames[[]].shape == (0, 48, 64, 3)
    with pytest.raises(IndexError):
        frames[20]


def test_frames_travel_to_another_process(tmp_path: Path) -> None:
    frames: Frames = pickle.loads(pickle.dumps(Episode(record(tmp_path, Lossless()).path).frames("front")))
    assert np.array_equal(frames[5], scene(5))


def test_a_camera_that_saw_nothing_has_no_frames(tmp_path: Path) -> None:
    sealed = record(tmp_path, Lossless(), count=0)
    assert Episode(sealed.path)["front", "rgb"].shape == (0, 48, 64, 3)
    assert in_zarr(sealed, "front/rgb").shape == (0, 48, 64, 3)


def test_frames_stored_in_an_unknown_way_are_refused() -> None:
    with pytest.raises(ValueError, match=r"imagecodecs_webp.*zarr"):
        decoder([{"name": "imagecodecs_webp"}], (48, 64, 3), np.dtype("u1"))


def test_a_file_of_frames_that_was_cut_is_an_error_not_a_black_image(tmp_path: Path) -> None:
    path = record(tmp_path, Lossless()).path
    frames = Episode(path).frames("front")
    shard = path / "front" / "rgb" / "c" / "0" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(OSError, match="ends within frame 19"):
        frames[19]


def test_many_cameras_can_be_open_at_once(tmp_path: Path) -> None:
    path = record(tmp_path, Lossless()).path
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))
    try:
        cameras = [Episode(path).frames("front") for _ in range(300)]
        assert all(np.array_equal(frames[3], scene(3)) for frames in cameras)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
