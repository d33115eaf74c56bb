"""The command line. Every command is a function; what is heavy is imported inside it."""

import enum
import getpass
import json
import math
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from appliance.home import Home
    from storage import Catalog, EpisodeRow, PolicyRow, Verdict

app = typer.Typer(
    help="Collect demonstrations, learn from them, prove what got better, and see what failed. "
    "Data lives under APPLIANCE_HOME (default ~/.local/share/appliance).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
tasks = typer.Typer(help="What is worth doing.", no_args_is_help=True)
episodes = typer.Typer(help="What was recorded, and what is said of it.", no_args_is_help=True)
policies = typer.Typer(help="What was learned.", no_args_is_help=True)
app.add_typer(tasks, name="tasks")
app.add_typer(episodes, name="episodes")
app.add_typer(policies, name="policies")

LATE = 10
"""A log, unlike a terminal, gets one line for this many things done."""


class By(enum.StrEnum):
    """Who shows the task."""

    SCRIPTED = "scripted"
    VR = "vr"
    KINESTHETIC = "kinesthetic"
    LEADER = "leader"


class Said(enum.StrEnum):
    """What a person can say of an episode."""

    SUCCESS = "success"
    FAILURE = "failure"
    INVALID = "invalid"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
TaskName = Annotated[str, typer.Option("--task", help="A task's name; `appliance tasks list` shows them.")]
AnyTask = Annotated[str | None, typer.Option("--task", help="Only this task.")]
StationName = Annotated[str, typer.Option("--station", help="A station's name, or a path to its TOML file.")]
Workers = Annotated[
    int, typer.Option("--workers", min=1, max=64, help="Processes, each with a simulated cell of its own.")
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Exit 0: done; 1: refused, with the reason on stderr; 2: a mistake in the command line."""
    try:
        app(args=arguments, prog_name="appliance")
    except Exception as error:
        from appliance.refusal import refusal

        said = refusal(error)
        if said is None:
            raise
        sys.stderr.write(f"appliance: {said}\n")
        raise SystemExit(1) from error


@tasks.command("add")
def tasks_add(
    name: Annotated[str, typer.Argument(help="A short name, e.g. stack.")],
    instruction: Annotated[str, typer.Option("--instruction", help="The task, in the words a policy is given.")],
) -> None:
    """Add a task."""
    from storage import Task

    with _open() as (_, catalog):
        catalog.add(Task(name=name, instruction=instruction))
    typer.echo(f"Added task {name}: {instruction}")


@tasks.command("list")
def tasks_list(as_json: AsJson = False) -> None:
    """List the tasks, with how often each was shown."""
    from storage import Outcome

    with _open() as (_, catalog):
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
    _show(found, ("name", "instruction", "episodes", "successes"), as_json)


@app.command()
def collect(
    task: TaskName,
    station: StationName = "franka-sim",
    by: Annotated[By, typer.Option("--by", help="Who shows the task.")] = By.SCRIPTED,
    number: Annotated[int, typer.Option("--episodes", min=1, max=100_000, help="How many takes.")] = 1,
    operator: Annotated[str, typer.Option("--operator", help="Who is responsible. Default: the user's name.")] = "",
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Which starts. Default: go on where the last sitting ended."),
    ] = None,
    workers: Workers = 1,
) -> None:
    """Record demonstrations of a task. Ctrl-C ends the sitting safely; the take in hand is kept."""
    from appliance import station as stations
    from appliance.collect import CannotCollect, Sitting, Took, starts, tally
    from appliance.collect import collect as run

    with _open() as (home, catalog):
        catalog.task(task)
    name = stations.load(station).name
    if by is not By.SCRIPTED:
        raise CannotCollect(f"--by {by} comes with hardware; this station offers: {By.SCRIPTED}")
    chosen = starts(home, task, name, number, seed)
    typer.echo(f"Collecting {number} takes of {task} at {name}, starts {chosen[0]} to {chosen[-1]}.", err=True)
    took: list[Took] = []
    with _progress(task, number) as advance:

        def tell(one: Took) -> None:
            took.append(one)
            advance(tally(took))

        whole = run(Sitting(home, task, station, operator or _user(), chosen), workers, tell)
    typer.echo(tally(took) + "." if whole else f"Stopped. {tally(took)}.")


@episodes.command("list")
def episodes_list(task: AnyTask = None, as_json: AsJson = False) -> None:
    """List the episodes, oldest first, each with the verdict that counts."""
    with _open() as (_, catalog):
        rows = catalog.episodes(task)
        verdicts = catalog.last_verdicts(row.id for row in rows)
        names = {policy.id: policy.name for policy in catalog.policies()}
        found = [_episode(row, verdicts.get(row.id), names) for row in rows]
    _show(found, ("id", "task", "agent", "policy", "started", "seconds", "ended_by", "outcome", "failure"), as_json)


@episodes.command("show")
def episodes_show(
    episode: Annotated[str, typer.Argument(help="An episode's ID, or its first characters.")],
    as_json: AsJson = False,
) -> None:
    """Show one episode: what was recorded, and everything that was said of it."""
    from storage import Episode

    with _open() as (home, catalog):
        row = catalog.episode(episode)
        said = catalog.verdicts(row.id)
        names = {policy.id: policy.name for policy in catalog.policies()}
        record = Episode(home.folder / row.path)
        found = _episode(row, said[-1] if said else None, names) | {
            "attributes": record.attributes,
            "streams": {stream: len(record[stream, "t"]) for stream in record.streams},
            "verdicts": [_verdict(one) for one in said],
        }
    _show_one(found, as_json)


@episodes.command("judge")
def episodes_judge(
    episode: Annotated[str, typer.Argument(help="An episode's ID, or its first characters.")],
    outcome: Annotated[
        Said, typer.Argument(help="success; failure (say how with --failure); invalid: the cell was at fault.")
    ],
    failure: Annotated[str | None, typer.Option("--failure", help="How it failed, e.g. DROP.")] = None,
    note: Annotated[str, typer.Option("--note", help="Anything else worth knowing.")] = "",
    operator: Annotated[str, typer.Option("--operator", help="Who says so. Default: the user's name.")] = "",
) -> None:
    """Say how an episode went. Earlier verdicts stay on record; the last one counts."""
    from appliance.session import judge
    from storage import Outcome

    with _open() as (_, catalog):
        row = catalog.episode(episode)
        judge(catalog, row.id, operator or _user(), Outcome(outcome), failure, note)
    typer.echo(f"{row.id}: {outcome}" + (f" ({failure})" if failure else ""))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    task: TaskName,
    method: Annotated[str, typer.Option("--method", help="How to learn, e.g. ccol or nearest.")],
    preset: Annotated[str, typer.Option("--preset", help="How big: tiny, small or paper.")] = "small",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps. Default: the preset's.")] = None,
    parent: Annotated[str | None, typer.Option("--from", help="Go on from this policy.")] = None,
) -> None:
    """Learn a policy from the task's successful demonstrations.

    Any field of the method may be given as an option, e.g. --lr 0.0003; a wrong name is answered with the right ones.
    """
    from appliance.train import WrongSetting, learner
    from appliance.train import train as run

    given = _fields(context.args) | ({} if steps is None else {"steps": str(steps)})
    with _open() as (home, catalog):
        catalog.task(task)
        if parent is not None:
            catalog.policy(parent)
    try:
        how = learner(method, preset, given)
    except WrongSetting as error:
        raise typer.BadParameter(str(error), context) from error
    with _progress(method, None) as advance:
        row = run(home, task, method, preset, how, lambda done, of, loss: advance(_loss(loss), done, of), parent)
    measured = row.metrics
    typer.echo(f"{row.name}: learned from {measured['episodes']} episodes in {measured['seconds']} s.")


@app.command()
def evaluate(
    task: TaskName,
    policy: Annotated[list[str], typer.Option("--policy", help="A policy's name or ID. May be given several times.")],
    trials: Annotated[int, typer.Option("--trials", min=1, max=100_000, help="Trials of each policy.")] = 20,
    station: StationName = "franka-sim",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which starts; the same seed, the same starts.")] = 0,
    workers: Workers = 1,
) -> None:
    """Try policies from the same starts, in shuffled order. Which policy drives is not shown until all are done."""
    from appliance.evaluate import Trying, plan
    from appliance.evaluate import evaluate as run
    from ops import report as reports

    with _open() as (home, catalog):
        batch, rows = plan(home, task, policy, trials, seed, station)
        names = ", ".join(row.name for row in rows)
        typer.echo(f"Batch {batch.id}: {batch.planned} trials of {names}.", err=True)
        with _progress("trials", batch.planned) as advance:
            whole = run(Trying(home, batch.id, station), workers, lambda turn: advance(f"turn {turn.turn}"))
        if not whole:
            typer.echo(f"Stopped. Batch {batch.id} stays open and does not count.")
            raise typer.Exit(1)
        _print(reports.tables(reports.summarize(catalog, task)))


@app.command()
def report(
    task: AnyTask = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Where the page goes. Default: reports/ in the data folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how often each policy succeeds, how sure that is, and how it fails. Writes a page with pictures."""
    from ops import report as reports

    with _open() as (home, catalog):
        found = reports.summarize(catalog, task)
        if as_json and page is None:
            typer.echo(json.dumps(reports.as_json(found), indent=2))
            return
        written = reports.write_page(found, page or home.folder / "reports" / (task or "all"), home.folder)
        if as_json:
            typer.echo(json.dumps(reports.as_json(found), indent=2))
            return
        _print(reports.tables(found))
    typer.echo(f"With pictures: {written}")


@policies.command("list")
def policies_list(task: AnyTask = None, as_json: AsJson = False) -> None:
    """List the policies, oldest first."""
    with _open() as (_, catalog):
        found = [_policy(row) for row in catalog.policies(task)]
    _show(found, ("name", "method", "preset", "task", "episodes", "created"), as_json)


@policies.command("show")
def policies_show(
    policy: Annotated[str, typer.Argument(help="A policy's name, its ID or the first characters of it.")],
    as_json: AsJson = False,
) -> None:
    """Show one policy: its settings, and which episodes it learned from."""
    with _open() as (_, catalog):
        row = catalog.policy(policy)
        found = _policy(row) | {"settings": row.settings, "metrics": row.metrics}
    _show_one(found, as_json)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Check that the disk holds exactly what the catalog says. Changes nothing; exit 1 if something is wrong."""
    from ops.verify import verify as check

    with _open() as (home, catalog):
        number = len(catalog.episodes())
        found = [
            {"id": finding.where.name, "kind": str(finding.kind), "where": str(finding.where), "what": finding.what}
            for finding in check(catalog, home.folder)
        ]
    if as_json:
        _show(found, (), as_json)
    elif not found:
        typer.echo(f"All well: {number} episodes are what they were when they were sealed.")
    if found:
        for one in found if not as_json else []:
            typer.echo(f"{one['where']}: {one['what']}", err=True)
        raise typer.Exit(1)


@app.command()
def demo(
    demos: Annotated[int | None, typer.Option("--demos", min=1, help="Demonstrations. Default 200.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps of CCoL.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Trials of each policy. Default 20.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 0,
    workers: Workers = 2,
    quick: Annotated[bool, typer.Option("--quick", help="All tiny: a minute, nothing learned.")] = False,
) -> None:
    """Go round the whole circle in simulation: collect, learn, evaluate, report."""
    from appliance.demo import QUICK, USUAL, circle

    size = (QUICK if quick else USUAL).but(demos=demos, steps=steps, trials=trials, seed=seed, workers=workers)
    with _open() as (home, catalog):
        circle(home, catalog, size, typer.echo, _progress, _print)


@contextmanager
def _open() -> Generator[tuple["Home", "Catalog"]]:
    """The data folder and its catalog; what a crash left behind is brought in, and told."""
    from appliance.home import Home

    home = Home.from_environment()
    with home.open(lambda line: typer.echo(line, err=True)) as catalog:
        yield home, catalog


def _loss(loss: float) -> str:
    """What there is to say of a method's loss; one that only remembers has none."""
    return f"loss {loss:.4f}" if math.isfinite(loss) else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except OSError:
        return "somebody"


def _fields(arguments: Sequence[str]) -> dict[str, str]:
    """Options that no command declares: ``--lr 1e-3``, ``--lr=1e-3``; ``--mcc`` alone is true."""
    found: dict[str, str] = {}
    name: str | None = None
    for argument in arguments:
        if argument.startswith("--"):
            name, has_value, value = argument[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = value if has_value else "true"
            name = None if has_value else name
        elif name is not None:
            found[name], name = argument, None
        else:
            raise typer.BadParameter(f"what is {argument!r}? An option begins with --")
    return found


def _episode(row: "EpisodeRow", verdict: "Verdict | None", policies: Mapping[Any, str]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "task": row.task,
        "agent": row.agent,
        "policy": policies.get(row.policy),
        "operator": row.operator,
        "station": row.station,
        "started": row.started.isoformat(),
        "seconds": round(row.seconds, 3),
        "ended_by": row.ended_by,
        "outcome": None if verdict is None else str(verdict.outcome),
        "failure": None if verdict is None else verdict.failure,
        "condition": row.condition,
        "recovered": row.recovered,
        "path": row.path,
        "digest": row.digest,
    }


def _verdict(verdict: "Verdict") -> dict[str, Any]:
    return {
        "given": verdict.given.isoformat(),
        "by": verdict.by,
        "labelled_by": verdict.labelled_by,
        "outcome": str(verdict.outcome),
        "failure": verdict.failure,
        "stage": verdict.stage,
        "secondary": verdict.secondary,
        "evidence": verdict.evidence,
        "note": verdict.note,
    }


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


def _show(found: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print a listing: all of it as JSON, or some columns as a table."""
    if as_json:
        typer.echo(json.dumps(list(found), indent=2))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(*(_short(column, one[column]) for column in columns))
    _print(table)


def _show_one(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        typer.echo(f"{name}: {json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value}")


def _short(column: str, value: Any) -> str:
    """What a table has room for."""
    if value is None:
        return ""
    if column == "id":
        return str(value)[:8]
    if column in {"started", "created"}:
        return str(value)[:16].replace("T", " ")
    return str(value)


def _print(what: Any) -> None:
    """Print a table: as wide as it needs to be when nobody looks."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(what)


@contextmanager
def _progress(what: str, total: int | None) -> Generator[Callable[..., None]]:
    """Show how far long work is, on stderr: a bar on a terminal, now and then a line in a log.

    Yields:
        ``advance(says, done=None, of=None)``: one more is done, or ``done`` of ``of``.
    """
    if not sys.stderr.isatty():
        yield _lines(what, total)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn("{task.description}"), *columns, TextColumn("{task.fields[says]}"), console=Console(stderr=True)
    ) as bar:
        line = bar.add_task(what, total=total, says="")

        def advance(says: str, done: int | None = None, of: int | None = None) -> None:
            bar.update(line, advance=1 if done is None else None, completed=done, total=of or total, says=says)

        yield advance


def _lines(what: str, total: int | None) -> Callable[..., None]:
    count = 0

    def advance(says: str, done: int | None = None, of: int | None = None) -> None:
        nonlocal count
        count = count + 1 if done is None else done
        whole = of or total or 0
        every = LATE if done is None else max(1, whole // LATE)
        if count % every == 0 or count == whole:
            typer.echo(f"{what}: {count} of {whole}{says and f', {says}'}", err=True)

    return advance


if __name__ == "__main__":
    main()
