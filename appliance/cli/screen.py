"""What a person at the table sees while they show something."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from appliance.sitting import Attended

OFTEN = 5
"""How often a second the screen is drawn: often enough for a clock, too seldom to hold up a loop."""


def say(line: str) -> None:
    """A line that stays, above what changes."""
    typer.echo(line, err=True)


def drawn(attended: "Attended") -> "Group":
    """What is on the screen at the moment."""
    from rich.console import Group
    from rich.text import Text

    from appliance.keys import HELP
    from appliance.sitting import lines
    from collectors.ways import WAYS

    helps = [one for one in (WAYS[attended.way].helps, HELP) if one]
    return Group(*map(Text, lines(attended)), *(Text(one, style="dim") for one in helps))


@contextmanager
def screen(attended: "Attended") -> Generator[None]:
    """Draw the sitting on a terminal as long as this lasts; a log gets the lines that are told, and no more."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    def now() -> "Group":
        return drawn(attended)

    with Live(get_renderable=now, refresh_per_second=OFTEN, console=Console(stderr=True), transient=True):
        yield
