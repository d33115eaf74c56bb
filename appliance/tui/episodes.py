"""Episodes: find any of very many while typing, see how it went and how it stands, judge, set aside, replay."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from appliance.tui import asked, clips
from appliance.tui.asks import Write
from appliance.tui.entries import COLUMNS, cells
from appliance.tui.listing import Found, Listing
from appliance.tui.picture import Picture
from appliance.tui.room import Room
from appliance.tui.rows import Row, Rows
from appliance.tui.telling import Told
from appliance.tui.viewer import Viewers
from ops.blinded import drove
from ops.view import CannotShow
from storage import Edit, EditKind, Listed, Verdict

if TYPE_CHECKING:
    from appliance.tui.table import Table

PAGE = 50
"""Episodes that are read at a time."""

TYPING = 0.12
"""Seconds without a key after which what was typed is looked for."""

AGAIN = 3.0
"""Seconds between two looks whether there is a newer one."""

MOTION, LONG = 10, 40
"""Cells of an episode's motion in the list, and below it."""


class Counted(Message):
    """How many there are on all pages."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count


class Moved(Message):
    """How an episode of the page moved."""

    def __init__(self, episode: UUID, bars: str) -> None:
        super().__init__()
        self.episode, self.bars = episode, bars


class Episodes(Listing):
    """A line to type in, the newest that it finds, and what is known of the one that is moved to."""

    TITLE = "Episodes"
    AUTO_FOCUS = "Rows"
    HELP = (
        "/ finds while you type: plain words (task, person, station, agent, verdict, failure, id), or options as "
        "task:reach outcome:failure failure:DROP operator:ada agent:policy station: device: policy:bc-1 "
        "since:2026-11-21 until: --retired --quarantined --purged --all. Enter or Esc goes back to the list.\n"
        "Enter replays. s success, f failed (stage, code, note), x invalid: a verdict is added, none is erased. "
        "d sets aside with a reason, u takes back, t shows its first and last picture, o opens in Rerun, n older, "
        "b newer.\n"
        "gap/lost/late: longest silence in ms, rows lost in %, lateness in ms. R retired, Q in quarantine, T trimmed."
    )
    DEFAULT_CSS = """
    Episodes #line { height: 1; }
    Episodes #filter { width: 1fr; }
    Episodes #count { width: auto; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "type", "Find", key_display="/"),
        Binding("d", "retire", "Aside"),
        Binding("u", "restore", "Take back", show=False),
        Binding("o", "rerun", "Rerun", show=False),
        Binding("n", "older", "Older", show=False),
        Binding("b", "newer", "Newer", show=False),
        Binding("r", "read_again", "Read again", show=False),
        Binding("escape", "list", "List", show=False),
    ]

    def __init__(self, room: Room, table: "Table") -> None:
        super().__init__(room, table)
        self._bars: dict[UUID, str] = {}
        self._pages: list[UUID] = []
        """The last episode of each page that was left for an older one."""
        self._typing: Timer | None = None
        self._viewers = Viewers(room.home)

    def body(self) -> Iterable[Widget]:
        yield Horizontal(
            Input(placeholder="/ find: words, task:..., outcome:..., --retired", id="filter", compact=True),
            Static(id="count"),
            id="line",
        )
        yield Rows({**COLUMNS, "motion": MOTION})
        yield Horizontal(Picture(), Picture(), id="shots")
        yield Static(id="about", markup=False)
        yield self.saying()

    def on_mount(self) -> None:
        self.set_interval(AGAIN, self._look_for_newer)

    def action_type(self) -> None:
        """Type what to find."""
        self.query_one("#filter", Input).focus()

    def action_list(self) -> None:
        """Go to the list."""
        self.listed.focus()

    def action_read_again(self) -> None:
        """Read the page again, where the list is."""
        self.find()

    def find(self) -> None:
        self._search(self.query_one("#filter", Input).value, self._pages[-1] if self._pages else None)

    def action_older(self) -> None:
        """Go to the page of older ones."""
        if len(self._rows) == PAGE:
            self._pages.append(self._rows[-1].row.id)
            self.find()

    def action_newer(self) -> None:
        """Go back to the page of newer ones."""
        if self._pages:
            self._pages.pop()
            self.find()

    def action_retire(self) -> None:
        """Leave it out of lists and of training, for a reason."""
        self._edit(EditKind.RETIRE, "Why is it set aside?")

    def action_restore(self) -> None:
        """Take it back into lists and training, for a reason."""
        self._edit(EditKind.RESTORE, "Why is it taken back?")

    def action_rerun(self) -> None:
        """Open it in Rerun, in a program of its own."""
        if (found := self.meant()) is None:
            return
        try:
            self._viewers.open(found.row.id)
        except CannotShow as error:
            self.tell(str(error), trouble=True)
            return
        self.tell(f"Rerun opens {str(found.row.id)[:8]} in a window of its own")
        self.set_timer(AGAIN / 6, self._look_at_viewers)

    @on(Input.Changed, "#filter")
    def typed(self) -> None:
        """Find it once the keys rest."""
        self._pages.clear()
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(TYPING, self.find)

    @on(Input.Submitted, "#filter")
    def enough(self) -> None:
        self.action_list()

    def filled(self) -> None:
        self.listed.fill(
            Row(
                str(one.row.id),
                (*cells(one, self._names).values(), self._bars.get(one.row.id, "")),
                "dim" if one.standing.retired else "",
            )
            for one in self._rows
        )
        if self.query_one("#said").has_class("trouble"):
            self.tell("")
        self._measure([one for one in self._rows if one.row.id not in self._bars])

    @on(Counted)
    def counted(self, message: Counted) -> None:
        first = len(self._pages) * PAGE
        here = f"{first + 1}-{first + len(self._rows)} of {message.count}" if self._rows else "none"
        self.query_one("#count", Static).update(here)

    @on(Moved)
    def moved(self, message: Moved) -> None:
        """Fill in how it moved, if it is still on the page."""
        self._bars[message.episode] = message.bars
        self.listed.write(str(message.episode), "motion", message.bars)

    def _look_at_viewers(self) -> None:
        for said in self._viewers.ended():
            self.tell(said, trouble=True)
        if self._viewers:
            self.set_timer(AGAIN / 6, self._look_at_viewers)

    def _look_for_newer(self) -> None:
        if self.is_current and not self._pages:
            self._newer(self.query_one("#filter", Input).value, self._rows[0].row.id if self._rows else None)

    @work(thread=True, exclusive=True, group="search")
    def _search(self, typed: str, before: UUID | None) -> None:
        worker = get_current_worker()
        with self.trying(), self.room.home.join() as catalog:
            rows = catalog.find(asked.wanted(catalog, typed, before), PAGE)[::-1]
            names = drove(catalog, rows)
            if worker.is_cancelled:
                return
            self.post_message(Found(rows, names))
            count = catalog.count(asked.wanted(catalog, typed))
            if not worker.is_cancelled:
                self.post_message(Counted(count))

    @work(thread=True, exclusive=True, group="newer")
    def _newer(self, typed: str, newest: UUID | None) -> None:
        with self.trying(), self.room.home.join() as catalog:
            there = catalog.find(asked.wanted(catalog, typed), 1)
            if [one.row.id for one in there] != [one for one in (newest,) if one is not None]:
                self.call_later(self.find)

    def seen(self, found: Listed, verdicts: Sequence[Verdict], pictures: bool) -> tuple[list[str], list[clips.Shot]]:
        episode = clips.opened(self.room.home.folder, found.standing)
        return [f"motion {clips.spark(episode, LONG)}"], clips.ends(episode) if pictures else []

    @work(thread=True, exclusive=True, group="measure")
    def _measure(self, rows: Sequence[Listed]) -> None:
        """Read how each moved; what cannot be read says so when it is moved to."""
        worker = get_current_worker()
        for found in rows:
            if worker.is_cancelled:
                return
            try:
                bars = clips.spark(clips.opened(self.room.home.folder, found.standing), MOTION)
            except Exception:  # ruff: ignore[blind-except] whatever is wrong with it is told when it is moved to
                bars = "-"
            self.post_message(Moved(found.row.id, bars))

    @work(exclusive=True, group="edit")
    async def _edit(self, kind: EditKind, asks: str) -> None:
        if (found := self.meant()) is not None and (why := await self.app.push_screen_wait(Write(asks))) is not None:
            self._write(Edit(episode=found.row.id, kind=kind, by=self.room.operator, why=why))

    @work(thread=True, exclusive=True, group="write")
    def _write(self, edit: Edit) -> None:
        with self.trying(), self.room.home.join() as catalog:
            catalog.edit(edit)
            self.post_message(Told(f"{str(edit.episode)[:8]}: {edit.kind}, {edit.why}"))
            self.call_later(self.find)
