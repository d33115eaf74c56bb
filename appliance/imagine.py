"""Demonstrations by hands that nobody has, made up in the twin, become episodes in the catalog."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from appliance import workers
from appliance.building import build
from appliance.collect import APART
from appliance.home import Home
from appliance.session import Flag
from collectors.synthetic_human import AGENT, Imagination, Wish, imagine, name_of
from storage import Catalog, Episode, Wanted, rows_of
from storage.apart import sweep

TWIN = "drivers.twin.human:Imagination"
"""Who makes demonstrations up."""

SHAPES = {"head": 16 / 9, "cell": 1.0}
"""Of the pictures, width over height: as action cameras film, and as the twin's cameras do."""


@dataclass(frozen=True)
class Dream:
    """What is to be made up."""

    home: Home
    task: str
    operator: str
    seeds: tuple[int, ...]
    as_asked: bool = False
    height: int = 240
    hz: float = 30.0
    view: Literal["head", "cell"] = "head"


@dataclass(frozen=True)
class Dreamt:
    """One demonstration is in."""

    episode: UUID
    new: bool
    """Whether it was not there before."""
    seed: int


def seeds(catalog: Catalog, task: str, episodes: int, seed: int | None) -> tuple[int, ...]:
    """Choose what each demonstration looks like; without a seed, go on after the last that was made up.

    Raises:
        Unknown: there is no such task.
    """
    first = 0 if seed is None else seed * APART
    if seed is None:
        made = catalog.find(Wanted(task=task, agent=AGENT, retired=None, purged=None))
        first = 1 + max((found.row.condition.get("seed", -1) for found in made), default=-1)
    return tuple(range(first, first + episodes))


def dream(dreaming: Dream, processes: int, tell: Callable[[Dreamt], None]) -> bool:
    """Make up a demonstration of the task for every seed. Which process makes which makes no difference.

    Returns:
        Whether all were made; False when a person stopped it. Those that were made stay.

    Raises:
        Unknown: there is no such task.
        StationError: the twin is not installed.
        DeviceError: the task cannot be shown by a hand, or this machine cannot draw.
        WorkerRefused: the same, when there are several processes.
    """
    sweep(dreaming.home.folder)
    return workers.share(functools.partial(show, dreaming), min(processes, len(dreaming.seeds)), tell)


def show(dreaming: Dream, worker: int, of: int, stop: Flag, tell: Callable[[Dreamt], None]) -> None:
    """Make every ``of``-th demonstration, in this process."""
    width = round(dreaming.height * SHAPES[dreaming.view] / 2) * 2
    how = {"height": dreaming.height, "width": width, "hz": dreaming.hz, "view": dreaming.view}
    imagination: Imagination = build({"driver": TWIN, **how}, "the twin's imagination")
    with dreaming.home.join() as catalog:
        instruction = catalog.task(dreaming.task).instruction
        for seed in dreaming.seeds[worker::of]:
            if stop.is_set():
                return
            wish = Wish(dreaming.task, instruction, dreaming.operator, seed, dreaming.as_asked)
            tell(_bring_in(catalog, dreaming.home, imagination, wish))


def _bring_in(catalog: Catalog, home: Home, imagination: Imagination, wish: Wish) -> Dreamt:
    """Make one demonstration, unless it is here already or was."""
    name = name_of(imagination, wish)
    kept = imagine(imagination, wish, home.folder, known=bool(catalog.known([name])))
    if kept.new or (kept.path.exists() and not catalog.known([name])):
        catalog.add(*rows_of(Episode(kept.path), home.folder))
    return Dreamt(name, kept.new, wish.seed)
