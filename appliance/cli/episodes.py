"""``appliance episodes``: what was recorded, and what is said of it."""

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson
from appliance.cli.shown import show, show_one

if TYPE_CHECKING:
    from storage import EpisodeRow, Verdict

episodes = typer.Typer(help="What was recorded, and what is said of it.", no_args_is_help=True)


class Said(enum.StrEnum):
    """What a person can say of an episode."""

    SUCCESS = "success"
    FAILURE = "failure"
    INVALID = "invalid"


@episodes.command("list")
def episodes_list(task: AnyTask = None, as_json: AsJson = False) -> None:
    """List the episodes, oldest first, each with the verdict that counts."""
    with opened() as (_, catalog):
        rows = catalog.episodes(task)
        verdicts = catalog.last_verdicts(row.id for row in rows)
        names = {policy.id: policy.name for policy in catalog.policies()}
        found = [_episode(row, verdicts.get(row.id), names) for row in rows]
    show(found, ("id", "task", "agent", "policy", "started", "seconds", "ended_by", "outcome", "failure"), as_json)


@episodes.command("show")
def episodesshow(
    episode: Annotated[str, typer.Argument(help="An episode's ID, or its first characters.")],
    as_json: AsJson = False,
) -> None:
    """Show one episode: what was recorded, and everything that was said of it."""
    from storage import Episode

    with opened() as (home, catalog):
        row = catalog.episode(episode)
        said = catalog.verdicts(row.id)
        names = {policy.id: policy.name for policy in catalog.policies()}
        record = Episode(home.folder / row.path)
        found = _episode(row, said[-1] if said else None, names) | {
            "attributes": record.attributes,
            "streams": {stream: len(record[stream, "t"]) for stream in record.streams},
            "verdicts": [_verdict(one) for one in said],
        }
    show_one(found, as_json)


@episodes.command("judge")
def episodes_judge(
    episode: Annotated[str, typer.Argument(help="An episode's ID, or its first characters.")],
    outcome: Annotated[
        Said, typer.Argument(help="success; failure (say how with --failure); invalid: the cell was at fault.")
    ],
    failure: Annotated[str | None, typer.Option("--failure", help="How it failed, e.g. DROP.")] = None,
    note: Annotated[str, typer.Option("--note", help="Anything else worth knowing.")] = "",
    operator: Annotated[str, typer.Option("--operator", help="Who says so. Default: the user's name.")] = "",
) -> None:
    """Say how an episode went. Earlier verdicts stay on record; the last one counts."""
    from appliance.session import judge
    from storage import Outcome

    with opened() as (_, catalog):
        row = catalog.episode(episode)
        judge(catalog, row.id, operator or user(), Outcome(outcome), failure, note)
    typer.echo(f"{row.id}: {outcome}" + (f" ({failure})" if failure else ""))


def _episode(row: "EpisodeRow", verdict: "Verdict | None", policies: Mapping[Any, str]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "task": row.task,
        "agent": row.agent,
        "policy": policies.get(row.policy),
        "operator": row.operator,
        "station": row.station,
        "started": row.started.isoformat(),
        "seconds": round(row.seconds, 3),
        "ended_by": row.ended_by,
        "outcome": None if verdict is None else str(verdict.outcome),
        "failure": None if verdict is None else verdict.failure,
        "condition": row.condition,
        "recovered": row.recovered,
        "path": row.path,
        "digest": row.digest,
    }


def _verdict(verdict: "Verdict") -> dict[str, Any]:
    return {
        "given": verdict.given.isoformat(),
        "by": verdict.by,
        "labelled_by": verdict.labelled_by,
        "outcome": str(verdict.outcome),
        "failure": verdict.failure,
        "stage": verdict.stage,
        "secondary": verdict.secondary,
        "evidence": verdict.evidence,
        "note": verdict.note,
    }
