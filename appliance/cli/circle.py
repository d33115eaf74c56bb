"""Round the circle: collect, train, evaluate, report; and all of it at once, in simulation."""

import enum
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson, StationName, TaskName, Vary, Workers
from appliance.cli.share import brought
from appliance.cli.shown import print_wide, progress

if TYPE_CHECKING:
    from appliance.evaluate import Trying
    from appliance.sitting import Wish
    from storage import Catalog, PolicyRow

circle = typer.Typer()


class By(enum.StrEnum):
    """Who shows the task."""

    SCRIPTED = "scripted"
    VR = "vr"
    KINESTHETIC = "kinesthetic"
    LEADER = "leader"
    REPLAY = "replay"


@circle.command()
def collect(
    task: AnyTask = None,
    station: StationName = "franka-sim",
    by: Annotated[By, typer.Option("--by", help="Who shows the task.")] = By.SCRIPTED,
    number: Annotated[
        int | None,
        typer.Option("--episodes", min=1, max=100_000, help="How many takes. Default: 1, or what the order lacks."),
    ] = None,
    order: Annotated[
        int | None, typer.Option("--order", min=1, help="For which work order; `appliance orders list` shows them.")
    ] = None,
    operator: Annotated[str, typer.Option("--operator", help="Who is responsible. Default: the user's name.")] = "",
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Which starts. Default: go on where the last sitting ended."),
    ] = None,
    workers: Workers = 1,
    limit: Annotated[
        float | None,
        typer.Option("--limit", min=1, help="Seconds until a take ends anyway. Default: 20 of a script, 120."),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Let the robot repeat every success alone, as an episode of its own.")
    ] = False,
    of: Annotated[str | None, typer.Option("--of", help="The episode that --by replay repeats.")] = None,
    vary: Vary = "",
) -> None:
    """Record demonstrations of a task. Ctrl-C ends the sitting safely; the take in hand is kept.

    A person is asked what to show, how the scene is to be set, and how each take went: by keys, by a pedal, or by the
    buttons of what they hold. Their first Ctrl-C in a take ends the take, the next one the sitting.
    """
    if by is By.SCRIPTED:
        if task is None:
            raise typer.BadParameter("a script has to know what to show: --task NAME")
        if replay or of:
            raise typer.BadParameter("a script repeats nothing; --replay and --of are for --by kinesthetic and replay")
        _scripted(task, station, number, order, operator or user(), seed, workers, limit, names(vary))
        return
    if workers > 1:
        raise typer.BadParameter("a person is at one table; only scripts take --workers")
    if (by is By.REPLAY) is (of is None):
        raise typer.BadParameter("--by replay repeats an episode: --of ID; nobody else does")
    if replay and by is By.REPLAY:
        raise typer.BadParameter("--replay repeats what a person shows; --by replay repeats already")
    from appliance.sitting import LIMIT, Wish

    with opened() as (home, _):
        how = (limit or LIMIT, replay, of, names(vary))
        wish = Wish(home, station, by, operator or user(), task, order, number, seed, *how)
    _attended(wish)


def _scripted(
    task: str,
    station: str,
    number: int | None,
    order: int | None,
    operator: str,
    seed: int | None,
    workers: int,
    limit: float | None,
    vary: tuple[str, ...],
) -> None:
    """Have a script show a task."""
    from appliance import station as stations
    from appliance.begins import fits, varied
    from appliance.collect import LIMIT, Sitting, Took, ordered, starts, tally
    from appliance.collect import collect as run
    from ops.leases import attending

    with opened() as (home, catalog):
        instruction = catalog.task(task).instruction
        wanted, lacking = (None, 1) if order is None else ordered(catalog, task, order)
    cell = stations.load(station)
    name, takes = cell.name, max(1, lacking) if number is None else number
    chosen = starts(home, task, name, takes, seed, fits(cell, instruction, wanted))
    many = f"{takes} takes" if takes > 1 else "one take"
    from_ = f"starts {chosen[0]} to {chosen[-1]}" if takes > 1 else f"start {chosen[0]}"
    typer.echo(f"Collecting {many} of {task} at {name}, {from_}.", err=True)
    took: list[Took] = []
    with progress(task, takes) as advance:

        def tell(one: Took) -> None:
            took.append(one)
            advance(tally(took))

        scene, along = ({}, ()) if wanted is None else (wanted.condition, varied(wanted))
        sitting = Sitting(home, task, station, operator, chosen, limit or LIMIT, order, scene, vary or along)
        with attending(home.folder, f"{operator} collects"):
            whole = run(sitting, workers, tell)
    brought(home)
    typer.echo(tally(took) + "." if whole else f"Stopped. {tally(took)}.")


def _attended(wish: "Wish") -> None:
    """Have a person show a task."""
    from appliance.cli.screen import say, screen
    from appliance.keys import HELP
    from appliance.sitting import at_terminal, attended, lines
    from collectors.ways import WAYS

    with attended(wish, at_terminal, say) as sitting:
        with screen(lambda: lines(sitting), WAYS[wish.way].helps, HELP):
            whole = sitting.run()
        said = f"{sitting.view.good} of {sum(one.kept for one in sitting.view.shown)} succeeded."
    brought(wish.home)
    typer.echo(said if whole else f"Stopped. {said}")


@circle.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    task: TaskName,
    method: Annotated[str, typer.Option("--method", help="How to learn, e.g. ccol or nearest.")],
    preset: Annotated[
        str, typer.Option("--preset", help="How big: tiny, small, paper; clap has release, too.")
    ] = "small",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps. Default: the preset's.")] = None,
    parent: Annotated[str | None, typer.Option("--from", help="Go on from this policy.")] = None,
    hands: Annotated[
        bool, typer.Option("--with-hands", help="Keep what was led by hand though a success repeats it without.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=64, help="Processes on this machine, e.g. one for each GPU.")
    ] = 1,
    machines: Annotated[
        int, typer.Option("--machines", min=1, max=256, help="Machines that take part; type the same on each.")
    ] = 1,
    rank: Annotated[int, typer.Option("--rank", min=0, help="Which of the machines this is, counted from 0.")] = 0,
    meet: Annotated[str, typer.Option("--main", help="HOST:PORT, where machine 0 is met by the others.")] = "",
    show_line: Annotated[
        bool, typer.Option("--show", help="Show the line that would start the processes, and train nothing.")
    ] = False,
) -> None:
    """Learn a policy from the task's successful demonstrations.

    With several processes each step looks at the same demonstrations as with one, each process at its share of them.

    What was led by hand is left out once the robot has repeated it with success: no hand is in view then.

    Any field of the method may be given as an option, e.g. --lr 0.0003; a wrong name is answered with the right ones.
    A part that may be left out is switched on by its name or by one of its fields, e.g. --rscl, --rscl.beta 0.5.
    """
    from appliance import launch
    from appliance.doing import Paused
    from appliance.refusal import Refusal
    from appliance.settings import WrongSetting, learner
    from appliance.train import seeing
    from appliance.train import train as run

    given = fields(context.args) | ({} if steps is None else {"steps": str(steps)})
    with opened() as (home, catalog):
        catalog.task(task)
        if parent is not None:
            catalog.policy(parent)
    try:
        how = learner(method, preset, given)
    except WrongSetting as error:
        raise typer.BadParameter(str(error), context) from error
    asked = launch.Asked(task, method, preset, given, parent, hands)
    spread = launch.Spread(processes, machines, rank, meet)
    if show_line:
        typer.echo(launch.shown(home, spread, asked))
        return
    if spread.alone and "cameras" not in given:
        how = seeing(home, task, how)
    with progress(method, None) as advance:

        def tell(done: int, of: int, loss: float) -> None:
            advance(_loss(loss), done, of)

        if spread.alone:
            row = run(home, task, method, preset, how, tell, parent, advance, hands)
        else:
            try:
                made = launch.run(home, spread, asked, tell, advance)
            except Paused as error:
                raise Refusal(f"{error}; what was learned is stored, and the same words go on from there") from error
            with home.join() as catalog:
                row = catalog.policy(made)
    measured = row.metrics
    typer.echo(f"{row.name}: learned from {measured['episodes']} episodes in {measured['seconds']} s.")
    if left := measured["left_out"]:
        typer.echo(f"{left} led by hand were left out, for the robot repeated them alone; --with-hands keeps them.")


@circle.command()
def evaluate(
    task: TaskName,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="A policy's name or ID. May be given several times.")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, max=100_000, help="Trials of each policy.")] = 20,
    station: StationName = "franka-sim",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which starts; the same seed, the same starts.")] = 0,
    workers: Workers = 1,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", help="Where `policies serve` serves one of them, as it says. May be given again."),
    ] = None,
    delay: Annotated[
        float, typer.Option("--delay", min=0, max=10, help="Seconds that every plan comes late, in simulated time.")
    ] = 0.0,
    left: Annotated[
        str | None, typer.Option("--resume", help="Go on with this batch, which was left open, instead of another.")
    ] = None,
    vary: Vary = "",
    early: Annotated[
        bool, typer.Option("--until-decided", help="Of two policies: end once one is shown to be better.")
    ] = False,
    attended: Annotated[
        bool, typer.Option("--attended", help="Somebody stands beside it. At a real table that is always so.")
    ] = False,
    takeover: Annotated[
        By | None, typer.Option("--takeover", help="How they may take over from a policy: vr, kinesthetic or leader.")
    ] = None,
    operator: Annotated[str, typer.Option("--operator", help="Who stands there. Default: the user's name.")] = "",
) -> None:
    """Try policies from the same starts, in shuffled order. Which policy drives is not shown until all are done.

    At a real table, or with --attended, a person sets the scene, begins each trial, and says how it went: s, or f and
    how it failed. With --takeover, t hands them control: the trial has failed, and what they do is a demonstration.

    With --axes, from every start again for each axis: ``--trials 10 --axes background,lighting`` is 30 of each policy.
    """
    from appliance import station as stations
    from appliance.evaluate import Trying, plan, resume
    from appliance.evaluate import evaluate as run
    from ops import report as reports
    from ops.axes import start
    from ops.leases import attending
    from ops.sequential import foretold

    if (policy is None) is (left is None):
        raise typer.BadParameter("either --policy NAME, for trials to be planned, or --resume BATCH")
    if takeover in {By.SCRIPTED, By.REPLAY}:
        raise typer.BadParameter(f"--takeover {takeover} needs no person; vr, kinesthetic and leader do")
    beside = attended or takeover is not None or not stations.load(station).simulated
    if beside and workers > 1:
        raise typer.BadParameter("a person is at one table; only trials that nobody attends take --workers")
    servers = tuple(server or ())
    with opened() as (home, catalog):
        if left is None:
            batch, rows = plan(home, task, policy or [], trials, seed, station, servers, delay, names(vary))
            remaining = batch.planned
        else:
            batch, rows, remaining = resume(home, task, left, station, delay)
        tried = ", ".join(row.name for row in rows)
        typer.echo(f"Batch {batch.id}: {remaining} trials of {tried}.", err=True)
        if len(rows) > 1:
            begun = {start(trial.condition) for trial in catalog.trials(batch.id)}
            typer.echo(f"{foretold(_usual(catalog, task, rows), len(begun))}.", err=True)
        trying = Trying(home, batch.id, station, servers=servers, delay=delay, until_decided=early)
        if beside:
            whole = _beside(trying, operator or user(), takeover)
        else:
            with progress("trials", remaining) as advance, attending(home.folder, f"{operator or user()} evaluates"):
                whole = run(trying, workers, lambda turn: advance(f"turn {turn.turn}"))
        brought(home)
        if not whole:
            typer.echo(f"Stopped. Batch {batch.id} stays open and does not count; --resume {batch.id} goes on with it.")
            raise typer.Exit(1)
        print_wide(reports.tables(reports.summarize(catalog, task)))


def _beside(trying: "Trying", operator: str, takeover: By | None) -> bool:
    """Have somebody stand beside the trials of a batch; return whether all have run."""
    from appliance.cli.screen import say, screen
    from appliance.sitting import at_terminal
    from appliance.trials import HELP, attending, lines

    way = "" if takeover is None else str(takeover)
    with (
        attending(trying, operator, way, at_terminal, say) as trials,
        screen(lambda: lines(trials), HELP),
    ):
        return trials.run()


@circle.command()
def report(
    task: AnyTask = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Where the page goes. Default: reports/ in the data folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how often each policy succeeds, how sure that is, and how it fails. Writes a page with pictures."""
    from ops import report as reports

    with opened() as (home, catalog):
        found = reports.summarize(catalog, task)
        if as_json and page is None:
            typer.echo(json.dumps(reports.as_json(found), indent=2))
            return
        written = reports.write_page(found, page or home.folder / "reports" / (task or "all"), home.folder)
        if as_json:
            typer.echo(json.dumps(reports.as_json(found), indent=2))
            return
        print_wide(reports.tables(found))
    typer.echo(f"With pictures: {written}")


@circle.command()
def demo(
    demos: Annotated[int | None, typer.Option("--demos", min=1, help="Demonstrations. Default 200.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps of CCoL.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Trials of each policy. Default 20.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 0,
    workers: Workers = 2,
    quick: Annotated[bool, typer.Option("--quick", help="All tiny: a minute, nothing learned.")] = False,
    nights: Annotated[
        int | None,
        typer.Option("--nights", min=1, max=99, help="Instead: so many nights that learn from their failures."),
    ] = None,
) -> None:
    """Go round the whole circle in simulation: collect, learn, evaluate, report.

    With --nights it begins with too little and goes round by itself: each night learns, tries, and orders what is
    lacking; each day a script shows that. ``--demos`` is then what each order asks for.
    """
    if nights is not None:
        _nights(nights, demos, steps, trials, seed, workers, quick)
        return
    from appliance.demo import QUICK, USUAL
    from appliance.demo import circle as run

    size = (QUICK if quick else USUAL).but(demos=demos, steps=steps, trials=trials, seed=seed, workers=workers)
    with opened() as (home, catalog):
        run(home, catalog, size, typer.echo, progress, print_wide)


def _nights(
    number: int, demos: int | None, steps: int | None, trials: int | None, seed: int, workers: int, quick: bool
) -> None:
    """Have nights that need nobody."""
    from appliance.five_nights import QUICK, USUAL
    from appliance.five_nights import nights as run

    length = QUICK if quick else USUAL
    length = length.but(nights=number, wanted=demos, steps=steps, trials=trials, seed=seed, workers=workers)
    with opened() as (home, catalog):
        run(home, catalog, length, typer.echo, progress, print_wide)


def _usual(catalog: "Catalog", task: str, rows: Sequence["PolicyRow"]) -> float:
    """How often the first of these policies that was tried before succeeds; one half of none was."""
    from ops.results import summarize

    rates = {one.id: one.success_rate for one in summarize(catalog, task).policies}
    return next((rate for row in rows if (rate := rates.get(row.id)) is not None), 0.5)


def _loss(loss: float) -> str:
    """What there is to say of a method's loss; one that only remembers has none."""
    return f"loss {loss:.4f}" if math.isfinite(loss) else ""


def names(text: str) -> tuple[str, ...]:
    """What is named in a list: ``background,lighting``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def fields(arguments: Sequence[str]) -> dict[str, str]:
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
