"""Looking after what is kept: whether it is whole, and what something bad has touched."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AsJson
from appliance.cli.shown import show, show_one
from appliance.cli.sure import sure

if TYPE_CHECKING:
    from appliance.home import Home
    from appliance.retraining import Plan
    from ops.jobs import Job
    from storage import Catalog, Recall

upkeep = typer.Typer()


@upkeep.command()
def verify(as_json: AsJson = False) -> None:
    """Check that the disk holds exactly what the catalog says. Changes nothing; exit 1 if something is wrong."""
    from appliance import shared
    from ops.verify import verify as check
    from storage import Wanted

    with opened() as (home, catalog):
        number = catalog.count(Wanted(retired=None))
        found = [
            {"id": finding.where.name, "kind": str(finding.kind), "where": str(finding.where), "what": finding.what}
            for finding in shared.amiss(home, check(catalog, home.folder))
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
    retrain: Annotated[
        bool,
        typer.Option("--retrain", help="Put those episodes into quarantine, and train champions again without them."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. For scripts.")] = False,
    why: Annotated[str, typer.Option("--why", help="The reason; it stays on record.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who says so. Default: the user's name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find everything that something bad has touched: episodes, snapshots, and policies with their descendants.

    Several of these narrow it down, e.g. one person at one station. Retired and purged episodes count, too.

    With --retrain it says what would be done about that, and asks. With --json it asks nothing, and does it after --yes
    only. Doing it again does nothing twice.
    """
    from appliance.cli.rows import of_episode, of_policy, of_snapshot

    named = {"calibration": calibration, "device": device, "operator": operator, "episode": episode, "station": station}
    if all(given is None for given in named.values()):
        raise typer.BadParameter(f"recall what? Give one or more of --{', --'.join(named)}")
    with opened() as (home, catalog):
        touched = catalog.recall(
            calibration=calibration, device=device, operator=operator, episode=episode, station=station
        )
        names = {policy.id: policy.name for policy in catalog.policies()}
        reigning = {row.id for task in catalog.tasks() if (row := catalog.champion(task.name)) is not None}
        found: dict[str, Any] = {
            "episodes": [of_episode(one, names) for one in touched.episodes],
            "snapshots": [of_snapshot(one) for one in touched.snapshots],
            "policies": [of_policy(one) | {"champion": one.id in reigning} for one in touched.policies],
        }
        if not as_json:
            _tell(found)
        if retrain:
            recalled = ", ".join(f"{name} {given}" for name, given in named.items() if given is not None)
            reason = f"recall of {recalled}" + (f": {why}" if why else "")
            found["retrain"] = _retrained(home, catalog, touched, yes, by or user(), reason, as_json)
    if as_json:
        show_one(found, as_json)


def _tell(found: dict[str, list[dict[str, Any]]]) -> None:
    columns = {
        "episodes": ("id", "task", "operator", "station", "started", "outcome", "standing"),
        "snapshots": ("id", "task", "episodes", "created"),
        "policies": ("name", "method", "task", "champion", "snapshot", "created"),
    }
    for what, rows in found.items():
        typer.echo(f"{len(rows)} {what}" + (":" if rows else "."))
        if rows:
            show(rows, columns[what], as_json=False)


def _retrained(
    home: "Home", catalog: "Catalog", touched: "Recall", yes: bool, by: str, why: str, as_json: bool
) -> dict[str, Any]:
    """Say what is to be done about what was touched; do it, once somebody agrees."""
    from appliance import retraining

    planned = retraining.plan(catalog, touched)
    there = retraining.asked_for(home, planned)
    begun = retraining.under_way(home, touched, there)
    if not as_json:
        _tell_of(planned, there)
        for job in begun:
            typer.echo(
                f"{job.id} trains {job.settings['task']}, and may have begun with them: recall again once it is done, "
                f"or end it by `appliance jobs cancel {job.id} --why ...`"
            )
    left = bool(planned.aside) or any(one.job not in there for one in planned.wanted)
    if left and not (yes or as_json):
        sure("recall --retrain asks before it does anything", "Type yes to do that", "Nothing was done.")
    done = left and (yes or not as_json)
    if done:
        there = {job.id: job for job in retraining.do(home, catalog, planned, by, why)}
        for job in there.values() if not as_json else ():
            typer.echo(f"{job.id}: {job.state}")
    return {
        "done": done,
        "under_way": [job.id for job in begun],
        "quarantine": [str(one.row.id) for one in planned.aside],
        "champions": [
            one.facts | {"state": str(there[one.job].state) if one.job in there else None} for one in planned.champions
        ],
    }


def _tell_of(planned: "Plan", there: "dict[str, Job]") -> None:
    """Say exactly what would be done."""
    if planned.aside:
        typer.echo(
            f"{len(planned.aside)} episodes go into quarantine: nothing learns from them until they are released."
        )
    else:
        typer.echo("No episode is left to put into quarantine.")
    if not planned.champions:
        typer.echo("No champion learned from them.")
    for one in planned.champions:
        task = one.champion.task
        typer.secho(f"{one.champion.name}, THE CHAMPION of {task}, learned from them.", bold=True, fg=typer.colors.RED)
        if one.back is None:
            typer.echo(f"  There is no clean policy of {task} to go back to.")
        else:
            was = "which was champion before" if one.reigned else "which was never champion"
            typer.echo(f"  Clean is {one.back.name}, {was}: appliance policies promote {one.back.name} --why ...")
        if one.refused:
            typer.echo(f"  It cannot be trained again: {one.refused}")
            continue
        begins = f"from {one.start.name}" if one.start else "from nothing"
        how = f"{one.champion.method} {one.champion.preset}".strip()
        typer.echo(f"  A clean training, {how} {begins}, of {one.shown} demonstrations, is the job {one.job}.")
        if one.job in there:
            job = there[one.job]
            again = f"; appliance jobs retry {job.id}" if job.state in {"failed", "cancelled"} else ""
            made = f": {job.result['policy']}" if job.result else ""
            typer.echo(f"  It was asked for before, and is {job.state}{made}{job.why and f' ({job.why})'}{again}.")
