"""``appliance orders``: which demonstrations are asked for, and why."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson, Operator, TaskName, Why, Workers
from appliance.cli.shown import progress, show
from appliance.cli.typed import json_object

orders = typer.Typer(help="Which demonstrations are asked for, and why.", no_args_is_help=True)


@orders.command("list")
def orders_list(
    task: AnyTask = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the open work orders, oldest first, with how many good episodes each has got."""
    from appliance.cli.rows import of_order

    with opened() as (_, catalog):
        rows = catalog.orders(task, None if everything else False)
        found = [of_order(row, catalog.order_progress(row.id)) for row in rows]
    show(found, ("id", "task", "done", "wanted", "failure", "condition", "why", "made", "closed"), as_json)


@orders.command("add")
def orders_add(
    task: TaskName,
    wanted: Annotated[int, typer.Option("--wanted", min=1, max=100_000, help="How many good episodes.")],
    why: Why,
    failure: Annotated[str | None, typer.Option("--failure", help="The failure they are to cure, e.g. DROP.")] = None,
    condition: Annotated[
        str, typer.Option("--condition", help='How the scene is to be set, as JSON, e.g. {"seed": 7}.')
    ] = "{}",
) -> None:
    """Ask for demonstrations."""
    from storage import WorkOrder

    scene = json_object(condition, "--condition")
    with opened() as (_, catalog):
        row = catalog.order(WorkOrder(task=task, wanted=wanted, condition=scene, failure=failure, why=why))
    typer.echo(f"Order {row.id}: {wanted} good episodes of {task}.")


@orders.command("suggest")
def orders_suggest(
    task: TaskName,
    policy: Annotated[
        str | None, typer.Option("--policy", help="Whose failures. Default: the policy with the highest rate.")
    ] = None,
    wanted: Annotated[int, typer.Option("--wanted", min=1, max=100_000, help="Demonstrations of each order.")] = 12,
    ask: Annotated[bool, typer.Option("--place", help="Ask for all of it, and not only show it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which demonstrations would cure most failures of the last trials, per minute of an operator."""
    from appliance.orders import place, suggest

    with opened() as (home, catalog):
        found = suggest(home, task, policy, wanted)
        placed = place(catalog, task, found) if ask else []
    rows = [
        {
            "where": one.where.words,
            "failure": one.code,
            "failures": one.failures,
            "trials": one.trials,
            "shown": one.shown,
            "wanted": one.wanted,
            "gain": round(one.gain, 3),
            "minutes": round(one.minutes, 1),
        }
        for one in found.proposals
    ]
    show(rows, ("where", "failure", "failures", "trials", "shown", "wanted", "gain", "minutes"), as_json)
    if not rows and not as_json:
        typer.echo(f"{found.policy}'s failures in batch {found.batch} are too few to order anything.")
    for order in placed:
        typer.echo(f"Order {order.id}: {order.why}.", err=as_json)


@orders.command("again")
def orders_again(
    order: Annotated[int, typer.Argument(metavar="ID", help="The order's number.")],
    policy: Annotated[str, typer.Option("--policy", help="What was learned since.")],
    trials: Annotated[int, typer.Option("--trials", min=1, max=100_000, help="Trials of each policy.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which starts; the same seed, the same starts.")] = 0,
    workers: Workers = 1,
) -> None:
    """Try the policy that failed and a newer one again on just the starts of an order, and close it with the change."""
    from appliance.evaluate import Trying, evaluate
    from appliance.orders import again, brought

    with opened() as (home, catalog):
        batch = again(home, order, policy, trials, seed)
        with progress("trials", batch.planned) as advance:
            whole = evaluate(Trying(home, batch.id, batch.station), workers, lambda turn: advance(f"turn {turn.turn}"))
        if not whole:
            typer.echo(f"Stopped. Batch {batch.id} stays open; order {order} waits for it.")
            raise typer.Exit(1)
        typer.echo(f"Order {order} is closed. {brought(catalog, batch).says}")


@orders.command("ghost")
def orders_ghost(
    order: Annotated[int, typer.Argument(metavar="ID", help="The order's number.")],
    camera: Annotated[str, typer.Option("--camera", help="Which camera's.")] = "front",
    out: Annotated[Path, typer.Option("--out", help="Where the picture goes.")] = Path("start.png"),
) -> None:
    """Write what a camera saw as a failed trial began: how the scene is to be set."""
    from PIL import Image

    from appliance.orders import ghost

    with opened() as (home, _):
        Image.fromarray(ghost(home, order, camera)).save(out)
    typer.echo(str(out))


@orders.command("close")
def orders_close(
    order: Annotated[int, typer.Argument(metavar="ID", help="The order's number.")],
    why: Annotated[str, typer.Option("--why", help="The reason; it stays on record.")] = "",
    operator: Operator = "",
) -> None:
    """Ask for no more. What was collected for the order stays."""
    with opened() as (_, catalog):
        catalog.close_order(order, operator or user(), why)
        done = catalog.order_progress(order)
    typer.echo(f"Order {order} is closed, with {done} good episodes.")
