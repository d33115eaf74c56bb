"""What this machine shares with others through one store."""

from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.opened import opened
from appliance.cli.options import AsJson
from appliance.cli.shown import megabytes, progress, show_one

if TYPE_CHECKING:
    from appliance.home import Home

sharing = typer.Typer()


@sharing.command()
def share(
    push: Annotated[bool, typer.Option("--push", help="Only bring what is new here into the store.")] = False,
    pull: Annotated[bool, typer.Option("--pull", help="Only fetch all that others brought there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring episodes and policies into the store that machines share, and fetch what others brought there.

    APPLIANCE_STORE says which: a folder that all of them mount, or s3://BUCKET/PREFIX with the usual AWS_ variables.
    Nothing is deleted, here or there. What a machine needs to train or to evaluate it fetches by itself.
    """
    from appliance import shared

    both = push == pull
    with opened() as (home, _):
        store = shared.demanded(home).where
        with progress("share", None) as advance:
            pushed = shared.push(home, advance) if push or both else shared.Moved()
            fetched = shared.pull(home, advance) if pull or both else shared.Moved()
    found = {"store": store, "pushed": pushed.number, "fetched": fetched.number, "bytes": pushed.bytes + fetched.bytes}
    if as_json:
        show_one(found, as_json)
        return
    told = (f"{each.number} ({megabytes(each.bytes)})" for each in (pushed, fetched))
    typer.echo("Pushed {}, fetched {}.".format(*told))


def brought(home: "Home") -> None:
    """Bring what was just recorded into the store, if there is one; what cannot be stays here, and that is told."""
    from appliance import shared
    from appliance.refusal import refusal

    try:
        shared.push(home)
    except (shared.Changed, OSError) as error:
        typer.echo(f"Not shared yet: {refusal(error)}. It is kept; `appliance share --push` tries again.", err=True)
