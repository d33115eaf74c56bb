"""``appliance policies``: what was learned."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.opened import opened
from appliance.cli.options import AnyTask, AsJson
from appliance.cli.shown import show, show_one

if TYPE_CHECKING:
    from storage import PolicyRow

policies = typer.Typer(help="What was learned.", no_args_is_help=True)


@policies.command("list")
def policies_list(task: AnyTask = None, as_json: AsJson = False) -> None:
    """List the policies, oldest first."""
    with opened() as (_, catalog):
        found = [_policy(row) for row in catalog.policies(task)]
    show(found, ("name", "method", "preset", "task", "episodes", "created"), as_json)


@policies.command("show")
def policiesshow(
    policy: Annotated[str, typer.Argument(help="A policy's name, its ID or the first characters of it.")],
    as_json: AsJson = False,
) -> None:
    """Show one policy: its settings, and which episodes it learned from."""
    with opened() as (_, catalog):
        row = catalog.policy(policy)
        found = _policy(row) | {"settings": row.settings, "metrics": row.metrics}
    show_one(found, as_json)


def _policy(row: "PolicyRow") -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "method": row.method,
        "preset": row.preset,
        "task": row.task,
        "episodes": row.metrics.get("episodes"),
        "created": row.created.isoformat(),
        "snapshot": row.snapshot,
        "parent": None if row.parent is None else str(row.parent),
        "path": row.path,
        "digest": row.digest,
        "revision": row.revision,
    }
