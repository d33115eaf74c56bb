"""``appliance imagine``: demonstrations by hands that nobody has."""

from typing import Annotated, Literal

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AsJson, Operator, TaskName, Workers
from appliance.cli.shown import progress, show_one

imagination = typer.Typer()


@imagination.command()
def imagine(
    task: TaskName,
    number: Annotated[int, typer.Option("--episodes", min=1, max=100_000, help="How many demonstrations.")] = 1,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="The same seed, the same pictures. Default: go on after the last."),
    ] = None,
    as_asked: Annotated[
        bool, typer.Option("--as-asked", help="Only the things that the task names, not others in their place.")
    ] = False,
    view: Annotated[
        Literal["head", "cell"],
        typer.Option("--view", help="From the head, or as the robot's own camera sees a hand at the robot's table."),
    ] = "head",
    height: Annotated[int, typer.Option("--height", min=16, max=2160, help="Rows of the pictures.")] = 240,
    fps: Annotated[float, typer.Option("--fps", min=1, max=240, help="Pictures a second.")] = 30.0,
    workers: Workers = 1,
    operator: Operator = "",
    as_json: AsJson = False,
) -> None:
    """Make up film of a hand that does the task: seen from the head, with other things in other rooms, or at the cell.

    There is no robot in it and no action. Every episode says source=synthetic_human, and is never taken for a person's.
    """
    from appliance.imagine import Dream, Dreamt, dream, seeds

    with opened() as (home, catalog):
        catalog.task(task)
        chosen = seeds(catalog, task, number, seed)
    done: list[Dreamt] = []
    with progress(task, number) as advance:

        def tell(one: Dreamt) -> None:
            done.append(one)
            advance(f"seed {one.seed}")

        dreaming = Dream(home, task, operator or user(), chosen, as_asked, height - height % 2, fps, view)
        whole = dream(dreaming, workers, tell)
    new, known = ([str(one.episode) for one in done if one.new is fresh] for fresh in (True, False))
    if as_json:
        show_one({"task": task, "new": new, "known": known, "stopped": not whole}, as_json)
        return
    said = f"{len(new)} episodes of {task} are new, {len(known)} were here already."
    typer.echo(said if whole else f"Stopped. {said}")
