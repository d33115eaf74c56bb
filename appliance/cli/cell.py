"""``appliance calibrations``: what was measured of a cell."""

from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AsJson, Operator
from appliance.cli.shown import show
from appliance.cli.typed import json_object

calibrations = typer.Typer(help="What was measured of the devices.", no_args_is_help=True)


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


def _object(file: Path) -> dict[str, Any]:
    """What is in a file of JSON.

    Raises:
        typer.BadParameter: it cannot be read, or is no object.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}") from error
    return json_object(text, str(file))
