"""Help that knows the screen it is called from: what can be done there, and every key, those that count now marked."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from rich.table import Table
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

HERE, EVERYWHERE = "Here", "Everywhere"

LATER = "not at the moment"

NAMES = {
    "question_mark": "?",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "enter": "Enter",
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
}
"""What is written on keys that Textual calls otherwise."""


@dataclass(frozen=True)
class Key:
    """What a key does."""

    keys: str
    does: str
    where: str
    now: bool
    """Whether it counts at the moment."""


def keys(screen: Screen[Any]) -> list[Key]:
    """Every key of a screen and of the app, the screen's first, in the order in which they are declared."""
    active = _active(screen)
    return [
        Key(" ".join(one.keys), one.binding.description, where, (id(node), one.binding.action) in active)
        for where, node in ((HERE, screen), (EVERYWHERE, screen.app))
        for one in _declared(node)
    ]


def commands(screen: Screen[Any]) -> Iterable[SystemCommand]:
    """What the command palette offers of a screen: each of its keys that counts at the moment, by what it does."""
    active = _active(screen)
    for one in _declared(screen):
        if (id(screen), one.binding.action) in active:
            does = partial(screen.run_action, one.binding.action)
            yield SystemCommand(one.binding.description, f"{screen.TITLE}: {' '.join(one.keys)}", does)


def _active(screen: Screen[Any]) -> set[tuple[int, str]]:
    """What counts at the moment, and whose it is."""
    return {(id(one.node), one.binding.action) for one in screen.active_bindings.values() if one.enabled}


class Help(ModalScreen[None]):
    """Explains a screen, over it."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > VerticalScroll {
        width: 100; max-width: 100%; height: auto; max-height: 100%; border: heavy $primary; padding: 0 1;
        background: $surface;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q,enter", "dismiss", "Back")]

    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        self._title = screen.TITLE or ""
        self._said = str(getattr(screen, "HELP", "")).strip()
        self._keys = keys(screen)

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(f"{self._title}   Esc: back   arrows: further down", markup=False, id="about")
            yield Static(self._said, markup=False, id="help")
            yield Static(_table(self._keys), id="keys")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


@dataclass
class _Declared:
    """A binding that a class declares, and every key that has it."""

    binding: Binding
    keys: list[str]


def _declared(node: DOMNode) -> list[_Declared]:
    """What the classes of a screen or app declare, below Textual's own; a key counts as its most special class says."""
    found: dict[tuple[str, str], _Declared] = {}
    taken: set[str] = set()
    for kind in type(node).__mro__:
        here = Binding.make_bindings(vars(kind).get("BINDINGS", ())) if kind.__module__.startswith("appliance.") else ()
        fresh = [binding for binding in here if binding.description and binding.key not in taken]
        taken |= {binding.key for binding in fresh}
        for binding in fresh:
            one = found.setdefault((binding.action, binding.description), _Declared(binding, []))
            one.keys.append(_written(binding))
    return [*found.values()]


def _written(binding: Binding) -> str:
    """What is written on a key."""
    if binding.key in NAMES:
        return NAMES[binding.key]
    return binding.key.replace("ctrl+", "Ctrl-") if len(binding.key) == 1 or "+" in binding.key else binding.key.upper()


def _table(rows: list[Key]) -> Table:
    table = Table.grid(padding=(0, 2))
    before = ""
    for row in rows:
        table.add_row(row.where if row.where != before else "", row.keys, row.does, "" if row.now else LATER)
        before = row.where
    return table
