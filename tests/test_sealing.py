"""An episode becomes final in one step, and knows when it was changed."""

import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from storage import Episode, EpisodeWriter, Lossless, check, recover
from storage.seal import idle, lock, unlock
from tests.episodes import ARM, CAMERA, STREAMS, TICKS, record, rows


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


def test_while_it_is_recorded_nothing_is_described_that_may_still_change(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, {}) as writer:
        writer.append("arm", rows(ARM, 3))
        (root,) = (tmp_path / "staging").glob("*/zarr.json")
        assert "consolidated_metadata" not in json.loads(root.read_text())


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


def test_a_folder_that_is_gone_is_not_idle_and_its_lock_is_nobodys(tmp_path: Path) -> None:
    """A look through staging sees names that are sealed before it gets to them."""
    assert not idle(tmp_path / "sealed")
    assert lock(tmp_path / "sealed", wait=False) is None
    with pytest.raises(FileNotFoundError):
        lock(tmp_path / "sealed")
    assert idle(tmp_path)
    held = lock(tmp_path)
    assert held is not None
    assert not idle(tmp_path)
    unlock(held)
