"""Whole sittings at the screen: keys are pressed, and what the catalog has then is looked at."""

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.style import Style
from textual.pilot import Pilot
from textual.widgets import Input, Static
from textual_image import renderable

from appliance import station
from appliance.home import STARTER, Home
from appliance.tui.app import Tui
from appliance.tui.collect import Collect
from appliance.tui.room import Room
from appliance.tui.room import Wanted as Shows
from appliance.tui.table import Table, Writing
from appliance.tui.widgets.blocks import Blocks, cost, fitted, strips
from appliance.tui.widgets.cameras import Cameras
from appliance.tui.widgets.pace import Pace, remote
from storage import Episode, Outcome, Verdict, Wanted, WorkOrder
from tests.homes import opened
from tests.screens import plain, take

home = pytest.fixture(opened)

WENT, STAGE, HOW, NOTE = "How did it go?", "In which stage?", "How, in", "A note?"


@pytest.fixture(autouse=True)
def _loaded() -> None:
    """The program loads its station before it shows anything."""
    station.load("franka-sim")


def at_the_table(
    home: Home,
    drive: Callable[[Tui, Pilot[None]], Awaitable[None]],
    where: str = "franka-sim",
    size: tuple[int, int] = (80, 24),
) -> Tui:
    """Sit before the screen of a station, where takes are made; whatever goes on there has ended afterwards."""
    app = Tui(Room(home, where, "ada", STARTER.name))

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.press("2")
            await until(pilot, lambda: isinstance(app.screen, Collect) and bool(app.screen._way))
            try:
                await drive(app, pilot)
            finally:
                app.table.leave()
                app.table.left()

    asyncio.run(run())
    return app


async def until(pilot: Pilot[None], holds: Callable[[], bool], within: float = 30.0) -> None:
    """Wait until something is so, and do not wait for the screen to be still: while a take is made it never is."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, plain(pilot)
        await asyncio.sleep(0.01)


def line(app: Tui, name: str) -> str:
    """What a text on the screen says."""
    return str(app.screen.query_one(name, Static).content)


async def asked(app: Tui, pilot: Pilot[None], words: str, before: str = "") -> str:
    """Wait until this is asked, and not as it was asked before; return how."""

    def new() -> bool:
        sitting = app.table.sitting
        return sitting is not None and words in sitting.view.asks and sitting.view.asks is not before

    await until(pilot, new)
    assert app.table.sitting is not None
    return app.table.sitting.view.asks


async def begun(app: Tui, pilot: Pilot[None]) -> None:
    """Begin a take."""
    await asked(app, pilot, "START:")
    app.simulate_key("enter")


def verdicts(home: Home) -> list[list[Verdict]]:
    with home.join() as catalog:
        return [catalog.verdicts(one.row.id) for one in catalog.find(Wanted(retired=None))]


def test_three_takes_a_success_a_failure_with_its_tag_and_one_that_is_discarded(home: Home) -> None:
    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await begun(app, pilot)
        await asked(app, pilot, WENT)
        assert str(app.table.word) == "HELD"
        await until(pilot, lambda: [each.drawn != [] for each in app.screen.query(Blocks)] == [True, True])
        await pilot.press("s")
        await begun(app, pilot)
        await asked(app, pilot, WENT)
        await pilot.press("f")
        await asked(app, pilot, STAGE)
        await pilot.press("4")
        await asked(app, pilot, HOW)
        await pilot.press("1")
        await asked(app, pilot, NOTE)
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"3 cm left", "enter")
        await begun(app, pilot)
        await asked(app, pilot, WENT)
        await pilot.press("d")
        await asked(app, pilot, "START:")
        await pilot.press("f", "enter")
        await until(pilot, lambda: "no take begins: failure was pressed" in line(app, "#asked"))
        assert str(app.table.word) == "READY"
        assert "take 4   1 good" in line(app, "#facts")
        await pilot.press("q")
        await until(pilot, lambda: not app.table.taken)
        await until(pilot, lambda: not app.screen.query(Blocks))

    at_the_table(home, drive)
    with home.join() as catalog:
        found = catalog.find(Wanted(retired=None))
    assert [(one.row.agent, one.row.operator, one.row.station) for one in found] == [
        ("scripted", "ada", "franka-sim")
    ] * 3
    assert [one.standing.outcome for one in found] == [Outcome.SUCCESS, Outcome.FAILURE, None]
    assert [one.standing.retired for one in found] == [False, False, True]
    (said,) = verdicts(home)[1]
    assert (said.stage, said.failure, said.note) == ("S3", "DROP", "3 cm left")
    assert {"front", "wrist"} <= {*Episode(home.folder / found[0].row.path).cameras}


def live(folder: Path) -> str:
    """The twin in real time, so that a take lasts as long as at a real table."""
    file = folder / "live.toml"
    file.write_text(station.text("franka-sim").replace("# realtime = true", "realtime = true"))
    return str(file)


@contextmanager
def measured(done: dict[str, list[float]]) -> Generator[None]:
    """Measure how long each thing that the event loop does takes: by the clock, and of the processor."""
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> Any:
        clock, used = time.perf_counter(), time.thread_time()
        run(handle)
        done.setdefault("clock", []).append(time.perf_counter() - clock)
        done.setdefault("used", []).append(time.thread_time() - used)

    asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]


def test_nothing_holds_up_the_screen_during_a_take_which_a_key_ends_and_another_one_the_sitting(
    home: Home, tmp_path: Path
) -> None:
    done: dict[str, list[float]] = {}

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await begun(app, pilot)
        await until(pilot, lambda: app.table.running and "REC" in app.table.said)
        with measured(done):
            await until(pilot, lambda: "REC 1" in app.table.said)
            assert line(app, "#word").strip() == "RUNNING"
            assert "late " in line(app, "#facts")
            app.simulate_key("2")
            app.simulate_key("d")
            await asked(app, pilot, "START:")
        await begun(app, pilot)
        await until(pilot, lambda: app.table.running)
        app.simulate_key("q")
        await asked(app, pilot, WENT)
        await pilot.press("q")
        await until(pilot, lambda: not app.table.taken)

    at_the_table(home, drive, live(tmp_path))
    assert max(done["used"]) < 0.05
    assert sorted(done["clock"])[-max(2, len(done["clock"]) // 100)] < 0.05
    with home.join() as catalog:
        first, second = catalog.find(Wanted(retired=None))
    assert [one.row.ended_by for one in (first, second)] == ["stopped", "stopped"]
    assert [one.standing.retired for one in (first, second)] == [True, False]
    assert [name for _, name in Episode(home.folder / first.row.path).attributes["marks"]] == ["tag_2", "discard"]
    assert verdicts(home) == [[], []]


def test_what_an_order_wants_is_asked_for_with_what_its_failed_trial_began_like_half_over_it(home: Home) -> None:
    failed = take(home, 1)
    with home.join() as catalog:
        order = catalog.order(
            WorkOrder(task=STARTER.name, wanted=3, why="it drops there", evidence={"episodes": [str(failed)]})
        )

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        app.screen.post_message(Shows(STARTER.name, order.id))
        await until(pilot, lambda: f"pick_place, order {order.id}" in line(app, "#facts"))
        await pilot.press("enter")
        await asked(app, pilot, "START:")
        await until(pilot, lambda: "3 more (it drops there)" in line(app, "#facts"))
        cameras = app.screen.query_one(Cameras)
        await until(pilot, lambda: [*cameras.ghost] == ["front"])
        assert cameras.ghost["front"].shape == (24, 32, 3)
        await until(pilot, lambda: any(each.drawn for each in app.screen.query(Blocks)))
        await pilot.press("g")
        await until(pilot, lambda: not cameras.ghost)

    at_the_table(home, drive)


def test_a_picture_is_as_large_as_fits_with_two_pixels_to_a_letter_and_a_ghost_half_over_it() -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24] = 255
    pixels = fitted(frame, 40, 10)
    assert pixels.shape == (20, 27, 3)
    assert fitted(frame, 40, 10, ghost=255 - frame).min() == 127
    drawn = strips(pixels)
    assert [one.cell_length for one in drawn] == [27] * 10
    assert {len([*one]) for one in drawn} == {1}, "one stretch of one colour is sent once"
    assert drawn[0].text == "▀" * 27
    (first,), (last,) = [*drawn[0]], [*drawn[-1]]
    assert str(first.style) == "#ffffff on #ffffff"
    assert str(last.style) == "#000000 on #000000"


def test_what_a_picture_costs_is_no_less_than_what_the_terminal_is_sent() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    drawn, same = strips(noise), strips(noise)
    sent = sum(len(one.render(Console(force_terminal=True, color_system="truecolor")).encode()) for one in drawn)
    assert sent <= cost([], drawn) < 1.3 * sent
    assert cost(drawn, same) == 0
    same[3] = strips(255 - noise)[3]
    assert 0 < cost(drawn, same) < cost([], drawn) / 10
    grey = np.full((40, 40, 3), 90, np.uint8) + np.random.default_rng(0).integers(0, 30, (40, 40, 1), np.uint8)
    assert cost([], strips(grey, coarse=True)) < cost([], strips(grey)) / 5
    assert [*strips(grey, width=50, beside=Style.null())[0]][-1].text == " " * 10, "what is narrower is made as wide"


def test_a_line_that_was_shown_is_gone_without_looking_for_garbage() -> None:
    (line,) = strips(np.zeros((2, 40, 3), np.uint8))
    assert [*line.divide([40])] == [line]
    assert [one.cell_length for one in line.divide([10, 40])] == [10, 30]
    gone = weakref.ref(line)
    gc.disable()
    try:
        del line
        assert gone() is None
    finally:
        gc.enable()


def test_a_note_that_is_whole_is_waited_for_no_more() -> None:
    writing = Writing()
    assert not writing.wanted
    writing.begin()
    writing.put("slid")
    assert writing.wanted
    writing.put("slid far", whole=True)
    assert not writing.wanted
    assert writing.typed() == ("slid far", True)


def test_a_link_is_sent_as_much_as_it_carries() -> None:
    now = [0.0]
    link, sent = Pace(1000.0, lambda: now[0]), 0
    for _ in range(1000):
        now[0] += 0.01
        if link.ready:
            link.sent(300)
            sent += 300
    assert 9_000 <= sent <= 10_600
    assert remote({"SSH_TTY": "/dev/pts/1"})
    assert not remote({"SSH_TTY": "", "TERM": "xterm"})


@pytest.mark.parametrize("means", ["graphics", "letters"])
def test_a_terminal_that_draws_pictures_is_given_them_unless_it_is_far_away(
    home: Home, monkeypatch: pytest.MonkeyPatch, means: str
) -> None:
    monkeypatch.setattr(renderable, "Image", renderable.TGPImage)
    if means == "letters":
        monkeypatch.setenv("SSH_TTY", "/dev/pts/1")
    cameras = Cameras(Table(Room(home, "franka-sim", "ada")))
    assert cameras.slow is (means == "letters")
    assert cameras._graphic is (means == "graphics")
