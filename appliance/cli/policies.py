"""``appliance policies``: what was learned."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.opened import opened
from appliance.cli.options import AnyTask, AsJson
from appliance.cli.shown import show, show_one

policies = typer.Typer(help="What was learned.", no_args_is_help=True)


@policies.command("list")
def policies_list(task: AnyTask = None, as_json: AsJson = False) -> None:
    """List the policies, oldest first."""
    from appliance.cli.rows import of_policy

    with opened() as (_, catalog):
        found = [of_policy(row) for row in catalog.policies(task)]
    show(found, ("name", "method", "preset", "task", "episodes", "created"), as_json)


@policies.command("show")
def policiesshow(
    policy: Annotated[str, typer.Argument(help="A policy's name, its ID or the first characters of it.")],
    as_json: AsJson = False,
) -> None:
    """Show one policy: its settings, and which episodes it learned from."""
    from appliance.cli.rows import of_policy

    with opened() as (_, catalog):
        row = catalog.policy(policy)
        found = of_policy(row) | {"settings": row.settings, "metrics": row.metrics}
    show_one(found, as_json)


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
    host: Annotated[str, typer.Option("--host", help="The address to listen at. Default: this machine only.")] = (
        "127.0.0.1"
    ),
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
