"""Learn: what is being learned, how its loss goes and from whose episodes; to begin, pause, cancel, and try again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from appliance.settings import learner
from appliance.tui.asks import Write
from appliance.tui.beginning import Begin, Beginning
from appliance.tui.graph import Curve, Graph
from appliance.tui.mornings import Mornings
from appliance.tui.rows import Row, Rows
from appliance.tui.runs import Line, Losses, about, lines, minutes, ready
from appliance.tui.telling import Telling, Told
from ops.jobs import Jobs
from ops.load import load

OFTEN = 2.0
"""Seconds between two looks."""

COLUMNS: Mapping[str, int] = {"what": 16, "state": 11, "how far": 20, "loss": 7, "left": 6, "by": 8}

STYLES = {"running": "bold", "failed": "reverse"}
"""Of lines, by how they stand."""


class Read(Message):
    """What there is."""

    def __init__(self, found: Sequence[Line]) -> None:
        super().__init__()
        self.found = found


class Busy(Message):
    """How busy the machine is."""

    def __init__(self, says: str) -> None:
        super().__init__()
        self.says = says


class Known(Message):
    """What is known of one line."""

    def __init__(self, key: str, said: Sequence[str], curves: Sequence[Curve]) -> None:
        super().__init__()
        self.key, self.said, self.curves = key, said, curves


class Learn(Telling):
    """What is done in the background and what came of it; the loss of the one that is moved to."""

    TITLE = "Learn"
    HELP = (
        "a asks for a training, p pauses one or lets it go on, c cancels it with a reason, t tries again what failed "
        "or was cancelled, m is the morning page of the last nights. What is asked for is done by `appliance serve`; "
        "it makes way while somebody collects or evaluates."
    )
    DEFAULT_CSS = """
    Learn #both { height: 1fr; min-height: 6; }
    Learn Graph { width: 1fr; height: 1fr; }
    Learn #about { width: 34; max-width: 50%; height: 1fr; padding: 0 1; }
    Learn #busy { height: 1; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "begin", "Begin"),
        Binding("p", "pause", "Pause"),
        Binding("c", "cancel", "Cancel"),
        Binding("t", "retry", "Try again"),
        Binding("m", "morning", "Morning"),
        Binding("r", "read_again", "Read again", show=False),
    ]

    def body(self) -> Iterable[Widget]:
        self._found: list[Line] = []
        self._losses: Losses | None = None
        yield Rows(COLUMNS)
        yield Horizontal(Graph(), Static(id="about", markup=False), id="both")
        yield Static(id="busy", markup=False)
        yield self.saying()

    @property
    def listed(self) -> Rows:
        """The list."""
        return self.query_one(Rows)

    def on_mount(self) -> None:
        self.set_interval(OFTEN, self._again)

    def on_screen_resume(self) -> None:
        self.action_read_again()

    def meant(self) -> Line | None:
        """The line that a key is about."""
        at = self.listed.at
        return self._found[at] if 0 <= at < len(self._found) else None

    def action_read_again(self) -> None:
        """Look now."""
        self._read()

    def action_begin(self) -> None:
        """Ask for a training."""
        self._prepare()

    def action_pause(self) -> None:
        """Pause it, or let it go on."""
        if (job := self._job()) is not None:
            by = self.room.operator
            if job.job is not None and job.job.held:
                self._do(lambda jobs: f"{jobs.go_on(job.key).id} goes on")
            else:
                self._do(lambda jobs: f"{jobs.pause(job.key, by, 'at the screen').id} makes way")

    def action_cancel(self) -> None:
        """Have it end, for a reason."""
        if (job := self._job()) is not None:
            self._ask(job.key, f"Why is {job.key} cancelled?", Jobs.cancel)

    def action_retry(self) -> None:
        """Have it done again, for a reason."""
        if (job := self._job()) is not None:
            self._ask(job.key, f"Why is {job.key} tried again?", Jobs.retry)

    def action_morning(self) -> None:
        """Show what the last nights did."""
        self.app.push_screen(Mornings(self.room, self.table))

    @on(Read)
    def shown(self, message: Read) -> None:
        """Show what there is; who was moved to stays so."""
        self._found = list(message.found)
        self.listed.fill(
            Row(
                line.key,
                (line.kind, line.state, line.far, _number(line.loss), minutes(line.left), line.by),
                STYLES.get(line.state, ""),
            )
            for line in self._found
        )
        self._read_meant()

    @on(Busy)
    def busy(self, message: Busy) -> None:
        self.query_one("#busy", Static).update(message.says)

    @on(Known)
    def known(self, message: Known) -> None:
        """Show what is known of it, if it is still meant."""
        line = self.meant()
        if line is not None and line.key == message.key:
            self.query_one("#about", Static).update("\n".join(message.said))
            self.query_one(Graph).show(message.curves, "step")

    def _again(self) -> None:
        if self.is_current:
            self._read()

    def _job(self) -> Line | None:
        """The job that is meant; what is none is said."""
        line = self.meant()
        if line is not None and line.job is None:
            self.tell(f"{line.key} is no job any more; a asks for a new training", trouble=True)
            return None
        return line

    @on(Rows.Settled)
    def _read_meant(self) -> None:
        if (line := self.meant()) is not None:
            self._know(line)
        else:
            self.query_one("#about", Static).update("nothing was learned yet: a asks for a training")

    @work(thread=True, exclusive=True, group="read")
    def _read(self) -> None:
        alive = ""
        with self.trying(), self.room.home.join() as catalog:
            workers = len(catalog.workers())
            alive = f"{workers} at work" if workers else "nobody at work: appliance serve"
            self.post_message(Read(lines(self.room.home)))
        with self.trying():
            self.post_message(Busy(f"{load().says}  {alive}"))

    @work(thread=True, exclusive=True, group="know")
    def _know(self, line: Line) -> None:
        with self.trying(), self.room.home.join() as catalog:
            losses = self._losses
            if losses is None or (losses.line.key, losses.line.run) != (line.key, line.run):
                losses = Losses(line, self.room.home.folder)
            curves = losses.more()
            self._losses = losses
            self.post_message(Known(line.key, about(catalog, line), curves))

    @work(thread=True, exclusive=True, group="prepare")
    def _prepare(self) -> None:
        with self.trying(), self.room.home.join() as catalog:
            tasks, champions = ready(catalog)
            self.call_later(self._begin, tasks, champions)

    @work(exclusive=True, group="ask")
    async def _begin(self, tasks: Sequence[str], champions: Mapping[str, str]) -> None:
        if (begin := await self.app.push_screen_wait(Beginning(tasks, champions))) is not None:
            self._enqueue(begin)

    @work(exclusive=True, group="ask")
    async def _ask(self, key: str, asks: str, does: Callable[[Jobs, str, str, str], object]) -> None:
        if (why := await self.app.push_screen_wait(Write(asks))) is not None:
            self._do(lambda jobs: f"{key}: {getattr(does(jobs, key, self.room.operator, why), 'state', '')}, {why}")

    @work(thread=True, exclusive=True, group="do")
    def _enqueue(self, begin: Begin) -> None:
        with self.trying():
            learner(begin.method, begin.preset, begin.settings)  # what is wrong with them is told at once
            with self.room.home.jobs() as jobs:
                job = jobs.enqueue("train", begin.facts, self.room.operator)
            self.post_message(Told(f"{job.id} waits for a worker: {begin.method} learns {begin.task}"))
            self.call_later(self.action_read_again)

    @work(thread=True, exclusive=True, group="do")
    def _do(self, does: Callable[[Jobs], str]) -> None:
        with self.trying(), self.room.home.jobs() as jobs:
            self.post_message(Told(does(jobs)))
            self.call_later(self.action_read_again)


def _number(loss: float | None) -> str:
    return "" if loss is None else f"{loss:.4f}"
