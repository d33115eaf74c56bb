"""How commands answer: a table or JSON on stdout, and on stderr how far long work is."""

import json
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer

LATE = 10
"""A log, unlike a terminal, gets one line for this many things done."""


HEADINGS = {"gap": "gap ms", "lost": "lost %", "skew": "skew ms", "late": "late ms"}
"""Tables say their units; JSON is in seconds."""


def show(found: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print a listing: all of it as JSON, or some columns as a table."""
    if as_json:
        typer.echo(json.dumps(list(found), indent=2))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(HEADINGS.get(column, column.replace("_", " ")), overflow="fold")
    for one in found:
        table.add_row(*(_short(column, one[column]) for column in columns), style=_style(one))
    print_wide(table)


def show_one(found: Mapping[str, Any], as_json: bool) -> None:
    """Print one thing: as JSON, or a line for each thing known of it."""
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        parts = list(value.items()) if isinstance(value, dict) else [("", part) for part in _list(value)]
        if parts and all(isinstance(part, dict) for _, part in parts):
            typer.echo(f"{name}:")
            for of, part in parts:
                said = ", ".join(f"{key} {_plain(of_it)}" for key, of_it in part.items() if of_it not in _EMPTY)
                typer.echo(f"  {of and f'{of}: '}{said}")
        else:
            typer.echo(f"{name}: {_plain(value)}")


def megabytes(size: int) -> str:
    """A size as people say it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def print_wide(what: Any) -> None:
    """Print a table: as wide as it needs to be when nobody looks."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 240, highlight=False).print(what)


@contextmanager
def progress(what: str, total: int | None) -> Generator[Callable[..., None]]:
    """Show how far long work is, on stderr: a bar on a terminal, now and then a line in a log.

    Yields:
        ``advance(says, done=None, of=None)``: one more is done, or ``done`` of ``of``.
    """
    if not sys.stderr.isatty():
        yield _lines(what, total)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn("{task.description}"), *columns, TextColumn("{task.fields[says]}"), console=Console(stderr=True)
    ) as bar:
        line = bar.add_task(what, total=total, says="")

        def advance(says: str, done: int | None = None, of: int | None = None) -> None:
            bar.update(line, advance=1 if done is None else None, completed=done, total=of or total, says=says)

        yield advance


def _lines(what: str, total: int | None) -> Callable[..., None]:
    count = 0

    def advance(says: str, done: int | None = None, of: int | None = None) -> None:
        nonlocal count
        count = count + 1 if done is None else done
        whole = of or total or 0
        every = LATE if done is None else max(1, whole // LATE)
        if count % every == 0 or count == whole:
            typer.echo(f"{what}: {count} of {whole}{says and f', {says}'}", err=True)

    return advance


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")

_EMPTY: tuple[Any, ...] = (None, "", [], {})
"""Nothing to say; a zero is something."""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _style(one: Mapping[str, Any]) -> str | None:
    """What is set aside looks so."""
    if one.get("retired"):
        return "dim"
    return "yellow" if one.get("quarantined") else None


def _short(column: str, value: Any) -> str:
    """What a table has room for."""
    if value is None:
        return ""
    if column == "id" and _UUID.fullmatch(str(value)):
        return str(value)[:8]
    if column in HEADINGS:
        return f"{value * (1 if column == 'lost' else 1000):.1f}"
    if column in {"started", "created", "made", "closed", "used"}:
        return str(value)[:16].replace("T", " ")
    return str(value)
