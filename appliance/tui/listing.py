"""A list of episodes: it is moved through, and the one that is moved to is read, judged or replayed."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from appliance.tui import clips
from appliance.tui.entries import about
from appliance.tui.judging import Judging
from appliance.tui.picture import Picture
from appliance.tui.replay import Replay
from appliance.tui.room import Room
from appliance.tui.rows import Rows
from storage import Listed, Verdict

if TYPE_CHECKING:
    from appliance.tui.table import Table


class Found(Message):
    """The episodes of the list, and who drove in each."""

    def __init__(self, rows: Sequence[Listed], names: Mapping[UUID, str]) -> None:
        super().__init__()
        self.rows, self.names = rows, names


class Known(Message):
    """What is known of one episode, and what there is to see of it."""

    def __init__(self, episode: UUID, lines: Sequence[str], shots: Sequence[clips.Shot]) -> None:
        super().__init__()
        self.episode, self.lines, self.shots = episode, lines, shots


class Listing(Judging):
    """A list of episodes, and below it what is known of the one that is moved to."""

    NONE: ClassVar[str] = "nothing is found"
    """What is said while the list is empty."""

    DEFAULT_CSS = """
    Listing #about { height: auto; max-height: 6; padding: 0 1; }
    Listing #shots { height: auto; }
    Listing Picture { height: 8; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("t", "pictures", "Pictures")]

    def __init__(self, room: Room, table: "Table") -> None:
        super().__init__(room, table)
        self._rows: Sequence[Listed] = ()
        self._names: Mapping[UUID, str] = {}
        self._pictures = False

    @abstractmethod
    def find(self) -> None:
        """Read the list again, in a thread, and post `Found`."""

    @abstractmethod
    def filled(self) -> None:
        """Show the list, which has been read."""

    @abstractmethod
    def seen(self, found: Listed, verdicts: Sequence[Verdict], pictures: bool) -> tuple[list[str], list[clips.Shot]]:
        """Read what there is to see of an episode, and how to say it; runs in a thread.

        Raises:
            clips.Gone: its data is not at hand.
        """

    @property
    def listed(self) -> Rows:
        """The list."""
        return self.query_one(Rows)

    def on_screen_resume(self) -> None:
        self.find()

    def meant(self) -> Listed | None:
        at = self.listed.at
        return self._rows[at] if 0 <= at < len(self._rows) else None

    def judged(self) -> None:
        self.find()

    def action_pictures(self) -> None:
        """Show pictures, or no longer."""
        self._pictures = not self._pictures
        self._read_meant()

    @on(Found)
    def _found(self, message: Found) -> None:
        self._rows, self._names = message.rows, message.names
        self.filled()
        self._read_meant()

    @on(Known)
    def _known(self, message: Known) -> None:
        """Show what is known of it, if it is still meant."""
        found = self.meant()
        if found is not None and found.row.id == message.episode:
            self._tell_of(message.lines, message.shots)

    @on(Rows.Chosen)
    def _replay(self) -> None:
        if (found := self.meant()) is not None:
            self.app.push_screen(Replay(self.room, self.table, found))

    @on(Rows.Settled)
    def _read_meant(self) -> None:
        if (found := self.meant()) is not None:
            self._know(found, self._names, self._pictures)
        else:
            self._tell_of([self.NONE], ())

    def _tell_of(self, lines: Sequence[str], shots: Sequence[clips.Shot]) -> None:
        self.query_one("#about", Static).update("\n".join(lines))
        for place, picture in enumerate(self.query(Picture)):
            picture.show(shots[place].pixels if shots else None)

    @work(thread=True, exclusive=True, group="know")
    def _know(self, found: Listed, names: Mapping[UUID, str], pictures: bool) -> None:
        key = found.row.id
        with self.trying(), self.room.home.join() as catalog:
            verdicts = catalog.verdicts(key)
            lines = about(found, names, verdicts, catalog.edits(key))
            try:
                said, shots = self.seen(found, verdicts, pictures)
            except clips.Gone as error:
                said, shots = [str(error)], []
            lines[2:2] = said
            self.post_message(Known(key, lines, shots))
