"""A list of lines, as all screens have them: columns of fixed widths, so that it can be read in 80 of them.

A line is drawn as one piece of text, which takes a hundredth of what Textual's own table takes for its cells: a page
of a large terminal is drawn between two presses of a key.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

SETTLED = 0.15
"""Seconds without a key after which a list rests."""


class Row(NamedTuple):
    """One line."""

    key: str
    cells: Sequence[str]
    style: str = ""


class Rows(ScrollView, can_focus=True):
    """Lines below a heading, of which one is moved to; it stays so when they are read again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--heading", "rows--here"}
    DEFAULT_CSS = """
    Rows { height: 1fr; min-height: 4; overflow-x: hidden; background: $surface; color: $foreground; }
    Rows .rows--heading { text-style: bold underline; }
    Rows .rows--here { text-style: underline; }
    Rows:focus .rows--here { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "move(-1000000)", "First", show=False),
        Binding("end", "move(1000000)", "Last", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    class About(Message):
        """Something happened to the list."""

        def __init__(self, rows: "Rows") -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> "Rows":
            """The list."""
            return self.rows

    class Moved(About):
        """Another line is moved to."""

    class Settled(About):
        """It rests on that line: what takes a while to read is read now."""

    class Chosen(About):
        """The line that is moved to is chosen."""

        def __init__(self, rows: "Rows", key: str) -> None:
            super().__init__(rows)
            self.key = key

    def __init__(self, columns: Mapping[str, int], name: str | None = None) -> None:
        """Have these columns, and how wide each is; ``name`` tells it from others of the screen."""
        super().__init__(id=name)
        self._widths = columns
        self._places = list(columns)
        self._rest: Timer | None = None
        self.lines: list[Row] = []
        self.at = 0
        """The place of the line that is moved to."""

    @property
    def here(self) -> str | None:
        """The key of the line that is moved to."""
        return self.lines[self.at].key if self.at < len(self.lines) else None

    def fill(self, rows: Iterable[Row]) -> None:
        """Show these lines; who is moved to stays so, or else the same place."""
        before = self.here
        self.lines = list(rows)
        keys = [row.key for row in self.lines]
        self.at = keys.index(before) if before in keys else max(0, min(self.at, len(keys) - 1))
        self.virtual_size = Size(sum(self._widths.values()) + len(self._widths), len(self.lines) + 1)
        self._come_along()
        self.refresh()

    def go(self, key: str) -> None:
        """Move to the line of this key, if there is one."""
        self._go(next((place for place, row in enumerate(self.lines) if row.key == key), self.at))

    def write(self, key: str, column: str, text: str) -> None:
        """Fill in a cell, if its line is still there."""
        place = self._places.index(column)
        for at, row in enumerate(self.lines):
            if row.key == key:
                self.lines[at] = row._replace(cells=(*row.cells[:place], text, *row.cells[place + 1 :]))
                self.refresh(Region(0, at + 1 - self.scroll_offset.y, self.size.width, 1))

    def action_move(self, by: int) -> None:
        """Move to a line so far down."""
        self._go(self.at + by)

    def action_page(self, by: int) -> None:
        """Move a page down."""
        self._go(self.at + by * max(1, self.size.height - 2))

    def action_choose(self) -> None:
        """Choose the line that is moved to."""
        if (key := self.here) is not None:
            self.post_message(self.Chosen(self, key))

    def on_click(self, event: events.Click) -> None:
        """Move to the line; choose it where one is already."""
        place = event.y - 1 + self.scroll_offset.y
        if event.y and place == self.at:
            self.action_choose()
        elif event.y:
            self._go(place)

    def on_resize(self) -> None:
        self._come_along()

    def render_line(self, y: int) -> Strip:
        place = y - 1 + self.scroll_offset.y
        base = self.rich_style
        if y == 0:
            text, style = self._text(self._places), base + self.get_component_rich_style("rows--heading", partial=True)
        elif place < len(self.lines):
            row = self.lines[place]
            text, style = self._text(row.cells), base + Style.parse(row.style)
            if place == self.at:
                style += self.get_component_rich_style("rows--here", partial=True)
        else:
            text, style = "", base
        left, width = self.scroll_offset.x, self.size.width
        return Strip([Segment(text, style)]).crop_extend(left, left + width, style if text else base)

    def _text(self, cells: Iterable[str]) -> str:
        return "".join(_cut(cell, width) + " " for cell, width in zip(cells, self._widths.values(), strict=True))

    def _go(self, place: int) -> None:
        place = max(0, min(place, len(self.lines) - 1))
        if place != self.at and self.lines:
            self.at = place
            self._come_along()
            self.refresh()
            self.post_message(self.Moved(self))
            if self._rest is not None:
                self._rest.stop()
            self._rest = self.set_timer(SETTLED, lambda: self.post_message(self.Settled(self)))

    def _come_along(self) -> None:
        """Scroll so far that the line that is moved to can be seen."""
        top, room = self.scroll_offset.y, max(1, self.size.height - 1)
        if not top <= self.at < top + room:
            self.scroll_to(y=self.at if self.at < top else self.at - room + 1, animate=False, immediate=True)


def _cut(text: str, width: int) -> str:
    """Text of just this width."""
    if cell_len(text) > width:
        return f"{set_cell_size(text, width - 1)}…"
    return set_cell_size(text, width)
