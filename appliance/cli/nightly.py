"""``appliance nightly``: learn while nobody watches, prove that it got better, and tell in the morning."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.circle import fields
from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson, Daily, StationName, TaskName, Why, Workers
from appliance.cli.shown import print_wide, progress, show, show_one

if TYPE_CHECKING:
    from appliance.home import Home
    from storage import Catalog, Night

nightly = typer.Typer(help="Learn while nobody watches; be told in the morning.", no_args_is_help=True)

ANY = {"allow_extra_args": True, "ignore_unknown_options": True}

Method = Annotated[str, typer.Option("--method", help="How to learn. Default: as the champion, or ccol.")]
Preset = Annotated[str, typer.Option("--preset", help="How big, where there is no champion to go on from.")]
Anew = Annotated[bool, typer.Option("--anew", help="Learn from nothing, though there is a champion.")]
Trials = Annotated[int, typer.Option("--trials", min=1, max=100_000, help="Trials of each policy, at most.")]
Whole = Annotated[bool, typer.Option("--all-trials", help="Run them all, even once it is decided.")]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", help="An earlier task that may not be forgotten either. May be given several times."),
]
Harm = Annotated[float, typer.Option("--harm", min=0, help="By which share the error on old things may grow.")]
Doubted = Annotated[
    float, typer.Option("--doubted", min=0, max=1, help="Share of new demonstrations that may contradict themselves.")
]
Aside = Annotated[
    float, typer.Option("--aside", min=0, max=0.9, help="Share of demonstrations kept to compare plans on.")
]
Least = Annotated[int, typer.Option("--least", min=1, help="Demonstrations that have to be new.")]
First = Annotated[int, typer.Option("--first", min=1, help="Demonstrations that a first policy needs.")]
Space = Annotated[float, typer.Option("--space", min=0, help="Gigabytes that have to be free.")]
Wanted = Annotated[int, typer.Option("--wanted", min=1, help="Demonstrations of each work order.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Which starts. Default: other ones every night.")]


@nightly.command("run", context_settings=ANY)
def nightly_run(
    context: typer.Context,
    task: TaskName,
    station: StationName = "franka-sim",
    method: Method = "",
    preset: Preset = "small",
    anew: Anew = False,
    trials: Trials = 40,
    whole: Whole = False,
    seed: Seed = None,
    workers: Workers = 1,
    keep: Keep = None,
    harm: Harm = 0.25,
    doubted: Doubted = 0.2,
    aside: Aside = 0.1,
    least: Least = 1,
    first: First = 5,
    space: Space = 2.0,
    wanted: Wanted = 12,
    queued: Annotated[bool, typer.Option("--queued", help="Ask the daemon for it, and return at once.")] = False,
    daily: Daily = "",
    as_json: AsJson = False,
) -> None:
    """Have a night now: learn from what is new, try the result against the champion, promote or keep, and tell.

    One that was interrupted is gone on with. Any field of the method may be given, as `train` takes it: --steps 2000.
    Exit 1 when a gate refused or a step failed.
    """
    from appliance.night_asked import named
    from storage import Refused

    settings = fields(context.args)
    given: dict[str, Any] = {
        "task": task,
        "station": station,
        "by": user(),
        "method": method,
        "preset": preset,
        "settings": settings,
        "anew": anew,
        "trials": trials,
        "early": not whole,
        "seed": seed,
        "workers": workers,
        "keep": keep or [],
        "harm": harm,
        "doubted": doubted,
        "aside": aside,
        "least": least,
        "first": first,
        "space": space,
        "wanted": wanted,
    }
    with opened() as (home, catalog):
        catalog.task(task)
        if daily:
            from appliance import nightfall

            made = nightfall.daily(home, daily, given, user())
            typer.echo(f"Every day at {daily} ({made.zone}), the daemon has a night of {task}: appliance serve")
            return
        open_ = [row for row in catalog.nights(task) if row.ended is None]
        if open_ and queued:
            raise Refused(f"night {open_[0].id} of {task} is not over: go on with it, appliance nightly run, or end it")
        name = open_[0].id if open_ else named(catalog, task, datetime.now(UTC).astimezone().date())
        if queued:
            _ask(home, given | {"night": name})
            return
        if open_:
            typer.echo(f"Night {name} is not over. Going on with it, as it was asked for.", err=True)
            given = dict(open_[0].settings)
        _have(home, catalog, given | {"night": name}, as_json)


@nightly.command("off")
def nightly_off(task: TaskName) -> None:
    """Have no more nights of a task by themselves."""
    from appliance.nightfall import never

    with opened() as (home, catalog):
        catalog.task(task)
        there = never(home, task)
    typer.echo(f"No more nights of {task} by themselves." if there else f"No nights of {task} were planned.")


@nightly.command("status")
def nightly_status(as_json: AsJson = False) -> None:
    """Tell of each task's last night, which one is under way, what is planned, and which ones did not happen."""
    from appliance.nightfall import missing, of_nights

    with opened() as (home, catalog):
        rows = [_of_night(catalog, row) for row in _last(catalog)]
        gone, plans = missing(home, catalog), of_nights(home)
    if as_json:
        said = [{"task": one.settings["task"], "cron": one.cron, "zone": one.zone, "by": one.by} for one in plans]
        late = [{"task": one.task, "due": one.due.isoformat()} for one in gone]
        show_one({"nights": rows, "planned": said, "missed": late}, as_json)
        return
    show(rows, ("id", "decision", "champion", "candidate", "gate", "why"), as_json)
    for plan in plans:
        typer.echo(f"Planned: {plan.settings['task']}, {_when(plan.cron)} ({plan.zone}).")
    for one in gone:
        typer.echo(f"{one.says}.")


@nightly.command("history")
def nightly_history(task: AnyTask = None, as_json: AsJson = False) -> None:
    """List the nights, oldest first: what each decided, and which gate said so."""
    with opened() as (_, catalog):
        rows = [_of_night(catalog, row) for row in catalog.nights(task)]
    show(rows, ("id", "began", "decision", "champion", "candidate", "gate", "why"), as_json)


@nightly.command("show")
def nightly_show(night: Annotated[str, typer.Argument(help="A night's name.")], as_json: AsJson = False) -> None:
    """Show the morning page of a night here, and write it anew."""
    with opened() as (home, catalog):
        _show(home, catalog, catalog.night(night).id, as_json)


@nightly.command("end")
def nightly_end(night: Annotated[str, typer.Argument(help="A night's name.")], why: Why) -> None:
    """End a night that is not to be gone on with. What it trained stays, and is not promoted."""
    with opened() as (_, catalog):
        row = catalog.end_night(night, "failed", f"{user()}: {why}")
    typer.echo(f"Night {row.id} has ended: {row.decision}, {row.why}.")


def _ask(home: "Home", given: dict[str, Any]) -> None:
    """Have the daemon do it."""
    with home.jobs() as jobs:
        job = jobs.enqueue("night", given, user(), id=f"night-{given['night']}", night=given["night"])
    typer.echo(f"Night {given['night']} is asked for, as job {job.id}: appliance jobs show {job.id}")


def _have(home: "Home", catalog: "Catalog", given: dict[str, Any], as_json: bool) -> None:
    """Have the night in this process."""
    from appliance.doing import Here, Paused
    from appliance.night import InOrder, night
    from appliance.nightfall import alone

    try:
        with alone(home, given["night"], given["task"], user()), progress(given["night"], None) as advance:
            ended = night(InOrder(home, Here(advance=advance)), given)
    except (Paused, KeyboardInterrupt):
        typer.echo(f"Stopped. Night {given['night']} stays open; appliance nightly run --task {given['task']} goes on.")
        raise typer.Exit(1) from None
    _show(home, catalog, given["night"], as_json)
    if ended["decision"] in {"refused", "failed"}:
        raise typer.Exit(1)


def _show(home: "Home", catalog: "Catalog", night: str, as_json: bool) -> None:
    """Show what a night has done."""
    from ops import morning

    found = morning.of(catalog, night)
    if as_json:
        show_one(morning.as_json(found), as_json)
        return
    written = morning.write_page(found, morning.folder(home.folder, night), home.folder)
    print_wide(morning.tables(found))
    typer.echo(f"With pictures: {written}")


def _when(cron: str) -> str:
    """When a schedule is due, in words where it is every day."""
    minute, hour, *days = cron.split()
    every_day = days == ["*", "*", "*"] and minute.isdecimal() and hour.isdecimal()
    return f"every day at {int(hour):02}:{int(minute):02}" if every_day else cron


def _last(catalog: "Catalog") -> list["Night"]:
    """The last night of each task."""
    return [*{row.task: row for row in catalog.nights()}.values()]


def _of_night(catalog: "Catalog", row: "Night") -> dict[str, Any]:
    """A night, as JSON."""
    policies = {
        who: None if key is None else catalog.policy(key).name
        for who, key in (("champion", row.champion), ("candidate", row.candidate))
    }
    gate, _, why = row.why.partition(": ")
    return {
        "id": row.id,
        "task": row.task,
        "station": row.station,
        "by": row.by,
        "began": row.began.isoformat(timespec="seconds"),
        "ended": None if row.ended is None else row.ended.isoformat(timespec="seconds"),
        "decision": row.decision or "under way",
        **policies,
        "batch": row.batch,
        "gate": gate.removeprefix("night."),
        "why": why,
        "steps": [*row.facts],
    }
