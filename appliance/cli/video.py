"""``appliance import gopro``: film of people's hands."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.interchange import bring as bring
from appliance.cli.opened import opened, user
from appliance.cli.options import AsJson, Operator, TaskName
from appliance.cli.shown import progress, show, show_one
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from appliance.video import Looked
    from collectors.human_video.cuts import Cut


class NotReviewed(Refusal):
    """Nobody has said that the cuts are right."""


@bring.command("gopro")
def import_gopro(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Films as they are on the card.")],
    task: TaskName,
    cuts: Annotated[
        Path | None,
        typer.Option("--cuts", help="A cut list: written for you to edit if it is not there, followed if it is."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take the proposed cuts without asking.")] = False,
    marks: Annotated[
        str, typer.Option("--marks", help="What marks begin and end: auto, hilights, taps; or whole takes.")
    ] = "auto",
    text: Annotated[
        str, typer.Option("--text", help="What is done in all of it. Default: the task's instruction.")
    ] = "",
    hands: Annotated[str, typer.Option("--hands", help="Which hands do it: left, right or both.")] = "",
    fovs: Annotated[
        list[str] | None, typer.Option("--fov", help="A field of view that is wanted: W, L, N, ... Default: W.")
    ] = None,
    height: Annotated[int, typer.Option("--height", min=16, max=2160, help="Rows of the pictures kept.")] = 240,
    fps: Annotated[float, typer.Option("--fps", min=1, max=240, help="Pictures a second, at most.")] = 30.0,
    keep_faces: Annotated[bool, typer.Option("--keep-faces", help="Do not cover faces.")] = False,
    face_model: Annotated[
        Path | None, typer.Option("--face-model", help="A YuNet model file, which finds more faces than OpenCV alone.")
    ] = None,
    operator: Operator = "",
    as_json: AsJson = False,
) -> None:
    """Bring in GoPro films as episodes without a robot. GPS, sound and faces stay outside.

    HiLights or three knocks on the camera mark where a demonstration begins and ends.
    """
    from appliance import video
    from collectors.human_video.cuts import HANDS_USED, Marks
    from collectors.human_video.episodes import How

    if marks not in list(Marks):
        raise typer.BadParameter(f"{marks!r} is none of {', '.join(Marks)}", param_hint="--marks")
    if hands not in HANDS_USED:
        raise typer.BadParameter(f"{hands!r} is none of left, right, both", param_hint="--hands")
    with opened() as (home, catalog):
        catalog.task(task)
        with progress("files", len(files)) as advance:
            looked = video.look_at(files, fovs or ["W"], lambda n, of: advance("", n, of))
        _tell(looked)
        if cuts is not None and cuts.exists():
            chosen = video.followed(cuts, looked)
        else:
            chosen = video.proposed(looked, Marks(marks), text, hands)
            if not as_json and chosen:
                _show(chosen)
            if cuts is not None and chosen and not yes:
                video.offered(cuts, chosen)
                typer.echo(f"Wrote {cuts}. Edit it, then type the same command again.")
                raise typer.Exit(bool(looked.refused))
            if chosen and not yes:
                _ask(len(chosen))
        for name in sorted({take.name for take in looked.takes} - {cut.take for cut in chosen}):
            typer.echo(f"take {name}: nothing of it is cut out; --marks whole takes all of it", err=True)
        faces = None if keep_faces else video.detector(face_model)
        how = How(height - height % 2, fps)
        with progress("pictures", None) as advance:
            done = video.bring_in_all(
                home, looked, chosen, task, operator or user(), faces, how, text, lambda n, of: advance("", n, of)
            )
    for why in done.broken:
        typer.echo(f"left out: {why}", err=True)
    for one in done.bare:
        typer.echo(
            f"episode {one} is the same film with its faces, from before; purge it if nobody may see them", err=True
        )
    if as_json:
        new, known = [str(one) for one in done.new], [str(one) for one in done.known]
        left_out = looked.refused + done.broken
        show_one({"task": task, "new": new, "known": known, "broken": left_out, "faces": done.faces}, as_json)
    else:
        covered = "Faces are kept" if faces is None else f"Faces were covered in {done.faces} pictures"
        typer.echo(f"{len(done.new)} episodes of {task} are new, {len(done.known)} were here already. {covered}.")
    if looked.refused or done.broken:
        raise typer.Exit(1)


def _tell(looked: "Looked") -> None:
    for why in looked.refused:
        typer.echo(f"left out: {why}", err=True)
    for name, findings in looked.findings.items():
        for finding in findings:
            typer.echo(f"take {name}: {finding}", err=True)


def _show(cuts: "list[Cut]") -> None:
    rows = [
        {
            "take": cut.take,
            "start": f"{cut.start:.2f}",
            "end": f"{cut.end:.2f}",
            "seconds": f"{cut.end - cut.start:.1f}",
        }
        | {"text": cut.text, "hands": cut.hands, "note": cut.note}
        for cut in cuts
    ]
    show(rows, ["take", "start", "end", "text", "hands", "note"], as_json=False)


def _ask(count: int) -> None:
    """Have a person say whether the cuts are right."""
    if not sys.stdin.isatty():
        raise NotReviewed(
            f"nobody is there to say whether these {count} cuts are right: add --yes to take them, or --cuts FILE to "
            "edit them"
        )
    if not typer.confirm(f"Bring in {count} episodes?"):
        raise NotReviewed("nothing was brought in; --cuts FILE writes the cuts for you to edit")
