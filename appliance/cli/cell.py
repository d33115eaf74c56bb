"""``appliance calibrations`` and ``appliance orders``: what was measured of a cell, and what it is asked to collect."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson, Operator, TaskName, Why
from appliance.cli.shown import show

calibrations = typer.Typer(help="What was measured of the devices.", no_args_is_help=True)
orders = typer.Typer(help="Which demonstrations are asked for, and why.", no_args_is_help=True)


@calibrations.command("add")
def calibrations_add(
    file: Annotated[Path, typer.Argument(help="A JSON file: an object of what was measured.")],
    station: Annotated[str, typer.Option("--station", help="The station the device belongs to.")],
    device: Annotated[str, typer.Option("--device", help="The device's name there, e.g. front.")],
    note: Annotated[str, typer.Option("--note", help="How it was measured.")] = "",
    operator: Operator = "",
) -> None:
    """Put a calibration in force. What is recorded from now on says that it was recorded under it."""
    from storage import Calibration

    values = _object(file)
    with opened() as (_, catalog):
        row = catalog.calibrate(
            Calibration(station=station, device=device, values=values, by=operator or user(), note=note)
        )
    typer.echo(f"Calibration {row.id} of {device} at {station} is in force.")


@calibrations.command("list")
def calibrations_list(
    station: Annotated[str | None, typer.Option("--station", help="Only those of this station.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the calibrations, oldest first, and which are in force."""
    from appliance.cli.rows import of_calibration

    with opened() as (_, catalog):
        rows = catalog.calibrations(station)
    newest = {(row.station, row.device): row.id for row in rows}
    found = [of_calibration(row, newest[row.station, row.device] == row.id) for row in rows]
    show(found, ("id", "station", "device", "in_force", "by", "made", "note"), as_json)


@orders.command("list")
def orders_list(
    task: AnyTask = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the open work orders, oldest first, with how many good episodes each has got."""
    from appliance.cli.rows import of_order

    with opened() as (_, catalog):
        rows = catalog.orders(task, None if everything else False)
        found = [of_order(row, catalog.order_progress(row.id)) for row in rows]
    show(found, ("id", "task", "done", "wanted", "failure", "condition", "why", "made", "closed"), as_json)


@orders.command("add")
def orders_add(
    task: TaskName,
    wanted: Annotated[int, typer.Option("--wanted", min=1, max=100_000, help="How many good episodes.")],
    why: Why,
    failure: Annotated[str | None, typer.Option("--failure", help="The failure they are to cure, e.g. DROP.")] = None,
    condition: Annotated[
        str, typer.Option("--condition", help='How the scene is to be set, as JSON, e.g. {"seed": 7}.')
    ] = "{}",
) -> None:
    """Ask for demonstrations."""
    from storage import WorkOrder

    scene = _read(condition, "--condition")
    with opened() as (_, catalog):
        row = catalog.order(WorkOrder(task=task, wanted=wanted, condition=scene, failure=failure, why=why))
    typer.echo(f"Order {row.id}: {wanted} good episodes of {task}.")


@orders.command("close")
def orders_close(order: Annotated[int, typer.Argument(metavar="ID", help="The order's number.")]) -> None:
    """Ask for no more. What was collected for the order stays."""
    with opened() as (_, catalog):
        catalog.close_order(order)
        done = catalog.order_progress(order)
    typer.echo(f"Order {order} is closed, with {done} good episodes.")


def _object(file: Path) -> dict[str, Any]:
    """What is in a file of JSON.

    Raises:
        typer.BadParameter: it cannot be read, or is no object.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}") from error
    return _read(text, str(file))


def _read(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{where} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f'{where} has to be a JSON object, e.g. {{"fx": 612.4}}')
    return found
