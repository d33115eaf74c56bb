"""The line above every screen: in one word, how the robot is, and where one is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from appliance.tui.table import Word

if TYPE_CHECKING:
    from appliance.tui.table import Table

OFTEN = 0.1
"""Seconds between two looks."""

ROOMY = (100, 34)
"""Columns and rows from which on the word is written large."""

LETTERS: Mapping[str, tuple[str, ...]] = {
    "A": (" ███ ", "█   █", "█████", "█   █", "█   █"),
    "D": ("████ ", "█   █", "█   █", "█   █", "████ "),
    "E": ("█████", "█    ", "████ ", "█    ", "█████"),
    "F": ("█████", "█    ", "████ ", "█    ", "█    "),
    "G": (" ████", "█    ", "█  ██", "█   █", " ████"),
    "H": ("█   █", "█   █", "█████", "█   █", "█   █"),
    "I": ("███", " █ ", " █ ", " █ ", "███"),
    "L": ("█    ", "█    ", "█    ", "█    ", "█████"),
    "N": ("█   █", "██  █", "█ █ █", "█  ██", "█   █"),
    "R": ("████ ", "█   █", "████ ", "█  █ ", "█   █"),
    "T": ("█████", "  █  ", "  █  ", "  █  ", "  █  "),
    "U": ("█   █", "█   █", "█   █", "█   █", " ███ "),
    "Y": ("█   █", " █ █ ", "  █  ", "  █  ", "  █  "),
}
"""Those of the words there are, five lines high."""


def large(word: str) -> str:
    """A word in letters that can be read from two metres."""
    return "\n".join("  ".join(LETTERS[letter][line] for letter in word.upper()) for line in range(5))


class Top(Horizontal):
    """The big word, and beside it the screen's name, the station and what the robot does."""

    def __init__(self, table: "Table", name: str) -> None:
        super().__init__(id="top")
        self._table, self._title = table, name
        self._drawn: tuple[str, bool, str] | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="word")
        yield Static(id="beside")

    def on_mount(self) -> None:
        self.set_interval(OFTEN, self.look)
        self.look()

    def on_resize(self) -> None:
        self.look()

    def look(self) -> None:
        """Say how it is now; nothing is drawn that was drawn before."""
        width, height = self.app.size
        roomy = width >= ROOMY[0] and height >= ROOMY[1]
        word, room = self._table.word, self._table.room
        beside = f"{self._title}   {room.station}   {room.operator}"
        if said := self._table.said:
            beside += f"{'\n' if roomy else '   '}{said}"
        if (drawn := (word, roomy, beside)) == self._drawn:
            return
        self._drawn = drawn
        for one in Word:
            self.set_class(one is word, one.lower())
        self.set_class(roomy, "large")
        self.query_one("#word", Static).update(large(word) if roomy else f" {word} ")
        self.query_one("#beside", Static).update(beside)
