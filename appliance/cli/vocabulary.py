"""``appliance vocabulary``: what a few words of action keep of a task's demonstrations."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.circle import fields
from appliance.cli.opened import opened
from appliance.cli.options import AsJson, TaskName
from appliance.cli.shown import progress, show, show_one

if TYPE_CHECKING:
    from learners.clap.rate import Point

words = typer.Typer()

COLUMNS = ("codes", "entries", "bits", "rate", "PSNR dB", "used", "place mm", "turn deg", "hand mm")


@words.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def vocabulary(
    context: typer.Context,
    task: TaskName,
    preset: Annotated[str, typer.Option("--preset", help="How big: tiny, small, release or paper.")] = "small",
    codes: Annotated[str, typer.Option("--codes", help="Words to a chunk; several sizes with commas.")] = "4,8,16",
    entries: Annotated[
        str | None,
        typer.Option("--entries", help="Words there are; several sizes with commas. Default: the preset's."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps. Default: the preset's.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A PNG file for the curve.")] = None,
    as_json: AsJson = False,
) -> None:
    """Learn action vocabularies of several sizes, and show what each keeps for the bits that it spends.

    Nothing is stored. Errors are of episodes that were not learned from: roots of mean squares over a chunk's steps.
    Any field of the vocabulary may be given as an option, e.g. --width 96.
    """
    from appliance.settings import WrongSetting
    from appliance.vocabulary import draw, settings, vocabularies

    if out is not None and (out.suffix != ".png" or not out.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{out} is no PNG file in a folder that is there", param_hint="--out")
    given = fields(context.args) | ({} if steps is None else {"steps": str(steps)})
    try:
        how = settings(preset, given)
    except WrongSetting as error:
        raise typer.BadParameter(str(error), context) from error
    sizes = _numbers(codes, "--codes", 1), [how.entries] if entries is None else _numbers(entries, "--entries", 2)
    with opened() as (home, catalog):
        catalog.task(task)
    with progress(f"vocabularies of {task}", None) as advance:

        def tell(which: str, done: int, of: int, loss: float) -> None:
            advance(f"{which}, loss {loss:.4g}", done, of)

        points = vocabularies(home, task, how, *sizes, tell, advance)
    if out is not None:
        draw(points, out)
    if as_json:
        show_one({"task": task, "points": [asdict(point) for point in points]}, as_json)
        return
    show([_shown(point) for point in points], COLUMNS, as_json)


def _numbers(text: str, option: str, least: int) -> list[int]:
    """Numbers that a person typed with commas between them."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of whole numbers like 4,8,16", param_hint=option) from error
    if found[0] < least:
        raise typer.BadParameter(f"{found[0]} is too few; {least} is the least", param_hint=option)
    return found


def _shown(point: "Point") -> dict[str, Any]:
    """A point as a person reads it; errors of a place and a turn are over all three axes."""
    kept = point.kept
    numbers = (
        f"{point.tokens}",
        f"{point.entries}",
        f"{point.bits:.0f}",
        f"{point.rate:.4f}",
        f"{point.psnr:.2f}",
        f"{kept.used}",
        f"{1e3 * math.hypot(*kept.place):.2f}",
        f"{math.degrees(math.hypot(*kept.turn)):.2f}",
        f"{1e3 * kept.hand:.2f}",
    )
    return dict(zip(COLUMNS, numbers, strict=True))
