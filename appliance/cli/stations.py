"""``appliance stations``: the cells that are known here, and how to begin with one's own."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.options import AsJson
from appliance.cli.shown import show

stations = typer.Typer(help="The cells that robots stand in.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A station's name, or a path to its TOML file.")]


@stations.command("list")
def stations_list(as_json: AsJson = False) -> None:
    """List the stations that come with the appliance."""
    from appliance.station import names, text

    found = [{"name": name, "about": _about(text(name))} for name in names()]
    show(found, ("name", "about"), as_json)


@stations.command("show")
def stations_show(name: Name) -> None:
    """Print a station's file."""
    from appliance.station import text

    typer.echo(text(name), nl=False)


@stations.command("copy")
def stations_copy(
    name: Name, file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to, e.g. mine.toml.")]
) -> None:
    """Copy a station's file, to be edited; --station takes the copy's path."""
    from appliance.station import StationError, text

    whole = text(name)
    if file.suffix != ".toml":
        raise StationError(f"{file}: a station's file is called NAME.toml")
    try:
        with file.open("x", encoding="utf-8") as copy:
            copy.write(whole)
    except FileExistsError as error:
        raise StationError(f"{file} is there already; choose another name") from error
    except OSError as error:
        raise StationError(f"cannot write {file}: {error.strerror or error}") from error
    typer.echo(f"Edit {file}, then: appliance doctor --station {file}")


def _about(text: str) -> str:
    """The comment at the top of a station's file, in one line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)
