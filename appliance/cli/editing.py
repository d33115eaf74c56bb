"""``appliance episodes retire``, ``trim``, ...: what is done to episodes is rows, with who, when and why."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.opened import opened, user
from appliance.cli.options import Episodes, OneEpisode, Operator, Why

if TYPE_CHECKING:
    from storage import EditKind

editing = typer.Typer()


@editing.command("retire")
def episodes_retire(ids: Episodes, why: Why, operator: Operator = "") -> None:
    """Leave episodes out of lists and of training. Nothing is deleted, and `restore` undoes it."""
    from storage import EditKind

    _edit(ids, EditKind.RETIRE, why, operator)


@editing.command("restore")
def episodes_restore(ids: Episodes, why: Why, operator: Operator = "") -> None:
    """Take retired episodes back into lists and training."""
    from storage import EditKind

    _edit(ids, EditKind.RESTORE, why, operator)


@editing.command("quarantine")
def episodes_quarantine(ids: Episodes, why: Why, operator: Operator = "") -> None:
    """Show episodes, but do not learn from them, until somebody releases them."""
    from storage import EditKind

    _edit(ids, EditKind.QUARANTINE, why, operator)


@editing.command("release")
def episodes_release(ids: Episodes, why: Why, operator: Operator = "") -> None:
    """Let episodes out of quarantine: they were looked at, and are good to learn from."""
    from storage import EditKind

    _edit(ids, EditKind.RELEASE, why, operator)


@editing.command("trim")
def episodes_trim(
    episode: OneEpisode,
    start: Annotated[float | None, typer.Option("--start", min=0, help="Use it from this second on.")] = None,
    end: Annotated[float | None, typer.Option("--end", min=0, help="Use it up to this second.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Use all of it again.")] = False,
    why: Annotated[str, typer.Option("--why", help="The reason; it stays on record.")] = "",
    operator: Operator = "",
) -> None:
    """Use only some seconds of an episode, counted from its first row. The recording stays whole."""
    from storage import EditKind

    marks = {name: mark for name, mark in {"start": start, "end": end}.items() if mark is not None}
    if undo == bool(marks):
        raise typer.BadParameter("give --start, --end or both; or --undo, alone")
    _edit([episode], EditKind.TRIM, why, operator, marks)


@editing.command("relabel")
def episodes_relabel(
    ids: Episodes,
    task: Annotated[str, typer.Option("--task", help="The task they really show.")],
    why: Why,
    operator: Operator = "",
) -> None:
    """Say that episodes show another task than was noted."""
    from storage import EditKind

    _edit(ids, EditKind.RELABEL, why, operator, {"task": task})


def _edit(ids: list[str], kind: "EditKind", why: str, operator: str, value: dict[str, Any] | None = None) -> None:
    """Do one thing to all of these episodes, or to none."""
    from storage import Edit

    by = operator or user()
    with opened() as (_, catalog):
        meant = list(dict.fromkeys(catalog.episode(one).id for one in ids))
        catalog.edit(*(Edit(episode=one, kind=kind, value=value or {}, by=by, why=why) for one in meant))
    for one in meant:
        typer.echo(f"{one}: {kind}" + "".join(f", {name} {said}" for name, said in (value or {}).items()))
