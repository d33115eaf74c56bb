"""``appliance doctor``: what is wrong with this cell."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.options import AsJson
from appliance.cli.shown import show

if TYPE_CHECKING:
    from appliance.doctor.finding import Finding
    from appliance.home import Home

clinic = typer.Typer()

COLOURS = {"ok": "green", "warn": "yellow", "bad": "bold red"}


@clinic.command()
def doctor(
    station: Annotated[
        str | None,
        typer.Option("--station", help="A station's name, or a path to its TOML file; looks at its devices."),
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Keep what the station's cameras see now as what they shall see.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong with this machine and a station, and say what to type about it.

    Exit 1 if something is bad. Nothing moves: of a real station only the cameras are switched on.
    """
    from appliance.home import Home

    home = Home.from_environment()
    if reference:
        if station is None:
            raise typer.BadParameter("--reference needs --station: whose cameras?")
        _keep(home, station, as_json)
        return
    from appliance.doctor.finding import examine
    from appliance.doctor.plan import checks

    found = examine(checks(home, station))
    if as_json:
        rows = [
            {"id": one.about, "level": str(one.level), "what": one.what, "fix": one.fix, "seconds": one.seconds}
            for one in found
        ]
        show(rows, (), as_json)
    else:
        tell(found)
    if any(one.level == "bad" for one in found):
        raise typer.Exit(1)


def _keep(home: "Home", which: str, as_json: bool) -> None:
    from appliance.doctor.looking import eyes
    from appliance.doctor.views import keep
    from appliance.station import load

    station = load(which)
    cameras = [camera.name for camera in eyes(station)]
    kept = keep(which, station.name, cameras, home.folder)
    if as_json:
        show([{"id": name, "path": str(path)} for name, path in zip(cameras, kept, strict=True)], (), as_json)
        return
    for name, path in zip(cameras, kept, strict=True):
        typer.echo(f"{name} shall see what is in {path}.")


def tell(found: "Sequence[Finding]") -> None:
    """Print a line for every finding, the worst last, where a person looks first, with what to type below it."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240)
    wide = max(len(one.about) for one in found)
    for one in sorted(found, key=lambda one: list(COLOURS).index(one.level)):
        word = Text(f"{one.level.upper():<5}", COLOURS[one.level])
        console.print(Text.assemble(word, f"{one.about:<{wide}}  {one.what}"))
        for line in one.fix.splitlines():
            console.print(Text(f"{'':>{wide + 7}}{line}", "cyan" if console.is_terminal else ""))
    counts = {level: sum(one.level == level for one in found) for level in COLOURS}
    console.print(f"{counts['bad']} bad, {counts['warn']} to look at, {counts['ok']} fine.")
