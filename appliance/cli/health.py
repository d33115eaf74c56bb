"""``appliance health`` and ``appliance log``: how the appliance is, and what has happened."""

import enum
from datetime import datetime
from typing import Annotated, Any

import typer

from appliance.cli.options import AsJson
from appliance.cli.shown import show

wellbeing = typer.Typer()


class Bad(enum.StrEnum):
    """How bad a line is."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@wellbeing.command()
def health(as_json: AsJson = False) -> None:
    """Look whether all is well: disk, clock, queue, workers, cameras, GPU, backups, the last night.

    Exit 1 if something is bad. `appliance doctor` looks at the machine and a station's devices more closely.
    """
    from appliance.cli.doctor import tell
    from appliance.doctor.finding import examine
    from appliance.health import Health, worst
    from appliance.home import Home

    found = examine(Health(Home.from_environment()).checks())
    if as_json:
        rows = [{"id": one.about, "level": str(one.level), "what": one.what, "fix": one.fix} for one in found]
        show(rows, (), as_json)
    else:
        tell(found)
    if worst(found) == "bad":
        raise typer.Exit(1)


@wellbeing.command()
def log(
    job: Annotated[str, typer.Option("--job", help="Only of this job, by its ID's first characters.")] = "",
    night: Annotated[str, typer.Option("--night", help="Only of this night.")] = "",
    episode: Annotated[str, typer.Option("--episode", help="Only of this episode.")] = "",
    policy: Annotated[str, typer.Option("--policy", help="Only of this policy.")] = "",
    batch: Annotated[str, typer.Option("--batch", help="Only of this batch of trials.")] = "",
    level: Annotated[Bad, typer.Option("--level", help="Only what is so bad or worse.")] = Bad.INFO,
    since: Annotated[datetime | None, typer.Option("--since", help="Only from then on.")] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="At most so many lines, the newest.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what happens, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what programs of this appliance have written down, oldest first. With --follow, --json is a line each."""
    from collections import deque

    from appliance.home import Home
    from ops import journal

    folder = Home.from_environment().folder / journal.LOGS
    given = {"job": job, "night": night, "episode": episode, "policy": policy, "batch": batch}
    about = {name: value for name, value in given.items() if value}
    asked = journal.Asked(about, journal.Level(level), since.astimezone() if since else None)
    found = deque(journal.read(folder, asked), maxlen=last)
    if not follow:
        if as_json:
            show(found, (), as_json)
        else:
            for line in found:
                typer.echo(_told(line))
        return
    from json import dumps

    def say(line: dict[str, Any]) -> None:
        typer.echo(dumps(line) if as_json else _told(line))

    for line in found:
        say(line)
    for line in journal.follow(folder, asked, lambda: False):
        say(line)


def _told(line: dict[str, Any]) -> str:
    """A line for a person: local time, how bad, what, and the rest behind it."""
    when = datetime.fromisoformat(line["t"]).astimezone()
    rest = " ".join(f"{name}={value}" for name, value in line.items() if name not in {"t", "level", "what", "trace"})
    trace = "".join(f"\n    {part}" for part in str(line.get("trace", "")).splitlines())
    return f"{when:%Y-%m-%d %H:%M:%S} {line['level']:<5} {line['what']}{rest and f'  [{rest}]'}{trace}"
