"""Reads what people type."""

import json
from typing import Any

import typer


def json_object(text: str, where: str) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{where} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f'{where} has to be a JSON object, e.g. {{"fx": 612.4}}')
    return found
