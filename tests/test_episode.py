"""An episode holds exactly the rows it was given, becomes final in one step, and knows when it was changed."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import imagecodecs.zarr
import numpy as np
import pytest
import zarr

from storage import Episode, EpisodeWriter, Jpeg, Lossless, Sealed, check, digest, recover
from storage import arrays as small_arrays
from storage.manifest import manifest_of

ROOT = Path(__file__).parent.parent
ARM = np.dtype([("t", "<i8"), ("q", "<f8", (7,)), ("width", "<f8")])
CAMERA = np.dtype([("t", "<i8"), ("rgb", "u1", (24, 32, 3))])
TICKS = np.dtype([("t", "<i8"), ("late", "<i8")])
STREAMS: dict[str, np.dtype[np.void]] = {"arm": ARM, "front": CAMERA, "action": ARM, "ticks": TICKS}
EVERY = ["?", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16", ">f4"]


def rows(dtype: np.dtype[np.void], count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.void]]:
    """Rows of noise, a millisecond apart."""
    random = np.random.default_rng(seed)
    made = np.zeros(count, dtype)
    for field in dtype.names or ():
        made[field] = random.integers(0, 2 if dtype[field].base.kind == "b" else 100, made[field].shape)
    made["t"] = np.arange(count) * 1_000_000
    return made


def record(root: Path, attributes: Mapping[str, Any] | None = None, seed: int = 0) -> Sealed:
    with EpisodeWriter(root, STREAMS, attributes or {}, Lossless()) as writer:
        for stream, dtype in STREAMS.items():
            whole = rows(dtype, 40, seed)
            for first in range(0, 40, 7):
                writer.append(stream, whole[first : first + 7])
        return writer.seal({"ended_by": "done"})


def test_rows_come_back_as_the_driver_gave_them(tmp_path: Path) -> None:
    episode = Episode(record(tmp_path).path)
    assert episode.streams == sorted(STREAMS)
    for stream, dtype in STREAMS.items():
        assert episode.rows(stream).dtype == dtype
        assert np.array_equal(episode.rows(stream), rows(dtype, 40))
    assert episode.seconds == pytest.approx(0.039)


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_every_kind_of_number_comes_back_and_zarr_reads_the_same(tmp_path: Path, shape: tuple[int, ...]) -> None:
    dtype = np.dtype([("t", "<i8"), *[(f"f{i}", kind, shape) for i, kind in enumerate(EVERY)]])
    given = rows(dtype, 30)
    with EpisodeWriter(tmp_path, {"all": dtype}, {}) as writer:
        writer.append("all", given)
        sealed = writer.seal()
    back = Episode(sealed.path).rows("all")
    assert back.dtype == dtype
    assert np.array_equal(back, given)
    group = zarr.open_group(sealed.path, mode="r")
    for field in dtype.names or ():
        assert np.array_equal(np.asarray(group[f"all/{field}"]), given[field]), field


def test_long_arrays_are_kept_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_arrays, "CHUNK", 1000)
    values = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    small_arrays.write_array(tmp_path / "a", values)
    assert len(list((tmp_path / "a").glob("c.*"))) > 3
    assert np.array_equal(small_arrays.read_array(tmp_path / "a"), values)
    assert np.array_equal(np.asarray(zarr.open_array(tmp_path / "a", mode="r")[:]), values)


def test_a_stream_without_rows_is_there_and_empty(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        sealed = writer.seal()
    episode = Episode(sealed.path)
    assert episode["arm", "q"].shape == (0, 7)
    assert len(episode.rows("front")) == 0
    assert episode.seconds == 0
    imagecodecs.zarr.register_codecs()
    assert np.asarray(zarr.open_group(sealed.path, mode="r")["arm/q"]).shape == (0, 7)


def test_attributes_are_those_of_the_beginning_and_of_the_end(tmp_path: Path) -> None:
    name = uuid4()
    with EpisodeWriter(tmp_path, STREAMS, {"task": "reach", "note": "größer"}, id=name) as writer:
        sealed = writer.seal({"ended_by": "done"})
    episode = Episode(sealed.path)
    assert episode.attributes.keys() == {"task", "note", "ended_by", "grade", "quarantine"}
    assert [episode.attributes[name] for name in ("task", "note", "ended_by")] == ["reach", "größer", "done"]
    assert (sealed.id, episode.id, sealed.path) == (name, name, tmp_path / "episodes" / f"{name}.zarr")
    assert sealed.digest == episode.digest == digest(sealed.path)


def test_equal_rows_make_equal_files_and_an_equal_digest(tmp_path: Path) -> None:
    first, second = record(tmp_path, {"started": "today"}), record(tmp_path, {"started": "tomorrow"})
    assert first.digest == second.digest
    ours = {p.relative_to(first.path): p.read_bytes() for p in first.path.rglob("*") if p.is_file()}
    theirs = {p.relative_to(second.path): p.read_bytes() for p in second.path.rglob("*") if p.is_file()}
    differing = {str(name) for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert differing == {"zarr.json", "manifest.json"}


def test_the_digest_knows_whose_rows_they_are(tmp_path: Path) -> None:
    path = record(tmp_path).path
    before = digest(path)
    (path / "arm").rename(path / "arms")
    assert digest(path) != before


def test_an_id_is_used_once(tmp_path: Path) -> None:
    sealed = record(tmp_path)
    with pytest.raises(FileExistsError, match="an id is used once"), EpisodeWriter(tmp_path, STREAMS, {}, id=sealed.id):
        pass
    other = tmp_path / "episodes" / f"{uuid4()}.zarr"
    with EpisodeWriter(tmp_path, STREAMS, {}, id=UUID(other.stem)) as writer:
        writer.append("arm", rows(ARM, 1))
        other.mkdir()
        with pytest.raises(OSError, match="exists already"):
            writer.seal()
    assert list(other.iterdir()) == []


@pytest.mark.parametrize(
    ("stream", "field", "at"), [("front", "rgb", (3, 12, 5, 1)), ("arm", "q", (3, 6)), ("ticks", "late", (3,))]
)
def test_one_different_value_makes_a_different_digest(
    tmp_path: Path, stream: str, field: str, at: tuple[int, ...]
) -> None:
    digests = []
    for step in (0, 1):
        with EpisodeWriter(tmp_path, STREAMS, {}, Lossless()) as writer:
            for name, dtype in STREAMS.items():
                changed = rows(dtype, 10)
                if name == stream:
                    changed[field][at] += step
                writer.append(name, changed)
            digests.append(writer.seal().digest)
    assert digests[0] != digests[1]


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


def test_an_episode_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        writer.append("arm", rows(ARM, 3))
        assert list((tmp_path / "episodes").iterdir()) == []
        sealed = writer.seal()
    assert list((tmp_path / "staging").iterdir()) == []
    assert check(sealed.path) == []
    assert not list(sealed.path.rglob("*.log"))


def test_leaving_without_sealing_keeps_the_rows_in_staging(tmp_path: Path) -> None:
    def crash() -> None:
        with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
            writer.append("arm", rows(ARM, 10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    (staged,) = (tmp_path / "staging").iterdir()
    with pytest.raises(FileNotFoundError, match="never sealed"):
        Episode(staged)
    (found,) = recover(tmp_path)
    assert found.sealed is not None
    assert len(Episode(found.sealed.path)["arm", "t"]) == 10


def spoil(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["arm/q/c.0.0", "arm/q/zarr.json", "front/rgb/c/0/0/0/0", "zarr.json", "arm/zarr.json"]
)
def test_one_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    path = record(tmp_path).path
    spoil(path / name, 60)
    assert check(path) == [f"{name} has changed since it was sealed"]


def test_a_file_that_is_missing_or_too_much_is_found(tmp_path: Path) -> None:
    path = record(tmp_path).path
    (path / "arm" / "q" / "c.0.0").unlink()
    (path / "arm" / "extra").write_text("?")
    (path / "ticks" / "t" / "c.0").write_bytes(b"short")
    assert [line.split(" has 5 ")[0] for line in check(path)] == [
        "arm/q/c.0.0 is missing",
        "arm/extra is not in the manifest",
        "ticks/t/c.0",
    ]


def test_a_changed_manifest_is_found(tmp_path: Path) -> None:
    path = record(tmp_path).path
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"digest": "0" * 32}))
    assert check(path) == ["manifest.json has changed since it was sealed"]
    (path / "manifest.json").write_text("{}")
    assert "cannot be read" in check(path)[0]


def test_a_full_disk_is_a_clear_error_and_costs_nothing_that_was_kept(tmp_path: Path) -> None:
    """The system refuses to let any file grow past 20 kB, as it does when the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = []

    def fill(writer: EpisodeWriter) -> None:
        for seed in range(100):
            writer.append("arm", rows(ARM, 10, seed))
            kept.append(seed)

    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(OSError, match=r"cannot keep the rows of 'arm'.*MB are free"):
                fill(writer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with pytest.raises(OSError, match="cannot keep"):
            writer.append("ticks", rows(TICKS, 1))
        with pytest.raises(OSError, match="cannot keep"):
            writer.seal()
    (found,) = recover(tmp_path)
    assert found.rows["arm"] == 10 * len(kept) > 0
    assert found.dropped > 0
    assert found.sealed is not None
    assert check(found.sealed.path) == []


def test_a_disk_that_fills_while_sealing_keeps_the_take_in_staging(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EpisodeWriter(tmp_path, {"arm": ARM}, {}) as writer:
        writer.append("arm", rows(ARM, 500))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(OSError, match="cannot seal the episode"):
                writer.seal()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "episodes").iterdir()) == []
    (found,) = recover(tmp_path)
    assert found.sealed is not None
    assert np.array_equal(Episode(found.sealed.path).rows("arm"), rows(ARM, 500))


def test_an_error_of_the_syncing_thread_reaches_whoever_writes_next(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, {"arm": ARM}, {}) as writer:
        log = writer._logs["arm"][""]
        ends, usable = os.pipe(), log._file
        log._file = ends[0]  # which cannot be synced
        writer._sync()
        log._file = usable
        os.close(ends[0])
        os.close(ends[1])
        with pytest.raises(OSError, match="cannot keep the rows of 'arm'"):
            writer.append("arm", rows(ARM, 1))


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        with pytest.raises(ValueError, match=r"no stream 'leg'.*'action', 'arm'"):
            writer.append("leg", rows(ARM, 1))
        with pytest.raises(ValueError, match="stream 'arm' has rows of"):
            writer.append("arm", rows(TICKS, 1))
        writer.seal()
        with pytest.raises(ValueError, match="not open"):
            writer.append("arm", rows(ARM, 1))


@pytest.mark.parametrize(
    ("streams", "helps"),
    [
        ({"arm": np.dtype([("q", "<f8")])}, "do not begin with a field t"),
        ({"arm": np.dtype([("t", "<f8")])}, "do not begin with a field t"),
        ({"arm": np.dtype([("t", "<i8"), ("word", "U4")])}, "arm/word holds <U4"),
        ({"../arm": ARM}, "cannot be a stream's name"),
    ],
)
def test_layouts_that_cannot_be_kept_are_refused(
    tmp_path: Path, streams: dict[str, np.dtype[np.void]], helps: str
) -> None:
    with pytest.raises(ValueError, match=helps):
        EpisodeWriter(tmp_path, streams, {})


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


def test_replay_shows_a_row_only_once_it_had_arrived(tmp_path: Path) -> None:
    slow = np.dtype([("t", "<i8"), ("received", "<i8"), ("seq", "<i8")])
    given, ticks = rows(slow, 20), rows(TICKS, 20)
    given["received"], ticks["late"] = given["t"] + 3_000_000, 0
    with EpisodeWriter(tmp_path, {"force": slow, "ticks": TICKS}, {}) as writer:
        writer.append("force", given)
        writer.append("ticks", ticks)
        shown = list(Episode(writer.seal().path).replay(memory=50))
    assert [len(seen.streams["force"]) for seen in shown] == [0, 0, 0, *range(1, 18)]


def test_the_root_describes_every_array_and_zarr_believes_it(tmp_path: Path) -> None:
    path = record(tmp_path).path
    imagecodecs.zarr.register_codecs()
    root = zarr.open_group(path, mode="r", use_consolidated=True)
    told = dict(root.members(max_depth=None))
    assert told.keys() == {about.parent.relative_to(path).as_posix() for about in path.glob("*/**/zarr.json")}
    assert {"arm", "arm/q", "front/rgb"} < told.keys()
    for name, node in told.items():
        if isinstance(node, zarr.Array):
            assert node.metadata == zarr.open_array(path / name, mode="r").metadata
        else:
            assert node.attrs.asdict() == zarr.open_group(path / name, mode="r").attrs.asdict()
    assert np.array_equal(np.asarray(root["arm/q"]), rows(ARM, 40)["q"])


def test_while_it_is_recorded_nothing_is_described_that_may_still_change(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        writer.append("arm", rows(ARM, 3))
        (root,) = (tmp_path / "staging").glob("*/zarr.json")
        assert "consolidated_metadata" not in json.loads(root.read_text())


def test_an_open_episode_reads_no_description_but_the_root(tmp_path: Path) -> None:
    path = record(tmp_path).path
    for about in path.glob("*/**/zarr.json"):
        about.unlink()
    episode = Episode(path)
    for stream, dtype in STREAMS.items():
        assert np.array_equal(episode.rows(stream), rows(dtype, 40))


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


def test_what_a_disk_changes_before_the_seal_is_found_after_it(tmp_path: Path) -> None:
    """Sums are taken of what was given to be written, so sealing reads no picture back and trusts no disk."""
    with EpisodeWriter(tmp_path, STREAMS, {}, Lossless()) as writer:
        writer.append("front", rows(CAMERA, 40))
        (shard,) = (path for path in (tmp_path / "staging").rglob("front/rgb/c/0/0/0/0"))
        spoil(shard, 2000)
        sealed = writer.seal()
    assert check(sealed.path) == ["front/rgb/c/0/0/0/0 has changed since it was sealed"]


def test_a_sealed_take_and_the_same_take_recovered_have_one_digest(tmp_path: Path) -> None:
    sealed = record(tmp_path)
    with EpisodeWriter(tmp_path, STREAMS, {}, Lossless()) as writer:
        for stream, dtype in STREAMS.items():
            whole = rows(dtype, 40)
            for first in range(0, 40, 7):
                writer.append(stream, whole[first : first + 7])
    (found,) = recover(tmp_path)
    assert found.sealed is not None
    assert found.sealed.digest == sealed.digest
    assert check(sealed.path) == check(found.sealed.path) == []


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


def test_jpeg_is_what_cameras_get_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        writer.append("front", rows(CAMERA, 2))
        sealed = writer.seal()
    about = json.loads((sealed.path / "front" / "rgb" / "zarr.json").read_text())
    assert about["codecs"][0]["configuration"]["codecs"] == Jpeg().codecs
