"""A list of lines, as all screens have them: columns of fixed widths, so that it can be read in 80 of them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rich.text import Text
from textual.widgets import DataTable


class Row(NamedTuple):
    """One line."""

    key: str
    cells: Iterable[str]
    style: str = ""


class Rows(DataTable[Text]):
    """Lines, of which one is moved to; it stays so when they are read again."""

    def __init__(self, columns: Mapping[str, int], name: str | None = None) -> None:
        """Have these columns, and how wide each is; ``name`` tells it from others of the screen."""
        super().__init__(cursor_type="row", cell_padding=0, zebra_stripes=True, id=name)
        self._widths = columns

    def on_mount(self) -> None:
        for column, width in self._widths.items():
            self.add_column(column, key=column, width=width + 1)

    @property
    def here(self) -> str | None:
        """The key of the line that is moved to."""
        return str(self.ordered_rows[self.cursor_row].key.value) if self.is_valid_row_index(self.cursor_row) else None

    def fill(self, rows: Iterable[Row]) -> None:
        """Show these lines; who is moved to stays so, or else the same place."""
        at, before = self.cursor_row, self.here
        self.clear()
        for row in rows:
            self.add_row(*self._cut(row), key=row.key)
        there = before is not None and before in self.rows
        self.move_cursor(row=self.get_row_index(str(before)) if there else max(0, min(at, self.row_count - 1)))

    def write(self, key: str, column: str, text: str) -> None:
        """Fill in a cell, if its line is still there."""
        if key in self.rows:
            self.update_cell(key, column, Text(text[: self._widths[column]]))

    def _cut(self, row: Row) -> Iterable[Text]:
        for width, cell in zip(self._widths.values(), row.cells, strict=True):
            yield Text(cell if len(cell) <= width else f"{cell[: width - 1]}…", row.style, no_wrap=True)
