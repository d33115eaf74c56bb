"""``appliance policies``: what was learned."""

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
