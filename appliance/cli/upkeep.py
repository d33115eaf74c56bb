"""Looking after what is kept: whether it is whole, and what something bad has touched."""

from typing import Annotated

import typer

from appliance.cli.opened import opened
from appliance.cli.options import AsJson
from appliance.cli.shown import show, show_one

upkeep = typer.Typer()


@upkeep.command()
def verify(as_json: AsJson = False) -> None:
    """Check that the disk holds exactly what the catalog says. Changes nothing; exit 1 if something is wrong."""
    from ops.verify import verify as check
    from storage import Wanted

    with opened() as (home, catalog):
        number = catalog.count(Wanted(retired=None))
        found = [
            {"id": finding.where.name, "kind": str(finding.kind), "where": str(finding.where), "what": finding.what}
            for finding in check(catalog, home.folder)
        ]
    if as_json:
        show(found, (), as_json)
    elif not found:
        typer.echo(f"All well: {number} episodes are what they were when they were sealed.")
    if found:
        for one in found if not as_json else []:
            typer.echo(f"{one['where']}: {one['what']}", err=True)
        raise typer.Exit(1)


@upkeep.command()
def recall(
    calibration: Annotated[int | None, typer.Option("--calibration", help="A calibration's number.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="A device's name or serial number.")] = None,
    operator: Annotated[str | None, typer.Option("--operator", help="Somebody's name.")] = None,
    episode: Annotated[str | None, typer.Option("--episode", help="An episode's ID, or its first characters.")] = None,
    station: Annotated[str | None, typer.Option("--station", help="A station's name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find everything that something bad has touched: episodes, snapshots, and policies with their descendants.

    Several of these narrow it down, e.g. one person at one station. Retired and purged episodes count, too.
    """
    from appliance.cli.rows import of_episode, of_policy, of_snapshot

    named = {"calibration": calibration, "device": device, "operator": operator, "episode": episode, "station": station}
    if all(given is None for given in named.values()):
        raise typer.BadParameter(f"recall what? Give one or more of --{', --'.join(named)}")
    with opened() as (_, catalog):
        touched = catalog.recall(
            calibration=calibration, device=device, operator=operator, episode=episode, station=station
        )
        names = {policy.id: policy.name for policy in catalog.policies()}
    found = {
        "episodes": [of_episode(one, names) for one in touched.episodes],
        "snapshots": [of_snapshot(one) for one in touched.snapshots],
        "policies": [of_policy(one) for one in touched.policies],
    }
    if as_json:
        show_one(found, as_json)
        return
    columns = {
        "episodes": ("id", "task", "operator", "station", "started", "outcome", "standing"),
        "snapshots": ("id", "task", "episodes", "created"),
        "policies": ("name", "method", "task", "snapshot", "created"),
    }
    for what, rows in found.items():
        typer.echo(f"{len(rows)} {what}" + (":" if rows else "."))
        if rows:
            show(rows, columns[what], as_json)
