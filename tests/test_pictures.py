"""Pictures of many episodes are one sequence; unpacked once for all, they are the same, whatever happens meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers import row_type
from storage import Episode, EpisodeWriter, Frames, ImageCodec, Jpeg, Lossless
from storage.images import Image
from storage.pictures import SPARE, NoRoom, Pictures, Unpacked, cached, caches, drop

LENGTHS = (5, 1, 9)
SIZE = 16


def film(
    root: Path, number: int, seed: int, shape: tuple[int, int] = (24, 40), codec: ImageCodec | None = None
) -> Frames:
    """The frames of an episode of random pictures."""
    camera = row_type(("rgb", "u1", (*shape, 3)))
    rows = np.zeros(number, camera)
    rows["t"] = np.arange(number)
    rows["rgb"] = np.random.default_rng(seed).integers(0, 256, rows["rgb"].shape)
    with EpisodeWriter(root, {"front": camera}, {}, codec or Lossless()) as writer:
        writer.append("front", rows)
        return Episode(writer.seal().path).frames("front")


@pytest.fixture
def films(tmp_path: Path) -> list[Frames]:
    return [film(tmp_path, length, seed) for seed, length in enumerate(LENGTHS)]


@pytest.fixture
def pictures(films: list[Frames]) -> Pictures:
    return Pictures(films, SIZE)


def test_pictures_of_many_episodes_are_one_sequence_in_any_order(films: list[Frames]) -> None:
    pictures = Pictures(films)
    every = np.concatenate([each[:] for each in films])
    assert len(pictures) == 15
    assert pictures.shape == (15, 24, 40, 3)
    assert pictures.starts.tolist() == [0, 5, 6, 15]
    for wanted in ([14, 0, 6, 5, 4, 6], [3], [], slice(None), np.arange(14, -1, -1)):
        np.testing.assert_array_equal(pictures[wanted], every[wanted])


@pytest.mark.parametrize("codec", [Lossless(), Jpeg()])
def test_brought_to_a_size_they_are_what_the_frames_say(codec: ImageCodec, tmp_path: Path) -> None:
    """Also when the episodes' pictures differ in size."""
    films = [film(tmp_path, 3, 1, codec=codec), film(tmp_path, 2, 2, (48, 36), codec)]
    expected = np.concatenate([each.small(range(len(each)), SIZE) for each in films])
    np.testing.assert_array_equal(Pictures(films, SIZE)[[4, 0, 3]], expected[[4, 0, 3]])


def test_some_of_them_are_a_sequence_too(pictures: Pictures) -> None:
    some = pictures.only(np.array([2, 5, 6, 14]))
    assert len(some) == 4
    np.testing.assert_array_equal(some[[3, 0]], pictures[[14, 2]])
    np.testing.assert_array_equal(some.only(np.array([1, 3]))[[1]], pictures[[14]])
    assert some.mark != pictures.mark == ""
    assert some.mark == pictures.only(np.array([2, 5, 6, 14])).mark != pictures.only(np.array([2, 5, 6, 13])).mark


def test_pictures_of_different_sizes_need_one_to_be_brought_to(tmp_path: Path) -> None:
    films = [film(tmp_path, 2, 1), film(tmp_path, 2, 2, (48, 36))]
    with pytest.raises(ValueError, match=r"sizes \[\(24, 40, 3\), \(48, 36, 3\)\] are not one sequence; ask for one"):
        Pictures(films)
    with pytest.raises(ValueError, match="not one sequence"):
        Pictures([], SIZE)


@pytest.mark.parametrize("wanted", [[15], [-1], [0, 99]])
def test_a_picture_that_is_not_there_is_refused(wanted: list[int], pictures: Pictures, tmp_path: Path) -> None:
    for each in (pictures, cached(tmp_path / "cache", "a", pictures), pictures.only(np.arange(3))):
        with pytest.raises(IndexError, match="there are pictures 0 to"):
            each.into(np.array(wanted), np.empty((len(wanted), SIZE, SIZE, 3), np.uint8))


def test_a_batch_opens_each_file_once_and_leaves_none_open(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = os.open

    def counting(path: str, *how: int) -> int:
        opened.append(str(path))
        return real(path, *how)

    monkeypatch.setattr(os, "open", counting)
    before = sorted(Path("/proc/self/fd").iterdir())
    assert len(pictures[[14, 0, 6, 3, 8, 0, 12]]) == 7
    assert len(opened) == len(set(opened)) == 2
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_cache_holds_the_same_pictures_and_is_made_once(pictures: Pictures, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = cached(tmp_path / "cache", "snap-front", pictures, lambda *said: told.append(said))
    assert told[-1] == (15, 15)
    np.testing.assert_array_equal(first[:], pictures[:])
    np.testing.assert_array_equal(first[[14, 2, 2]], pictures[[14, 2, 2]])
    assert first.shape == pictures.shape
    told.clear()
    np.testing.assert_array_equal(cached(tmp_path / "cache", "snap-front", pictures, note(told))[:], pictures[:])
    assert told == []
    assert [cache.path.name for cache in caches(tmp_path / "cache")] == ["snap-front-16x16-v1.npy"]


def test_other_pictures_have_another_cache(pictures: Pictures, films: list[Frames], tmp_path: Path) -> None:
    some = pictures.only(np.arange(3, 8))
    large = Pictures(films, 20)
    for each in (pictures, some, large):
        np.testing.assert_array_equal(cached(tmp_path / "cache", "a", each)[:], each[:])
    assert len(caches(tmp_path / "cache")) == 3


def note(told: list[tuple[int, int]]) -> Callable[[int, int], None]:
    return lambda done, of: told.append((done, of))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def garble(path: Path) -> None:
    path.write_bytes(b"\x00" * 500)


def fewer(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def floats(path: Path) -> None:
    np.save(path, np.load(path).astype("f4"))


@pytest.mark.parametrize("harm", [truncate, empty, garble, fewer, floats, Path.unlink])
def test_a_cache_that_is_not_what_it_should_be_is_made_again(
    harm: Callable[[Path], None], pictures: Pictures, tmp_path: Path
) -> None:
    cached(tmp_path / "cache", "a", pictures)
    harm(caches(tmp_path / "cache")[0].path)
    again = cached(tmp_path / "cache", "a", pictures).images
    assert again.dtype == np.uint8
    np.testing.assert_array_equal(again, pictures[:])


KILLED = """
import os, signal, sys
from pathlib import Path
from storage import Episode
from storage.pictures import Pictures, cached
frames = [Episode(Path(path)).frames("front") for path in sys.argv[2:]]
def tell(done, of):
    os.kill(os.getpid(), signal.SIGKILL)
cached(Path(sys.argv[1]), "a", Pictures(frames, 16), tell)
"""


def test_a_crash_leaves_nothing_that_is_taken_for_a_cache(tmp_path: Path) -> None:
    films = [film(tmp_path, 5, 0)]
    paths = [str(path) for path in (tmp_path / "episodes").iterdir()]
    folder = tmp_path / "cache"
    died = subprocess.run([sys.executable, "-c", KILLED, str(folder), *paths], check=False)
    assert died.returncode == -signal.SIGKILL
    assert [cache.whole for cache in caches(folder)] == [False]
    pictures = Pictures(films, SIZE)
    np.testing.assert_array_equal(cached(folder, "a", pictures)[:], pictures[:])
    assert [cache.whole for cache in caches(folder)] == [True]


def test_what_stops_the_making_leaves_no_cache(pictures: Pictures, tmp_path: Path) -> None:
    def stop(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    before = threading.enumerate()
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "cache", "a", pictures, stop)
    assert list((tmp_path / "cache").iterdir()) == []
    assert threading.enumerate() == before


def test_a_damaged_picture_does_not_keep_the_room_of_a_whole_cache(films: list[Frames], tmp_path: Path) -> None:
    class Damaged(Pictures):
        def into(self, wanted: NDArray[np.intp], images: Image) -> None:
            raise OSError("picture 3 is damaged")

    with pytest.raises(OSError, match="picture 3 is damaged"):
        cached(tmp_path / "cache", "a", Damaged(films, SIZE))
    assert list((tmp_path / "cache").iterdir()) == []


def test_stopping_does_not_wait_for_all_that_is_left(
    films: list[Frames], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    go = threading.Event()

    class Slow(Pictures):
        def into(self, wanted: NDArray[np.intp], images: Image) -> None:
            begun.append(int(wanted[0]))
            if begun[0] != wanted[0]:
                go.wait()
            super().into(wanted, images)

    def stop(_done: int, _of: int) -> None:
        go.set()
        raise KeyboardInterrupt

    monkeypatch.setattr("storage.pictures.PIECE", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "cache", "a", Slow(films, SIZE), stop)
    assert len(begun) < 15


def test_whoever_waited_for_one_who_gave_up_makes_it(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first finds no room, and removes the file for whose lock the second waits."""
    found: list[Image] = []
    second = threading.Thread(target=lambda: found.append(cached(tmp_path / "cache", "a", pictures)[:]), daemon=True)
    room = iter([0, 2 * SPARE])

    def usage(_path: Path) -> SimpleNamespace:
        free = next(room)
        if not free:
            second.start()
            second.join(0.3)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(NoRoom):
        cached(tmp_path / "cache", "a", pictures)
    second.join()
    np.testing.assert_array_equal(found[0], pictures[:])


def test_two_who_ask_at_once_make_one(pictures: Pictures, tmp_path: Path) -> None:
    """The second waits, then reads what the first made."""
    told: list[tuple[int, int]] = []
    found: list[Image] = []
    second = threading.Thread(
        target=lambda: found.append(cached(tmp_path / "cache", "a", pictures, note(told))[:]), daemon=True
    )

    def meanwhile(_done: int, _of: int) -> None:
        second.start()
        second.join(0.3)
        assert second.is_alive()

    first = cached(tmp_path / "cache", "a", pictures, meanwhile)
    second.join()
    assert told == []
    np.testing.assert_array_equal(found[0], pictures[:])
    np.testing.assert_array_equal(first[:], pictures[:])


def test_a_full_disk_is_told_before_anything_is_written(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte stays free for recording."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=SPARE + 15 * SIZE * SIZE * 3 - 1))
    with pytest.raises(NoRoom, match=r"15 pictures of 16 x 16 take 0.0 GB, and 1.1 GB are free in .*cache, of which 1"):
        cached(tmp_path / "cache", "a", pictures)
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=SPARE + 15 * SIZE * SIZE * 3))
    assert len(cached(tmp_path / "cache", "a", pictures)) == 15


def test_caches_are_listed_by_use_and_dropped_while_they_are_read(pictures: Pictures, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    for name, age in (("a", 30), ("b", 20), ("c", 10)):
        kept = cached(folder, name, pictures)
        path = next(folder.glob(f"{name}-*"))
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert [cache.path.name[0] for cache in caches(folder)] == ["a", "b", "c"]
    assert all(cache.bytes >= pictures.bytes for cache in caches(folder))
    cached(folder, "a", pictures)
    assert [cache.path.name[0] for cache in caches(folder)] == ["b", "c", "a"]
    assert all(drop(cache) for cache in caches(folder))
    assert caches(folder) == []
    np.testing.assert_array_equal(kept[:], pictures[:])


def test_a_cache_that_is_being_made_is_not_dropped(pictures: Pictures, tmp_path: Path) -> None:
    dropped: list[bool] = []
    cached(tmp_path / "cache", "a", pictures, lambda _d, _o: dropped.extend(map(drop, caches(tmp_path / "cache"))))
    assert dropped == [False]
    assert len(caches(tmp_path / "cache")) == 1


def test_pixels_in_memory_are_read_the_same_way(pictures: Pictures) -> None:
    np.testing.assert_array_equal(Unpacked(pictures[:])[[3, 1]], pictures[[3, 1]])
