"""The screen that an operator uses all day."""

import importlib
import sys
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
    web: Annotated[bool, typer.Option("--web", help="Show it in a browser of this machine.")] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="With --web: the port; 0 is any that is free.")
    ] = 8010,
) -> None:
    """Show the cell, collect, look at episodes, learn, evaluate: everything in one screen. Ctrl-Q leaves it safely.

    It keeps nothing of its own: it may be killed at any time, and shows the same when it is opened again.
    """
    from appliance import station as stations
    from appliance.home import Home
    from appliance.tui.app import Tui
    from appliance.tui.hangup import watched
    from appliance.tui.manners import make_way
    from appliance.tui.room import Room
    from ops.journal import Journal

    stations.load(station)
    home, recovered = Home.from_environment(), list[str]()
    with home.open(recovered.append) as catalog:
        if task is not None:
            catalog.task(task)
    who = operator or user()
    if web:
        from appliance.tui.web import serve

        asked = ("--station", station, "--operator", who, *(("--task", task) if task is not None else ()))
        serve([sys.executable, "-m", "appliance.cli", "tui", *asked], port, typer.echo)
        return
    importlib.import_module("appliance.tui.picture")  # asks what the terminal can draw: later, the app hears the answer
    make_way()
    app = Tui(Room(home, station, who, task), recovered)
    with (
        Journal.of(home.folder).hearing(),  # a terminal that shows the screen has no room for warnings
        watched(app.table, sys.stdin.fileno()),  # a page that was closed, too, leaves no take running
    ):
        app.run()
