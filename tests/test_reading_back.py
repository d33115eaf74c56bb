"""What was recorded is read as it was shown: whole or trimmed, today's format or the first."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage import Episode, EpisodeWriter, Lossless, check, recover
from storage.manifest import manifest_of
from tests.episodes import ARM, CAMERA, STREAMS, TICKS, record, rows

ROOT = Path(__file__).parent.parent


def test_what_the_agent_was_shown_can_be_replayed(tmp_path: Path) -> None:
    arm, ticks = rows(ARM, 50), np.zeros(10, TICKS)
    ticks["t"], ticks["late"] = np.arange(10) * 5_000_000, 300
    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        writer.append("arm", arm)
        writer.append("ticks", ticks)
        sealed = writer.seal()
    shown = list(Episode(sealed.path).replay(memory=0.007))
    assert [seen.t for seen in shown] == (ticks["t"] + 300).tolist()
    assert [seen.streams["arm"]["t"][-1] for seen in shown] == ticks["t"].tolist()
    assert [len(seen.streams["arm"]) for seen in shown] == [1, 6, *[8] * 8]
    assert set(shown[0].streams) == {"arm", "front"}


def test_replay_shows_a_row_only_once_it_had_arrived(tmp_path: Path) -> None:
    slow = np.dtype([("t", "<i8"), ("received", "<i8"), ("seq", "<i8")])
    given, ticks = rows(slow, 20), rows(TICKS, 20)
    given["received"], ticks["late"] = given["t"] + 3_000_000, 0
    with EpisodeWriter(tmp_path, {"force": slow, "ticks": TICKS}, {}) as writer:
        writer.append("force", given)
        writer.append("ticks", ticks)
        shown = list(Episode(writer.seal().path).replay(memory=50))
    assert [len(seen.streams["force"]) for seen in shown] == [0, 0, 0, *range(1, 18)]


def test_columns_are_rows_with_some_of_their_fields(tmp_path: Path) -> None:
    episode = Episode(record(tmp_path).path)
    some = episode.columns("arm", ["width", "q", "t"])
    assert some.dtype.names == ("t", "width", "q")
    for field in some.dtype.names:
        assert np.array_equal(some[field], rows(ARM, 40)[field])
    assert episode.cameras == ["front"]
    with pytest.raises(KeyError, match="no field 'x'"):
        episode.columns("arm", ["x"])


@pytest.mark.parametrize("keep", [(0.010, 0.020), (-1, 0.0105), (0.0205, 60)])
def test_a_trimmed_episode_shows_only_what_is_kept(tmp_path: Path, keep: tuple[float, float]) -> None:
    """Rows are a millisecond apart, and begin at 0."""
    path = record(tmp_path).path
    whole, trimmed = Episode(path), Episode(path, keep)
    kept = [row for row in range(40) if keep[0] * 1e3 <= row <= keep[1] * 1e3]
    for stream in whole.streams:
        assert np.array_equal(trimmed.rows(stream), whole.rows(stream)[kept])
        assert np.array_equal(trimmed.columns(stream, ["t"]), whole.columns(stream, ["t"])[kept])
    assert np.array_equal(trimmed["arm", "q"], whole["arm", "q"][kept])
    frames = trimmed.frames("front")
    assert (len(frames), frames.shape) == (len(kept), (len(kept), 24, 32, 3))
    assert np.array_equal(frames[-1], whole.frames("front")[kept[-1]])
    assert np.array_equal(np.stack(list(frames)), whole.frames("front")[kept])
    assert list(frames.stored([1])) == list(whole.frames("front").stored([kept[1]]))
    assert np.array_equal(frames.small([1], 8), whole.frames("front").small([kept[1]], 8))
    assert trimmed.seconds == pytest.approx((len(kept) - 1) / 1e3)
    assert (trimmed.digest, trimmed.attributes) == (whole.digest, whole.attributes)
    assert len(list(trimmed.replay(3))) == len(kept)
    with pytest.raises(IndexError):
        frames[len(kept)]


def test_trim_marks_count_from_the_first_row_of_any_device(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, {"arm": ARM, "ticks": TICKS}, {}) as writer:
        for stream, dtype, first in (("arm", ARM, 5_000_000_000), ("ticks", TICKS, 7_000_000_000)):
            later = rows(dtype, 40)
            later["t"] += first
            writer.append(stream, later)
        path = writer.seal().path
    trimmed = Episode(path, (2.0, 2.01))
    assert (len(trimmed["arm", "t"]), len(trimmed["ticks", "t"])) == (0, 11)
    assert trimmed.seconds == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("keep", "helps"),
    [
        ((3.0, 2.0), "the end is not after the start"),
        ((1.0, 1.0), "the end is not after the start"),
        ((float("nan"), 1.0), "the end is not after the start"),
        ((0.05, 9.0), "no row from 0.05 s to 9.0 s; it has 0.039 s"),
        ((-2.0, -1.0), "no row from -2.0 s"),
    ],
)
def test_trim_marks_that_leave_nothing_are_refused(tmp_path: Path, keep: tuple[float, float], helps: str) -> None:
    path = record(tmp_path).path
    with pytest.raises(ValueError, match=helps):
        Episode(path, keep)


def test_unknown_streams_and_fields_are_answered_with_those_there_are(tmp_path: Path) -> None:
    episode = Episode(record(tmp_path).path)
    with pytest.raises(KeyError, match="no stream 'leg'; it has action, arm, front, ticks"):
        episode["leg", "q"]
    with pytest.raises(KeyError, match="no field 'x'; it has t, q, width"):
        episode["arm", "x"]
    with pytest.raises(KeyError, match=r"not a camera.*front/rgb"):
        episode.frames("arm")
    with pytest.raises(FileNotFoundError, match="is no episode"):
        Episode(tmp_path / "nothing")


def test_an_open_episode_reads_no_description_but_the_root(tmp_path: Path) -> None:
    path = record(tmp_path).path
    for about in path.glob("*/**/zarr.json"):
        about.unlink()
    episode = Episode(path)
    for stream, dtype in STREAMS.items():
        assert np.array_equal(episode.rows(stream), rows(dtype, 40))


def test_reading_an_episode_needs_no_zarr(tmp_path: Path) -> None:
    """Importing zarr costs more than reading a hundred episodes."""
    path = record(tmp_path, seed=3).path
    program = (
        "import sys; from pathlib import Path; from storage import Episode;"
        f"episode = Episode(Path({str(path)!r})); print(len(episode.rows('arm')), episode.frames('front')[3].shape);"
        "print([name for name in ('zarr', 'alembic', 'torch', 'av', 'cv2') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.split("\n")[:2] == ["40 (24, 32, 3)", "[]"]


def as_format_1(folder: Path) -> None:
    """Make of a folder what the first version would have: one codec for all cameras, no grade, no list of arrays."""
    root = json.loads((folder / "zarr.json").read_text())
    said = root["attributes"]
    about = said["episode"] | {"format": 1, "images": Lossless().codecs}
    kept = {name: value for name, value in said.items() if name not in {"grade", "quarantine"}}
    root = {"zarr_format": 3, "node_type": "group", "attributes": kept | {"episode": about}}
    (folder / "zarr.json").write_text(json.dumps(root, indent=1))


def test_episodes_of_the_first_format_are_read(tmp_path: Path) -> None:
    sealed = record(tmp_path)
    as_format_1(sealed.path)
    (sealed.path / "manifest.json").write_text(json.dumps(manifest_of(sealed.path, {})))
    episode = Episode(sealed.path)
    assert check(sealed.path) == []
    assert episode.digest == sealed.digest
    assert episode.cameras == ["front"]
    for stream, dtype in STREAMS.items():
        assert np.array_equal(episode.rows(stream), rows(dtype, 40))
    assert len(Episode(sealed.path, (0, 0.01)).frames("front")) == 11


def test_takes_of_the_first_format_are_recovered(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, {}, Lossless()) as writer:
        for stream, dtype in STREAMS.items():
            writer.append(stream, rows(dtype, 40))
    as_format_1(tmp_path / "staging" / f"{writer.id}.zarr")
    (found,) = recover(tmp_path)
    assert found.sealed is not None
    assert found.sealed.digest == record(tmp_path).digest
    assert np.array_equal(Episode(found.sealed.path).rows("front"), rows(CAMERA, 40))
