"""What a screen asks before it does something: why, and how a take failed."""

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList


class Write(ModalScreen[str | None]):
    """A line of text; None when the person goes back."""

    DEFAULT_CSS = """
    Write { align: center middle; }
    Write > Vertical { width: 72; max-width: 100%; height: auto; border: heavy $primary; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, asks: str, needed: bool = True) -> None:
        """Ask this; with ``needed``, an empty line is no answer."""
        super().__init__()
        self._asks, self._needed = asks, needed

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self._asks, markup=False)
            yield Input(compact=True)
            yield Label("Enter: done   Esc: back" if self._needed else "Enter: done, also without   Esc: back")

    @on(Input.Submitted)
    def done(self, message: Input.Submitted) -> None:
        message.stop()
        if (said := message.value.strip()) or not self._needed:
            self.dismiss(said)


class Pick(ModalScreen[int | None]):
    """One of several things, by its number or by moving to it; None when the person goes back."""

    DEFAULT_CSS = """
    Pick { align: center middle; }
    Pick > Vertical { width: 72; max-width: 100%; height: auto; border: heavy $primary; padding: 0 1; }
    Pick OptionList { height: auto; max-height: 16; border: none; padding: 0; }
    Pick OptionList:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        *(Binding(str(k), f"take({k - 1})", show=False) for k in range(1, 10)),
    ]

    def __init__(self, asks: str, choices: Sequence[str]) -> None:
        super().__init__()
        self._asks, self._choices = asks, choices

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self._asks, markup=False)
            yield OptionList(*(f"{k} {one}" for k, one in enumerate(self._choices, 1)), markup=False)
            yield Label("a digit, or arrows and Enter   Esc: back")

    def action_take(self, which: int) -> None:
        """Take the one of this number, if there is one."""
        if which < len(self._choices):
            self.dismiss(which)

    @on(OptionList.OptionSelected)
    def chosen(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.dismiss(message.option_index)
