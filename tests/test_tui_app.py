"""The frame of the screen: where keys lead, the big word, and that nobody leaves a take behind."""

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.color import Color
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import Static

from appliance import station
from appliance.asking import Hears
from appliance.home import Home
from appliance.offers import Offer
from appliance.session import sitting
from appliance.sitting import Attended
from appliance.tui.app import Tui
from appliance.tui.collect import Collect
from appliance.tui.evaluate import Evaluate
from appliance.tui.leaving import Leaving
from appliance.tui.room import Room
from appliance.tui.room import Wanted as Shows
from appliance.tui.table import Seat, Taken, Tell
from appliance.tui.top import LETTERS, large
from appliance.tui.widgets.cameras import Cameras
from collectors import Agent, Event
from collectors.ways import Place
from drivers import DeviceLost, Row
from storage import Observation, Wanted
from tests.homes import opened
from tests.test_session import BLIND, REACH
from tests.test_sitting import Showing, anywhere
from tests.test_station import CELL, LIMITS, write
from tests.test_tui_collect import until

home = pytest.fixture(opened)

PEDAL = "\x1b[6~"
"""What a pedal sends that is plugged in as a keyboard with the key page down."""

SMALL, LARGE = (80, 24), (120, 40)


class Pondering(Showing):
    """Moves on when it is told to."""

    going = threading.Event()

    def act(self, seen: Observation) -> Row | None:
        self.going.wait(0.02)
        return super().act(seen)


class Losing(Pondering):
    """Finds that the arm is lost."""

    def act(self, seen: Observation) -> Row | None:
        raise DeviceLost("arm: its cable is out")


def seat(home: Home, folder: Path, kind: type[Pondering] = Pondering) -> Seat:
    """A sitting at a toy bench, whose takes last until somebody ends them."""
    bench = station.load(write(folder, CELL + BLIND + LIMITS))

    def make(_way: str, here: Place) -> Agent:
        return kind(here.events, here.robot.action, [])

    @contextmanager
    def sits(hears: Hears, tell: Tell) -> Generator[Attended]:
        with (
            home.join() as catalog,
            sitting(bench, catalog, home.folder, "ada") as session,
            hears(session, {PEDAL: (Event.START, Event.STOP)}) as typing,
        ):
            place = anywhere(session)
            yield Attended(session, place, "kinesthetic", [Offer(REACH, 9)], typing=typing, make=make, tell=tell)

    with home.join() as catalog:
        catalog.add(REACH)
    return sits


def shown(
    home: Home,
    drive: Callable[[Tui, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = SMALL,
    recovered: Sequence[str] = (),
) -> None:
    """Show the program; whatever goes on at its table has ended afterwards."""
    app = Tui(Room(home, "franka-sim", "ada"), recovered)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.screen.TITLE == "Cell")
            try:
                await drive(app, pilot)
            finally:
                app.table.leave()
                app.table.left()

    asyncio.run(run())


def asks(app: Tui) -> str:
    """What whoever sits at the table is asked; nothing where nobody does."""
    return "" if app.table.sitting is None else app.table.sitting.view.asks


def at(app: Tui, name: str) -> bool:
    """Whether that screen is shown."""
    return app.current_mode == name and type(app.screen).__name__.lower() == name


def word(app: Tui) -> str:
    """The big word; nothing as long as a screen is only being made."""
    return "".join(str(one.content).strip() for one in app.screen.query("#word").results(Static))


async def sat(app: Tui, pilot: Pilot[None], seat: Seat) -> None:
    """Sit down where takes are made."""
    app.table.sit(seat)
    await until(pilot, lambda: app.table.sitting is not None and "START" in app.table.sitting.view.asks)
    await until(pilot, lambda: word(app) == "READY")
    assert app.table.sitting is not None
    app.action_go("collect")
    await until(pilot, lambda: app.screen.TITLE == "Collect")


async def running(app: Tui, pilot: Pilot[None], seat: Seat) -> None:
    """Sit down, and begin a take."""
    await sat(app, pilot, seat)
    app.simulate_key("enter")
    await until(pilot, lambda: app.table.running and word(app) == "RUNNING")


def test_digits_and_brackets_lead_to_the_screens_which_are_named_at_the_top(home: Home) -> None:
    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        for digit, name in [("2", "collect"), ("6", "orders"), ("3", "episodes"), ("1", "cell")]:
            await pilot.press(digit)
            await until(pilot, functools.partial(at, app, name))
            tabs = app.screen.query_one("#tabs", Static).render()
            assert isinstance(tabs, Content)
            stands_out = [str(tabs)[span.start : span.end] for span in tabs.spans if "reverse" in str(span.style)]
            assert stands_out == [f" {digit} {name.title()} "]
        app.simulate_key("left_square_bracket")
        await until(pilot, lambda: app.current_mode == "orders")
        app.simulate_key("right_square_bracket")
        await until(pilot, lambda: app.current_mode == "cell")

    shown(home, drive)


def test_screens_that_look_while_the_program_closes_look_at_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = list[str]()

    def last_look(here: Collect | Evaluate | Cameras) -> None:
        here.look()
        looked.append(type(here).__name__)

    for kind in (Collect, Evaluate, Cameras):
        monkeypatch.setattr(kind, "on_unmount", last_look, raising=False)

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        for name in ("collect", "evaluate"):
            app.action_go(name)
            await until(pilot, functools.partial(at, app, name))
            await until(pilot, lambda: any(one.is_mounted for one in app.screen.query(Cameras)))
        app.action_go("cell")
        await until(pilot, functools.partial(at, app, "cell"))

    shown(home, drive)
    assert {"Collect", "Evaluate", "Cameras"} == {*looked}


def test_the_word_is_large_where_there_is_room_and_plain_where_there_is_not(home: Home) -> None:
    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: word(app) == large("READY").strip())
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: word(app) == "READY")
        await pilot.resize_terminal(*LARGE)
        await until(pilot, lambda: word(app) == large("READY").strip())

    shown(home, drive, LARGE)
    assert {*"READYRUNNINGHELDFAULT"} == LETTERS.keys()
    assert all(len({*map(len, shape)}) == 1 and len(shape) == 5 for shape in LETTERS.values())


def test_whoever_leaves_in_a_take_is_asked_and_the_take_is_ended_held_and_kept(home: Home, tmp_path: Path) -> None:
    sits = seat(home, tmp_path)

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await running(app, pilot, sits)
        app.simulate_key("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Leaving))
        app.simulate_key("n")
        await until(pilot, lambda: app.screen.TITLE == "Collect")
        assert app.table.running
        app.simulate_key("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Leaving))
        app.simulate_key("y")
        await until(pilot, lambda: app._exit)
        assert not app.table.taken

    shown(home, drive)
    with home.join() as catalog:
        (one,) = catalog.find(Wanted())
    assert (one.row.ended_by, one.standing.outcome) == ("stopped", None)


def test_old_garbage_is_looked_for_only_while_no_take_runs(home: Home, tmp_path: Path) -> None:
    sits, swept = seat(home, tmp_path), list[str]()

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("appliance.tui.app.sweep", lambda: swept.append(word(app)))
            app._sweep()
            await running(app, pilot, sits)
            app._sweep()
            app.simulate_key("ctrl+c")
            await until(pilot, lambda: word(app) == "HELD")
            app._sweep()

    shown(home, drive)
    assert swept == ["READY", "HELD"]


def test_ctrl_c_ends_the_take_then_the_sitting_and_only_then_the_program(home: Home, tmp_path: Path) -> None:
    sits = seat(home, tmp_path)

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await running(app, pilot, sits)
        app.simulate_key("ctrl+c")
        await until(pilot, lambda: word(app) == "HELD")
        await until(pilot, lambda: "How did it go?" in asks(app))
        with pytest.raises(Taken, match="q"):
            app.table.sit(sits)
        app.simulate_key("ctrl+c")
        await until(pilot, lambda: not app.table.taken)
        assert not app._exit
        app.simulate_key("ctrl+c")
        await until(pilot, lambda: app._exit)

    shown(home, drive)


def test_whoever_wants_takes_for_an_order_is_led_to_where_they_are_made(home: Home) -> None:
    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        app.screen.post_message(Shows("pick_place", 7))
        await until(pilot, lambda: "pick_place, order 7" in facts(app))
        app.simulate_key("x")
        await until(pilot, lambda: "any task" in facts(app))

    def facts(app: Tui) -> str:
        return "".join(str(one.content) for one in app.screen.query("#facts").results(Static))

    shown(home, drive)


def test_a_take_that_ends_by_a_fault_says_so_until_its_verdict(home: Home, tmp_path: Path) -> None:
    sits = seat(home, tmp_path, Losing)

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await sat(app, pilot, sits)
        app.simulate_key("enter")
        await until(pilot, lambda: word(app) == "FAULT")
        assert "arm: its cable is out" in str(app.screen.query_one("#beside", Static).content)
        app.simulate_key("d")
        await until(pilot, lambda: word(app) == "READY")

    shown(home, drive)


def test_a_key_that_the_station_file_names_means_what_it_says_there(home: Home, tmp_path: Path) -> None:
    sits = seat(home, tmp_path)

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await sat(app, pilot, sits)
        app.simulate_key("pagedown")
        await until(pilot, lambda: app.table.running)
        app.simulate_key("pagedown")
        await until(pilot, lambda: word(app) == "HELD")

    shown(home, drive)


@pytest.mark.parametrize(
    ("error", "says"),
    [(DeviceLost("arm: its cable is out"), "arm: its cable is out"), (KeyError("x"), "KeyError: 'x'")],
)
def test_a_sitting_that_cannot_begin_says_why_and_another_one_may(
    home: Home, tmp_path: Path, error: Exception, says: str
) -> None:
    @contextmanager
    def broken(_hears: Hears, _tell: Tell) -> Generator[Attended]:
        raise error
        yield

    sits = seat(home, tmp_path)

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        app.table.sit(broken)
        await until(pilot, lambda: word(app) == "FAULT")
        assert says in str(app.screen.query_one("#beside", Static).content)
        await until(pilot, lambda: says in str(app.screen.query_one("#attention", Static).content))
        await running(app, pilot, sits)

    shown(home, drive)


def test_who_wants_no_colour_gets_none_and_the_word_all_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: word(app) == "READY")
        drawn = [app.screen.query_one(name).render_line(0) for name in ("#word", "#tabs")]
        styles = [one.style for line in drawn for one in line.apply_filter(app._filters[-1], Color(0, 0, 0))]
        found = [colour.triplet for one in styles if one for colour in (one.color, one.bgcolor) if colour]
        colours = [(one.red, one.green, one.blue) for one in found if one]
        assert colours
        assert all(max(one) == min(one) for one in colours)

    shown(home, drive)
