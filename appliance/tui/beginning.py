"""Asking for a training: which task, how, and whether from the champion."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Select

from appliance.refusal import Refusal
from learners import METHODS

PRESETS = ("tiny", "small", "paper")

STARTS = (("from nothing", False), ("go on from the champion", True))
"""Words, for in one colour nobody can tell whether a box is ticked."""


@dataclass(frozen=True)
class Begin:
    """A training that is asked for."""

    task: str
    method: str
    preset: str
    start: str | None
    """The policy that it goes on from."""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """As a job's settings."""
        return {
            "task": self.task,
            "method": self.method,
            "preset": self.preset,
            "settings": dict(self.settings),
            "start": self.start,
            "hands": False,
        }


class NotTyped(Refusal):
    """What was typed is no setting."""


def typed(text: str) -> dict[str, str]:
    """Settings as ``train`` takes them: ``steps=2000 lr=1e-4``.

    Raises:
        NotTyped: a word is no ``name=value``.
    """
    try:
        pairs = [part.partition("=") for part in shlex.split(text)]
    except ValueError as error:
        raise NotTyped(f"{text!r}: {error}") from error
    if wrong := [name for name, sign, value in pairs if not (name and sign and value)]:
        raise NotTyped(f"{wrong[0]!r} is no setting; write name=value, e.g. steps=2000")
    return {name: value for name, _, value in pairs}


class Beginning(ModalScreen[Begin | None]):
    """A few fields; None when the person goes back."""

    DEFAULT_CSS = """
    Beginning { align: center middle; }
    Beginning > Vertical { width: 72; max-width: 100%; height: auto; border: heavy $primary; padding: 0 1; }
    Beginning Horizontal { height: auto; }
    Beginning Select { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("ctrl+s", "begin", "Begin"),
    ]

    def __init__(self, tasks: Sequence[str], champions: Mapping[str, str]) -> None:
        """Offer these tasks, and the champion of each that has one."""
        super().__init__()
        self._tasks, self._champions = tasks, champions

    def compose(self) -> ComposeResult:
        methods = sorted(METHODS)
        with Vertical():
            yield Label("Learn which task, and how?")
            with Horizontal():
                yield Select(
                    [(name, name) for name in self._tasks],
                    value=self._tasks[0],
                    allow_blank=False,
                    id="task",
                    compact=True,
                )
                yield Select(
                    [(name, name) for name in methods], value="ccol", allow_blank=False, id="method", compact=True
                )
                yield Select(
                    [(name, name) for name in PRESETS], value="small", allow_blank=False, id="preset", compact=True
                )
            yield Select(STARTS, value=False, allow_blank=False, id="champion", compact=True)
            yield Input(placeholder="settings: steps=2000 lr=1e-4", compact=True, id="settings")
            yield Button("Begin (ctrl+s)", compact=True, id="begin")
            yield Label("Tab: next   Esc: back", id="wrong", markup=False)

    @on(Button.Pressed)
    def action_begin(self) -> None:
        """Ask for it, unless something is wrong."""
        task, method, preset = (str(self.query_one(f"#{name}", Select).value) for name in ("task", "method", "preset"))
        champion = self._champions.get(task)
        wants = self.query_one("#champion", Select).value is True
        try:
            settings = typed(self.query_one(Input).value)
        except NotTyped as error:
            self.query_one("#wrong", Label).update(f"! {error}")
            return
        if wants and champion is None:
            self.query_one("#wrong", Label).update(f"! {task} has no champion yet")
            return
        self.dismiss(Begin(task, method, preset, champion if wants else None, settings))
