"""Whoever opens the data folder hears what a crash left in it, what became of that, and why the rest stays."""

from pathlib import Path

from appliance.home import Home
from storage import EpisodeWriter
from tests.victims import SAID, STREAMS, take


def opened(root: Path) -> list[str]:
    """What is told when the folder is opened."""
    heard = list[str]()
    Home(root, str(root / "catalog.db")).open(heard.append).close()
    return heard


def test_a_take_that_was_cut_short_is_told_with_the_bytes_it_lost(tmp_path: Path) -> None:
    opened(tmp_path)
    with EpisodeWriter(tmp_path, STREAMS, SAID | {"task": "pick_place"}) as writer:
        take(writer, 0)
    with (tmp_path / "staging" / f"{writer.id}.zarr" / "arm" / "rows.log").open("ab") as log:
        log.write(b"half a row")
    recovered, entered = opened(tmp_path)
    assert recovered.startswith(f"recovered {writer.id}, a take that was cut short: ")
    assert recovered.endswith(" rows; 10 bytes of rows that were half written are gone")
    assert entered == f"{writer.id} was on disk and is now in the catalog"
    assert opened(tmp_path) == []


def test_what_stays_in_staging_is_told_with_the_reason_until_somebody_looks(tmp_path: Path) -> None:
    opened(tmp_path)
    with EpisodeWriter(tmp_path, STREAMS, SAID) as writer:
        pass
    (tmp_path / "staging" / "note.txt").write_text("?")
    lines = sorted(opened(tmp_path))
    assert lines == sorted(
        [
            f"{writer.id} in staging could not be recovered, and stays there: there is no whole row in it",
            "note.txt in staging could not be recovered, and stays there: it is a file, not a take",
        ]
    )
    assert sorted(opened(tmp_path)) == lines


def test_an_episode_that_the_catalog_cannot_take_is_told_with_the_reason(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, STREAMS, SAID) as writer:
        take(writer, 0)
        sealed = writer.seal({"ended_by": "done"})
    (line,) = opened(tmp_path)
    assert line.startswith(f"{sealed.path} is on disk and could not be added to the catalog: there is no task 'reach'")
