"""Keeping what was recorded: checking it, making room, finding what it touched."""

import typer

from appliance.cli.opened import opened
from appliance.cli.options import AsJson
from appliance.cli.shown import show

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
