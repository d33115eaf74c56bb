"""``appliance policies``: what was learned."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.lineage import Picture, answer
from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson, Operator, TaskName, Why
from appliance.cli.shown import show, show_one

policies = typer.Typer(help="What was learned.", no_args_is_help=True)


@policies.command("list")
def policies_list(task: AnyTask = None, as_json: AsJson = False) -> None:
    """List the policies, oldest first."""
    from appliance.cli.rows import of_policy

    with opened() as (_, catalog):
        rows = catalog.policies(task)
        reigning = {champion.id for name in {row.task for row in rows} if (champion := catalog.champion(name))}
        found = [of_policy(row) | {"champion": row.id in reigning} for row in rows]
    show(found, ("name", "method", "preset", "task", "champion", "episodes", "created"), as_json)


@policies.command("show")
def policies_show(
    policy: Annotated[str, typer.Argument(help="A policy's name, its ID or the first characters of it.")],
    save: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Show one policy: its settings, who showed what it and its parents learned from, its trials, what came of it."""
    from appliance.cli.rows import of_policy
    from ops import lineage

    with opened() as (home, catalog):
        row = catalog.policy(policy)
        found = of_policy(row) | {"settings": row.settings, "metrics": row.metrics}
        line = lineage.of_policy(catalog, home.folder, row)
    if not as_json:
        show_one(found, as_json)
    answer(found | {"lineage": line} if as_json else line, lineage.tree(line), save, as_json)


@policies.command("promote")
def policies_promote(
    policy: Annotated[str, typer.Argument(help="A policy's name, its ID or the first characters of it.")],
    why: Why,
    operator: Operator = "",
) -> None:
    """Do its task with this policy from now on: it becomes the champion."""
    with opened() as (_, catalog):
        row = catalog.policy(policy)
        before = catalog.champion(row.task)
        catalog.promote(row, operator or user(), why)
    instead = f", instead of {before.name}" if before else ""
    typer.echo(f"{row.name} is the champion of {row.task}{instead}.")


@policies.command("rollback")
def policies_rollback(task: TaskName, why: Why, operator: Operator = "") -> None:
    """Go back to the champion before. That stays on record, and can be undone by promoting again."""
    with opened() as (_, catalog):
        before = catalog.champion(task)
        catalog.roll_back(task, operator or user(), why)
        now = catalog.champion(task)
    typer.echo(f"{now and now.name} is the champion of {task} again, instead of {before and before.name}.")


@policies.command("history")
def policies_history(task: TaskName, as_json: AsJson = False) -> None:
    """List every change of a task's champion, oldest first, who made it, and why."""
    with opened() as (_, catalog):
        names = {row.id: row.name for row in catalog.policies(task)}
        found = [
            {
                "policy": names[row.policy],
                "kind": row.kind,
                "by": row.by,
                "why": row.why,
                "made": row.made.isoformat(),
                "evidence": row.evidence,
            }
            for row in catalog.promotions(task)
        ]
    show(found, ("policy", "kind", "by", "why", "made"), as_json)


@policies.command("draw")
def policies_draw(
    policy: Annotated[str, typer.Argument(help="A CLAP policy's name, its ID or the first characters of it.")],
    episode: Annotated[str, typer.Argument(help="An episode's ID or the first characters of it.")],
    at: Annotated[float, typer.Option("--at", min=0, help="Seconds after its first moment.")] = 0.0,
    out: Annotated[Path, typer.Option("--out", help="Where the picture goes.")] = Path("policy.png"),
    camera: Annotated[
        Path | None,
        typer.Option("--camera", help="JSON, 3 rows of 4 numbers: metres in the robot's base to the picture's pixels."),
    ] = None,
) -> None:
    """Draw what a policy's action tokens mean at a moment of an episode, and what they look at."""
    from appliance.drawing import draw

    with opened() as (home, _):
        pass
    subtask = draw(home, policy, episode, at, out, camera)
    typer.echo(f'"{subtask}": {out}')


@policies.command("serve")
def policies_serve(
    policy: Annotated[str, typer.Argument(help="A policy's name, its ID or the first characters of it.")],
    host: Annotated[
        str,
        typer.Option(
            "--host", help="The address to listen at; 0.0.0.0 is all that this machine has. Default: this machine only."
        ),
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 is any that is free.")] = 8000,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="No TLS, also beyond this machine, as openpi's own client needs it."),
    ] = False,
) -> None:
    """Plan for robots elsewhere, until Ctrl-C: `evaluate --server` there asks here.

    Whoever asks has to know the code, which this machine keeps in serving/code of the data folder; there it goes into
    the variable APPLIANCE_POLICY_CODE.
    """
    from appliance.serving.program import serve

    with opened() as (home, _):
        pass
    serve(home, policy, host, port, plain, typer.echo)
