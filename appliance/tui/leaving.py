"""Whether to leave while a take is being made."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static


class Leaving(ModalScreen[bool]):
    """Asks; True for yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "End it and leave"),
        Binding("n,escape", "dismiss(False)", "Go on"),
    ]

    def compose(self) -> ComposeResult:
        yield Vertical(
            Static("A take is being made."),
            Static("y  end it and leave: the robot holds, and what was shown is kept"),
            Static("n  go on"),
            id="question",
        )
