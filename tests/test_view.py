"""What a person sees of an episode in Rerun, read back with Rerun's own reader."""

import io
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest

from drivers import row_type
from ops import view
from storage import Edit, EditKind, Episode, EpisodeWriter, Jpeg, Lossless, Outcome, Verdict
from tests.takes import Take

rerun_chunk = pytest.importorskip("rerun.chunk")

WALL = 1_780_000_000_000_000_000
FIRST = 5_000_000_000


@dataclass(frozen=True)
class Rrd:
    """A recording as Rerun reads it: for every entity, the columns that have rows."""

    columns: dict[str, dict[str, list[Any]]]
    static: dict[str, dict[str, list[Any]]]

    @classmethod
    def read(cls, file: Path) -> "Rrd":
        moving: dict[str, dict[str, list[Any]]] = {}
        static: dict[str, dict[str, list[Any]]] = {}
        for chunk in rerun_chunk.RrdReader(file).stream().to_chunks():
            into = (static if chunk.is_static else moving).setdefault(chunk.entity_path, {})
            batch = chunk.to_record_batch()
            for name in batch.schema.names:
                column = batch.column(name)
                kind = column.type
                values = column.cast(pa.int64()) if pa.types.is_temporal(kind) else column
                into.setdefault(name, []).extend(values.to_pylist())
        return cls(moving, static)

    def seconds(self, entity: str) -> list[float]:
        return [value / 1e9 for value in self.columns[entity]["take"]]

    def scalars(self, entity: str) -> list[float]:
        return [value[0] for value in self.columns[entity]["Scalars:scalars"]]


@pytest.fixture
def episode(tmp_path: Path) -> Episode:
    """Half a second of a robot with two joints, a JPEG camera with depth, and another that keeps every pixel."""
    arm = row_type(
        *((name, "<f8", (2,)) for name in ("q", "q_target")), *((n, "<f8", (7,)) for n in ("tool", "tool_target"))
    )
    camera = row_type(("rgb", "u1", (24, 32, 3)), ("depth", "<u2", (24, 32)))
    flat = row_type(("rgb", "u1", (24, 32, 3)))
    action, ticks = row_type(("q", "<f8", (2,)), ("person", "?")), row_type(("late", "<i8"))
    streams = {"arm": arm, "front": camera, "top": flat, "action": action, "ticks": ticks}
    about = {
        "task": "reach",
        "instruction": "reach the pad",
        "clock": {"wall": WALL, "monotonic": 1, "loop": FIRST},
    }
    with EpisodeWriter(tmp_path / "data", streams, about, {"front": Jpeg(), "top": Lossless()}, uuid4()) as writer:
        rows = np.zeros(50, arm)
        rows["t"] = FIRST + np.arange(50) * 10_000_000
        rows["q"] = np.arange(100).reshape(50, 2)
        rows["q_target"] = rows["q"] + 0.5
        rows["tool"][:, 0] = np.arange(50) / 100
        rows["tool_target"][0] = np.nan
        writer.append("arm", rows)
        seen = np.zeros(5, camera)
        seen["t"] = FIRST + np.arange(5) * 100_000_000
        seen["rgb"] = np.arange(5, dtype=np.uint8)[:, None, None, None] * 40
        seen["depth"] = np.arange(5, dtype=np.uint16)[:, None, None] + 700
        writer.append("front", seen)
        top = np.zeros(5, flat)
        top["t"], top["rgb"] = seen["t"], np.random.default_rng(0).integers(0, 255, (5, 24, 32, 3))
        writer.append("top", top)
        done = np.zeros(10, action)
        done["t"] = FIRST + np.arange(10) * 50_000_000
        done["q"], done["person"] = 7.0, [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
        writer.append("action", done)
        late = np.zeros(10, ticks)
        late["t"], late["late"] = done["t"], np.arange(10) * 1_000_000
        writer.append("ticks", late)
        sealed = writer.seal({"ended_by": "done"})
    return Episode(sealed.path)


@pytest.fixture
def rrd(episode: Episode, tmp_path: Path) -> Rrd:
    verdicts = [
        Verdict(episode=episode.id, by="rules", outcome=Outcome.SUCCESS, labelled_by="auto"),
        Verdict(episode=episode.id, by="ada", outcome=Outcome.FAILURE, failure="DROP", note="slipped"),
    ]
    edits = [
        Edit(episode=episode.id, kind=EditKind.TRIM, value={"start": 0.1, "end": 0.4}, by="ada", why="idle"),
        Edit(episode=episode.id, kind=EditKind.RETIRE, by="bob", why="a hand in view"),
    ]
    view.save(tmp_path / "take.rrd", episode, verdicts, edits)
    return Rrd.read(tmp_path / "take.rrd")


def test_every_entity_is_there_with_its_rows(rrd: Rrd) -> None:
    rows = {entity: len(columns["take"]) for entity, columns in rrd.columns.items()}
    joints = {f"/arm/q/{joint}/{kind}": 50 for joint in (1, 2) for kind in ("measured", "target")}
    asked = {f"/arm/q/{joint}/asked": 10 for joint in (1, 2)}
    tools = {"/space/arm/tool_1/measured": 50, "/space/arm/tool_1/target": 49}
    cameras = {"/front/rgb": 5, "/front/depth": 5, "/top/rgb": 5}
    assert rows == joints | asked | tools | cameras | {"/ticks/late_ms": 10, "/events": 9}


def test_measured_and_target_lie_on_one_time_line(rrd: Rrd) -> None:
    assert rrd.scalars("/arm/q/2/measured") == list(range(1, 100, 2))
    assert rrd.scalars("/arm/q/2/target") == [value + 0.5 for value in range(1, 100, 2)]
    assert rrd.scalars("/arm/q/1/asked") == [7.0] * 10
    assert rrd.seconds("/arm/q/2/measured")[:3] == [0.0, 0.01, 0.02]
    assert rrd.seconds("/front/rgb") == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert rrd.columns["/front/rgb"]["capture"] == [WALL + k * 100_000_000 for k in range(5)]
    assert rrd.scalars("/ticks/late_ms") == list(range(10))


def test_stored_jpeg_goes_through_untouched(rrd: Rrd, episode: Episode) -> None:
    blobs = [bytes(blob[0]) for blob in rrd.columns["/front/rgb"]["EncodedImage:blob"]]
    assert blobs == list(episode.frames("front").stored(range(5)))
    assert rrd.columns["/front/rgb"]["EncodedImage:media_type"] == [["image/jpeg"]] * 5


def test_exact_pictures_stay_exact(rrd: Rrd, episode: Episode) -> None:
    from PIL import Image

    shots = [
        np.asarray(Image.open(io.BytesIO(bytes(blob[0])))) for blob in rrd.columns["/top/rgb"]["EncodedImage:blob"]
    ]
    assert np.array_equal(shots, episode.frames("top")[:])


def test_depth_is_in_millimetres(rrd: Rrd) -> None:
    depth = rrd.columns["/front/depth"]
    assert [set(np.frombuffer(bytes(one[0]), "<u2")) for one in depth["DepthImage:buffer"]] == [
        {700 + k} for k in range(5)
    ]
    assert depth["DepthImage:meter"] == [[1000.0]] * 5


def test_the_tool_leaves_a_path_and_what_was_never_known_is_left_out(rrd: Rrd) -> None:
    path = rrd.static["/space/arm/tool_1/measured/path"]["LineStrips3D:strips"][0][0]
    assert np.allclose(np.array(path)[:, 0], np.arange(50) / 100)
    assert len(rrd.static["/space/arm/tool_1/target/path"]["LineStrips3D:strips"][0][0]) == 49


def test_verdicts_and_edits_are_events_with_who_and_why(rrd: Rrd) -> None:
    texts = [text[0] for text in rrd.columns["/events"]["TextLog:text"]]
    told = dict(zip(texts, rrd.seconds("/events"), strict=True))
    assert told == {
        "begins: reach the pad": 0.0,
        "trim: kept from here (ada: idle)": 0.1,
        "person on": 0.2,
        "person off": 0.3,
        "trim: kept until here (ada: idle)": 0.4,
        "ended by done": 0.49,
        "success, says rules (auto)": 0.49,
        "failure DROP, says ada (human): slipped": 0.49,
        "retire (bob: a hand in view)": 0.49,
    }
    page = rrd.static["/about"]["TextDocument:text"][0][0]
    assert "slipped" in page
    assert "a hand in view" in page


def test_a_take_of_the_table_needs_nothing_but_its_rows(tmp_path: Path) -> None:
    """No clock, no targets' camera, no verdict: what is there is shown."""
    sealed = Take().to("red_cube").close("red_cube").lift().record(tmp_path, camera=True)
    view.save(tmp_path / "take.rrd", Episode(sealed.path))
    found = Rrd.read(tmp_path / "take.rrd")
    assert found.columns.keys() >= {
        "/arm/q/7/measured",
        "/arm/width/target",
        "/space/arm/tool_1/measured",
        "/front/rgb",
    }
    assert "capture" not in found.columns["/front/rgb"]


def test_a_film_is_shown_picture_by_picture(episode: Episode, tmp_path: Path) -> None:
    """A compact copy has the same pictures, nearly, at the same times."""
    from PIL import Image

    from storage.compact import compact

    small = compact(episode.path, tmp_path / "compact" / f"{episode.id}.zarr")
    view.save(tmp_path / "take.rrd", Episode(small.path))
    found = Rrd.read(tmp_path / "take.rrd")
    blobs = found.columns["/front/rgb"]["EncodedImage:blob"]
    shots = np.array([np.asarray(Image.open(io.BytesIO(bytes(blob[0])))) for blob in blobs], np.int16)
    assert np.abs(shots - episode.frames("front")[:].astype(np.int16)).mean() < 5
    assert found.seconds("/front/rgb") == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_the_layout_comes_with_the_recording(episode: Episode, tmp_path: Path) -> None:
    view.save(tmp_path / "take.rrd", episode)
    reader = rerun_chunk.RrdReader(tmp_path / "take.rrd")
    (layout,) = reader.blueprints()
    origins = [
        chunk.to_record_batch().column("ViewBlueprint:space_origin").to_pylist()
        for chunk in reader.stream(store=layout).to_chunks()
        if "ViewBlueprint:space_origin" in chunk.to_record_batch().schema.names
    ]
    shown = {origin for column in origins for rows in column for origin in rows}
    assert shown >= {"front/rgb", "front/depth", "top/rgb", "arm/q/1", "space", "ticks/late_ms", "events"}
    (recording,) = reader.recordings()
    assert recording.recording_id == str(episode.id)


def test_a_disk_that_fills_up_is_told_and_leaves_no_half_file(episode: Episode, tmp_path: Path) -> None:
    """The limit is of this process alone; the file may have 10 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(view.CannotShow, match=r"cannot write .*take\.rrd"):
            view.save(tmp_path / "take.rrd", episode)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.glob("take*")) == []


def test_without_a_display_it_says_what_to_do(
    episode: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(view.CannotShow, match=r"--save FILE\.rrd"):
        view.show(episode, tmp_path / "scratch")


def test_the_viewer_reports_nothing_to_anyone(tmp_path: Path) -> None:
    """Rerun itself is asked, in the environment it is started in."""
    quiet = view.quietly(tmp_path / "scratch")
    program = "import sys; from rerun_cli.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "analytics", "config"]
    said = subprocess.run(command, env=quiet, capture_output=True, text=True, check=True).stdout
    config = json.loads(said)
    assert config["analytics_enabled"] is False
    assert Path(config["config_file_path"]).is_relative_to(tmp_path)
    assert quiet["HTTPS_PROXY"].startswith("http://127.0.0.1")
    assert quiet.keys() >= os.environ.keys()


def test_writing_a_recording_touches_no_settings_of_the_person(tmp_path: Path, episode: Episode) -> None:
    """The library, unlike the viewer, keeps no analytics at all."""
    program = f"""
from pathlib import Path
from ops import view
from storage import Episode
view.save(Path({str(tmp_path / "take.rrd")!r}), Episode(Path({str(episode.path)!r})))
"""
    away = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent.parent, env=os.environ | away, check=True)
    assert (tmp_path / "take.rrd").exists()
    assert not (tmp_path / "home").exists()


def test_the_window_listens_to_this_machine_only_and_its_files_go_with_it(
    episode: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of our own stands in for Rerun's, which needs a screen: it writes down how it was called."""
    stand_in = tmp_path / "viewer"
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/said"\ntest "$1" = analytics || test -s "$1"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("RERUN_CLI_PATH", str(stand_in))
    monkeypatch.setenv("DISPLAY", ":9")
    view.show(episode, tmp_path / "scratch")
    told = (tmp_path / "said").read_text().splitlines()
    assert told[0] == "analytics disable"
    assert told[1].endswith(f"{episode.id}.rrd --bind 127.0.0.1 --port auto")
    assert list((tmp_path / "scratch").iterdir()) == []
    stand_in.write_text("#!/bin/sh\necho no screen >&2\nexit 3\n")
    with pytest.raises(view.CannotShow, match="no screen"):
        view.show(episode, tmp_path / "scratch")
