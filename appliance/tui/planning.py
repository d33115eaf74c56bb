"""What is asked before trials are planned: the task, the policies, how many, what is varied, and who may step in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Label, Select, SelectionList
from textual.widgets.selection_list import Selection

from appliance.tui.batches import Candidate

TAKEOVERS = ("vr", "kinesthetic", "leader")
"""How a person may take over."""

USUAL = 2
"""So many policies are chosen before anybody chooses: the champion, and the newest."""

TRIALS = "20"


@dataclass(frozen=True)
class Asked:
    """A batch that somebody wants."""

    task: str
    policies: tuple[str, ...]
    trials: int
    seed: int
    vary: tuple[str, ...]
    takeover: str
    """Empty for nobody."""
    early: bool
    """Whether it ends once one is shown to be better."""


class Planning(ModalScreen[Asked | None]):
    """Asks for a batch; None when the person goes back."""

    DEFAULT_CSS = """
    Planning { align: center middle; }
    Planning > Vertical {
        width: 76; max-width: 100%; height: auto; max-height: 100%; border: heavy $primary; padding: 0 1;
    }
    Planning Horizontal { height: auto; }
    Planning Horizontal > Label { width: 14; }
    Planning Horizontal > Input, Planning Horizontal > Select { width: 1fr; }
    Planning SelectionList { height: auto; max-height: 7; border: none; padding: 0; }
    Planning #trouble { color: $text-error; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("f5,ctrl+s", "begin", "Begin", priority=True),
    ]

    def __init__(self, tasks: Mapping[str, Sequence[Candidate]], ways: Sequence[str], task: str | None) -> None:
        """Ask about these tasks and the policies of each, and how a person may take over; of ``task`` at first."""
        super().__init__()
        self._tasks, self._ways = tasks, ways
        known = [name for name, there in tasks.items() if there]
        self._of = task if task in known else next(iter(known), "")

    def compose(self) -> ComposeResult:
        with Vertical():
            with Horizontal():
                yield Label("Task")
                yield Select.from_values(self._tasks, value=self._of, allow_blank=False, compact=True, id="task")
            yield Label("Policies, all from the same starts; space chooses", markup=False)
            yield SelectionList[str](*self._policies(), id="policies", compact=True)
            with Horizontal():
                yield Label("Trials of each")
                yield Input(TRIALS, type="integer", id="trials", compact=True)
            with Horizontal():
                yield Label("Seed of starts")
                yield Input("0", type="integer", id="seed", compact=True)
            with Horizontal():
                yield Label("Vary")
                yield Input(placeholder="nothing; or e.g. background,lighting; or all", id="vary", compact=True)
            with Horizontal():
                yield Label("Take over")
                ways = [("nobody", ""), *((way, way) for way in self._ways)]
                yield Select(ways, value="", allow_blank=False, compact=True, id="takeover")
            yield Checkbox("end once one is shown to be better", id="early", compact=True)
            yield Label(id="trouble", markup=False)
            yield Button("Begin  F5", action="screen.begin", id="begin", compact=True)

    def on_mount(self) -> None:
        self.query_one("#begin").focus()

    def _policies(self) -> list[Selection[str]]:
        there = self._tasks.get(self._of, ())
        return [
            Selection(f"{one.name}  {'champion' if one.champion else one.says}", one.name, k < USUAL)
            for k, one in enumerate(there)
        ]

    @on(Select.Changed, "#task")
    def other(self, message: Select.Changed) -> None:
        message.stop()
        if (chosen := str(message.value)) != self._of:
            self._of = chosen
            listed = self.query_one("#policies", SelectionList)
            listed.clear_options()
            listed.add_options(self._policies())

    def action_begin(self) -> None:
        """Give what was asked, unless it makes no sense."""
        policies = tuple(self.query_one("#policies", SelectionList).selected)
        trials, seed = self._number("trials"), self._number("seed")
        if not policies:
            self._refuse("choose at least one policy; `appliance train` makes one")
        elif not trials:
            self._refuse("at least one trial of each policy")
        elif seed is None:
            self._refuse("the seed is a whole number from 0 on")
        else:
            vary = tuple(part.strip() for part in self.query_one("#vary", Input).value.split(",") if part.strip())
            takeover = self.query_one("#takeover", Select).value
            early = self.query_one("#early", Checkbox).value
            self.dismiss(Asked(self._of, policies, trials, seed, vary, str(takeover), early))

    def _number(self, name: str) -> int | None:
        said = self.query_one(f"#{name}", Input).value
        return int(said) if said.isdecimal() else None

    def _refuse(self, why: str) -> None:
        self.query_one("#trouble", Label).update(why)
