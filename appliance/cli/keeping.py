"""``appliance keeping``: the rules for what becomes of old episodes."""

import enum
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson, Daily, JudgedSo, Operator
from appliance.cli.shown import megabytes, progress, show, show_one
from appliance.cli.sure import sure

if TYPE_CHECKING:
    from ops.keeping import Due, Plan
    from storage import KeepingRule

keeping = typer.Typer(help="What becomes of old episodes, by rules. Without one nothing is lost.", no_args_is_help=True)


class Does(enum.StrEnum):
    """What a rule does."""

    COMPACT = "compact"
    COOL = "cool"
    PURGE = "purge"


@keeping.command("list")
def keeping_list(
    ended: Annotated[bool, typer.Option("--ended", help="Those that were ended, too.")] = False, as_json: AsJson = False
) -> None:
    """List the rules in force."""
    with opened() as (_, catalog):
        found = [_of_rule(rule) for rule in catalog.keeping_rules(ended)]
    columns = ("id", "does", "days", "task", "outcome", "agent", "by", "why", "made")
    show(found, (*columns, *(["ended"] if ended else [])), as_json)


@keeping.command("add")
def keeping_add(
    does: Annotated[
        Does,
        typer.Argument(
            help="compact: keep a smaller copy as well; cool: keep only the copy; purge: delete for good, a week after "
            "it was retired by the rule."
        ),
    ],
    days: Annotated[float, typer.Option("--days", min=0, help="From which age on, since it was recorded.")],
    task: AnyTask = None,
    outcome: JudgedSo = None,
    agent: Annotated[
        str | None, typer.Option("--agent", help="Only what was driven so: scripted, person, policy, ...")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="The reason; it stays on record. purge has to have one.")] = "",
    operator: Operator = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. For scripts.")] = False,
) -> None:
    """Make a rule. Says what it would do today; one that deletes asks first.

    Nothing is taken away that somebody reads, that a work order follows from, or, unless a person retired it, that a
    policy in use learned from. What a person has restored stays.
    """
    from ops.keeping import plan
    from storage import EditKind, KeepingRule, Outcome
    from storage.retention import check

    said = None if outcome is None else Outcome(outcome)
    rule = KeepingRule(
        does=EditKind(does), days=days, task=task, outcome=said, agent=agent, by=operator or user(), why=why
    )
    check(rule)
    with opened() as (home, catalog):
        _tell(plan(catalog, home.folder, datetime.now(UTC), [rule]))
        if rule.does is EditKind.PURGE and not yes:
            sure("a rule that deletes is asked about", "Type yes to make this rule", "No rule was made.")
        made = catalog.keep_by(rule)
    typer.echo(f"Rule {made.id} is in force; `appliance keeping end {made.id}` ends it.")


@keeping.command("end")
def keeping_end(rule: Annotated[int, typer.Argument(metavar="RULE", help="Its number.")]) -> None:
    """Let a rule count no longer. What it did stays on record."""
    with opened() as (_, catalog):
        ended = catalog.end_rule(rule).ended
    typer.echo(f"Rule {rule} counts no longer, since {ended:%Y-%m-%d %H:%M}.")


@keeping.command("plan")
def keeping_plan(as_json: AsJson = False) -> None:
    """Say what the rules would do now, and what stays though a rule is for it. Changes nothing."""
    from ops.keeping import plan

    with opened() as (home, catalog):
        planned = plan(catalog, home.folder, datetime.now(UTC), catalog.keeping_rules())
    if as_json:
        stays = [_of(one.rule, one.found.row) | {"why": one.why} for one in planned.stays]
        show_one({"due": [_due(one) for one in planned.due], "stays": stays}, as_json)
        return
    if planned.due:
        show([_due(one) for one in planned.due], ("id", "does", "rule", "task", "started", "bytes"), as_json)
    _tell(planned)


@keeping.command("run")
def keeping_run(at: Daily = "", as_json: AsJson = False) -> None:
    """Do what the rules say now. Stopping it loses nothing; the next run goes on from there."""
    from appliance.keeping import told
    from appliance.planned import daily
    from appliance.refusal import Refusal
    from ops.keeping import plan, run
    from ops.purge import CannotPurge

    with opened() as (home, catalog):
        if at:
            made = daily(home, "keep", at, "keep", {}, user())
            typer.echo(f"Every day at {at} ({made.zone}), the daemon does what the rules say: appliance serve")
            return
        planned = plan(catalog, home.folder, datetime.now(UTC), catalog.keeping_rules())
        with progress("episodes", len(planned.due)) as advance:
            try:
                done = run(catalog, home.folder, planned, lambda due, _number, why: advance(why or str(due.does)))
            except CannotPurge as error:
                raise Refusal(str(error)) from error
    if as_json:
        show_one(told(done), as_json)
    else:
        did = ", ".join(f"{kind} {number}" for kind, number in done.did.items())
        typer.echo(f"{did or 'Nothing was due'}; {megabytes(done.freed)} are free that were not.")
    if done.failed:
        raise Refusal("\n".join([f"{len(done.failed)} episodes stay as they were:", *done.failed]))


def _of_rule(rule: "KeepingRule") -> dict[str, Any]:
    return {
        "id": rule.id,
        "does": str(rule.does),
        "days": rule.days,
        "task": rule.task,
        "outcome": None if rule.outcome is None else str(rule.outcome),
        "agent": rule.agent,
        "by": rule.by,
        "why": rule.why,
        "made": rule.made.isoformat(),
        "ended": None if rule.ended is None else rule.ended.isoformat(),
    }


def _of(rule: "KeepingRule", row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "rule": rule.id,
        "task": row.task,
        "started": row.started.isoformat(),
        "bytes": row.bytes,
    }


def _due(one: "Due") -> dict[str, Any]:
    return _of(one.rule, one.found.row) | {"does": str(one.does)}


def _tell(planned: "Plan") -> None:
    """Say how many of each, and why others stay."""
    from collections import Counter

    size = Counter[str]()
    for one in planned.due:
        size[str(one.does)] += one.found.row.bytes
    for does, number in Counter(str(one.does) for one in planned.due).items():
        typer.echo(f"{does}: {number} episodes, {megabytes(size[does])}")
    for why, number in Counter(one.why for one in planned.stays).most_common():
        typer.echo(f"{number} stay: {why}")
    if not (planned.due or planned.stays):
        typer.echo("No episode is old enough for a rule.")
