"""The cell at a glance: the one thing that needs attention, the devices, the tasks, the jobs, tonight, the disk."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from appliance import station
from appliance.glance import Glimpse
from appliance.refusal import said
from appliance.tui.facts import Facts, attention, read
from appliance.tui.room import RoomScreen
from drivers.shared import published

OFTEN, SELDOM = 0.5, 10.0
"""Seconds between two looks at the devices, and at everything else."""

READING = "..."
"""Stands for what was not read yet: nothing is not known to be well."""

GRADE = {"gap": ("ms", 1e3), "lost": ("%", 1.0), "skew": ("ms", 1e3), "late": ("ms", 1e3), "rate": ("Hz", 1.0)}
"""How thresholds are written: the unit, and how many of it make one of theirs."""


@dataclass(frozen=True)
class Stand:
    """What the station file says."""

    devices: Mapping[str, str] = field(default_factory=dict)
    """What each is, by name."""
    demands: Mapping[str, float] = field(default_factory=dict)


class Cell(RoomScreen):
    """Home."""

    TITLE = "Cell"
    HELP = """\
The line at the top says the one thing that needs you most.
Devices are read while somebody sits at the table (2): rate, age of the newest row, and how long it was under way.
A row that is older than the grade allows is marked OLD; a device that gives none is marked LOST.
r reads everything else again; that happens every ten seconds anyway."""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "read", "Read again")]

    @dataclass
    class Read(Message):
        """Everything but the devices was read."""

        facts: Facts | None
        trouble: str

    @dataclass
    class Stands(Message):
        """The station file was read."""

        stand: Stand
        trouble: str

    def body(self) -> Iterable[Widget]:
        self._words = {name: Static(id=name, markup=False) for name in ("attention", "devices", "others")}
        left = VerticalScroll(self._words["devices"], classes="half")
        right = VerticalScroll(self._words["others"], classes="half")
        left.can_focus = right.can_focus = False
        return self._words["attention"], Horizontal(left, right, id="halves")

    def on_mount(self) -> None:
        self._facts: Facts | None = None
        self._trouble = ""
        self._stand = Stand()
        self._drawn: dict[str, str] = {}
        self._find()
        self.set_interval(OFTEN, self.look)
        self.set_interval(SELDOM, self.read_if_shown)

    def on_screen_resume(self) -> None:
        self.action_read()

    def read_if_shown(self) -> None:
        """Read again, unless another screen is shown, or a take is made: that goes first."""
        if self.is_active and not self.table.running:
            self.action_read()

    @work(thread=True, exclusive=True, group="read")
    def action_read(self) -> None:
        """Read everything but the devices."""
        facts, trouble = self._facts, ""
        try:
            facts = read(self.room, getattr(self.app, "recovered", ()))
        except Exception as error:  # ruff: ignore[blind-except] - the operator is to read of it, whatever it was
            trouble = said(error)
        self.post_message(self.Read(facts, trouble))

    @on(Read)
    def _read(self, message: Read) -> None:
        self._facts, self._trouble = message.facts, message.trouble
        self.look()

    @work(thread=True, exclusive=True, group="find")
    def _find(self) -> None:
        try:
            cell, trouble = station.load(self.room.station), ""
            kinds = {name: type(one).__name__ for name, one in cell.drivers.items()}
            stand = Stand(kinds, dict(cell.demands))
        except Exception as error:  # ruff: ignore[blind-except] - the operator is to read of it, whatever it was
            stand, trouble = Stand(), said(error)
        self.post_message(self.Stands(stand, trouble))

    @on(Stands)
    def _found(self, message: Stands) -> None:
        self._stand, self._trouble = message.stand, message.trouble
        self.look()

    def look(self) -> None:
        """Show how everything stands; nothing is drawn that was drawn before."""
        if not self.is_active:
            return
        sitting = self.table.sitting
        trouble = self.table.refused or (sitting.view.trouble if sitting else "") or self._trouble
        needs = trouble or (READING if self._facts is None else attention(self._facts))
        self._show("attention", f"Needs you: {needs}")
        self._show("devices", "\n".join(self._devices()))
        self._show("others", "\n".join(self._others()))

    def _show(self, name: str, text: str) -> None:
        if self._drawn.get(name) != text:
            self._drawn[name] = text
            self._words[name].update(text)

    def _devices(self) -> list[str]:
        demands, sitting = self._stand.demands, self.table.sitting
        found = [f"DEVICES of {self.room.station}"]
        if sitting is None:
            elsewhere = {one.name: one.pid for one in published()}
            rows = [
                (name, kind, f"in program {elsewhere[name]}" if name in elsewhere else "not connected")
                for name, kind in self._stand.devices.items()
            ]
            found += aligned(rows)
        else:
            now = sitting.session.loop.clock.now()
            seen = {one.name: one for one in sitting.session.glance.looks()}
            names = list(self._stand.devices) or list(seen)
            found += aligned([_live(name, seen.get(name), now, demands.get("gap")) for name in names])
            late = sitting.session.glance.late
            found += [] if late is None else [f"ticks late by up to {late * 1e3:.0f} ms"]
        return [*found, "", f"GRADE  {_thresholds(demands)}"]

    def _others(self) -> list[str]:
        facts = self._facts
        recovered = list(getattr(self.app, "recovered", ()))
        opened = ["", "WHEN THIS WAS OPENED", *recovered] if recovered else []
        if facts is None:
            return [READING, *opened]
        tasks = [
            (
                one.name,
                f"champion {one.champion or 'none yet'}",
                f"{one.good} good",
                f"{one.orders} orders lack {one.lacking}" if one.orders else "",
            )
            for one in facts.tasks
        ]
        return [
            "TASKS",
            *aligned(tasks),
            "",
            *["JOBS", *(facts.jobs or ["none"]), ""],
            *["TONIGHT", *(facts.tonight or ["nothing is planned"]), ""],
            f"DISK  {facts.gigabytes:.1f} GB free, {facts.free:.0%}",
            *opened,
        ]


def _live(name: str, seen: Glimpse | None, now: int, gap: float | None) -> tuple[str, ...]:
    """A device as it is read at the moment."""
    if seen is None:
        return name, "-", "-", "-", "no row yet"
    age = max(0.0, (now - seen.t) / 1e9)
    rate = "-" if seen.rate is None else f"{seen.rate:.0f} Hz"
    latency = "" if seen.latency is None else f"link {seen.latency * 1e3:.0f} ms"
    return name, rate, f"age {age * 1e3:.0f} ms", latency, "OLD" if gap is not None and age > gap else "ok"


def _thresholds(demands: Mapping[str, float]) -> str:
    """What a take has to be, in a line."""
    said = [
        f"{name} {'at least' if name == 'rate' else 'up to'} {value * GRADE[name][1]:g} {GRADE[name][0]}"
        for name, value in demands.items()
    ]
    return ", ".join(said) or "nothing is demanded"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of words, one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
