"""``appliance export`` and ``appliance import``: datasets in other programs' forms."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import AnyTask, AsJson, JudgedSo, Operator, Said, Since
from appliance.cli.shown import progress, show_one

if TYPE_CHECKING:
    from storage import Catalog, Wanted
    from storage.export import Take, Written

export = typer.Typer(help="Write episodes in other programs' forms.", no_args_is_help=True)
bring = typer.Typer(help="Bring in what others recorded.", no_args_is_help=True)


class Version(enum.StrEnum):
    """Of the LeRobot format."""

    V3 = "3.0"
    V2 = "2.1"


class Keys(enum.StrEnum):
    """How a ReplayBuffer's arrays are named."""

    UMI = "umi"
    DIFFUSION_POLICY = "diffusion-policy"


Rate = Annotated[float, typer.Option("--fps", min=0.1, max=1000, help="Steps per second.")]
Size = Annotated[int | None, typer.Option("--size", min=8, help="Bring pictures to this height and width.")]
Cameras = Annotated[list[str] | None, typer.Option("--camera", help="Only this camera. May be given several times.")]


@export.command("lerobot")
def export_lerobot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")],
    task: AnyTask = None,
    outcome: JudgedSo = None,
    since: Since = None,
    version: Annotated[Version, typer.Option("--version", help="3.0; or 2.1 for openpi and GR00T.")] = Version.V3,
    fps: Rate = 30.0,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="Only this one, e.g. action. May be given several times.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a LeRobot dataset. Verdicts, policies and grades are columns; times are kept as they were."""
    from storage import lerobot

    _export(_Asked(task, outcome, since), folder, lerobot.write, lerobot.Export(fps, version, columns), as_json)


@export.command("replay-buffer")
def export_replay_buffer(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .zarr.zip, or a folder; not there yet.")],
    task: AnyTask = None,
    outcome: JudgedSo = None,
    since: Since = None,
    keys: Annotated[Keys, typer.Option("--keys", help="Whose names: umi or diffusion-policy.")] = Keys.UMI,
    fps: Rate = 20.0,
    size: Size = 224,
    cameras: Cameras = None,
    as_json: AsJson = False,
) -> None:
    """Write a zarr ReplayBuffer, as UMI and diffusion_policy read it."""
    from storage import replay_buffer

    named = {Keys.UMI: replay_buffer.UMI, Keys.DIFFUSION_POLICY: replay_buffer.DIFFUSION_POLICY}
    how = replay_buffer.Buffer(fps, named[keys], cameras, size)
    _export(_Asked(task, outcome, since), file, replay_buffer.write, how, as_json)


@export.command("robomimic")
def export_robomimic(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An .hdf5 file that is not there yet.")],
    task: AnyTask = None,
    outcome: JudgedSo = None,
    since: Since = None,
    fps: Rate = 20.0,
    size: Size = None,
    cameras: Cameras = None,
    as_json: AsJson = False,
) -> None:
    """Write one HDF5 file of robomimic's."""
    from storage import robomimic

    how = robomimic.Demonstrations(fps, cameras, size)
    _export(_Asked(task, outcome, since), file, robomimic.write, how, as_json)


@bring.command("lerobot")
def import_lerobot(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A LeRobot dataset, v3.0 or v2.1.")],
    task: Annotated[
        str | None, typer.Option("--task", help="The task its episodes show. Default: one named like the folder.")
    ] = None,
    operator: Operator = "",
    leave_out_broken: Annotated[
        bool, typer.Option("--leave-out-broken", help="Go on after an episode that cannot be read.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring in a LeRobot dataset. Doing it again adds only what is new."""
    from appliance import exchange

    with opened() as (home, _), progress("episodes", None) as advance:
        done = exchange.import_lerobot(
            home,
            folder,
            task or folder.resolve().name,
            operator or user(),
            lambda n, of: advance("", n, of),
            leave_out_broken,
        )
    for why in done.broken:
        typer.echo(f"left out: {why}", err=True)
    if as_json:
        new, known = [str(one) for one in done.new], [str(one) for one in done.known]
        unnamed = [str(one) for one in done.unnamed]
        found = {"task": done.task, "new": new, "known": known, "broken": done.broken, "unnamed": unnamed}
        show_one(found, as_json)
        return
    typer.echo(f"{len(done.new)} episodes of {done.task} are new, {len(done.known)} were here already.")
    if done.unnamed:
        typer.echo(f"{len(done.unnamed)} failed without saying how; `appliance episodes judge` can.")


@dataclass(frozen=True)
class _Asked:
    """Which episodes a person asked for."""

    task: str | None
    outcome: Said | None
    since: datetime | None

    def wanted(self, catalog: "Catalog") -> "Wanted":
        from storage import Outcome, Wanted

        if self.task is not None:
            catalog.task(self.task)
        return Wanted(
            task=self.task,
            outcome=None if self.outcome is None else Outcome(self.outcome),
            since=None if self.since is None else self.since.astimezone(),
        )


def _export[H](
    asked: _Asked,
    path: Path,
    write: "Callable[[Sequence[Take], Path, H, Callable[[int, int], None]], Written]",
    how: H,
    as_json: bool,
) -> None:
    """Write what was asked for, and say what was written."""
    from appliance import exchange

    with opened() as (home, catalog), progress("episodes", None) as advance:
        done = exchange.export(home, asked.wanted(catalog), path, write, how, lambda n, of: advance("", n, of))
    if as_json:
        show_one(asdict(done) | {"path": str(done.path)}, as_json)
    else:
        typer.echo(f"Wrote {done.episodes} episodes, {done.steps} steps, to {done.path}: {', '.join(done.names)}")
