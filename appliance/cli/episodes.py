"""``appliance episodes``: what was recorded, how it stands, and what is said of it."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson, JudgedSo, OneEpisode, Operator, Said, Since
from appliance.cli.shown import show, show_one

episodes = typer.Typer(help="What was recorded, and what is said of it.", no_args_is_help=True)

NEWEST = 50
"""How many a table shows."""

COLUMNS = (
    *("id", "task", "agent", "policy", "operator", "started", "seconds", "ended_by", "outcome", "failure"),
    *("gap", "lost", "skew", "late", "standing"),
)


@episodes.command("list")
def episodes_list(
    task: AnyTask = None,
    outcome: JudgedSo = None,
    operator: Annotated[str | None, typer.Option("--operator", help="Only this person's.")] = None,
    station: Annotated[str | None, typer.Option("--station", help="Only those of this station.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Only those a device of this name or serial number took part in.")
    ] = None,
    policy: Annotated[str | None, typer.Option("--policy", help="Only those this policy drove.")] = None,
    since: Since = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Only those that began before then.")] = None,
    quarantined: Annotated[
        bool | None,
        typer.Option("--quarantined/--no-quarantined", help="Only those in quarantine; or none of them."),
    ] = None,
    retired: Annotated[bool, typer.Option("--retired", help="Only those that were retired.")] = False,
    last: Annotated[int | None, typer.Option("--last", min=1, help="Only so many of the newest. Tables: 50.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the episodes, oldest first: how each went, how well it was recorded, and how it stands.

    gap is the longest silence of any sensor; lost is the share of rows lost on the way; skew is how far the worst
    camera was from the robot's rows, and late how late the ticks were, both 99 times in 100.
    """
    from appliance.cli.rows import of_episode
    from storage import Outcome, Wanted

    with opened() as (_, catalog):
        wanted = Wanted(
            task=task,
            outcome=None if outcome is None else Outcome(outcome),
            operator=operator,
            station=station,
            device=device,
            policy=None if policy is None else catalog.policy(policy).id,
            since=None if since is None else since.astimezone(),
            until=None if until is None else until.astimezone(),
            quarantined=quarantined,
            retired=retired,
        )
        found = catalog.find(wanted, last or (None if as_json else NEWEST))
        names = {policy.id: policy.name for policy in catalog.policies()}
        more = 0 if as_json or last or len(found) < NEWEST else catalog.count(wanted) - len(found)
    show([of_episode(one, names) for one in found], COLUMNS, as_json)
    if more:
        typer.echo(f"These are the newest {NEWEST}; there are {more} more. --last N shows N, --json all.", err=True)


@episodes.command("show")
def episodes_show(episode: OneEpisode, as_json: AsJson = False) -> None:
    """Show one episode: what was recorded, what was said of it and done to it, how it stands, who learned from it."""
    from appliance import shared
    from appliance.cli import rows
    from ops import lineage
    from storage import Episode

    with opened() as (home, catalog):
        listed = catalog.among([catalog.episode(episode).id])
        ((key, found),) = listed.items()
        names = {policy.id: policy.name for policy in catalog.policies()}
        streams: dict[str, Any] = {row.name: rows.of_stream(row) for row in catalog.streams(key)}
        shown = rows.of_episode(found, names) | {
            "recorded_as": found.row.task,
            "streams": streams,
            "calibrations": {name: row["calibration"] for name, row in streams.items() if row["calibration"]},
            "attributes": {},
            "verdicts": [rows.of_verdict(one) for one in catalog.verdicts(key)],
            "edits": [rows.of_edit(one) for one in catalog.edits(key)],
            **lineage.learned(catalog, key),
        }
        if not found.standing.purged and (away := shared.far(home, found)) is not None:
            shown["attributes"] = away.attributes
            shown["streams"] = streams or {name: {"rows": rows} for name, rows in away.rows.items()}
        elif not found.standing.purged:
            record = Episode(home.folder / found.standing.path)
            shown["attributes"] = record.attributes
            shown["streams"] = streams or {name: {"rows": len(record[name, "t"])} for name in record.streams}
    show_one(shown, as_json)


@episodes.command("judge")
def episodes_judge(
    episode: OneEpisode,
    outcome: Annotated[
        Said, typer.Argument(help="success; failure (say how with --failure); invalid: the cell was at fault.")
    ],
    failure: Annotated[str | None, typer.Option("--failure", help="How it failed, e.g. DROP.")] = None,
    note: Annotated[str, typer.Option("--note", help="Anything else worth knowing.")] = "",
    operator: Operator = "",
) -> None:
    """Say how an episode went. Earlier verdicts stay on record; the last one counts."""
    from appliance.session import judge
    from storage import Outcome

    with opened() as (_, catalog):
        row = catalog.episode(episode)
        judge(catalog, row.id, operator or user(), Outcome(outcome), failure, note)
    typer.echo(f"{row.id}: {outcome}" + (f" ({failure})" if failure else ""))


@episodes.command("view")
def episodes_view(
    episode: OneEpisode,
    file: Annotated[
        Path | None, typer.Option("--save", help="Write a file that Rerun opens, e.g. take.rrd, and open no window.")
    ] = None,
) -> None:
    """Look at an episode in Rerun: cameras, joints measured and aimed at, the tool's path, verdicts and edits."""
    from appliance import shared
    from appliance.refusal import Refusal
    from ops import view
    from storage import Episode

    with opened() as (home, catalog):
        standing = catalog.standing(episode)
        if standing.purged:
            raise Refusal(f"episode {standing.episode} was purged; there is nothing left to look at")
        shared.present(home, catalog.among([standing.episode]).values())
        record = Episode(home.folder / standing.path)
        verdicts, edits = catalog.verdicts(standing.episode), catalog.edits(standing.episode)
    try:
        if file is None:
            view.show(record, home.folder / "cache" / "rerun", verdicts, edits)
        else:
            view.save(file, record, verdicts, edits)
            typer.echo(f"Wrote {file}")
    except view.CannotShow as error:
        raise Refusal(str(error)) from error
