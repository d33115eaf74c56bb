"""Help knows the screen it is called from, and the palette offers what can be done there."""

import asyncio
from typing import ClassVar

import pytest
from textual.binding import Binding, BindingType

from appliance.home import Home
from appliance.tui.app import Tui
from appliance.tui.help import EVERYWHERE, HERE, LATER, Help, Key, commands, keys
from appliance.tui.keys import Keys
from appliance.tui.room import SCREENS, Room, RoomScreen
from tests.homes import opened
from tests.screens import plain
from tests.test_tui_evaluate import shown

home = pytest.fixture(opened)


class Over(RoomScreen):
    """A screen with two keys, one of which counts only sometimes."""

    TITLE = "Over"
    HELP = "The whole of it [not markup]."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g,f7", "go_there", "Go there"),
        Binding("h", "hide", "Hide", show=False),
    ]
    gone, may = 0, True

    def action_go_there(self) -> None:
        self.gone += 1

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.may or action != "hide"


Over.__module__ = "appliance.tui.over"


class Under(Over):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("g", "go_under", "Go under")]


Under.__module__ = "appliance.tui.under"


def at(home: Home, kind: type[Over]) -> tuple[Tui, Over]:
    app = Tui(Room(home, "franka-sim", "ada"))
    return app, kind(app.room, app.table)


def test_help_tells_what_a_screen_says_and_every_key_of_it(home: Home) -> None:
    async def run() -> None:
        app, screen = at(home, Over)
        async with app.run_test(size=(80, 24)) as pilot:
            await app.push_screen(screen)
            screen.may = False
            await pilot.press("question_mark")
            await pilot.pause()
            assert isinstance(app.screen, Help)
            said = shown(pilot)
            assert "The whole of it [not markup]." in said
            assert "Go there" in said
            await pilot.press("escape")
            assert isinstance(app.screen, Over)
            found = keys(screen)
            assert found[:2] == [Key("g F7", "Go there", HERE, True), Key("h", "Hide", HERE, False)]
            assert LATER in next(line for line in said.splitlines() if "Hide" in line)
            everywhere = {one.does: one for one in found if one.where == EVERYWHERE}
            assert everywhere["Help"] == Key("? F1", "Help", EVERYWHERE, True)
            assert {name.title() for name in SCREENS} <= everywhere.keys()

    asyncio.run(run())


def test_a_key_counts_as_the_most_special_screen_says(home: Home) -> None:
    async def run() -> None:
        app, screen = at(home, Under)
        async with app.run_test() as pilot:
            await app.push_screen(screen)
            await pilot.pause()
            found = {one.does: one.keys for one in keys(screen) if one.where == HERE}
            assert found == {"Go under": "g", "Go there": "F7", "Hide": "h"}

    asyncio.run(run())


def test_the_palette_does_what_the_screen_can_do_now(home: Home) -> None:
    async def run() -> None:
        app, screen = at(home, Over)
        async with app.run_test(size=(80, 24)) as pilot:
            await app.push_screen(screen)
            screen.may = False
            assert [one.title for one in commands(screen)] == ["Go there"]
            assert "Go there" in [one.title for one in app.get_system_commands(screen)]
            await pilot.press("ctrl+p")
            await pilot.pause(0.1)
            await pilot.press(*"go there")
            await pilot.pause(0.5)
            await pilot.press("enter")
            await pilot.pause(0.2)
            assert screen.gone == 1

    asyncio.run(run())


def test_every_screen_has_help_and_names_its_keys(home: Home) -> None:
    async def run() -> None:
        app = Tui(Room(home, "franka-sim", "ada"))
        async with app.run_test(size=(80, 24)) as pilot:
            for number, name in enumerate(SCREENS, 1):
                await pilot.press(str(number))
                await pilot.pause()
                screen = app.screen
                assert isinstance(screen, RoomScreen), name
                assert len(screen.HELP) > 80, name
                shown = plain(pilot).splitlines()[-1]
                assert shown.rstrip().endswith(("? Help", "^p palette")), name
                for one in keys(screen):
                    assert one.does, f"{name}: {one}"
                app.set_focus(None)
                await pilot.press("f1")
                assert isinstance(app.screen, Help), name
                await pilot.press("escape")

    asyncio.run(run())


def test_a_key_in_the_last_line_may_be_clicked(home: Home) -> None:
    async def run() -> None:
        app = Tui(Room(home, "franka-sim", "ada"))
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            place = plain(pilot).splitlines()[-1].index("Help")
            await pilot.click(Keys, offset=(1, 0))
            assert not isinstance(app.screen, Help), "the first key means something else"
            await pilot.click(Keys, offset=(place, 0))
            assert isinstance(app.screen, Help)

    asyncio.run(run())


def test_a_click_where_no_key_found_room_presses_none(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        app, pressed = Tui(Room(home, "franka-sim", "ada")), list[str]()
        monkeypatch.setattr(app, "simulate_key", pressed.append)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            whole = len(plain(pilot).splitlines()[-1].rstrip())
            await pilot.resize_terminal(whole - 1, 24)
            await pilot.pause()
            last = plain(pilot).splitlines()[-1]
            assert len(last.rstrip()) < whole - 3, "the last key finds no room"
            await pilot.click(Keys, offset=(whole - 2, 0))
            assert pressed == []
            await pilot.click(Keys, offset=(1, 0))
            assert len(pressed) == 1

    asyncio.run(run())
