"""The line above every screen: in one word, how the robot is, and where one is."""

from collections.abc import Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
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


class Top(Vertical):
    """The big word, beside it what the robot does, where, and who is there; and the screens there are."""

    def __init__(self, table: "Table", name: str, screens: Sequence[str]) -> None:
        super().__init__(id="top")
        self._table, self._here, self._screens = table, name, screens
        self._drawn: tuple[str, bool, str] | None = None
        self._word, self._beside = Static(id="word"), Static(id="beside", markup=False)

    def compose(self) -> ComposeResult:
        yield Horizontal(self._word, self._beside, id="state")
        tabs = starmap(self._tab, enumerate(self._screens, 1))
        yield Static(f"{'  '.join(tabs)}  [@click=app.help]? Help[/]", id="tabs")

    def _tab(self, number: int, name: str) -> str:
        """A screen's key and name, which can be clicked, too; the one that is shown stands out in any colour."""
        words = f"{number} {name.title()}"
        return f"[b reverse] {words} [/]" if name == self._here else f"[@click=app.go('{name}')] {words} [/]"

    def on_mount(self) -> None:
        self.set_interval(OFTEN, self.look)
        self.look()

    def on_resize(self) -> None:
        self.look()

    def look(self) -> None:
        """Say how it is now, where it can be seen; nothing is drawn that was drawn before."""
        if self.screen not in self.app.screen_stack:
            return
        width, height = self.app.size
        roomy = width >= ROOMY[0] and height >= ROOMY[1]
        word, room = self._table.word, self._table.room
        where = f"{Path(room.station).stem}   {room.operator}"
        beside = ("\n" if roomy else "   ").join(filter(None, [self._table.said, where]))
        if (drawn := (word, roomy, beside)) == self._drawn:
            return
        self._drawn = drawn
        for one in Word:
            self.set_class(one is word, one.lower())
        self.set_class(roomy, "large")
        self._word.update(large(word) if roomy else f" {word} ")
        self._beside.update(beside)
