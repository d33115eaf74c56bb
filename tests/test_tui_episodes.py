"""Episodes on the screen: found while typing, judged with keys, set aside with a reason, replayed."""

import asyncio
import shutil
import time
from pathlib import Path
from typing import ClassVar

import pytest
from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input

from appliance.home import Home
from appliance.tui.episodes import PAGE
from appliance.tui.replay import Replay
from appliance.tui.rows import SETTLED, Row, Rows
from ops.rollout import plan
from storage import Edit, EditKind, Outcome, Verdict, Wanted
from tests.homes import opened
from tests.said import episode
from tests.screens import Alone, another_task, compared, line, plain, rows, shown, take, until
from tests.test_report import SUCCESS, entered, policy, tried

TASK, WHO, GRADE, VERDICT, MOTION = 1, 2, 4, 5, 6

home = pytest.fixture(opened)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Five takes: one a success, one a drop, one in quarantine, one of another task, one retired."""
    home = opened(tmp_path_factory.mktemp("made"))
    another_task(home, "reach")
    said = [{}, {"operator": "bob"}, {}, {"task": "reach", "operator": "bob"}, {}]
    keys = [take(home, minute, **more) for minute, more in enumerate(said)]
    with home.join() as catalog:
        catalog.add(Verdict(episode=keys[0], by="ada", outcome=Outcome.SUCCESS))
        catalog.add(Verdict(episode=keys[1], by="ada", outcome=Outcome.FAILURE, failure="DROP", stage="S3"))
        catalog.edit(Edit(episode=keys[2], kind=EditKind.QUARANTINE, by="ada", why="a cube was missing"))
        catalog.edit(Edit(episode=keys[4], kind=EditKind.RETIRE, by="ada", why="a test"))
    return home


@pytest.fixture
def five(made: Home, tmp_path: Path) -> Home:
    """The same five, a test's own."""
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    return Home(tmp_path, str(tmp_path / "catalog.db"))


def test_the_newest_stand_first_with_grade_verdict_and_motion(five: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4 and all(row[MOTION] for row in rows(app)))
        found = rows(app)
        assert [row[TASK] for row in found] == ["reach", "pick_place", "pick_place", "pick_place"]
        assert [row[WHO] for row in found] == ["bob", "ada", "bob", "ada"]
        assert [row[VERDICT] for row in found] == ["?", "? Q", "DROP", "success"]
        assert {row[GRADE] for row in found} == {"100/0.0/-"}
        assert {row[MOTION] for row in found} == {"▁▁▁▁▁█████"}
        assert line(app, "#count") == "1-4 of 4"
        assert isinstance(app.focused, Rows), "only / leads to where one types"
        await until(pilot, lambda: "bob at cell" in line(app, "#about"))

    shown(five, "episodes", drive)


def test_what_is_typed_narrows_the_list_and_what_makes_no_sense_is_said(five: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4)
        await pilot.press("slash", *"bob dro")
        await until(pilot, lambda: [row[VERDICT] for row in rows(app)] == ["DROP"])
        field = app.screen.query_one("#filter", Input)
        field.value = "--retired"
        await until(pilot, lambda: [row[VERDICT] for row in rows(app)] == ["? R"])
        field.value = "task:reach"
        await until(pilot, lambda: [row[TASK] for row in rows(app)] == ["reach"])
        field.value = "task:jump"
        await until(pilot, lambda: "there is no task 'jump'; there are: pick_place, reach" in line(app, "#said"))
        assert [row[TASK] for row in rows(app)] == ["reach"]
        field.value = "a0000001"
        await until(pilot, lambda: [row[VERDICT] for row in rows(app)] == ["DROP"])
        assert not line(app, "#said")
        await pilot.press("enter")
        assert app.focused is not None
        assert app.focused.id != "filter"

    shown(five, "episodes", drive)


def test_of_an_open_batch_it_is_not_told_who_drove_and_nobody_finds_it_by_the_policy(five: Home) -> None:
    """Not even before a take is known to be a trial's. What the policy did before the batch has its name."""
    with five.join() as catalog:
        policies = [policy(catalog, name, "pick_place") for name in ("bc-1", "bc-2")]
        tried(catalog, five.folder, policies, lambda *_: SUCCESS, 1)
        batch = plan(catalog, "pick_place", policies[:1], 1, seed=2, station="cell")
        entered(catalog, five.folder, catalog.trials(batch.id)[0])

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 7)
        assert rows(app)[0][WHO] == "blinded"
        assert {row[WHO] for row in rows(app)[1:3]} == {"bc-1", "bc-2"}
        await until(pilot, lambda: "policy, blinded" in line(app, "#about"))
        await pilot.press("slash", *"policy:bc-1")
        await until(pilot, lambda: "bc-1 is tried blind at the moment" in line(app, "#said"))
        assert len(rows(app)) == 7
        with five.join() as catalog:
            catalog.end_batch(batch.id, "enough")
        app.screen.query_one("#filter", Input).value = "policy:bc-1 policy"
        await until(pilot, lambda: [row[WHO] for row in rows(app)] == ["bc-1", "bc-1"])

    shown(five, "episodes", drive)


def test_three_keys_and_a_note_say_how_it_failed(five: Home) -> None:
    """The newest is of ``reach``; stage 4 is S3, where the first code is asked for by its number."""

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4)
        await pilot.press("f")
        await until(pilot, lambda: "In which stage?" in plain(pilot))
        await pilot.press("4")
        await until(pilot, lambda: "How, in S3 transport?" in plain(pilot))
        await pilot.press("1")
        await until(pilot, lambda: "A note?" in plain(pilot))
        await pilot.press(*"slipped", "enter")
        await until(pilot, lambda: rows(app)[0][VERDICT] not in {"?", "success"})
        await pilot.press("down", "s")
        await until(pilot, lambda: rows(app)[1][VERDICT] == "success Q")

    shown(five, "episodes", drive)
    with five.join() as catalog:
        newest = catalog.verdicts(next(one.row.id for one in catalog.find(Wanted(task="reach"))))[-1]
        assert (newest.outcome, newest.stage, newest.note, newest.by) == (Outcome.FAILURE, "S3", "slipped", "ada")
        assert newest.failure in {mode.code for mode in catalog.failure_modes() if "S3" in mode.stage}


def test_what_is_set_aside_leaves_the_list_for_a_reason_and_comes_back(five: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4)
        await pilot.press("d")
        await until(pilot, lambda: "Why is it set aside?" in plain(pilot))
        await pilot.press("enter")
        assert "Why is it set aside?" in plain(pilot), "a reason is needed"
        await pilot.press(*"blur", "enter")
        await until(pilot, lambda: len(rows(app)) == 3)
        assert "retire, blur" in line(app, "#said")
        app.screen.query_one("#filter", Input).value = "--retired"
        await until(pilot, lambda: [row[VERDICT] for row in rows(app)] == ["? R", "? R"])
        await pilot.press("down", "u")
        await until(pilot, lambda: "Why is it taken back?" in plain(pilot))
        await pilot.press(*"sharp", "enter")
        await until(pilot, lambda: len(rows(app)) == 1)

    shown(five, "episodes", drive)
    with five.join() as catalog:
        assert [(one.kind, one.why) for one in catalog.edits()][-2:] == [
            (EditKind.RETIRE, "blur"),
            (EditKind.RESTORE, "sharp"),
        ]


def test_a_take_is_replayed_beside_its_joints_at_any_speed(five: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4)
        await pilot.press("enter")
        await until(pilot, lambda: "of 1.98 s" in line(app, "#ruler"))
        replay = app.screen
        assert isinstance(replay, Replay)
        await until(pilot, lambda: "arm q 1 measured" in plain(pilot))
        assert "front" in line(app, "#names")
        await pilot.press("right", "full_stop")
        await until(pilot, lambda: replay.at == pytest.approx(1.1))
        await pilot.press("up", "up", "space")
        await until(pilot, lambda: replay.at == pytest.approx(1.98) and not replay.playing)
        assert replay.speed == 4
        await pilot.press("j")
        await until(pilot, lambda: "arm q 2 measured" in plain(pilot))
        await pilot.press("s")
        await until(pilot, lambda: "success" in line(app, "#said"))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, Replay) and rows(app)[0][VERDICT] == "success")

    shown(five, "episodes", drive)


def test_pictures_come_only_when_asked_for(five: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "motion" in line(app, "#about"))
        assert not app.screen.query("Picture.there")
        await pilot.press("t")
        await until(pilot, lambda: len(app.screen.query("Picture.there")) == 2)
        assert len(rows(app)) == 4
        await pilot.press("t")
        await until(pilot, lambda: not app.screen.query("Picture.there"))

    shown(five, "episodes", drive)


def test_what_is_gone_is_a_line_and_not_a_crash(five: Home) -> None:
    """First an episode's folder, then an array inside another one, at last the catalog."""

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4)
        folders = sorted(Path(five.folder, "episodes").iterdir())
        shutil.rmtree(folders[3])
        shutil.rmtree(folders[2] / "arm" / "q")
        await pilot.press("r")
        await until(pilot, lambda: "is not on this disk" in line(app, "#about"))
        await pilot.press("enter")
        await until(pilot, lambda: "is not on this disk" in line(app, "#said"))
        await pilot.press("escape", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, Replay) and "arm" in line(app, "#said"))
        await pilot.press("escape")
        Path(five.database).write_bytes(b"no database at all, but long enough to be looked at as if it were one" * 40)
        await pilot.press("r")
        await until(pilot, lambda: line(app, "#said").startswith("! "))

    shown(five, "episodes", drive)


def test_only_a_page_is_read_and_the_next_follows(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.tui.episodes.AGAIN", 0.3)
    with home.join() as catalog:
        catalog.add(*(episode(minute, task="pick_place") for minute in range(PAGE + 3)))

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: line(app, "#count") == f"1-{PAGE} of {PAGE + 3}")
        newest = rows(app)[0][0]
        await pilot.press("n")
        await until(pilot, lambda: line(app, "#count") == f"{PAGE + 1}-{PAGE + 3} of {PAGE + 3}")
        assert len(rows(app)) == 3
        await pilot.press("n", "b")
        await until(pilot, lambda: rows(app)[0][0] == newest)
        with home.join() as catalog:
            catalog.add(episode(PAGE + 9, task="pick_place", operator="eve"))
        await until(pilot, lambda: rows(app)[0][WHO] == "eve")
        assert app.screen.query_one(Rows).at == 1, "who is moved to stays so"

    shown(home, "episodes", drive)


def test_a_long_list_scrolls_with_who_is_moved_to_and_can_be_clicked(home: Home) -> None:
    """Nineteen lines are to be seen; a page is as much as that."""
    with home.join() as catalog:
        catalog.add(*(episode(minute, task="pick_place", operator=f"人{minute}") for minute in range(PAGE)))

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == PAGE)
        listed = app.screen.query_one(Rows)
        await pilot.press("end")
        await until(pilot, lambda: "人0 " in plain(pilot) and f"人{PAGE - 1}" not in plain(pilot))
        assert any(each.startswith("when ") for each in plain(pilot).splitlines()), "the heading stays"
        await pilot.press("pageup", "up")
        assert listed.at == PAGE - 1 - (listed.size.height - 2) - 1
        await pilot.press("home")
        await until(pilot, lambda: f"人{PAGE - 1}" in plain(pilot))
        await pilot.click(Rows, offset=(3, 4))
        assert listed.at == 3
        await pilot.click(Rows, offset=(3, 4))
        await until(pilot, lambda: isinstance(app.screen, Replay))

    shown(home, "episodes", drive)


def test_without_a_display_it_says_what_opens_in_rerun(five: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4)
        await pilot.press("o")
        assert "there is no display here" in line(app, "#said"), "at once, and no program is begun"
        assert "appliance episodes view a0000003 --save a0000003.rrd" in line(app, "#said")

    shown(five, "episodes", drive)


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (40, 12)])
def test_it_fits_a_terminal_of_any_size(five: Home, size: tuple[int, int]) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4 and "of 4" in plain(pilot))
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: "find" in plain(pilot))

    shown(five, "episodes", drive, size)


def test_without_colours_pictures_are_shades(five: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "DROP" in plain(pilot))
        await pilot.press("t")
        await until(pilot, lambda: "█" * 8 in plain(pilot))
        assert "▀" not in plain(pilot)

    shown(five, "episodes", drive)


def test_it_looks_as_it_did(five: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app)) == 4 and all(row[MOTION] for row in rows(app)))
        await until(pilot, lambda: "motion" in line(app, "#about") and "of 4" in line(app, "#count"))
        await compared(pilot, "episodes")
        await pilot.press("enter", "right")
        await until(pilot, lambda: "x1   1.00 of 1.98 s" in line(app, "#ruler") and "arm q 1" in line(app, "Graph"))
        await until(pilot, lambda: len(app.screen.query("Picture.there")) == 1)
        await compared(pilot, "replay")

    with monkeypatch.context() as here:
        here.setenv("TZ", "UTC")
        time.tzset()
        shown(five, "episodes", drive)
    time.tzset()


def test_a_list_rests_once_when_the_keys_do() -> None:
    class Listed(App[None]):
        settled: ClassVar[list[str]] = []

        def compose(self) -> ComposeResult:
            yield Rows({"when": 10})

        @on(Rows.Settled)
        def rests(self, message: Rows.Settled) -> None:
            self.settled.append(str(message.rows.here))

    async def run() -> None:
        app = Listed()
        async with app.run_test(size=(40, 10)) as pilot:
            app.query_one(Rows).fill([Row(str(key), [str(key)]) for key in range(5)])
            app.query_one(Rows).focus()
            await pilot.press("down", "down", "down")
            await until(pilot, lambda: bool(app.settled))
            await pilot.pause(2 * SETTLED)
        assert app.settled == ["3"]

    asyncio.run(run())
