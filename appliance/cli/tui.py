"""The screen that an operator uses all day."""

from typing import Annotated

import typer

from appliance.cli.opened import user
from appliance.cli.options import AnyTask, StationName

screens = typer.Typer()


@screens.command()
def tui(
    station: StationName = "franka-sim",
    operator: Annotated[str, typer.Option("--operator", help="Who stands there. Default: the user's name.")] = "",
    task: AnyTask = None,
) -> None:
    """Show the cell, collect, look at episodes, learn, evaluate: everything in one screen. Ctrl-Q leaves it safely.

    It keeps nothing of its own: it may be killed at any time, and shows the same when it is opened again.
    """
    from appliance import station as stations
    from appliance.home import Home
    from appliance.tui.app import Tui
    from appliance.tui.room import Room

    stations.load(station)
    home, recovered = Home.from_environment(), list[str]()
    with home.open(recovered.append) as catalog:
        if task is not None:
            catalog.task(task)
    Tui(Room(home, station, operator or user(), task), recovered).run()
