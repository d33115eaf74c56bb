"""The program that people type: its commands, and how it ends."""

import sys
from collections.abc import Sequence

import typer

from appliance.cli.backup import keeping_safe
from appliance.cli.cell import calibrations
from appliance.cli.circle import circle
from appliance.cli.doctor import clinic
from appliance.cli.editing import editing
from appliance.cli.episodes import episodes, episodes_view
from appliance.cli.health import wellbeing
from appliance.cli.imagine import imagination
from appliance.cli.interchange import export
from appliance.cli.jobs import daemon, jobs
from appliance.cli.keeping import keeping
from appliance.cli.label import labelling
from appliance.cli.lineage import ways
from appliance.cli.nightly import nightly
from appliance.cli.orders import orders
from appliance.cli.policies import policies
from appliance.cli.primitives import naming
from appliance.cli.room import caches, room
from appliance.cli.share import sharing
from appliance.cli.stations import stations
from appliance.cli.tasks import tasks
from appliance.cli.tui import screens
from appliance.cli.upkeep import upkeep
from appliance.cli.video import bring
from appliance.cli.vocabulary import words

app = typer.Typer(
    help="Collect demonstrations, learn from them, prove what got better, and see what failed. "
    "Data lives under APPLIANCE_HOME (default ~/.local/share/appliance).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
episodes.add_typer(editing)
app.add_typer(circle)
app.add_typer(imagination)
app.add_typer(labelling)
app.add_typer(words)
app.add_typer(naming)
app.command("view")(episodes_view)
app.add_typer(upkeep)
app.add_typer(keeping_safe)
app.add_typer(wellbeing)
app.add_typer(ways)
app.add_typer(clinic)
app.add_typer(room)
app.add_typer(sharing)
app.add_typer(daemon)
app.add_typer(jobs, name="jobs")
app.add_typer(screens)
app.add_typer(tasks, name="tasks")
app.add_typer(stations, name="stations")
app.add_typer(episodes, name="episodes")
app.add_typer(policies, name="policies")
app.add_typer(nightly, name="nightly")
app.add_typer(calibrations, name="calibrations")
app.add_typer(orders, name="orders")
app.add_typer(caches, name="caches")
app.add_typer(keeping, name="keeping")
app.add_typer(export, name="export")
app.add_typer(bring, name="import")


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
