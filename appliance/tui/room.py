"""What every screen is given, and what every screen is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from appliance.home import Home
from appliance.tui.keys import Keys
from appliance.tui.top import Top

if TYPE_CHECKING:
    from appliance.tui.table import Table

SCREENS = ("cell", "collect", "episodes", "learn", "evaluate", "orders")
"""The screens, in the order of the keys that lead there: 1 to 6."""


@dataclass(frozen=True)
class Room:
    """Where the screen is, and who stands before it. Everything else is read again whenever it is shown."""

    home: Home
    station: str
    operator: str
    task: str | None = None
    """Which task was asked for when it began; None for any."""


@dataclass
class Wanted(Message):
    """Somebody wants takes of a task, or of one of its work orders: the app shows where they are made."""

    task: str
    order: int | None = None


class RoomScreen(Screen[None]):
    """One screen of the app: the big word above, its own widgets, and the keys below.

    It says its `TITLE`, its ``BINDINGS`` and its `HELP`, and yields its widgets from `body`. What takes longer than a
    moment runs under ``@work(thread=True, exclusive=True)``: there it opens ``room.home.join()`` by itself, touches no
    widget, and posts a message of plain values.
    """

    HELP: ClassVar[str] = ""
    """What can be done here, in a few lines."""

    def __init__(self, room: Room, table: "Table") -> None:
        super().__init__()
        self.room, self.table = room, table

    def body(self) -> Iterable[Widget]:
        """The screen's own widgets, top to bottom."""
        return ()

    def compose(self) -> ComposeResult:
        yield Top(self.table, type(self).__name__.lower(), SCREENS)
        yield Vertical(*self.body(), id="body")
        yield Keys()
