"""What a night is asked for, and what it is called."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import ConfigDict, TypeAdapter, ValidationError

from appliance.collect import LIMIT
from appliance.refusal import Refusal
from storage import Catalog


class CannotNight(Refusal):
    """A night cannot be had as it is asked for. The message says why."""


@dataclass(frozen=True)
class Asked:
    """What a night is asked for. JSON in, JSON out."""

    task: str
    night: str = ""
    """Its name; one that a schedule asks for is named by when it was due."""
    due: str = ""
    """When a schedule asked for it, in ISO 8601."""
    planned: str = ""
    """When that schedule was made."""
    station: str = "franka-sim"
    """Where the candidate is tried: a simulated cell; trials at a real one are proposed."""
    by: str = "schedule"
    method: str = ""
    """How to learn; empty: as the champion did, or CCoL where there is none."""
    preset: str = "small"
    settings: dict[str, str] = field(default_factory=dict)
    """Fields of the method that are to be others, as a person types them."""
    anew: bool = False
    """Learn from nothing, though there is a champion to go on from."""
    least: int = 1
    """Demonstrations that have to be new."""
    first: int = 5
    """Demonstrations that a first policy needs."""
    space: float = 2.0
    """Gigabytes that have to be free."""
    aside: float = 0.1
    """Share of the demonstrations, by their ids, that no night ever learns from: plans are compared on them."""
    doubted: float = 0.2
    """Share of the new demonstrations that may contradict what is said of them."""
    harm: float = 0.25
    """By which share the error on what the champion does may grow."""
    keep: list[str] = field(default_factory=list)
    """Earlier tasks that the candidate may not forget either: by default only its own task counts."""
    trials: int = 40
    """Of each policy, at most."""
    seed: int | None = None
    """Which starts; None: other ones every night."""
    limit: float = LIMIT
    """Seconds until a trial ends anyway."""
    early: bool = True
    """End the trials as soon as one of the two is shown to be better."""
    workers: int = 1
    """Processes that run the trials."""
    wanted: int = 12
    """Demonstrations of each work order."""

    __pydantic_config__ = ConfigDict(extra="forbid")


def said(facts: dict[str, Any]) -> Asked:
    """Read what is asked for.

    Raises:
        CannotNight: a field is unknown, missing, or cannot have that value.
    """
    try:
        return TypeAdapter(Asked).validate_python(facts)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise CannotNight(f"a night cannot be asked for so: {'; '.join(wrong)}") from error


def named(catalog: Catalog, task: str, day: date) -> str:
    """A name for a night of that day which no night has yet."""
    there = {row.id for row in catalog.nights(task)}
    return next(name for name in _names(task, day) if name not in there)


def name_of(catalog: Catalog, asked: Asked) -> str:
    """The name of a night as it is asked for: of one that was due then, the same one however often it is asked for.

    Raises:
        CannotNight: it has no name, and was not due.
    """
    if asked.night:
        return asked.night
    if not asked.due:
        raise CannotNight("a night needs a name, or a moment at which it was due")
    others = {row.id for row in catalog.nights(asked.task) if row.settings.get("due") != asked.due}
    day = datetime.fromisoformat(asked.due).date()
    return next(name for name in _names(asked.task, day) if name not in others)


def _names(task: str, day: date) -> Iterator[str]:
    """``2026-11-21-pick_place``, and then with a number from 2 on."""
    yield f"{day}-{task}"
    yield from (f"{day}-{task}-{number}" for number in count(2))


def candidate(night: str) -> UUID:
    """The id of what a night trains: the same however often it is asked."""
    return uuid5(NAMESPACE_URL, f"appliance:night:{night}:candidate")
