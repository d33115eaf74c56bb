"""Images as a film are found like others; a small copy of an episode holds the same rows and nearly the same images."""

import hashlib
import math
import resource
import shutil
import threading
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from storage import Episode, EpisodeWriter, Jpeg, Lossless, check, recover
from storage.clip import Coding, film, told
from storage.compact import compact, lost
from storage.images import Image
from storage.layout import part
from storage.seal import alone, making_of
from storage.timeline import Rows

HEIGHT, WIDTH, COUNT = 48, 64, 37
CAMERA = np.dtype([("t", "<i8"), ("rgb", "u1", (HEIGHT, WIDTH, 3)), ("exposure", "<f4")])
DEEP = np.dtype([*((name, CAMERA[name]) for name in CAMERA.names or ()), ("depth", "<u2", (HEIGHT, WIDTH))])
ARM = np.dtype([("t", "<i8"), ("q", "<f8", (7,))])


def scene(i: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """A gradient with two bright squares that move, which tells one image from another."""
    image = np.zeros((height, width, 3), np.uint8)
    image[...] = np.linspace(20, 200, width, dtype=np.uint8)[None, :, None]
    image[10:22, i % 50 : i % 50 + 12] = (250, 60, 30)
    image[26:40, 50 - i % 50 : 62 - i % 50] = (30, 60, 250)
    return image


def seen(dtype: np.dtype[np.void], count: int = COUNT) -> Rows:
    height, width = dtype["rgb"].shape[:2]
    rows = np.zeros(count, dtype)
    rows["t"] = 10**9 + np.arange(count) * 33_333_333
    rows["rgb"] = [scene(i, height, width) for i in range(count)]
    rows["exposure"] = np.arange(count) / 7
    if "depth" in (dtype.names or ()):
        rows["depth"] = np.random.default_rng(0).integers(0, 65536, rows["depth"].shape)
    return rows


def plain(rows: Rows) -> Rows:
    """What a camera says beside its images."""
    return part(rows, [name for name in rows.dtype.names or () if name != "rgb"])


def clip(path: Path, codec: str = "libx264", options: dict[str, str] | None = None, count: int = COUNT) -> Path:
    """A film as somebody else makes one."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=30, options={"g": "7", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(scene(i), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def unpacked(path: Path) -> Image:
    """Every image of a film, one after the other, as PyAV shows them."""
    with av.open(str(path)) as file:
        images = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    return np.stack(images)


def near(images: Image, others: Image, least: float = 28) -> bool:
    error = np.mean((images.astype(float) - others) ** 2)
    return bool(error == 0 or 10 * math.log10(255**2 / error) > least)


def filmed(root: Path, source: Path, dtype: np.dtype[np.void] = CAMERA) -> Episode:
    with EpisodeWriter(root, {"front": dtype}, {}) as writer:
        writer.film("front", plain(seen(dtype)), source)
        sealed = writer.seal()
    return Episode(sealed.path)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"bf": "0"}),
        ("libx264", {"bf": "3", "x264-params": "open-gop=1"}),
        ("libx264", {"bf": "2", "g": "3"}),
        ("libx265", {"x265-params": "log-level=none"}),
        ("libaom-av1", {"cpu-used": "8", "lag-in-frames": "0"}),
    ],
)
def test_every_image_of_a_film_is_found_at_random(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    source = clip(tmp_path / "film.mp4", codec, options)
    frames, whole = filmed(tmp_path, source).frames("front"), unpacked(source)
    assert near(whole, seen(CAMERA)["rgb"], 22)
    assert frames.shape == whole.shape
    for i in np.random.default_rng(1).permutation(COUNT).tolist():
        assert np.array_equal(frames[i], whole[i]), i
    wanted = [20, 5, 5, 6, 30, 29, 0, -1]
    assert np.array_equal(frames[wanted], whole[wanted])
    assert np.array_equal(frames[3:30:4], whole[3:30:4])
    assert np.array_equal(np.stack(list(frames)), whole)
    assert frames[[]].shape == (0, HEIGHT, WIDTH, 3)


def test_an_image_needs_none_but_those_since_the_last_that_stands_alone(tmp_path: Path) -> None:
    frames = filmed(tmp_path, clip(tmp_path / "film.mp4")).frames("front")
    whole = frames[:]
    assert frames.clip is not None
    with av.open(str(frames.clip)) as file:
        places = [(packet.pos or 0, packet.size) for packet in file.demux(video=0) if packet.size]
    with frames.clip.open("r+b") as film:
        for place, size in places[:14]:
            film.seek(place)
            film.write(bytes(size))
    assert np.array_equal(frames[[14, 36, 20]], whole[[14, 36, 20]])


def test_a_film_is_kept_as_it_is_beside_what_else_the_camera_said(tmp_path: Path) -> None:
    source = clip(tmp_path / "film.mp4")
    episode = filmed(tmp_path, source)
    frames = episode.frames("front")
    assert frames.clip is not None
    assert frames.clip.read_bytes() == source.read_bytes()
    assert (frames.codec, frames.dtype.str) == ("h264", "|u1")
    assert check(episode.path) == []
    assert not (episode.path / "front" / "rgb").exists()
    assert episode.dtype("front") == CAMERA
    assert np.array_equal(episode.columns("front", ["exposure"])["exposure"], seen(CAMERA)["exposure"])
    assert np.array_equal(episode.rows("front")["rgb"], unpacked(source))
    with pytest.raises(ValueError, match="one film"):
        frames.stored([0])


def test_films_are_trimmed_and_made_small_like_other_images(tmp_path: Path) -> None:
    source = clip(tmp_path / "film.mp4")
    path, whole = filmed(tmp_path, source).path, unpacked(source)
    frames = Episode(path, (0.33, 0.67)).frames("front")
    assert np.array_equal(frames[:], whole[10:21])
    assert frames.small([0, 4], 24).shape == (2, 24, 24, 3)
    assert np.array_equal(frames.small([4], 24), Episode(path).frames("front").small([14], 24))


def test_a_film_beside_depth(tmp_path: Path) -> None:
    given, source = seen(DEEP), clip(tmp_path / "film.mp4")
    with EpisodeWriter(tmp_path, {"front": DEEP}, {}) as writer:
        writer.film("front", plain(given)[:10], source)
        writer.append("front", plain(given)[10:])
        episode = Episode(writer.seal().path)
    assert np.array_equal(episode.frames("front", "depth")[:], given["depth"])
    assert np.array_equal(episode["front", "exposure"], given["exposure"])
    assert np.array_equal(episode.frames("front")[:], unpacked(source))


def test_a_film_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    source, rows = clip(tmp_path / "film.mp4"), plain(seen(CAMERA))
    (tmp_path / "text.mp4").write_text("no film")
    wide = np.dtype([("t", "<i8"), ("rgb", "u1", (HEIGHT, 2 * WIDTH, 3)), ("exposure", "<f4")])
    streams: dict[str, np.dtype[np.void]] = {"front": CAMERA, "wide": wide, "arm": ARM}
    with EpisodeWriter(tmp_path, streams, {}) as writer:
        with pytest.raises(ValueError, match="no camera 'arm'"):
            writer.film("arm", rows, source)
        with pytest.raises(ValueError, match="37 images of 48 by 64; 'wide' has 37 rows and images of 48 by 128"):
            writer.film("wide", rows, source)
        with pytest.raises(ValueError, match="no film that can be read"):
            writer.film("front", rows, tmp_path / "text.mp4")
        with pytest.raises(ValueError, match="'front' has 38 rows"):
            writer.film("front", np.concatenate([rows, rows[:1]]), source)
        writer.film("front", rows[:-2], source)
        with pytest.raises(ValueError, match="rows of 'front' already"):
            writer.film("front", rows, source)
        with pytest.raises(ValueError, match="has rows of"):
            writer.append("front", seen(CAMERA)[:1])
        with pytest.raises(ValueError, match=r"more images than there are rows: \{'front': 2\}"):
            writer.seal()
        with pytest.raises(ValueError, match="1 images too few"):
            writer.append("front", rows[:3])


def test_a_film_whose_first_image_needs_another_is_refused(tmp_path: Path) -> None:
    """As when somebody cut it out of a longer one between two images that stand alone."""
    with (
        av.open(str(clip(tmp_path / "film.mp4", options={"bf": "0"}))) as file,
        av.open(str(tmp_path / "cut.mp4"), "w") as out,
    ):
        stream = out.add_stream_from_template(file.streams.video[0])
        for number, packet in enumerate(file.demux(video=0)):
            if packet.size and number >= 3:
                packet.stream = stream
                out.mux(packet)
    with pytest.raises(ValueError, match="does not begin with a picture that stands alone"):
        told(tmp_path / "cut.mp4")


def test_a_take_with_a_film_survives_its_program(tmp_path: Path) -> None:
    source = clip(tmp_path / "film.mp4")
    with EpisodeWriter(tmp_path, {"front": CAMERA}, {}) as writer:
        writer.film("front", plain(seen(CAMERA)), source)
    (found,) = recover(tmp_path)
    assert found.sealed is not None
    assert found.rows == {"front": COUNT}
    assert found.sealed.digest == filmed(tmp_path, source).digest
    assert np.array_equal(Episode(found.sealed.path).frames("front")[:], unpacked(source))


@pytest.mark.parametrize("whole", [False, True])
def test_a_film_that_was_being_copied_leaves_nothing_behind(tmp_path: Path, whole: bool) -> None:
    """Its program died before the film had its name, or when it had no row yet."""
    with EpisodeWriter(tmp_path, {"front": CAMERA, "arm": ARM}, {}) as writer:
        writer.append("arm", np.zeros(3, ARM))
        if whole:
            writer.film("front", plain(seen(CAMERA))[:0], clip(tmp_path / "film.mp4"))
        else:
            (tmp_path / "staging" / f"{writer.id}.zarr" / "front" / "rgb.mp4.new").write_text("half a film")
    (found,) = recover(tmp_path)
    assert found.sealed is not None
    assert check(found.sealed.path) == []
    assert not list(found.sealed.path.rglob("*.new"))
    assert len(Episode(found.sealed.path).rows("front")) == 0


def test_a_film_that_was_cut_is_an_error_not_a_black_image(tmp_path: Path) -> None:
    frames = filmed(tmp_path, clip(tmp_path / "film.mp4")).frames("front")
    assert frames.clip is not None
    clip(frames.clip, count=20)
    with pytest.raises(OSError, match="damaged: it does not show picture 30"):
        frames[30]
    frames.clip.write_bytes(b"no film")
    with pytest.raises(OSError, match="damaged"):
        frames[3]


JPEG = Jpeg()


def recorded(root: Path, dtype: np.dtype[np.void] = DEEP, codec: Jpeg | Lossless = JPEG) -> Episode:
    arm = np.zeros(200, ARM)
    arm["t"] = 10**9 + np.arange(200) * 6_000_000
    arm["q"] = np.random.default_rng(3).random((200, 7))
    streams = {"front": dtype, "arm": ARM, "idle": dtype}
    with EpisodeWriter(root, streams, {"task": "reach", "demands": {"gap": 0.01}}, codec) as writer:
        writer.append("front", seen(dtype))
        writer.append("arm", arm)
        return Episode(writer.seal({"ended_by": "done"}).path)


def state(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.blake2b(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("codec", [Jpeg(), Jpeg(90, "444"), Lossless()])
def test_a_small_copy_has_the_same_rows_and_nearly_the_same_images(tmp_path: Path, codec: Jpeg | Lossless) -> None:
    original = recorded(tmp_path, codec=codec)
    before = state(original.path)
    made = compact(original.path, tmp_path / "compact" / original.path.name)
    copy = Episode(made.path)
    assert state(original.path) == before
    assert check(made.path) == []
    assert copy.id == original.id
    assert copy.digest == made.digest != original.digest
    assert copy.attributes.pop("compacted")["from"] == original.digest
    assert {k: v for k, v in copy.attributes.items() if k != "compacted"} == original.attributes
    assert copy.seconds == original.seconds
    assert np.array_equal(copy.rows("arm"), original.rows("arm"))
    fields = ["t", "exposure", "depth"]
    assert np.array_equal(copy.columns("front", fields), original.columns("front", fields))
    assert copy.dtype("front") == original.dtype("front")
    assert len(copy.frames("idle")) == 0
    assert copy.frames("front").codec == "h264"
    size = (made.path / "manifest.json").stat().st_size
    assert made.bytes == sum(path.stat().st_size for path in made.path.rglob("*") if path.is_file()) - size
    for number in (11, 36, 0):
        assert near(copy.frames("front")[number], original.frames("front")[number])
    assert [path.name for path in (tmp_path / "compact").iterdir()] == [original.path.name]


def test_how_near_the_images_are_is_measured_on_what_is_read(tmp_path: Path) -> None:
    original = recorded(tmp_path, CAMERA)
    made = compact(original.path, tmp_path / "compact" / "copy.zarr")
    ours, theirs = Episode(made.path)["front", "rgb"], original["front", "rgb"]
    error = np.mean((ours.astype(float) - theirs) ** 2)
    assert made.psnr == {"front": pytest.approx(10 * math.log10(255**2 / error))}
    assert Episode(made.path).attributes["compacted"]["psnr"] == made.psnr


@pytest.mark.parametrize("field", ["depth", "exposure", "t"])
def test_what_a_copy_does_not_hold_is_told(tmp_path: Path, field: str) -> None:
    original = recorded(tmp_path / "a")
    given = seen(DEEP)
    given[field][20] += 1
    with EpisodeWriter(tmp_path / "b", {name: original.dtype(name) for name in original.streams}, {}) as writer:
        writer.append("front", given)
        writer.append("arm", original.rows("arm"))
        other = writer.seal().path
    same, changed = (compact(one, tmp_path / "compact" / one.name).path for one in (original.path, other))
    assert lost(original.path, same, 20) == []
    assert lost(original.path, same, 99)[0].startswith("its images of front are near the original's to ")
    assert lost(original.path, changed, 20) == ["its rows of front are not the original's"]


def test_less_loss_takes_more_bytes(tmp_path: Path) -> None:
    original = recorded(tmp_path, CAMERA, Lossless())
    coarse = compact(original.path, tmp_path / "a" / "copy.zarr", Coding(crf=51))
    fine = compact(original.path, tmp_path / "b" / "copy.zarr", Coding(crf=10))
    assert fine.bytes > coarse.bytes
    assert fine.psnr["front"] > coarse.psnr["front"] + 3


def test_the_same_episode_always_makes_the_same_copy(tmp_path: Path) -> None:
    original = recorded(tmp_path)
    first = compact(original.path, tmp_path / "a" / original.path.name)
    second = compact(original.path, tmp_path / "b" / original.path.name)
    assert first.digest == second.digest
    assert (first.path / "front" / "rgb.mp4").read_bytes() == (second.path / "front" / "rgb.mp4").read_bytes()


@pytest.mark.parametrize("shape", [(47, 63), (48, 63), (47, 64)])
def test_odd_images_come_back_in_their_own_shape(tmp_path: Path, shape: tuple[int, int]) -> None:
    dtype = np.dtype([("t", "<i8"), ("rgb", "u1", (*shape, 3)), ("exposure", "<f4")])
    original = recorded(tmp_path, dtype)
    made = compact(original.path, tmp_path / "compact" / original.path.name)
    frames = Episode(made.path).frames("front")
    assert frames.shape == (COUNT, *shape, 3)
    assert near(frames[:], original.frames("front")[:])


def test_reading_can_begin_every_ten_images(tmp_path: Path) -> None:
    made = compact(recorded(tmp_path, CAMERA).path, tmp_path / "compact" / "copy.zarr")
    moments = told(made.path / "front" / "rgb.mp4").moments
    assert np.flatnonzero(moments[:, 1]).tolist() == [0, 10, 20, 30]


def test_images_in_a_film_stay_as_they_are(tmp_path: Path) -> None:
    original = filmed(tmp_path, clip(tmp_path / "film.mp4"))
    made = compact(original.path, tmp_path / "compact" / original.path.name)
    frames = Episode(made.path).frames("front")
    assert frames.clip is not None
    assert frames.clip.read_bytes() == (tmp_path / "film.mp4").read_bytes()
    assert made.psnr == {"front": math.inf}


def test_a_copy_that_is_there_is_the_answer(tmp_path: Path) -> None:
    original = recorded(tmp_path, CAMERA)
    first = compact(original.path, tmp_path / "compact" / "copy.zarr")
    before = state(first.path)
    assert compact(original.path, first.path) == first
    assert state(first.path) == before


def test_something_else_of_that_name_is_left_alone(tmp_path: Path) -> None:
    original, other = recorded(tmp_path, CAMERA), filmed(tmp_path, clip(tmp_path / "film.mp4"))
    before = state(other.path)
    with pytest.raises(FileExistsError, match="no small copy of"):
        compact(original.path, other.path)
    assert state(other.path) == before


def test_a_copy_of_a_copy_is_refused(tmp_path: Path) -> None:
    made = compact(recorded(tmp_path, CAMERA).path, tmp_path / "compact" / "copy.zarr")
    with pytest.raises(ValueError, match="small copy already"):
        compact(made.path, tmp_path / "compact" / "again.zarr")


def test_a_damaged_episode_is_not_copied_as_if_it_were_whole(tmp_path: Path) -> None:
    original = recorded(tmp_path, CAMERA)
    array = original.path / "arm" / "q" / "c.0.0"
    array.write_bytes(array.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"not what it was.*arm/q"):
        compact(original.path, tmp_path / "compact" / "copy.zarr")
    assert list((tmp_path / "compact").iterdir()) == []


def test_what_an_interrupted_attempt_left_is_in_nobodys_way(tmp_path: Path) -> None:
    original = recorded(tmp_path, CAMERA)
    left = tmp_path / "compact" / ".making-copy.zarr"
    with EpisodeWriter(left, {"front": CAMERA}, {}, id=original.id) as writer:
        writer.append("front", seen(CAMERA)[:3])
    (left / "front.mp4").write_text("half a film")
    made = compact(original.path, tmp_path / "compact" / "copy.zarr")
    assert check(made.path) == []
    assert not left.exists()


def test_whoever_waited_for_a_copy_never_removes_what_another_makes(tmp_path: Path) -> None:
    """The folder it waited for is gone, and one of the same name belongs to somebody who was first."""
    original, into = recorded(tmp_path, CAMERA), tmp_path / "compact" / "copy.zarr"
    making = making_of(into)
    second = threading.Thread(target=lambda: compact(original.path, into), daemon=True)
    with ExitStack() as third:
        with alone(making):
            second.start()
            second.join(0.3)
            shutil.rmtree(making)
            third.enter_context(alone(making))
            (making / "front.mp4").write_text("half a film")
        second.join(1)
        assert (making / "front.mp4").exists()
        assert not into.exists()
        shutil.rmtree(making)
    second.join()
    assert check(into) == []
    assert not making.exists()


def test_a_disk_that_fills_leaves_no_copy_and_the_next_attempt_makes_it(tmp_path: Path) -> None:
    """The system refuses to let any file grow past 2 kB, as it does when the disk is full."""
    original, soft = recorded(tmp_path, CAMERA), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, soft[1]))
    try:
        with pytest.raises(OSError, match="cannot keep the rows"):
            compact(original.path, tmp_path / "compact" / "copy.zarr")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert not (tmp_path / "compact" / "copy.zarr").exists()
    assert check(compact(original.path, tmp_path / "compact" / "copy.zarr").path) == []


def test_a_film_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    frames = recorded(tmp_path, CAMERA).frames("front")
    with pytest.raises(OSError, match=r"nowhere/film\.mp4 cannot be written"):
        film(frames, tmp_path / "nowhere" / "film.mp4", 30, Coding())
