"""``appliance tasks``: what is worth doing."""

from typing import Annotated

import typer

from appliance.cli.opened import opened
from appliance.cli.options import AsJson
from appliance.cli.shown import show

tasks = typer.Typer(help="What is worth doing.", no_args_is_help=True)


@tasks.command("add")
def tasks_add(
    name: Annotated[str, typer.Argument(help="A short name, e.g. stack.")],
    instruction: Annotated[str, typer.Option("--instruction", help="The task, in the words a policy is given.")],
) -> None:
    """Add a task."""
    from storage import Task

    with opened() as (_, catalog):
        catalog.add(Task(name=name, instruction=instruction))
    typer.echo(f"Added task {name}: {instruction}")


@tasks.command("list")
def tasks_list(as_json: AsJson = False) -> None:
    """List the tasks, with how often each was shown."""
    from storage import Outcome

    with opened() as (_, catalog):
        found = [
            {
                "id": task.name,
                "name": task.name,
                "instruction": task.instruction,
                "episodes": len(catalog.episodes(task.name)),
                "successes": len(catalog.episodes(task.name, Outcome.SUCCESS)),
            }
            for task in catalog.tasks()
        ]
    show(found, ("name", "instruction", "episodes", "successes"), as_json)
