"""Making room on the disk: deleting what was retired, and keeping smaller copies of what is old."""

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AsJson, Operator
from appliance.cli.shown import megabytes, progress, show, show_one
from appliance.cli.sure import sure

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.home import Home
    from ops.purge import Plan
    from storage import Catalog

room = typer.Typer()
caches = typer.Typer(help="Unpacked pictures that training made to read faster; it makes them again.")

LAST = 10
"""How far behind everything else on this machine compacting stands."""

SomeEpisodes = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Only these episodes: IDs, or their first characters.")
]


@room.command()
def purge(
    ids: SomeEpisodes = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", min=0, help="Only what was retired so many days ago, or longer.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. For scripts.")] = False,
    why: Annotated[str, typer.Option("--why", help="The reason; it stays on record.")] = "",
    operator: Operator = "",
    as_json: Annotated[bool, typer.Option("--json", help="Only print, as JSON, what would go.")] = False,
) -> None:
    """Delete retired episodes for good. Shows what would go and who learned from it, and asks."""
    from appliance.refusal import Refusal
    from ops import purge as purging

    with opened() as (home, catalog):
        before = None if older_than is None else datetime.now(UTC) - timedelta(days=older_than)
        only = [catalog.episode(one).id for one in ids or ()]
        try:
            if not as_json:
                _finish(home, catalog)
            planned = purging.plan(catalog, home.folder, only, before)
            if as_json:
                show_one(_plan(planned), as_json)
                return
            if not planned.episodes:
                typer.echo("There is nothing to purge: only what was retired can be.")
                return
            _tell(planned)
            if not yes:
                sure("purge asks before it deletes", "Type yes to delete them", "Nothing was deleted.")
            with progress("purged", len(planned.episodes)) as advance:
                kept = purging.purge(catalog, home.folder, planned, operator or user(), why, lambda _: advance(""))
        except purging.CannotPurge as error:
            raise Refusal(str(error)) from error
    typer.echo(f"Deleted {len(planned.episodes)} episodes, {megabytes(planned.bytes)}.")
    _tell_of(kept)


@room.command()
def compact(
    ids: SomeEpisodes = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", min=0, help="Only what was recorded so many days ago, or longer.")
    ] = None,
    remove_originals: Annotated[
        bool, typer.Option("--remove-originals", help="Delete each original once its copy was read back.")
    ] = False,
    why: Annotated[str, typer.Option("--why", help="The reason; it stays on record.")] = "",
    operator: Operator = "",
) -> None:
    """Make smaller copies in which pictures are films. Runs at low priority; stopping it loses nothing."""
    from appliance.refusal import Refusal, refusal
    from ops import compaction
    from ops.purge import CannotPurge
    from storage import Refused

    os.nice(LAST)
    with opened() as (home, catalog):
        before = None if older_than is None else datetime.now(UTC) - timedelta(days=older_than)
        only = [catalog.episode(one).id for one in ids or ()]
        done, failed = [], []
        try:
            if remove_originals:
                _finish(home, catalog)
            found = compaction.candidates(catalog, only, before, remove_originals)
        except (compaction.CannotCompact, CannotPurge) as error:
            raise Refusal(str(error)) from error
        with progress("compacted", len(found)) as advance:
            for one in found:
                try:
                    made = compaction.compact(catalog, home.folder, one, operator or user(), why, remove_originals)
                except (compaction.CannotCompact, CannotPurge, Refused, OSError) as error:
                    failed.append(f"episode {one.row.id}: {refusal(error) or error}")
                    advance("not this one")
                else:
                    done.append(made)
                    advance(f"{megabytes(made.before)} to {megabytes(made.after)}")
    was, became = sum(one.before for one in done), sum(one.after for one in done)
    kept = "the originals are gone" if remove_originals else "the originals stay"
    typer.echo(f"{len(done)} episodes: {megabytes(was)} became {megabytes(became)}; {kept}.")
    if failed:
        raise Refusal("\n".join([f"{len(failed)} episodes could not be compacted:", *failed]))


@caches.command("list")
def caches_list(as_json: AsJson = False) -> None:
    """List the caches, the one not used for the longest time first."""
    from ops.purge import CACHES
    from storage.pictures import caches as there

    with opened() as (home, _):
        found = [
            {"id": one.path.name, "bytes": one.bytes, "used": one.used.isoformat(), "whole": one.whole}
            for one in there(home.folder / CACHES)
        ]
    show(found, ("id", "bytes", "used", "whole"), as_json)


@caches.command("drop")
def caches_drop() -> None:
    """Remove every cache that is not being made at the moment. Nothing recorded is touched."""
    from ops.purge import CACHES
    from storage.pictures import caches as there
    from storage.pictures import drop

    with opened() as (home, _):
        dropped = [one for one in there(home.folder / CACHES) if drop(one)]
    typer.echo(f"Dropped {len(dropped)} caches, {megabytes(sum(one.bytes for one in dropped))}.")


def _finish(home: "Home", catalog: "Catalog") -> None:
    """Remove what an interrupted run was told to remove, and did not."""
    from ops import purge as purging

    _tell_of(
        purging.finish(
            catalog, home.folder, lambda left: typer.echo(f"Removed {left}, which an interrupted run had left.")
        )
    )


def _tell_of(kept: "list[Path]") -> None:
    """Name the unpacked pictures that outlive what was deleted."""
    for path in kept:
        typer.echo(
            f"{path} holds pictures of what was deleted, and stays while training makes it; "
            "`appliance caches drop` removes it afterwards."
        )


def _plan(planned: "Plan") -> dict[str, Any]:
    return {
        "episodes": [
            {
                "id": str(one.found.row.id),
                "task": one.found.standing.task,
                "started": one.found.row.started.isoformat(),
                "outcome": one.found.standing.outcome,
                "bytes": one.bytes,
                "path": one.found.standing.path,
            }
            for one in planned.episodes
        ],
        "bytes": planned.bytes,
        "snapshots": [row.id for row in planned.snapshots],
        "policies": [row.name for row in planned.policies],
    }


def _tell(planned: "Plan") -> None:
    show(_plan(planned)["episodes"], ("id", "task", "started", "outcome", "bytes"), as_json=False)
    typer.echo(f"{len(planned.episodes)} episodes, {megabytes(planned.bytes)}, would be deleted for good.")
    if planned.policies:
        names = ", ".join(row.name for row in planned.policies)
        typer.echo(f"These learned from them, and could not be trained again the same way: {names}")
    if planned.snapshots:
        typer.echo(f"Snapshots that would lose episodes: {', '.join(row.id[:8] for row in planned.snapshots)}")
