"""The episodes that failed in one way: a list, three pictures of the one that is moved to, and its replay."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Static

from appliance.tui import clips, failing
from appliance.tui.entries import COLUMNS, cells
from appliance.tui.listing import Found, Listing
from appliance.tui.picture import Picture
from appliance.tui.room import Room
from appliance.tui.rows import Row, Rows
from ops.blinded import drove
from storage import Listed, Verdict

if TYPE_CHECKING:
    from appliance.tui.table import Table


class Drilled(Listing):
    """What failed in one way."""

    TITLE = "Failures"
    HELP = (
        "Enter replays, t shows its first picture, the one when the fingers first closed or half-way, and its last. "
        "s, f, x judge anew. Esc goes back."
    )
    NONE = "nothing failed so, or no longer"
    DEFAULT_CSS = "Drilled #which { height: 1; padding: 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back")]

    def __init__(self, room: Room, table: "Table", task: str, code: str, name: str) -> None:
        super().__init__(room, table)
        self._of, self._code, self._called = task, code, name

    def body(self) -> Iterable[Widget]:
        yield Static(id="which", markup=False)
        yield Rows(COLUMNS)
        yield Horizontal(*(Picture() for _ in range(3)), id="shots")
        yield Static(id="about", markup=False)
        yield self.saying()

    def action_back(self) -> None:
        """Go back."""
        self.dismiss()

    def filled(self) -> None:
        self.listed.fill(Row(str(one.row.id), (*cells(one, self._names).values(),)) for one in self._rows)
        said = f"{self._of}: {self._code} {self._called}, the newest {len(self._rows)}"
        self.query_one("#which", Static).update(said)

    def find(self) -> None:
        self._find()

    @work(thread=True, exclusive=True, group="find")
    def _find(self) -> None:
        with self.trying(), self.room.home.join() as catalog:
            rows = failing.clips(catalog, self._of, self._code)
            self.post_message(Found(rows, drove(catalog, rows)))

    def seen(self, found: Listed, verdicts: Sequence[Verdict], pictures: bool) -> tuple[list[str], list[clips.Shot]]:
        if not pictures:
            return [], []
        closing = verdicts[-1].evidence.get("first_closing") if verdicts else None
        shots = clips.filmstrip(clips.opened(self.room.home.folder, found.standing), closing)
        return ["pictures at " + ", ".join(f"{shot.seconds:.1f} s" for shot in shots)], shots
