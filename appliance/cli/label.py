"""``appliance label``: what people do on film, in the words of a policy."""

from typing import Annotated

import typer

from appliance.cli.opened import opened
from appliance.cli.options import AsJson, TaskName
from appliance.cli.shown import progress, show_one

labelling = typer.Typer()


@labelling.command()
def label(
    task: TaskName,
    policy: Annotated[str, typer.Option("--policy", help="A CLAP policy that was trained on film.")],
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that look at film.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Infer what people do on a task's film, and keep it: every film once, however many machines help.

    It may be stopped and started again at any time. Film that the policy's model labelled before is left as it is.
    """
    from contextlib import ExitStack

    from appliance.label import Labelled
    from appliance.label import label as work

    with opened() as (home, catalog):
        catalog.task(task)
    done: list[Labelled] = []
    with ExitStack() as shown:
        advance = []

        def begin(films: int) -> None:
            advance.append(shown.enter_context(progress(f"labelling film of {task}", films)))

        def tell(one: Labelled) -> None:
            done.append(one)
            advance[0](one.why_not or str(one.episode)[:8])

        whole = work(home, task, policy, workers, tell, begin)
    new = [str(one.episode) for one in done if one.new]
    bad = {str(one.episode): one.why_not for one in done if one.why_not}
    if as_json:
        show_one({"task": task, "policy": policy, "new": new, "cannot": bad, "stopped": not whole}, as_json)
        return
    for why in bad.values():
        typer.echo(f"Not labelled: {why}")
    said = f"{len(new)} films of {task} were labelled; every other one has labels already."
    if bad:
        said = f"{len(new)} films of {task} were labelled, {len(bad)} cannot be."
    typer.echo(said if whole else f"Stopped. {len(new)} films of {task} were labelled.")
