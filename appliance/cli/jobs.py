"""``appliance jobs`` and ``appliance serve``: what is done in the background, and who does it."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AsJson, Operator, Why
from appliance.cli.shown import show, show_one

if TYPE_CHECKING:
    from ops.jobs import Job

jobs = typer.Typer(help="What is done in the background.", no_args_is_help=True)
daemon = typer.Typer()

HERE = "127.0.0.1"

Key = Annotated[str, typer.Argument(metavar="ID", help="A job's ID, or its first characters.")]


def of_job(job: "Job") -> dict[str, Any]:
    """A job, as JSON."""
    told = job.progress
    return {
        "id": job.id,
        "kind": job.kind,
        "state": str(job.state),
        "progress": "" if told is None else _words(told),
        "why": job.why,
        "by": job.by,
        "queue": job.queue,
        "worker": job.worker,
        "night": job.night,
        "created": job.created.isoformat(timespec="seconds"),
        "began": job.began and job.began.isoformat(timespec="seconds"),
        "ended": job.ended and job.ended.isoformat(timespec="seconds"),
        "attempts": job.attempts,
        "settings": job.settings,
        "result": job.result,
    }


def _words(told: Any) -> str:
    """How far a job came, in words."""
    loss = "" if told.loss is None else f", loss {told.loss:.4f}"
    left = (
        ""
        if told.left is None
        else f", {told.left / 60:.0f} min left"
        if told.left >= 90
        else f", {told.left:.0f} s left"
    )
    return f"{told.what} {told.done}/{told.of}{loss}{left}"


@jobs.command("list")
def jobs_list(
    last: Annotated[int, typer.Option("--last", min=1, help="At most so many of the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, oldest first: those that wait, that run, and that ended."""
    with opened() as (home, _), home.jobs() as there:
        found = [of_job(job) for job in there.list(last)]
    show(found, ("id", "state", "progress", "why", "by", "worker", "created"), as_json)


@jobs.command("show")
def jobs_show(key: Key, as_json: AsJson = False) -> None:
    """Show one job: what it was asked to do, how far it is, what came of it."""
    with opened() as (home, _), home.jobs() as there:
        show_one(of_job(there.get(key)), as_json)


@jobs.command("log")
def jobs_log(key: Key, as_json: AsJson = False) -> None:
    """Show what happened in a job."""
    with opened() as (home, _), home.jobs() as there:
        lines = there.log(key)
    for line in lines:
        typer.echo(json.dumps(line) if as_json else f"{line['t'][:19]}  {line['level']:<5}  {_said(line)}")


def _said(line: dict[str, Any]) -> str:
    known = {"t", "level", "what", "job", "worker"}
    return " ".join([str(line["what"]), *(f"{name}={value}" for name, value in line.items() if name not in known)])


@jobs.command("cancel")
def jobs_cancel(key: Key, why: Why, by: Operator = "") -> None:
    """End a job, and those that it asked for."""
    with opened() as (home, _), home.jobs() as there:
        job = there.cancel(key, by or user(), why)
    typer.echo(f"{job.id} is {job.state}.")


@jobs.command("retry")
def jobs_retry(key: Key, why: Why, by: Operator = "") -> None:
    """Have a job that failed or was cancelled done again; a night goes on with the step that failed."""
    with opened() as (home, _), home.jobs() as there:
        job = there.retry(key, by or user(), why)
    typer.echo(f"{job.id} is {job.state}.")


@jobs.command("pause")
def jobs_pause(key: Key, why: Why, by: Operator = "") -> None:
    """Have a job make way until `jobs go-on`; what it learned is stored."""
    with opened() as (home, _), home.jobs() as there:
        job = there.pause(key, by or user(), why)
    typer.echo(f"{job.id} makes way within seconds.")


@jobs.command("go-on")
def jobs_go_on(key: Key) -> None:
    """Let a job that was paused go on."""
    with opened() as (home, _), home.jobs() as there:
        job = there.go_on(key)
    typer.echo(f"{job.id} goes on.")


@jobs.command("workers")
def jobs_workers(as_json: AsJson = False) -> None:
    """List the programs that take jobs."""
    with opened() as (_, catalog):
        rows = catalog.workers()
    found = [
        {
            "id": row.name,
            "node": row.node,
            "process": row.process,
            "queues": ", ".join(row.queues),
            "since": row.since.isoformat(timespec="seconds"),
        }
        for row in rows
    ]
    show(found, ("id", "node", "process", "queues", "since"), as_json)


@jobs.command("planned")
def jobs_planned(as_json: AsJson = False) -> None:
    """List what is asked for again and again: nights, backups."""
    with opened() as (home, _), home.jobs() as there:
        found = [
            {
                "id": one.name,
                "cron": one.cron,
                "zone": one.zone,
                "kind": one.kind,
                "by": one.by,
                "settings": one.settings,
            }
            for one in there.schedules()
        ]
    show(found, ("id", "cron", "zone", "kind", "by"), as_json)


@jobs.command("unplan")
def jobs_unplan(name: Annotated[str, typer.Argument(metavar="NAME", help="As `jobs planned` shows it.")]) -> None:
    """Ask for something no longer again and again."""
    from storage import Unknown

    with opened() as (home, _), home.jobs() as there:
        if not there.unschedule(name):
            raise Unknown(f"nothing is planned as {name!r}; `appliance jobs planned` shows what is")
    typer.echo(f"{name} is not planned any more.")


@daemon.command()
def serve(
    name: Annotated[str, typer.Option("--name", help="What others call it. Default: the machine's name.")] = "",
    queues: Annotated[
        str, typer.Option("--queues", help="Which jobs it takes, e.g. learn,twin on a machine with a GPU.")
    ] = "",
    host: Annotated[str, typer.Option("--host", help="Where metrics and the log are served.")] = HERE,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Serve metrics and the log there; 0 is any free one.")
    ] = None,
    lost: Annotated[
        float | None,
        typer.Option(
            "--lost", min=1, help="Seconds after which another worker that stands still is given up. Default: 10."
        ),
    ] = None,
    unit: Annotated[bool, typer.Option("--unit", help="Print a systemd unit that runs this, and end.")] = False,
) -> None:
    """Do the jobs: learning, trials in the twin, nights on schedule, backups. Learning makes way for people.

    Several may run, on one machine under different names or on several that share a catalog; what one of them was
    doing when it died is done by another.
    """
    import platform

    from appliance.home import Home

    if unit:
        from appliance.unit import unit as written

        given = {"--name": name, "--queues": queues, "--port": "" if port is None else str(port)}
        given |= {"--host": host if host != HERE else "", "--lost": "" if lost is None else f"{lost:g}"}
        typed = [word for option, value in given.items() if value for word in (option, value)]
        typer.echo(written(Home.from_environment(), typed))
        return
    from appliance.serve import serve as run
    from ops.jobs import QUEUES
    from ops.worker import LOST

    with opened() as (home, _):
        pass
    chosen = [one.strip() for one in queues.split(",") if one.strip()] or [*QUEUES]
    run(home, name or platform.node(), chosen, lambda line: typer.echo(line, err=True), lost or LOST, host, port)
