"""What is learned, on the screen: losses as they come, whose episodes, and what can be done with a job."""

import json
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select

from appliance.home import Home
from appliance.kinds import QUEUES
from appliance.tui.beginning import Beginning
from appliance.tui.graph import Curve, drawn
from appliance.tui.mornings import Mornings
from appliance.tui.runs import minutes
from ops import load
from ops.curves import LOSS, OfJob, OfRun, Point
from ops.jobs import State
from ops.journal import Journal
from ops.worker import Worker
from storage import Night, Outcome, Verdict, Wanted
from tests import said
from tests.homes import opened
from tests.said import NOON
from tests.screens import Alone, line, plain, rows, shown, until

WHAT, STATE, FAR, LOSSES, _LEFT, BY = range(6)
TASK = "pick_place"

COMMAND = [sys.executable, "-m", "tests.jobbing"]

home = pytest.fixture(opened)


@pytest.fixture
def known(home: Home) -> Home:
    """Three good episodes of two people, a champion that learned from two of them, and a job that waits."""
    made = [said.episode(minute, task=TASK, operator=who) for minute, who in enumerate(("ada", "ada", "bob"))]
    with home.join() as catalog:
        catalog.add(*made)
        catalog.add(*(Verdict(episode=row.id, by="ada", outcome=Outcome.SUCCESS) for row in made))
        held = catalog.snapshot(TASK, catalog.find(Wanted(task=TASK))[:2])
        row = said.policy("bc-1", task=TASK, snapshot=held.id, metrics={"loss": 0.25, "episodes": 2})
        catalog.add(row)
        catalog.promote(row, "ada")
    with home.jobs() as jobs:
        jobs.enqueue("train", {"task": TASK, "method": "nearest", "preset": "tiny"}, "bob", id="train-one")
    return home


def points(home: Home, job: str, *losses: tuple[int, float]) -> None:
    """Write what a worker writes."""
    journal = Journal.of(home.folder)
    for done, loss in losses:
        journal.of_these(job=job).info("loss", done=done, of=100, loss=loss)


def tracked(folder: Path, *records: tuple[int, str, float]) -> Path:
    """Write what a tracker writes."""
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]

    (folder / "log").mkdir(parents=True, exist_ok=True)
    file = folder / "log" / "events.out.tfevents.1.here.2.0"
    with file.open("ab") as out:
        for step, tag, value in records:
            event = Event(step=step)
            event.summary.value.add(tag=tag, simple_value=value)
            raw = event.SerializeToString()
            out.write(struct.pack("<Q", len(raw)) + b"\0" * 4 + raw + b"\0" * 4)
    return file


def test_losses_of_a_job_are_read_on_and_those_of_others_left_out(home: Home) -> None:
    points(home, "one", (1, 2.0), (2, 1.5))
    points(home, "one-more", (9, 9.0))
    curve = OfJob(home.folder, "one", NOON)
    assert list(curve.more()) == [Point(1, LOSS, 2.0), Point(2, LOSS, 1.5)]
    assert list(curve.more()) == []
    points(home, "one", (3, 1.0))
    assert list(curve.more()) == [Point(3, LOSS, 1.0)]


def test_what_a_tracker_wrote_is_read_on_and_half_a_record_waits(tmp_path: Path) -> None:
    file = tracked(tmp_path, (500, "loss", 0.5), (500, "held_out", 0.75))
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    curve = OfRun(tmp_path)
    assert list(curve.more()) == [Point(500, "loss", 0.5)]
    file.write_bytes(whole)
    assert list(curve.more()) == [Point(500, "held_out", 0.75)]
    tracked(tmp_path, (1000, "loss", 0.25))
    assert list(curve.more()) == [Point(1000, "loss", 0.25)]


def test_a_graphics_processor_is_told_in_si_units_and_what_it_hides_left_out() -> None:
    (gpu,) = load.read("37, 1024, 81559, 51\n[N/A], 3, 4, [N/A]\n")
    assert (gpu.busy, gpu.used, gpu.hot) == (0.37, 2**30, 51.0)
    assert load.Load(0.5, 2e9, 8e9, (gpu,)).says == "CPU 50%  memory 2.0 of 8.0 GB  GPU 37% 1.1 of 85.5 GB 51 °C"
    assert load.Load(0.5, 2e9, 8e9, ()).says.endswith("no GPU")


@pytest.mark.parametrize(("seconds", "words"), [(None, ""), (59.6, "60 s"), (600, "10 min"), (9000, "2.5 h")])
def test_how_long_it_takes_is_said_as_people_say_it(seconds: float | None, words: str) -> None:
    assert minutes(seconds) == words


def test_jobs_and_policies_are_listed_with_losses_as_they_come_and_whose_episodes(known: Home) -> None:
    points(known, "train-one", *((step, 1 / (step + 1)) for step in range(40)))

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 2)
        assert [row[WHAT] for row in rows(app)] == ["train nearest", "bc"]
        assert [row[STATE] for row in rows(app)] == ["waiting", "done"]
        assert rows(app)[1][STATE + 1] == "bc-1", "what came of it, by the name under which it is tried"
        assert rows(app)[1][LOSSES] == "0.2500"
        await until(pilot, lambda: "would use now: 3 episodes: ada 2, bob 1" in line(app, "#about"))
        await until(pilot, lambda: "39" in plain(pilot) and "step" in plain(pilot))
        points(known, "train-one", (99, 0.001))
        await until(pilot, lambda: "99" in line(app, "Graph"))
        await until(pilot, lambda: line(app, "#busy").startswith("CPU "))
        await until(pilot, lambda: line(app, "#busy").endswith("nobody at work: appliance serve"))
        await pilot.press("down")
        await until(pilot, lambda: "2 episodes: ada 2" in line(app, "#about"))

    shown(known, "learn", drive)


def test_a_training_is_asked_for_with_what_was_chosen(known: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 2)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Beginning))
        app.screen.query_one("#method", Select).value = "nearest"
        app.screen.query_one("#preset", Select).value = "tiny"
        app.screen.query_one("#champion", Select).value = True
        app.screen.query_one(Input).value = "k"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "write name=value" in line(app, "#wrong"))
        app.screen.query_one(Input).value = "nonsense=4"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not isinstance(app.screen, Beginning) and "nonsense" in line(app, "#said"))
        assert len(rows(app)) == 2
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Beginning))
        app.screen.query_one("#method", Select).value = "nearest"
        app.screen.query_one("#preset", Select).value = "tiny"
        app.screen.query_one("#champion", Select).value = True
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(rows(app)) == 3)
        assert "waits for a worker" in line(app, "#said")

    shown(known, "learn", drive)
    with known.jobs() as jobs:
        newest = jobs.list()[-1]
    assert (newest.kind, newest.by, newest.state) == ("train", "ada", State.WAITING)
    assert (newest.settings["method"], newest.settings["start"]) == ("nearest", "bc-1")


def test_a_job_is_paused_cancelled_with_a_reason_and_tried_again(known: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 2)
        await pilot.press("p")
        await until(pilot, lambda: "paused by ada" in line(app, "#about"))
        await pilot.press("p")
        await until(pilot, lambda: "goes on" in line(app, "#said") and "paused by ada" not in line(app, "#about"))
        await pilot.press("c")
        await until(pilot, lambda: "Why is train-one cancelled?" in plain(pilot))
        await pilot.press(*"old", "enter")
        await until(pilot, lambda: rows(app)[0][STATE] == "cancelled")
        await pilot.press("t")
        await until(pilot, lambda: "tried again?" in plain(pilot))
        await pilot.press(*"new", "enter")
        await until(pilot, lambda: rows(app)[0][STATE] == "waiting")
        await pilot.press("t")
        await until(pilot, lambda: "tried again?" in plain(pilot))
        await pilot.press(*"x", "enter")
        await until(pilot, lambda: "only what failed or was cancelled" in line(app, "#said"))
        await pilot.press("down", "c")
        await until(pilot, lambda: "is no job" in line(app, "#said"))

    shown(known, "learn", drive)
    with known.jobs() as jobs:
        assert "tried again by ada: new" in jobs.get("train-one").why


def test_a_job_that_runs_says_how_far_it_is(known: Home) -> None:
    with known.jobs() as jobs:
        jobs.cancel("train-one", "bob", "another is first")
        wish = {"task": TASK, "note": str(known.folder / "ran"), "steps": 400, "seconds": 0.02}
        jobs.enqueue("train", wish, "bob", id="train-two")

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 3)
        await until(pilot, lambda: rows(app)[0][STATE] == "running" and rows(app)[0][FAR].startswith("stepping "))
        assert rows(app)[0][FAR].endswith("/400")
        assert float(rows(app)[0][LOSSES]) < 1
        await until(pilot, lambda: line(app, "#busy").endswith("1 at work"))
        await pilot.press("c")
        await until(pilot, lambda: "Why is train-two cancelled?" in plain(pilot))
        await pilot.press(*"old", "enter")
        await until(pilot, lambda: rows(app)[0][STATE] == "cancelled")
        assert "cancelled by ada: old" in line(app, "#about")

    with Worker(known.folder, known.database, lambda: COMMAND, QUEUES, lambda _steps, _asked: {}, name="here"):
        shown(known, "learn", drive)


def test_a_catalog_that_is_gone_is_a_line(known: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 2)
        Path(known.database).write_bytes(b"no database at all, but long enough to be looked at as if it were one" * 40)
        await pilot.press("r")
        await until(pilot, lambda: line(app, "#said").startswith("! "))
        assert len(rows(app)) == 2

    shown(known, "learn", drive)


def test_what_was_interrupted_is_listed_and_its_curve_drawn(known: Home) -> None:
    """What has become a policy was not interrupted."""
    with known.join() as catalog:
        whole = str(catalog.policy("bc-1").id)
    for name in ("0123456789abcdef", whole):
        run = known.folder / "runs" / name
        tracked(run, (500, "loss", 0.5), (1000, "loss", 0.25), (1000, "held_out", 0.75))
        (run / "last.json").write_text(json.dumps({"done": 1000, "tensors": "", "how": {"steps": 3000}}))

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 3)
        assert rows(app)[0][:3] == ["training", "interrupted", "1000/3000"]
        await until(pilot, lambda: "held_out" in line(app, "Graph"))

    shown(known, "learn", drive)


def test_the_morning_page_shows_one_night_after_the_other(known: Home) -> None:
    async def none(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 2)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, Mornings) and "No night was tried" in plain(pilot))
        await pilot.press("escape")

    shown(known, "learn", none)
    with known.join() as catalog:
        for day in (20, 21):
            name = f"2026-11-{day}-{TASK}"
            catalog.begin_night(Night(id=name, task=TASK, station="franka-sim", by="schedule"))
            catalog.night_found(name, "begin", {"passed": day == 21, "why": f"{day} new demonstrations"})
            catalog.end_night(name, "refused", "nothing new")

    async def two(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 2)
        await pilot.press("m")
        await until(pilot, lambda: "night 2 of 2" in plain(pilot) and "21 new demonstrations" in plain(pilot))
        await pilot.press("left")
        await until(pilot, lambda: "night 1 of 2" in plain(pilot) and "20 new demonstrations" in plain(pilot))
        await pilot.press("left", "left", "escape")
        await until(pilot, lambda: not isinstance(app.screen, Mornings))

    shown(known, "learn", two)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -1e308])
def test_a_loss_that_is_no_number_is_left_out_of_its_curve(broken: float) -> None:
    assert "step" in drawn([Curve("loss", [1, 2, 3], [1.0, broken, 0.5])], "step", 40, 10).plain
    assert drawn([Curve("loss", [1, 2], [broken, broken])], "step", 40, 10).plain == "nothing to draw yet"


def test_how_busy_the_machine_is_can_be_told_by_any_thread() -> None:
    """Each look of the screen is made by another thread, and none of them has looked before."""
    with ThreadPoolExecutor(1) as others:
        found = others.submit(load.load)
        while not found.done():
            pass
    assert found.result().busy > 0
