"""``appliance tasks``: what is worth doing."""

from typing import Annotated

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AsJson, Operator
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
    """List the tasks, with how often each was shown. A merged task's episodes count for the other one."""
    from storage import Outcome, Wanted

    with opened() as (_, catalog):
        into = {merge.task: merge.into for merge in catalog.merges()}
        found = [
            {
                "id": task.name,
                "name": task.name,
                "instruction": task.instruction,
                "episodes": catalog.count(Wanted(task=task.name)),
                "successes": catalog.count(Wanted(task=task.name, outcome=Outcome.SUCCESS)),
                "merged_into": into.get(task.name) if into.get(task.name) != task.name else None,
            }
            for task in catalog.tasks()
        ]
    show(found, ("name", "instruction", "episodes", "successes", "merged_into"), as_json)


@tasks.command("failures")
def tasks_failures(
    task: Annotated[str, typer.Argument(help="A task's name.")],
    code: Annotated[
        str | None, typer.Option("--add", help="Add a code of its own: a common one, a dot and a word, e.g. PREC.lid.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What it is called, e.g. lid ajar.")] = "",
    meaning: Annotated[str, typer.Option("--meaning", help="When it is given.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the ways a task can fail: those that every task has, and its own. A code stays for good."""
    with opened() as (_, catalog):
        if code is not None:
            if not name or not meaning:
                raise typer.BadParameter(
                    "--add CODE needs --name and --meaning, for whoever has to tell it from others"
                )
            catalog.fails_as(task, code, name, meaning)
        found = [
            {"code": mode.code, "name": mode.name, "stage": mode.stage, "meaning": mode.meaning, "of": mode.taxonomy}
            for mode in catalog.failure_modes(task)
        ]
    show(found, ("code", "name", "stage", "meaning", "of"), as_json)


@tasks.command("merge")
def tasks_merge(
    task: Annotated[str, typer.Argument(help="The task whose episodes count as another's from now on.")],
    into: Annotated[str | None, typer.Option("--into", help="The task they count as.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let them count as their own task again.")] = False,
    why: Annotated[str, typer.Option("--why", help="The reason; it stays on record.")] = "",
    operator: Operator = "",
) -> None:
    """Let a task's episodes count as another's, those recorded later too. Nothing is rewritten."""
    from storage import Merge

    if undo == (into is not None):
        raise typer.BadParameter("give --into TASK, or --undo")
    if into is not None and not why:
        raise typer.BadParameter("--into needs --why: the reason stays on record")
    with opened() as (_, catalog):
        catalog.merge(Merge(task=task, into=into or task, by=operator or user(), why=why))
    typer.echo(f"Episodes of {task} count as {into or task}.")
