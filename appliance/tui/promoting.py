"""Makes a policy that was tried the champion of its task, or goes back to the one before, and asks why."""

from abc import abstractmethod
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from appliance.tui.asks import Pick, Write
from appliance.tui.batches import Shown
from appliance.tui.telling import Telling, Told


class Promoting(Telling):
    """A screen on which a batch is looked at, so that its policies can be promoted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "promote", "Promote"),
        Binding("b", "roll_back", "Roll back"),
    ]
    shown: Shown | None = None
    """The batch that is looked at."""

    @abstractmethod
    def read(self) -> object:
        """Read everything again."""

    def action_promote(self) -> None:
        """Make a policy of the batch the champion of its task."""
        shown = self.shown
        if shown is None or not shown.policies:
            self.tell("only a closed batch says whom one may promote")
            return
        task, batch = shown.line.task, shown.line.id
        others = [one for one in shown.policies if not one.champion]

        def chosen(which: int | None) -> None:
            if which is not None:
                name = others[which].name
                asks = Write(f"Why shall {name} be the champion of {task}?")
                self.app.push_screen(asks, lambda why: self._promote(name, batch, why))

        if not others:
            self.tell(f"{shown.policies[0].name} is the champion of {task} already")
        else:
            says = [f"{one.name}  {one.says}" for one in others]
            self.app.push_screen(Pick(f"Who shall be the champion of {task}?", says), chosen)

    def action_roll_back(self) -> None:
        """Go back to the champion before."""
        task = self.room.task if self.shown is None else self.shown.line.task
        if task is None:
            self.tell("choose a batch of the task whose champion is meant")
            return
        asks = Write(f"Why go back to the champion of {task} before?")
        self.app.push_screen(asks, lambda why: self._roll_back(task, why))

    def _promote(self, name: str, batch: str, why: str | None) -> None:
        if why:
            self._write_promoted(name, batch, why)

    def _roll_back(self, task: str, why: str | None) -> None:
        if why:
            self._write_rolled_back(task, why)

    @work(thread=True, group="promote")
    def _write_promoted(self, name: str, batch: str, why: str) -> None:
        with self.trying(), self.room.home.join() as catalog:
            row = catalog.policy(name)
            catalog.promote(row, self.room.operator, why, {"batch": batch})
            self.post_message(Told(f"{row.name} is the champion of {row.task}"))
            self.app.call_from_thread(self.read)

    @work(thread=True, group="promote")
    def _write_rolled_back(self, task: str, why: str) -> None:
        with self.trying(), self.room.home.join() as catalog:
            catalog.roll_back(task, self.room.operator, why)
            now = catalog.champion(task)
            self.post_message(Told(f"{now.name if now else 'nobody'} is the champion of {task} again"))
            self.app.call_from_thread(self.read)
