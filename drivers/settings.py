"""A driver is a dataclass, and its fields are its settings: how one is made from what a person, or JSON, says."""

import dataclasses
import pkgutil
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError


class Unfit(ValueError):
    """Settings that nothing can be made from. The message says which, and what would be right."""


def made(entry: Mapping[str, Any]) -> Any:
    """Make, but do not enter, what ``entry["driver"]`` names, with the other settings there.

    Raises:
        Unfit: there is no such driver, or it does not take these settings.
    """
    settings = dict(entry)
    try:
        driver = pkgutil.resolve_name(settings.pop("driver"))
    except (KeyError, ValueError, ImportError, AttributeError) as error:
        raise Unfit(f"needs driver = 'module:Class'; got {error}") from error
    if not (isinstance(driver, type) and dataclasses.is_dataclass(driver)):
        raise Unfit(f"driver = {entry['driver']!r} is not a driver: it has no settings")
    return filled(driver, settings)


def filled[T](kind: type[T], settings: Mapping[str, Any]) -> T:
    """Make a ``kind`` with these settings.

    Raises:
        Unfit: it does not take them.
    """
    known = fields(kind)
    if unknown := sorted(settings.keys() - known):
        raise Unfit(f"has no {unknown}; it takes {known}")
    try:
        return TypeAdapter(kind).validate_python(dict(settings))
    except ValidationError as error:
        wrong = (": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in error.errors())
        raise Unfit("; ".join(wrong)) from error


def fields(kind: Any) -> list[str]:
    """The names of its settings."""
    return [field.name for field in dataclasses.fields(kind) if field.init]
