"""What the catalog is told of an episode comes from the episode, so that whatever finds it says the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers import row_type
from storage import (
    Calibration,
    Catalog,
    EditKind,
    Episode,
    EpisodeRow,
    EpisodeWriter,
    Sealed,
    StreamRow,
    Wanted,
    WorkOrder,
    reconcile,
    rows_of,
)

ARM = row_type(("q", "<f8", (2,)))
SAID = {
    "task": "reach",
    "agent": "person",
    "operator": "ada",
    "station": "cell",
    "station_digest": "d1",
    "started": "2026-01-02T12:00:00+00:00",
}


def record(root: Path, **more: Any) -> Sealed:
    """A second of an arm at 100 Hz that was silent for 0.2 s."""
    with EpisodeWriter(root, {"arm": ARM, "still": ARM}, SAID | more) as writer:
        rows = np.zeros(81, ARM)
        rows["t"] = np.r_[0:51, 71:101] * 10_000_000
        writer.append("arm", rows)
        writer.append("still", rows[:1])
        return writer.seal({"ended_by": "done"})


def rows(sealed: Sealed, root: Path) -> dict[str, Any]:
    """The rows by what they are; streams by name."""
    told = rows_of(Episode(sealed.path), root)
    return {row.name if isinstance(row, StreamRow) else row.__tablename__: row for row in told}


def strip(sealed: Sealed) -> None:
    """Take away what only newer recorders write."""
    root = sealed.path / "zarr.json"
    about = json.loads(root.read_text())
    del about["attributes"]["grade"], about["attributes"]["quarantine"]
    root.write_text(json.dumps(about))


def test_an_episode_says_all_that_the_catalog_keeps(catalog: Catalog, tmp_path: Path) -> None:
    front = catalog.calibrate(Calibration(station="cell", device="arm", values={}, by="ada"))
    asked = catalog.order(WorkOrder(task="reach", wanted=3))
    sealed = record(tmp_path, calibrations={"arm": front.id}, serials={"arm": "SN7"}, order=asked.id)
    told = rows(sealed, tmp_path)
    row, arm = told["episode"], told["arm"]
    assert (row.id, row.digest, row.seconds, row.ended_by) == (sealed.id, sealed.digest, 1.0, "done")
    assert (row.path, row.station_digest, row.order) == (f"episodes/{sealed.path.name}", "d1", asked.id)
    assert row.bytes == sum(
        file.stat().st_size for file in sealed.path.rglob("*") if file.name != "manifest.json" and file.is_file()
    )
    assert (row.gap, row.lost) == pytest.approx((1.0, 19.8), abs=0.1)
    assert (row.skew, row.late) == (None, None)
    assert (arm.rows, arm.camera, arm.calibration, arm.serial) == (81, False, front.id, "SN7")
    assert (arm.hz, arm.gap) == pytest.approx((80.0, 0.21), abs=0.01)
    assert (told["still"].rows, told["still"].hz, told["still"].serial) == (1, None, "")
    assert "edit" not in told
    catalog.add(*rows_of(Episode(sealed.path), tmp_path))
    assert catalog.streams(row.id) == [arm, told["still"]]
    assert catalog.episode(row.id) == row


def test_an_episode_that_fell_short_enters_in_quarantine_and_says_why(catalog: Catalog, tmp_path: Path) -> None:
    sealed = record(tmp_path, demands={"lost": 5})
    catalog.add(*rows_of(Episode(sealed.path), tmp_path))
    (found,) = catalog.find(Wanted(quarantined=True))
    (held,) = catalog.edits(found.row.id)
    assert (held.kind, held.by) == (EditKind.QUARANTINE, "cell")
    assert "arm" in held.why
    catalog.add(*rows_of(Episode(sealed.path), tmp_path))
    assert catalog.edits(found.row.id) == [held]
    assert reconcile(tmp_path, catalog) == []


def test_an_episode_that_the_catalog_missed_is_added_whole(catalog: Catalog, tmp_path: Path) -> None:
    sealed = record(tmp_path, demands={"lost": 5})
    (added,) = reconcile(tmp_path, catalog)
    assert added.row == rows(sealed, tmp_path)["episode"]
    assert catalog.count(Wanted(device="still", quarantined=True)) == 1


def test_older_episodes_get_their_streams_from_the_disk_once_and_without_a_fuss(
    catalog: Catalog, tmp_path: Path
) -> None:
    """They were catalogued before streams were; one of them is not there any more."""
    here, gone = record(tmp_path), record(tmp_path)
    for sealed in (here, gone):
        strip(sealed)
        row: EpisodeRow = rows(sealed, tmp_path)["episode"]
        row.bytes, row.gap = 0, None
        catalog.add(row)
    shutil.rmtree(gone.path)
    assert catalog.count(Wanted(device="arm")) == 0
    assert reconcile(tmp_path, catalog) == []
    assert [one.row.id for one in catalog.find(Wanted(device="arm"))] == [here.id]
    arm, still = catalog.streams(here.id)
    assert (arm.rows, arm.hz, still.rows, still.hz) == (81, 80.0, 1, None)
    assert [row.id for row in catalog.without_streams()] == [gone.id]
    assert catalog.episode(here.id).bytes == 0


def test_an_episode_that_does_not_say_who_did_what_or_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    sealed = record(tmp_path / "here")
    with pytest.raises(ValueError, match="is not in the subpath"):
        rows_of(Episode(sealed.path), tmp_path / "there")
    with EpisodeWriter(tmp_path, {"arm": ARM}, {"task": "reach"}) as writer:
        writer.append("arm", np.zeros(1, ARM))
        short = writer.seal()
    with pytest.raises(ValueError, match="does not say its agent, ended_by, started"):
        rows_of(Episode(short.path), tmp_path)
