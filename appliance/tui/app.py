"""The app: six screens, the keys that lead to them, and a way out that hurts no take."""

import asyncio
import pkgutil
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from appliance.tui.help import commands
from appliance.tui.leaving import Leaving
from appliance.tui.manners import SWEEP, sweep
from appliance.tui.room import SCREENS, Room, RoomScreen, Wanted
from appliance.tui.table import Table
from collectors import Event

WHERE = {name: f"appliance.tui.{name}:{name.title()}" for name in SCREENS}
"""Where each screen is. It is loaded when it is first shown, or before."""

HELP = "appliance.tui.help:Help"
"""The screen that explains the one it is called from: ``Help(screen)``."""

PATIENCE = 0.5
"""Seconds between two looks whether the sitting has ended."""


class Tui(App[None]):
    """The screen of one station."""

    TITLE = "appliance"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # ruff: ignore[mutable-class-default] as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(k), f"go('{name}')", name.title(), show=False) for k, name in enumerate(SCREENS, 1)),
        Binding("left_square_bracket", "beside(-1)", "Screen before", show=False),
        Binding("right_square_bracket", "beside(1)", "Next screen", show=False),
        Binding("question_mark,f1", "help", "Help", key_display="?"),
        Binding("ctrl+c", "interrupt", "End the take", show=False, priority=True),
        Binding("ctrl+q", "quit", "Quit", priority=True),
    ]

    @dataclass
    class Loaded(Message):
        """A screen is at hand."""

        name: str

    class Left(Message):
        """Nobody sits at the table any more, and nobody wants to."""

    def __init__(self, room: Room, recovered: Iterable[str] = ()) -> None:
        """Be before this station; ``recovered`` is what was told when the home was opened."""
        super().__init__()
        self.room = room
        self.recovered = tuple(recovered)
        self._loaded = {"cell"}
        self._awaited = ""
        self.table = Table(room)

    def on_mount(self) -> None:
        for name, where in WHERE.items():
            self.add_mode(name, partial(self._screen, where))
        for gone in (signal.SIGTERM, signal.SIGHUP):  # the take in hand ends safely first
            asyncio.get_running_loop().add_signal_handler(gone, self.leave)
        self.set_interval(SWEEP, self._sweep)
        self.switch_mode("cell")
        self._load()

    def _sweep(self) -> None:
        """Throw away what is old, unless a take runs: it would be held up."""
        if not self.table.running:
            sweep()

    @work(thread=True, group="load")
    def _load(self) -> None:
        """Have every screen at hand: what one needs takes a while to load, and nothing is held up by it."""
        for name, where in WHERE.items():
            pkgutil.resolve_name(where)
            self.post_message(self.Loaded(name))
        pkgutil.resolve_name(HELP)

    @on(Loaded)
    def _have(self, message: Loaded) -> None:
        """Show a screen that is at hand now, if somebody has asked for it meanwhile."""
        self._loaded.add(message.name)
        if self._awaited == message.name:
            self.action_go(message.name)

    def _screen(self, where: str) -> Screen[None]:
        made: RoomScreen = pkgutil.resolve_name(where)(self.room, self.table)
        return made

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette offers: what can be done on the screen, and everywhere."""
        yield from commands(screen)
        for name in SCREENS:
            yield SystemCommand(name.title(), f"Show the screen {name.title()}", partial(self.action_go, name))
        yield SystemCommand("Help", "What can be done here", self.action_help)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Quit", "Leave; a take that runs ends safely", self.action_quit)

    def action_go(self, name: str) -> None:
        """Show that screen."""
        if name not in self._loaded:
            self._awaited = name
            self.notify(f"{name.title()} is being loaded", timeout=2)
            return
        self._awaited = ""
        if self.current_mode != name:
            self.switch_mode(name)

    def action_beside(self, by: int) -> None:
        """Show the next screen, or the one before."""
        names = [*SCREENS]
        self.action_go(names[(names.index(self.current_mode) + by) % len(names)])

    def action_help(self) -> None:
        """Explain the screen that is shown."""
        self.push_screen(pkgutil.resolve_name(HELP)(self.screen))

    @on(Wanted)
    async def collect(self, wanted: Wanted) -> None:
        """Show where takes are made, with what was wanted chosen."""
        from appliance.tui.collect import Collect

        await self.switch_mode("collect")
        if isinstance(self.screen, Collect):
            self.screen.choose(wanted.task, wanted.order)

    def action_interrupt(self) -> None:
        """End the take that runs; without one, the sitting; without that, leave."""
        if self.table.running:
            self.table.press(Event.STOP)
        elif self.table.taken:
            self.table.leave()
        else:
            self.run_worker(self.action_quit())

    async def action_quit(self) -> None:
        """Leave; while a take runs, only after a question."""
        if not self.table.running:
            self.leave()
        elif not isinstance(self.screen, Leaving):
            self.push_screen(Leaving(), self._left)

    def _left(self, sure: bool | None) -> None:
        if sure:
            self.leave()

    @work(thread=True, exclusive=True, group="leave")
    def leave(self) -> None:
        """End whatever goes on at the table, safely; then end the app."""
        self.table.leave()
        while not self.table.left(PATIENCE):
            self.table.leave()
        self.post_message(self.Left())

    @on(Left)
    def _end(self) -> None:
        """End the app, now that nobody sits at the table."""
        self.exit()
