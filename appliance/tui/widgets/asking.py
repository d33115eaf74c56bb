"""What a person at the table is asked, and what they can press: the same words and presses as at a plain terminal."""

import time
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from appliance.asking import told
from appliance.tui.room import RoomScreen
from collectors import Event
from collectors.events import TAGS

if TYPE_CHECKING:
    from appliance.tui.table import Table

OFTEN = 0.05
"""Seconds between two looks at what is asked."""

SEEN = 2.0
"""Seconds for which a press is shown of which nothing came."""

SENT = {
    "enter": "\n",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "escape": "\x1b",
    "tab": "\t",
    "f5": "\x1b[15~",
}
"""What keys that are no letter send, as a station file names them."""


class Asks(Vertical):
    """The question, what there is to choose, the last take, what is lost; and a field while a note may be written."""

    DEFAULT_CSS = "Asks { height: auto; } Asks #asked { height: auto; } Asks Input { display: none; }"

    def __init__(self, table: "Table", idle: str) -> None:
        """``idle`` is shown while nobody sits at the table."""
        super().__init__()
        self._table, self.idle = table, idle
        self._words = Static(id="asked", markup=False)
        self._note = Input(placeholder="a note; Enter when it is done", id="note", disabled=True)
        self._pressed = self._answered = self._asked = self._drawn = ""
        self._until = 0.0

    def compose(self) -> ComposeResult:
        yield self._words
        yield self._note

    def on_mount(self) -> None:
        self.set_interval(OFTEN, self.look)

    def press(self, said: str) -> None:
        """Show at once that something was pressed; what comes of it follows."""
        self._pressed, self._answered, self._until = f"  [{said}]", self._asked, time.monotonic() + SEEN
        self.look()

    def look(self) -> None:
        """Show what is asked now, where it can be seen."""
        if self.screen not in self.app.screen_stack:
            return
        sitting = self._table.sitting
        if sitting is None:
            last = list(self._table.told)[-2:] if self._table.where == self.screen.TITLE else []
            lines = [self._table.refused or ("connecting..." if self._table.taken else self.idle), *last]
        else:
            lines = [*told(sitting.view), *self._table.news]
        self._asked = "\n".join(lines)
        if self._asked != self._answered or time.monotonic() > self._until:
            self._pressed = ""
        if (drawn := self._asked + self._pressed) != self._drawn:
            self._drawn = drawn
            self._words.update(drawn)
        self._write()

    def _write(self) -> None:
        """Show the field while a note is waited for, and only then."""
        note, wanted = self._note, self._table.writing.wanted
        if wanted and not note.display:
            note.value, note.display, note.disabled = "", True, False
            note.focus()
        elif note.display and not wanted:
            note.display, note.disabled = False, True
            self.screen.set_focus(None)

    @on(Input.Changed)
    def _written(self, message: Input.Changed) -> None:
        message.stop()
        self._table.writing.put(message.value)

    @on(Input.Submitted)
    def _whole(self, message: Input.Submitted) -> None:
        message.stop()
        self._table.writing.put(message.value, whole=True)
        self._write()  # at once: the next key is one again


class Pressing(RoomScreen):
    """A screen whose keys are presses: those of a plain terminal, and those that the station file names."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "press('start')", "Start"),
        Binding("s", "press('success')", "Success"),
        Binding("f", "press('failure')", "Failure"),
        Binding("d", "press('discard')", "Discard"),
        Binding("a", "press('again')", "Again", show=False),
        Binding("o", "press('grip_open')", "Open gripper", show=False),
        Binding("c", "press('grip_close')", "Close gripper", show=False),
        Binding("q", "press('stop')", "End"),
        *(Binding(str(k), f"press('{tag}')", f"Choose {k}", show=False) for k, tag in enumerate(TAGS, 1)),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Digits are the app's only while nobody sits: one that comes late must not show another screen."""
        return action != "press" or parameters[0] not in TAGS or self.table.taken

    def on_key(self, event: events.Key) -> None:
        """Hear the keys that the station file names."""
        sent = SENT.get(event.key, event.character or "")
        if self.table.sitting is not None and (press := self.table.keys.get(sent)) and self.focused is None:
            event.stop()
            event.prevent_default()
            self.pressed(*press)

    def action_press(self, name: str) -> None:
        """Say that to whoever asks; a digit only where there is something to choose or to mark."""
        if (event := Event(name)) in TAGS and not (self.table.asked or self.table.running):
            self.notify("nothing is to be chosen now; [ and ] show the other screens", timeout=2)
        else:
            self.pressed(event)

    def pressed(self, *meanings: Event) -> None:
        """Something was pressed that means this, or where that makes no sense, the next."""
        self.table.press(*meanings)
        for asks in self.query(Asks):
            asks.press(f"mark {meanings[0][-1]}" if meanings[0] in TAGS and self.table.running else meanings[0].upper())
