"""What a person at the table sees."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Group

OFTEN = 5
"""How often a second the screen is drawn: often enough for a clock, too seldom to hold up a loop."""


def say(line: str) -> None:
    """A line that stays, above what changes."""
    typer.echo(line, err=True)


def drawn(lines: Sequence[str], helps: Sequence[str]) -> "Group":
    """What is on the screen at the moment."""
    from rich.console import Group
    from rich.text import Text

    return Group(*map(Text, lines), *(Text(one, style="dim") for one in helps if one))


@contextmanager
def screen(lines: Callable[[], Sequence[str]], *helps: str) -> Generator[None]:
    """Draw lines on a terminal as long as this lasts; a log gets the lines that are told, and no more."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    def now() -> "Group":
        return drawn(lines(), helps)

    with Live(get_renderable=now, refresh_per_second=OFTEN, console=Console(stderr=True), transient=True):
        yield
