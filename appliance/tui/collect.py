"""Where takes are made: what is shown, live pictures, how it goes, and the keys to begin and judge."""

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from appliance import station
from appliance.begins import CannotOrder
from appliance.orders import ghost
from appliance.refusal import said
from appliance.sitting import Wish, ways
from appliance.tui.collecting import seated
from appliance.tui.widgets.asking import Asks, Pressing
from appliance.tui.widgets.blocks import Pixels
from appliance.tui.widgets.cameras import Cameras
from collectors import Event
from collectors.agents import Telling
from collectors.ways import WAYS
from storage.layout import pictures

OFTEN, SELDOM = 0.1, 5.0
"""Seconds between two looks, and between two looks at the disk."""

NOBODY: Mapping[str, Pixels] = {}
"""No ghost of any camera."""

IDLE = "Enter: begin a sitting"


class Collect(Pressing):
    """A person shows a task, take after take."""

    TITLE = "Collect"
    HELP = """\
Enter begins a sitting, then each take; s and f say how it went, d discards the take in hand or the last one.
After f, three keys say how it failed: the stage, the code, and a note or Enter. Digits choose what is numbered.
During a take digits mark moments; [ and ] lead to the other screens, and digits too while nobody sits.
q or Ctrl-C ends the take, another one the sitting. Buttons of a headset, a gripper and a pedal count as these keys do.
w changes who shows: a headset, a hand on the arm, a leader arm, or a script in simulation.
x forgets which order was chosen on another screen: what is to be shown is asked when a sitting begins.
g hides the picture of how an order wants things to stand, which lies half over what the cameras see."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "way", "Who shows"),
        Binding("g", "ghost", "Ghost", show=False),
        Binding("x", "anything", "Any task", show=False),
    ]

    @dataclass
    class Ways(Message):
        """How tasks can be shown here."""

        names: list[str]
        trouble: str

    @dataclass
    class Free(Message):
        """How much of the disk is free, or why that is not known."""

        says: str

    @dataclass
    class Ghosts(Message):
        """What the cameras are to see when a take for an order begins."""

        order: int | None
        pictures: Mapping[str, Pixels]

    def body(self) -> Iterable[Widget]:
        self._asks = Asks(self.table, IDLE)
        self._cameras = Cameras(self.table)
        self._words = Static(id="facts", markup=False)
        return self._words, self._cameras, self._asks

    def on_mount(self) -> None:
        self._ways: list[str] = []
        self._way = ""
        self._shows: tuple[str | None, int | None] = self.room.task, None
        self._haunted: int | None = None
        self._ghosts: Mapping[str, Pixels] = {}
        self._hidden = False
        self._drawn = ""
        self._free = ""
        self._find_ways()
        self._weigh()
        self.set_interval(OFTEN, self.look)
        self.set_interval(SELDOM, self._weigh)

    def choose(self, task: str | None, order: int | None) -> None:
        """The next sitting is for this task, and this order of it."""
        self._shows = task, order
        if self.table.taken:
            self.notify("that is for the next sitting; q ends this one")

    def pressed(self, *meanings: Event) -> None:
        if not self.table.taken and Event.START in meanings:
            self._begin()
        else:
            super().pressed(*meanings)

    def action_way(self) -> None:
        """Somebody else shows from the next sitting on."""
        if self.table.taken:
            self.notify("q ends the sitting first")
        elif self._ways:
            self._way = self._ways[(self._ways.index(self._way) + 1) % len(self._ways)]

    def action_anything(self) -> None:
        """The next sitting is for whatever is chosen as it begins."""
        self._shows = self.room.task, None

    def action_ghost(self) -> None:
        """Hide or show how things are to stand."""
        self._hidden = not self._hidden

    def _begin(self) -> None:
        if not self._way:
            self.notify("nobody can show anything here yet", severity="warning")
            return
        room = self.room
        wish = Wish(room.home, room.station, self._way, room.operator, *self._shows)
        self.table.sit(partial(seated, wish), self.TITLE)

    @work(thread=True, exclusive=True, group="ways")
    def _find_ways(self) -> None:
        try:
            found, trouble = ways(station.load(self.room.station)), ""
        except Exception as error:  # ruff: ignore[blind-except] - told like a sitting that cannot begin
            found, trouble = [], said(error)
        self.post_message(self.Ways(found, trouble))

    @work(thread=True, exclusive=True, group="disk")
    def _weigh(self) -> None:
        try:
            free = f"{shutil.disk_usage(self.room.home.folder).free / 1e9:.1f} GB free"
        except OSError as error:  # a disk that is away must not end the screen
            free = said(error)
        self.post_message(self.Free(free))

    @on(Free)
    def _weighed(self, message: Free) -> None:
        self._free = message.says

    @on(Ways)
    def _found_ways(self, message: Ways) -> None:
        self._ways, self._way = message.names, next(iter(message.names), "")
        self._asks.idle = message.trouble or IDLE

    def look(self) -> None:
        """Say how it goes."""
        if not self.is_active:
            return
        facts = self._facts()
        if facts != self._drawn:
            self._drawn = facts
            self._words.update(facts)
        sitting = self.table.sitting
        offer = None if sitting is None else sitting.view.offer
        order = None if offer is None else offer.order
        if order != self._haunted:
            self._haunted = order
            self._haunt(order)
        self._cameras.ghost = NOBODY if self._hidden or self.table.running else self._ghosts

    def _facts(self) -> str:
        sitting = self.table.sitting
        helps = WAYS[self._way].helps if self._way in WAYS else ""
        if sitting is None:
            task, order = self._shows
            what = (task or "any task") + ("" if order is None else f", order {order}")
            return "   ".join(filter(None, [what, f"by {self._way}" if self._way else "", self._free, helps]))
        view, session = sitting.view, sitting.session
        what = view.offer.words if view.offer else f"by {self._way}"
        driving, late = session.driving, session.glance.late  # whoever drives may be gone: another thread sets it
        parts = [what, f"take {len(view.shown) + 1}", f"{view.good} good", self._free]
        if session.recording and late is not None:
            parts.append(f"late {late * 1e3:.0f} ms")
        if isinstance(driving, Telling):
            parts.append(driving.status)
        return "   ".join(parts)

    @work(thread=True, exclusive=True, group="ghost")
    def _haunt(self, order: int | None) -> None:
        found: dict[str, Pixels] = {}
        if order is not None:
            try:
                cell = station.load(self.room.station)
                for camera in (one.name for one in cell.watching if "rgb" in pictures(one.dtype)):
                    with suppress(CannotOrder):
                        found[camera] = ghost(self.room.home, order, camera)
            except Exception as error:  # ruff: ignore[blind-except] - without its picture an order is shown all the same
                self.call_later(partial(self.notify, said(error), severity="warning"))
        self.post_message(self.Ghosts(order, found))

    @on(Ghosts)
    def _haunted_by(self, message: Ghosts) -> None:
        if message.order == self._haunted:
            self._ghosts = message.pictures
