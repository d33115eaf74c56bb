"""Failures and orders: how far trials come and how they fail, down to the clips; what is asked for against that."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from appliance.orders import Suggested, ghost, suggest
from appliance.tui import room
from appliance.tui.asks import Pick, Write
from appliance.tui.clips import FRONT
from appliance.tui.drilled import Drilled
from appliance.tui.failing import Asked, Failing, about, codes, funnel, order_one, read
from appliance.tui.picture import Picture, Pixels, smaller
from appliance.tui.rows import Row, Rows
from appliance.tui.telling import Telling, Told
from ops.results import PolicyReport

CODES: Mapping[str, int] = {"code": 9, "failure": 14, "trials": 6, "all": 4}
"""In the trials of the policy, and in all episodes."""

ORDERS: Mapping[str, int] = {"order": 5, "task": 12, "done": 13, "gain": 6, "min": 4, "failure": 8, "why": 60}
"""Points of success that are expected, and minutes of an operator for what is left."""


class Read(Message):
    """Everything of a task."""

    def __init__(self, failing: Failing) -> None:
        super().__init__()
        self.failing = failing


class Began(Message):
    """How the failed trial began that an order follows from."""

    def __init__(self, order: int, pixels: Pixels) -> None:
        super().__init__()
        self.order, self.pixels = order, pixels


class Orders(Telling):
    """One task's failures above, every task's orders below."""

    TITLE = "Failures and orders"
    AUTO_FOCUS = "#orders"
    HELP = (
        "k is the next task, j the next policy. On a failure, Enter shows the episodes that failed so. On an order, "
        "Enter or g goes to Collect with it chosen, v shows the start it asks for, c closes it with a reason. "
        "a suggests orders from the last trials, h shows closed ones too, Tab goes between failures and orders.\n"
        "trials: how often the policy failed so in its last closed batch; all: how often anybody did. gain: points of "
        "success that are expected, or what an order has brought; min: minutes of an operator for what is left."
    )
    DEFAULT_CSS = """
    Orders #which { height: 1; padding: 0 1; }
    Orders #above { height: 8; }
    Orders #codes { width: 1fr; height: 1fr; }
    Orders #funnel { width: 42; max-width: 50%; padding: 0 1; }
    Orders #orders { height: 1fr; min-height: 4; }
    Orders #about { height: auto; max-height: 5; padding: 0 1; }
    Orders Picture { height: 10; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "collect", "Collect"),
        Binding("c", "close", "Close"),
        Binding("v", "start", "Start"),
        Binding("a", "suggest", "Suggest"),
        Binding("k", "task", "Task"),
        Binding("j", "policy", "Policy"),
        Binding("h", "closed", "Closed", show=False),
        Binding("r", "read_again", "Read again", show=False),
    ]

    def body(self) -> Iterable[Widget]:
        self._failing: Failing | None = None
        self._of = self.room.task
        self._policy = 0
        self._with_closed = False
        yield Static(id="which", markup=False)
        yield Horizontal(
            Rows(CODES, "codes"),
            Static(id="funnel", markup=False),
            id="above",
        )
        yield Rows(ORDERS, "orders")
        yield Picture()
        yield Static(id="about", markup=False)
        yield self.saying()

    def on_screen_resume(self) -> None:
        self.action_read_again()

    @property
    def report(self) -> PolicyReport | None:
        """The policy whose failures are shown."""
        reports = self._failing.reports if self._failing is not None else ()
        return reports[self._policy % len(reports)] if reports else None

    def order(self) -> Asked | None:
        """The order that a key is about."""
        at, orders = self.query_one("#orders", Rows).at, self._failing.orders if self._failing else ()
        return orders[at] if 0 <= at < len(orders) else None

    def action_read_again(self) -> None:
        """Read it now."""
        self._read(self._of, self._with_closed)

    def action_task(self) -> None:
        """Show the next task."""
        if self._failing is not None:
            tasks = [*self._failing.tasks]
            self._of, self._policy = tasks[(tasks.index(self._failing.task) + 1) % len(tasks)], 0
            self.action_read_again()

    def action_policy(self) -> None:
        """Show the next policy's failures."""
        self._policy += 1
        self._show_failures()

    def action_closed(self) -> None:
        """Show closed orders too, or no longer."""
        self._with_closed = not self._with_closed
        self.action_read_again()

    def action_collect(self) -> None:
        """Go and make what an order asks for."""
        if (asked := self.order()) is not None:
            if asked.order.closed is None:
                self.post_message(room.Wanted(asked.order.task, asked.order.id))
            else:
                self.tell(f"order {asked.order.id} is closed; a suggests new ones", trouble=True)

    def action_close(self) -> None:
        """Ask for no more of it, for a reason."""
        if (asked := self.order()) is not None:
            self._ask_why(asked.order.id)

    def action_start(self) -> None:
        """Show how the scene is to be set, or no longer."""
        picture = self.query_one(Picture)
        if picture.has_class("there"):
            picture.show(None)
        elif (asked := self.order()) is not None:
            self._look(asked.order.id)

    def action_suggest(self) -> None:
        """Say what would cure most failures, and ask for one of it."""
        if self._failing is not None:
            self.tell(f"looking for where {self._failing.task} fails most ...")
            self._suggest(self._failing.task, self.report.name if self.report is not None else None)

    @on(Read)
    def shown(self, message: Read) -> None:
        """Show everything; who was moved to stays so."""
        self._failing = message.failing
        self._show_failures()
        self.query_one("#orders", Rows).fill(map(_row, message.failing.orders))
        self._show_order()

    @on(Began)
    def began(self, message: Began) -> None:
        if (asked := self.order()) is not None and asked.order.id == message.order:
            self.query_one(Picture).show(message.pixels)

    @on(Rows.Moved, "#orders")
    def highlighted(self) -> None:
        self.query_one(Picture).show(None)
        self._show_order()

    @on(Rows.Chosen, "#orders")
    def chosen(self) -> None:
        self.action_collect()

    @on(Rows.Chosen, "#codes")
    def drill(self, message: Rows.Chosen) -> None:
        """Show the episodes that failed so."""
        code, failing = message.key, self._failing
        if failing is not None:
            self.app.push_screen(Drilled(self.room, self.table, failing.task, code, failing.names.get(code, "")))

    def _show_failures(self) -> None:
        failing, report = self._failing, self.report
        if failing is None:
            return
        tried = "no trials yet" if report is None else f"{report.name} {report.says} in batch {report.batch}"
        self.query_one("#which", Static).update(f"{failing.task}: {tried}")
        self.query_one("#funnel", Static).update("" if report is None else "\n".join(funnel(report)))
        self.query_one("#codes", Rows).fill(
            Row(code, (code, name, str(here) if report is not None else "", str(everywhere)))
            for code, name, here, everywhere in codes(failing, report)
        )

    def _show_order(self) -> None:
        asked = self.order()
        none = "no order is open: a suggests some from the last trials"
        self.query_one("#about", Static).update(none if asked is None else "\n".join(about(asked)))

    @work(thread=True, exclusive=True, group="read")
    def _read(self, task: str | None, closed: bool) -> None:
        with self.trying():
            self.post_message(Read(read(self.room.home, task, closed)))

    @work(thread=True, exclusive=True, group="look")
    def _look(self, order: int) -> None:
        with self.trying():
            self.post_message(Began(order, smaller(ghost(self.room.home, order, FRONT))))

    @work(exclusive=True, group="ask")
    async def _ask_why(self, order: int) -> None:
        if (why := await self.app.push_screen_wait(Write(f"Why is order {order} closed?"))) is not None:
            self._end(order, why)

    @work(thread=True, exclusive=True, group="do")
    def _end(self, order: int, why: str) -> None:
        with self.trying(), self.room.home.join() as catalog:
            catalog.close_order(order, self.room.operator, why)
            self.post_message(Told(f"order {order} is closed: {why}"))
            self.call_later(self.action_read_again)

    @work(thread=True, exclusive=True, group="suggest")
    def _suggest(self, task: str, policy: str | None) -> None:
        with self.trying():
            found = suggest(self.room.home, task, policy)
            if found.proposals:
                self.call_later(self._choose, task, found)
            else:
                self.post_message(
                    Told(f"{found.policy}'s failures in batch {found.batch} are too few to order anything")
                )

    @work(exclusive=True, group="ask")
    async def _choose(self, task: str, found: Suggested) -> None:
        said = [f"{one.gain * 100:+.1f} points, {one.minutes:.0f} min: {one.words}" for one in found.proposals]
        if (which := await self.app.push_screen_wait(Pick("Ask for which?", said))) is not None:
            self._place(task, found, which)

    @work(thread=True, exclusive=True, group="do")
    def _place(self, task: str, found: Suggested, which: int) -> None:
        with self.trying():
            placed: Sequence[object] = order_one(self.room.home, task, found, which)
            self.post_message(Told("it is asked for now" if placed else "an open order asks for that already"))
            self.call_later(self.action_read_again)


def _row(asked: Asked) -> Row:
    order = asked.order
    cells = (str(order.id), order.task, asked.bar(), asked.gain, asked.minutes, order.failure or "", order.why)
    return Row(str(order.id), cells, "dim" if order.closed is not None else "")
