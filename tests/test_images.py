"""Frames come back as they were kept, one by one, and zarr sees the same."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import imagecodecs.zarr
import numpy as np
import pytest
import zarr

from storage import Episode, EpisodeWriter, ImageCodec, Jpeg, Lossless, Sealed, check, layout, recover
from storage.images import Image, Millimetres, decoder
from storage.timeline import Rows

ROOT = Path(__file__).parent.parent

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


SEEN = np.dtype([("t", "<i8"), ("rgb", "u1", (48, 64, 3)), ("exposure", "<f4"), ("depth", "<u2", (48, 64))])


def seen(count: int) -> Rows:
    """What a camera with depth gives: noise, so that nothing comes back by luck."""
    dice = np.random.default_rng(count)
    rows = np.zeros(count, SEEN)
    rows["t"] = np.arange(count) * 33_000_000
    rows["exposure"] = dice.random(count)
    rows["rgb"] = dice.integers(0, 256, rows["rgb"].shape)
    rows["depth"] = dice.integers(0, 65536, rows["depth"].shape)
    return rows


def test_depth_is_kept_exactly_beside_jpeg_and_zarr_reads_both(tmp_path: Path) -> None:
    given = seen(9)
    with EpisodeWriter(tmp_path, {"front": SEEN}, {}) as writer:
        writer.append("front", given[:4])
        writer.append("front", given[4:])
        sealed = writer.seal()
    episode = Episode(sealed.path)
    depth = episode.frames("front", "depth")
    assert (depth.shape, depth.dtype.str, depth.codec) == ((9, 48, 64), "<u2", "bytes")
    assert np.array_equal(depth[:], given["depth"])
    assert np.array_equal(episode["front", "depth"], in_zarr(sealed, "front/depth"))
    assert np.array_equal(episode["front", "rgb"], in_zarr(sealed, "front/rgb"))
    assert np.array_equal(episode.rows("front")["exposure"], given["exposure"])
    assert json.loads((sealed.path / "zarr.json").read_text())["attributes"]["episode"]["images"] == {
        "front": {"rgb": Jpeg().codecs, "depth": Millimetres().codecs}
    }


def test_a_camera_may_see_depth_only(tmp_path: Path) -> None:
    given = layout.part(seen(3), ["t", "depth"])
    with EpisodeWriter(tmp_path, {"front": given.dtype}, {}, {}) as writer:
        writer.append("front", given)
        episode = Episode(writer.seal().path)
    assert episode.cameras == ["front"]
    assert np.array_equal(episode.rows("front"), given)
    with pytest.raises(KeyError, match=r"front/rgb is not a camera's pictures.*front/depth"):
        episode.frames("front")
    with pytest.raises(ValueError, match="only colour can be brought to a size"):
        episode.frames("front", "depth").small([0], 8)


@pytest.mark.parametrize("torn", ["rgb", "depth"])
def test_after_a_crash_a_row_is_there_only_with_all_its_pictures(tmp_path: Path, torn: str) -> None:
    given = seen(6)
    with EpisodeWriter(tmp_path, {"front": SEEN}, {}, Lossless()) as writer:
        writer.append("front", given)
    (shard,) = [path for path in tmp_path.rglob(f"front/{torn}/c/**/*") if path.is_file()]
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size - 5)
    (found,) = recover(tmp_path)
    assert found.sealed is not None
    assert found.rows == {"front": 5}
    assert found.dropped > 5
    assert check(found.sealed.path) == []
    assert np.array_equal(Episode(found.sealed.path).rows("front"), given[:5])
    assert np.array_equal(in_zarr(found.sealed, "front/depth"), given["depth"][:5])


def test_every_camera_has_its_own_codec(tmp_path: Path) -> None:
    codecs: dict[str, ImageCodec] = {"front": Jpeg(70, "444"), "wrist": Lossless()}
    with EpisodeWriter(tmp_path, {"front": CAMERA, "wrist": CAMERA}, {}, codecs) as writer:
        for name in codecs:
            writer.append(name, np.array([(0, scene(0), 0)], CAMERA))
        episode = Episode(writer.seal().path)
    assert {name: episode.frames(name).codec for name in episode.cameras} == {
        "front": "imagecodecs_jpeg",
        "wrist": "bytes",
    }
    assert np.array_equal(episode.frames("wrist")[0], scene(0))
    with pytest.raises(ValueError, match=r"keep the images of 'wrist'.*\['front'\]"):
        EpisodeWriter(tmp_path, {"wrist": CAMERA}, {}, {"front": Jpeg()})


@pytest.mark.parametrize("codec", [Jpeg(97), Lossless()])
@pytest.mark.parametrize("size", [16, 20, 40, 100])
def test_small_pictures_are_the_same_pictures(tmp_path: Path, codec: ImageCodec, size: int) -> None:
    """Larger ones than there are in one or both directions, too."""
    frames = Episode(record(tmp_path, codec).path).frames("front")
    small = frames.small([7, 2], size)
    assert (small.shape, small.dtype.str) == ((2, size, size, 3), "|u1")
    for image, frame in zip(small, (7, 2), strict=True):
        direct = cv2.resize(scene(frame), (size, size), interpolation=cv2.INTER_AREA)
        assert np.abs(image.astype(int) - direct).mean() < 6
    assert frames.small([], size).shape == (0, size, size, 3)


def test_small_pictures_are_found_in_any_order(tmp_path: Path) -> None:
    frames = Episode(record(tmp_path, Lossless()).path).frames("front")
    every = frames.small(range(20), 24)
    assert np.array_equal(frames.small(np.array([-1, 3, 3]), 24), every[[19, 3, 3]])


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


DRAWN = """
import sys, hashlib
from pathlib import Path
import numpy as np
import storage
if sys.argv[2:] == ["draw"]:
    from drivers import StepClock
    from drivers.twin.world import World
    from drivers.twin.table import Camera
    camera = Camera(World(StepClock(), (16, 16), 10, 100), "front", (16, 16))
    camera.__enter__()
    camera._world.clock.sleep_until(200_000_000)
    assert len(camera.read(0))
from storage.arrays import write_array
waves = np.sin(np.linspace(0, 7, 700)[:, None] + np.arange(7))
write_array(Path(sys.argv[1]), waves)
print([hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(sys.argv[1]).rglob("c.*"))])
"""
"""Writes arrays, perhaps after a graphics driver came into the process with libraries of its own."""


def test_the_same_values_make_the_same_bytes_whatever_else_is_loaded(tmp_path: Path) -> None:
    def digests(*also: str) -> str:
        call = [sys.executable, "-c", DRAWN, str(tmp_path / "-".join(("a", *also))), *also]
        return subprocess.run(call, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    assert digests() == digests("draw")
