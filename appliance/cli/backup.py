"""``appliance backup`` and ``appliance restore``: a copy of all that cannot be made again, and back."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AsJson, Daily
from appliance.cli.shown import megabytes, progress, show_one

keeping_safe = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The backup's folder, best on another disk.")]


@keeping_safe.command()
def backup(
    to: Folder,
    mirror: Annotated[bool, typer.Option("--mirror", help="Delete in the backup what was purged here.")] = False,
    again: Annotated[
        bool, typer.Option("--check", help="Read again what is in the backup, and copy again what has changed there.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--new", help="Begin anew where a backup is no longer there, or its list is damaged.")
    ] = False,
    at: Daily = "",
    as_json: AsJson = False,
) -> None:
    """Copy what is new: recordings, policies, the catalog, reports and views. Codes and certificates stay here.

    Each copy is read back and compared by its digest. Cut short, it is gone on with by the same line. With
    --daily, it is tried in a scratch folder an hour later.
    """
    from appliance.backup import make
    from appliance.planned import daily

    with opened() as (home, _):
        pass
    if at:
        folder = str(to.absolute())
        made_daily = daily(home, "backup", at, "backup", {"to": folder, "mirror": mirror}, user())
        daily(home, "restore-check", at, "restore-check", {"from": folder}, user(), later=1)
        typer.echo(f"Every day at {at} ({made_daily.zone}), the daemon makes a backup in {to}: appliance serve")
        return
    with progress("Backing up", None) as advance:
        made = make(home, to, lambda what, done, of: advance(what, done, of), mirror, again, anew)
    if as_json:
        show_one({"id": str(to.absolute()), **asdict(made)}, as_json)
        return
    gone = f"; {made.removed} were removed" if made.removed else ""
    typer.echo(
        f"{made.copied} things, {megabytes(made.bytes)}, were copied to {to} in {made.seconds:.1f} s; it has "
        f"{made.there} now{gone}."
    )
    if made.same_disk:
        typer.echo("It is on the disk that it is a copy of: when that fails, both are gone.", err=True)


@keeping_safe.command()
def restore(
    of: Folder,
    into: Annotated[
        Path | None, typer.Option("--into", help="A new or empty folder. Default: the data folder, if it is empty.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only try it in a scratch folder, verify what is there, and remove it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a data folder again from a backup. Everything is checked, and nothing is written over.

    The catalog becomes a file in the folder, or goes to the empty server that APPLIANCE_DATABASE names.
    """
    import os

    from appliance.backup import bring_back, rehearse
    from appliance.home import Home

    home = Home.from_environment()
    if check:
        with progress("Trying", None) as advance:
            tried = rehearse(home, of, into, lambda what, done, use: advance(what, done, use))
        if as_json:
            show_one({"id": str(of.absolute()), **asdict(tried)}, as_json)
        else:
            typer.echo(
                f"{tried.items} of {tried.of} things, {megabytes(tried.bytes)}, came back as they were, in "
                f"{tried.seconds:.1f} s; the backup is of {tried.made[:16].replace('T', ' ')} UTC."
            )
        return
    if into is not None:
        folder = into.absolute()
        server = os.environ.get("APPLIANCE_DATABASE", "")
        home = replace(home, folder=folder, database=server or str(folder / "catalog.db"))
    with progress("Restoring", None) as advance:
        back = bring_back(of, home, lambda what, done, use: advance(what, done, use))
    if as_json:
        show_one({"id": str(home.folder), **asdict(back)}, as_json)
    else:
        typer.echo(
            f"{back.items} things and {back.files} files, {megabytes(back.bytes)}, are in {home.folder} as they were "
            f"on {back.made[:16].replace('T', ' ')} UTC; it took {back.seconds:.1f} s."
        )
    if back.damaged:
        for what in back.damaged.values():
            typer.echo(what, err=True)
        raise typer.Exit(1)
