"""What is asked before trials are planned: the task, the policies, how many, what is varied, and who may step in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList, Select

from appliance.tui.batches import Candidate

TAKEOVERS = ("vr", "kinesthetic", "leader")
"""How a person may take over."""

USUAL = 2
"""So many policies are chosen before anybody chooses: the champion, and the newest."""

TRIALS = "20"

ENDS = (("after all trials", False), ("once one is shown to be better", True))
"""When a batch of two ends."""


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


class Several(OptionList):
    """Things of which several may be chosen; what is chosen is marked by a letter, not by a colour."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "select", "Choose")]

    def __init__(self, id: str) -> None:  # ruff: ignore[builtin-argument-shadowing] - as Textual calls it
        super().__init__(id=id, compact=True, markup=False)
        self._says: list[tuple[str, str]] = []
        self._chosen: set[int] = set()

    @property
    def chosen(self) -> tuple[str, ...]:
        """Those that are chosen, in the order they are listed."""
        return tuple(name for k, (name, _) in enumerate(self._says) if k in self._chosen)

    def offer(self, says: Sequence[tuple[str, str]], chosen: int) -> None:
        """List these, each with what is said of it; so many of the first are chosen."""
        self._says, self._chosen = [*says], {*range(min(chosen, len(says)))}
        self._write()

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self._chosen ^= {message.option_index}
        self._write()

    def _write(self) -> None:
        at = self.highlighted
        self.set_options(
            [f"[{'x' if k in self._chosen else ' '}] {name}  {said}" for k, (name, said) in enumerate(self._says)]
        )
        self.highlighted = at


class Planning(ModalScreen[Asked | None]):
    """Asks for a batch; None when the person goes back."""

    DEFAULT_CSS = """
    Planning { align: center middle; }
    Planning > Vertical {
        width: 76; max-width: 100%; height: auto; max-height: 100%; border: heavy $primary; padding: 0 1;
    }
    Planning Horizontal { height: auto; }
    Planning Horizontal > Label { width: 16; }
    Planning Horizontal > Input, Planning Horizontal > Select { width: 1fr; }
    Planning Several { height: auto; max-height: 7; border: none; padding: 0; }
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
            yield Several("policies")
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
            with Horizontal():
                yield Label("Ends")
                yield Select(ENDS, value=False, allow_blank=False, compact=True, id="early")
            yield Label(id="trouble", markup=False)
            yield Button("Begin  F5", action="screen.begin", id="begin", compact=True)

    def on_mount(self) -> None:
        self._offer()
        self.query_one("#begin").focus()

    def _offer(self) -> None:
        there = self._tasks.get(self._of, ())
        says = [(one.name, "champion" if one.champion else one.says) for one in there]
        self.query_one(Several).offer(says, USUAL)

    @on(Select.Changed, "#task")
    def other(self, message: Select.Changed) -> None:
        message.stop()
        if (chosen := str(message.value)) != self._of:
            self._of = chosen
            self._offer()

    def action_begin(self) -> None:
        """Give what was asked, unless it makes no sense."""
        policies = self.query_one(Several).chosen
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
            early = self.query_one("#early", Select).value is True
            self.dismiss(Asked(self._of, policies, trials, seed, vary, str(takeover), early))

    def _number(self, name: str) -> int | None:
        said = self.query_one(f"#{name}", Input).value
        return int(said) if said.isdecimal() else None

    def _refuse(self, why: str) -> None:
        self.query_one("#trouble", Label).update(why)
