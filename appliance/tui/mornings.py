"""The morning page in the terminal: what the last nights did, what they decided, and why."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.console import RenderableType
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from appliance.tui.telling import Telling
from ops import morning

NONE = "No night was tried yet: `appliance nightly run --task ...` tries one."


class Read(Message):
    """One night, and the names of all."""

    def __init__(self, nights: Sequence[str], at: int, page: RenderableType) -> None:
        super().__init__()
        self.nights, self.at, self.page = nights, at, page


class Mornings(Telling):
    """One night at a time, the last one first."""

    TITLE = "Morning"
    HELP = "left is the night before, right the next; up and down scroll. Esc goes back."
    DEFAULT_CSS = """
    Mornings #which { height: 1; padding: 0 1; }
    Mornings VerticalScroll { height: 1fr; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "go(-1)", "Night before", key_display="←"),
        Binding("right", "go(1)", "Next night", key_display="→"),
        Binding("escape", "back", "Back"),
    ]

    def body(self) -> Iterable[Widget]:
        self._nights: Sequence[str] = ()
        self._at = -1
        yield Static(id="which", markup=False)
        yield VerticalScroll(Static(id="page"))
        yield self.saying()

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self._read(self._at)

    def action_back(self) -> None:
        """Go back."""
        self.dismiss()

    def action_go(self, by: int) -> None:
        """Show the night before, or the next."""
        self._read(min(len(self._nights) - 1, max(0, self._at + by)))

    @on(Read)
    def shown(self, message: Read) -> None:
        self._nights, self._at = message.nights, message.at
        count = len(message.nights)
        self.query_one("#which", Static).update(f"night {message.at + 1} of {count}" if count else "")
        self.query_one("#page", Static).update(message.page)

    @work(thread=True, exclusive=True, group="read")
    def _read(self, at: int) -> None:
        with self.trying(), self.room.home.join() as catalog:
            nights = [night.id for night in catalog.nights()]
            if not nights:
                self.post_message(Read((), 0, NONE))
                return
            at = at % len(nights)
            self.post_message(Read(nights, at, morning.tables(morning.of(catalog, nights[at]))))
