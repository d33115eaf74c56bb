"""Where policies are tried, blind: a batch is planned or gone on with, each trial begun and judged; then who was who.

Of a batch that is open nothing on this screen tells which policy drives, or did: see `ops.blinded`.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from appliance import station
from appliance.asking import Hears
from appliance.evaluate import Trying, plan, resume
from appliance.offers import scene
from appliance.sitting import ways
from appliance.trials import Trials, attending
from appliance.tui.asks import Pick
from appliance.tui.batches import Candidate, Line, Shown, begins, candidates, listed, shown
from appliance.tui.planning import TAKEOVERS, Asked, Planning
from appliance.tui.promoting import Promoting
from appliance.tui.rows import Row, Rows
from appliance.tui.table import Taken, Tell
from appliance.tui.widgets.asking import Asks, Pressing
from appliance.tui.widgets.blocks import Pixels
from appliance.tui.widgets.cameras import Cameras
from collectors import Event
from ops.blinded import so_far

OFTEN = 0.1
"""Seconds between two looks at the table."""

COLUMNS = {"batch": 16, "task": 18, "planned": 11, "trials": 11, "policies": 8, "": 6}

IDLE = "n: plan trials   Enter: go on with an open batch   p: promote   b: roll back"

NOWHERE: Mapping[str, Pixels] = {}
"""No picture of a start."""


class Evaluate(Pressing, Promoting):
    """Batches of trials, and the trial in hand."""

    TITLE = "Evaluate"
    HELP = """\
n plans a batch: every policy from the same starts, in shuffled order; the policies are named when it is closed.
Enter goes on with an open batch; what a program held that has died is given back first.
Set the scene as it is asked, or as the picture over the live view shows it; Enter begins the trial.
s and f end it and say how it went, d leaves it out; where rules can tell, a trial that ends by itself is judged.
After f, three keys: the stage, the code, a note or Enter. What is likely is marked: s takes it.
t takes over: the trial has failed, you go on from there, and what you do is a demonstration.
q ends a trial, another q leaves the batch: it stays open, and Enter goes on with it later.
Of a closed batch: p makes one of its policies the champion, b goes back to the champion before; both ask why."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "plan", "New batch"),
        Binding("t", "press('takeover')", "Take over"),
    ]
    CSS = """
    Evaluate #shown { height: 1fr; padding: 0 1; }
    Evaluate #trial { display: none; }
    Evaluate.trying #trial { display: block; }
    Evaluate.trying #batches { display: none; }
    Evaluate #trial Static { height: auto; }
    Evaluate #turn { text-style: bold; }
    """

    @dataclass
    class Listed(Message):
        """The batches there are."""

        lines: Sequence[Line]

    @dataclass
    class Looked(Message):
        """What one batch has shown."""

        shown: Shown

    @dataclass
    class Choices(Message):
        """Who may be tried here, and how somebody may take over; for that batch, or for another one."""

        tasks: Mapping[str, Sequence[Candidate]]
        ways: Sequence[str]
        batch: str

    @dataclass
    class Planned(Message):
        """A batch may be gone on with."""

        batch: str
        takeover: str
        early: bool
        says: str

    @dataclass
    class Goes(Message):
        """How the batch in hand goes, and what a camera is to see as its next trial begins."""

        says: Sequence[str]
        picture: Mapping[str, Pixels]

    def body(self) -> Iterable[Widget]:
        self._asks, self._cameras = Asks(self.table, IDLE), Cameras(self.table)
        return (
            Vertical(Rows(COLUMNS), Static(id="shown", markup=False), id="batches"),
            Vertical(
                Static(id="turn", markup=False),
                Static(id="start", markup=False),
                self._cameras,
                Static(id="so-far", markup=False),
                id="trial",
            ),
            self.saying(),
            self._asks,
        )

    def on_mount(self) -> None:
        self._lines: Mapping[str, Line] = {}
        self._wanted, self._looked = "", (0, -1)
        self._start: Mapping[str, Pixels] = NOWHERE
        self._drawn: tuple[str, ...] = ()
        self.set_interval(OFTEN, self.look)

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        self.read()

    @property
    def trials(self) -> Trials | None:
        """The batch in hand; None where nobody sits, or shows something."""
        sitting = self.table.sitting
        return sitting if isinstance(sitting, Trials) else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Presses are for a trial, everything else for when there is none."""
        here = self.has_class("trying")
        if parameters == (Event.TAKEOVER,):
            return self.trials is not None and self.trials.place is not None
        if action in {"plan", "promote", "roll_back"}:
            return not here
        return super().check_action(action, parameters) if here or action != "press" else False

    def look(self) -> None:
        """Show the trial in hand, or the batches."""
        if not self.is_active:
            return
        trials = self.trials
        if (trials is not None) != self.has_class("trying"):
            self._turn_to(trials)
        if trials is None or trials.trial is None:
            return
        trial, planned = trials.trial, trials.here.batch.planned
        if (looked := (trial.id, len(trials.view.shown))) != self._looked:
            self._looked = looked
            self._look_up(trials.here.batch.id, trial.task, trial.condition)
        drawn = (
            f"{trial.task}   batch {trial.batch}   trial {trial.turn + 1} of {planned}",
            f"start: {scene(trial.condition)}",
        )
        if drawn != self._drawn:
            self._drawn = drawn
            self.query_one("#turn", Static).update(drawn[0])
            self.query_one("#start", Static).update(drawn[1])
        self._cameras.ghost = NOWHERE if self.table.running else self._start

    def _turn_to(self, trials: Trials | None) -> None:
        self.set_class(trials is not None, "trying")
        batches = self.query_one(Rows)
        batches.disabled = trials is not None  # or Textual gives it keys that nobody sees it has
        self._drawn, self._start = (), NOWHERE
        if trials is None:
            batches.focus()
            self.read()
        else:
            self._wanted = trials.here.batch.id
            self.tell("")
            self.set_focus(None)
        self.refresh_bindings()

    @work(thread=True, exclusive=True, group="so far")
    def _look_up(self, batch: str, task: str, condition: Mapping[str, object]) -> None:
        with self.trying():
            with self.room.home.join() as catalog:
                says, where = so_far(catalog, batch).says, catalog.batch(batch).station
            self.post_message(self.Goes(says, begins(self.room.home, task, where, condition)))

    @on(Goes)
    def _goes(self, message: Goes) -> None:
        self.query_one("#so-far", Static).update("\n".join(message.says))
        self._start = message.picture

    @work(thread=True, exclusive=True, group="batches")
    def read(self) -> None:
        """Read the batches again."""
        with self.trying(), self.room.home.join() as catalog:
            self.post_message(self.Listed(listed(catalog, self.room.task)))

    @on(Listed)
    def _listed(self, message: Listed) -> None:
        batches = self.query_one(Rows)
        self._lines = {line.id: line for line in message.lines}
        batches.fill(Row(key, _cells(line)) for key, line in self._lines.items())
        batches.go(self._wanted)
        self._wanted = ""
        if batches.here is None:
            self.query_one("#shown", Static).update("No trials yet. n plans some; `appliance train` makes policies.")
        else:
            self._read_one(batches.here)

    @on(Rows.Settled)
    def _settled(self, message: Rows.Settled) -> None:
        if message.rows.here is not None:
            self._read_one(message.rows.here)

    @work(thread=True, exclusive=True, group="batch")
    def _read_one(self, key: str) -> None:
        with self.trying(), self.room.home.join() as catalog:
            self.post_message(self.Looked(shown(catalog, key)))

    @on(Looked)
    def _looked_at(self, message: Looked) -> None:
        self.shown = message.shown
        self.query_one("#shown", Static).update("\n".join(message.shown.lines))

    def action_plan(self) -> None:
        """Ask for a batch."""
        self._choices("")

    @on(Rows.Chosen)
    def _chosen(self, message: Rows.Chosen) -> None:
        """Go on with an open batch."""
        line = self._lines[message.key]
        if line.open:
            self._choices(line.id)
        else:
            self.tell(f"batch {line.id} is closed: none of its trials is left")

    @work(thread=True, exclusive=True, group="plan")
    def _choices(self, batch: str) -> None:
        with self.trying():
            there = ways(station.load(self.room.station))
            with self.room.home.join() as catalog:
                self.post_message(self.Choices(candidates(catalog), [way for way in TAKEOVERS if way in there], batch))

    @on(Choices)
    def _choose(self, message: Choices) -> None:
        if message.batch:
            self._who_takes_over(message.batch, message.ways)
        elif any(message.tasks.values()):
            self.app.push_screen(Planning(message.tasks, message.ways, self.room.task), self._asked)
        else:
            self.tell("there is no policy to try yet; `appliance train` makes one", trouble=True)

    def _who_takes_over(self, batch: str, ways: Sequence[str]) -> None:
        def go_on(which: int | None) -> None:
            if which is not None:
                self._resume(batch, ["", *ways][which])

        if ways:
            self.app.push_screen(Pick("How would you take over from a policy?", ["not at all", *ways]), go_on)
        else:
            self._resume(batch, "")

    def _asked(self, asked: Asked | None) -> None:
        if asked is not None:
            self._plan(asked)

    @work(thread=True, exclusive=True, group="plan")
    def _plan(self, asked: Asked) -> None:
        with self.trying():
            who = self.room.home, asked.task, asked.policies, asked.trials, asked.seed, self.room.station
            batch, _ = plan(*who, vary=asked.vary)
            self.post_message(self.Planned(batch.id, asked.takeover, asked.early, f"batch {batch.id} is planned"))

    @work(thread=True, exclusive=True, group="plan")
    def _resume(self, key: str, takeover: str) -> None:
        with self.trying():
            with self.room.home.join() as catalog:
                task = catalog.batch(key).task
            batch, _, left = resume(self.room.home, task, key, self.room.station)
            self.post_message(self.Planned(batch.id, takeover, False, f"{left} trials are left"))

    @on(Planned)
    def sit(self, message: Planned) -> None:
        """Begin trials of a batch."""
        room, batch, early = self.room, message.batch, message.early

        def seat(hears: Hears, tell: Tell) -> AbstractContextManager[Trials]:
            trying = Trying(room.home, batch, room.station, until_decided=early)
            return attending(trying, room.operator, message.takeover, hears, tell)

        self.tell(message.says)
        try:
            self.table.sit(seat, self.TITLE)
        except Taken as error:
            self.tell(str(error), trouble=True)


def _cells(line: Line) -> tuple[str, ...]:
    """What the list says of a batch, in the order of `COLUMNS`."""
    done = f"{line.done} of {line.planned}"
    return line.id, line.task, line.created, done, str(line.policies), line.state
