"""An episode holds exactly the rows it was given, and the same rows make the same episode."""

import json
from pathlib import Path
from uuid import UUID, uuid4

import imagecodecs.zarr
import numpy as np
import pytest
import zarr

from storage import Episode, EpisodeWriter, Jpeg, Lossless, digest
from storage import arrays as small_arrays
from tests.episodes import ARM, CAMERA, STREAMS, TICKS, record, rows

EVERY = ["?", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16", ">f4"]


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


def test_jpeg_is_what_cameras_get_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        writer.append("front", rows(CAMERA, 2))
        sealed = writer.seal()
    about = json.loads((sealed.path / "front" / "rgb" / "zarr.json").read_text())
    assert about["codecs"][0]["configuration"]["codecs"] == Jpeg().codecs
