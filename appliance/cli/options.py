"""What several commands ask in the same words."""

import enum
from datetime import datetime
from typing import Annotated

import typer


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
Vary = Annotated[
    str,
    typer.Option(
        "--axes", help="Vary the scene along these, one at a time, e.g. background,lighting; all: along all it can be."
    ),
]
OneEpisode = Annotated[str, typer.Argument(metavar="ID", help="An episode's ID, or its first characters.")]
Episodes = Annotated[list[str], typer.Argument(metavar="ID...", help="Episodes' IDs, or their first characters.")]
Why = Annotated[str, typer.Option("--why", help="The reason; it stays on record.")]
Operator = Annotated[str, typer.Option("--operator", help="Who says so. Default: the user's name.")]
JudgedSo = Annotated[Said | None, typer.Option("--outcome", help="Only those last judged so.")]
Since = Annotated[datetime | None, typer.Option("--since", help="Only those that began then or later.")]
Daily = Annotated[
    str, typer.Option("--daily", help="Not now: have the daemon do it every day at this time, e.g. 02:30.")
]
