"""The episodes that failed in one way: a list, three pictures of the one that is moved to, and its replay."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from appliance.tui import clips, failing
from appliance.tui.entries import COLUMNS, about, cells
from appliance.tui.judging import Judging
from appliance.tui.picture import Picture
from appliance.tui.replay import Replay
from appliance.tui.room import Room
from appliance.tui.rows import Row, Rows
from ops.blinded import drove
from storage import Listed

if TYPE_CHECKING:
    from appliance.tui.table import Table

SETTLED = 0.15
"""Seconds on an episode after which it is read."""


class Found(Message):
    """Those that failed so."""

    def __init__(self, rows: Sequence[Listed], names: Mapping[UUID, str]) -> None:
        super().__init__()
        self.rows, self.names = rows, names


class Known(Message):
    """What is known of one, and its pictures if they were asked for."""

    def __init__(self, episode: UUID, lines: Sequence[str], shots: Sequence[clips.Shot]) -> None:
        super().__init__()
        self.episode, self.lines, self.shots = episode, lines, shots


class Drilled(Judging):
    """What failed in one way."""

    TITLE = "Failures"
    HELP = (
        "Enter replays, t shows its first picture, the one when the fingers first closed or half-way, and its last. "
        "s, f, x judge anew. Esc goes back."
    )
    DEFAULT_CSS = """
    Drilled #which { height: 1; padding: 0 1; }
    Drilled #about { height: auto; max-height: 6; padding: 0 1; }
    Drilled #shots { height: auto; }
    Drilled Picture { height: 8; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "pictures", "Pictures"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, room: Room, table: "Table", task: str, code: str, name: str) -> None:
        super().__init__(room, table)
        self._of, self._code, self._called = task, code, name

    def body(self) -> Iterable[Widget]:
        self._rows: Sequence[Listed] = ()
        self._names: Mapping[UUID, str] = {}
        self._pictures = False
        self._wait: Timer | None = None
        yield Static(id="which", markup=False)
        yield Rows(COLUMNS)
        yield Horizontal(*(Picture() for _ in range(3)), id="shots")
        yield Static(id="about", markup=False)
        yield self.saying()

    @property
    def listed(self) -> Rows:
        """The list."""
        return self.query_one(Rows)

    def on_screen_resume(self) -> None:
        self._find()

    def meant(self) -> Listed | None:
        at = self.listed.at
        return self._rows[at] if 0 <= at < len(self._rows) else None

    def judged(self) -> None:
        self._find()

    def action_back(self) -> None:
        """Go back."""
        self.dismiss()

    def action_pictures(self) -> None:
        """Show pictures, or no longer."""
        self._pictures = not self._pictures
        self._read_meant()

    @on(Found)
    def found(self, message: Found) -> None:
        """Show them."""
        self._rows, self._names = message.rows, message.names
        self.listed.fill(Row(str(one.row.id), (*cells(one, self._names).values(),)) for one in self._rows)
        said = f"{self._of}: {self._code} {self._called}, the newest {len(self._rows)}"
        self.query_one("#which", Static).update(said)
        self._read_meant()

    @on(Known)
    def known(self, message: Known) -> None:
        """Show what is known of it, if it is still meant."""
        found = self.meant()
        if found is not None and found.row.id == message.episode:
            self.query_one("#about", Static).update("\n".join(message.lines))
            pixels = [shot.pixels for shot in message.shots]
            for place, picture in enumerate(self.query(Picture)):
                picture.show(pixels[place] if pixels else None)

    @on(Rows.Moved)
    def highlighted(self) -> None:
        """Read it once the keys rest."""
        if self._wait is not None:
            self._wait.stop()
        self._wait = self.set_timer(SETTLED, self._read_meant)

    @on(Rows.Chosen)
    def replay(self) -> None:
        if (found := self.meant()) is not None:
            self.app.push_screen(Replay(self.room, self.table, found))

    def _read_meant(self) -> None:
        if (found := self.meant()) is not None:
            self._know(found, self._names, self._pictures)
        else:
            self.query_one("#about", Static).update("nothing failed so, or no longer")

    @work(thread=True, exclusive=True, group="find")
    def _find(self) -> None:
        with self.trying(), self.room.home.join() as catalog:
            rows = failing.clips(catalog, self._of, self._code)
            self.post_message(Found(rows, drove(catalog, rows)))

    @work(thread=True, exclusive=True, group="know")
    def _know(self, found: Listed, names: Mapping[UUID, str], pictures: bool) -> None:
        key = found.row.id
        with self.trying(), self.room.home.join() as catalog:
            verdicts = catalog.verdicts(key)
            lines = about(found, names, verdicts, catalog.edits(key))
            shots: list[clips.Shot] = []
            if pictures:
                try:
                    closing = verdicts[-1].evidence.get("first_closing") if verdicts else None
                    episode = clips.opened(self.room.home.folder, found.standing)
                    shots = clips.filmstrip(episode, closing)
                    lines.insert(2, "pictures at " + ", ".join(f"{shot.seconds:.1f} s" for shot in shots))
                except clips.Gone as error:
                    lines.insert(2, str(error))
            self.post_message(Known(key, lines, shots))
