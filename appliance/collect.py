"""Sittings in which somebody shows a task: from a cell to judged episodes."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from uuid import UUID

from appliance import station, workers
from appliance.home import Home
from appliance.refusal import Refusal
from appliance.session import STOPPED, Flag, Session, sitting
from appliance.station import Station
from collectors import scripts
from collectors.scripted import Unclear
from collectors.scripts import TRUTH, Demonstrator, Script
from ops import axes, failures
from ops.judging.judgement import Judgement, invalid
from ops.rollout import RARE, UNSEEN
from storage import Catalog, Episode, Outcome, Task, Wanted, WorkOrder

LIMIT = 20.0
"""Seconds until a take ends anyway."""

APART = 1000
"""Sittings with different seeds share no start, unless they are longer than this."""


class CannotCollect(Refusal):
    """The sitting cannot begin. The message says why."""


@dataclass(frozen=True)
class Took:
    """One take is over and judged."""

    episode: UUID
    outcome: Outcome
    failure: str | None
    seconds: float
    start: int


@dataclass(frozen=True)
class Sitting:
    """What is to be shown, where, and from which starts."""

    home: Home
    task: str
    station: str
    operator: str
    starts: tuple[int, ...]
    """The seed of every take's scene."""
    limit: float = LIMIT
    order: int | None = None
    """The work order that the takes are made for."""
    condition: Mapping[str, Any] = field(default_factory=dict)
    """What the order asks of every start, beside its seed."""
    vary: tuple[str, ...] = ()
    """The axes along which takes are varied in turn."""


def starts(
    home: Home,
    task: str | None,
    station_name: str,
    episodes: int,
    seed: int | None,
    fits: Callable[[int], bool] = lambda _start: True,
) -> tuple[int, ...]:
    """Choose how the scene is set for each take; without a seed, go on after the last start that was collected.

    The evaluation starts elsewhere: no demonstration begins as a trial does.

    Args:
        home: where earlier takes are.
        task: of which task; None for any.
        station_name: at which station.
        episodes: how many starts.
        seed: of the sitting.
        fits: which starts will do.

    Raises:
        CannotCollect: hardly any start will do.
    """
    if seed is None:
        with home.join() as catalog:
            shown = catalog.find(Wanted(task=task, station=station_name, retired=None, purged=None))
        used = [found.row.condition.get("seed", -1) for found in shown]
        first = 1 + max((start for start in used if start < UNSEEN), default=-1)
    else:
        first = seed * APART
    among = ((first + k) % UNSEEN for k in range(episodes * RARE))
    found = tuple(islice((start for start in among if fits(start)), episodes))
    if len(found) < episodes:
        raise CannotCollect(f"{station_name} hardly ever puts things where they are wanted: {len(found)} of {episodes}")
    return found


def ordered(catalog: Catalog, task: str, number: int) -> tuple[WorkOrder, int]:
    """The work order of that number, and how many good episodes it still asks for.

    Raises:
        CannotCollect: it is of another task, or closed.
        Unknown: there is none.
    """
    order = catalog.work_order(number)
    if order.task != task:
        raise CannotCollect(f"work order {number} is of task {order.task!r}, not {task!r}")
    if order.closed is not None:
        raise CannotCollect(f"work order {number} was closed; collect without --order, or add another")
    return order, max(0, order.wanted - catalog.order_progress(number))


def collect(sitting_: Sitting, processes: int, tell: Callable[[Took], None]) -> bool:
    """Let the scripted demonstrator show the task from every start. Which process takes which makes no difference.

    Returns:
        Whether every take was made; False when a person stopped it.

    Raises:
        CannotCollect: the task is not for a script here.
        Lacking: the station cannot be driven by a script.
        StationError: there is no such station, its file is wrong, or its scene cannot be varied so.
        Unknown: there is no such task.
    """
    with sitting_.home.join() as catalog:
        instruction = catalog.task(sitting_.task).instruction
    cell = station.load(sitting_.station)
    sitting_ = replace(sitting_, vary=cell.vary(sitting_.vary))
    try:
        script(cell).asked(instruction, _truth(cell))
    except Unclear as error:
        raise CannotCollect(f"task {sitting_.task!r}: {error}") from error
    if processes > 1 and not cell.simulated:
        raise CannotCollect(f"{cell.name} stands in one place; only simulated stations take --workers")
    return workers.share(functools.partial(show, sitting_), min(processes, len(sitting_.starts)), tell)


def script(cell: Station) -> Script:
    """Who can show tasks at a station without a person.

    Raises:
        Lacking: nobody can.
    """
    return scripts.script(_truth(cell), cell.name)


def _truth(cell: Station) -> tuple[str, ...]:
    """What a station knows of the things on its table."""
    return next((device.dtype.names or () for device in cell.watching if device.name == TRUTH), ())


def show(sitting_: Sitting, worker: int, of: int, stop: Flag, tell: Callable[[Took], None]) -> None:
    """Make every ``of``-th take of a sitting, in this process."""
    cell = station.load(sitting_.station)
    with (
        sitting_.home.join() as catalog,
        sitting(cell, catalog, sitting_.home.folder, sitting_.operator, stop, order=sitting_.order) as session,
    ):
        task, make = catalog.task(sitting_.task), script(cell).make
        for start in sitting_.starts[worker::of]:
            if stop.is_set():
                return
            condition = {**axes.shown(sitting_.vary, start), **sitting_.condition}
            tell(take(session, make(cell.robot, start), task, start, sitting_.limit, condition))


def take(
    session: Session, agent: Demonstrator, task: Task, start: int, limit: float, condition: Mapping[str, Any]
) -> Took:
    """Make one scripted take, and let the rules judge it."""
    episode = session.run(agent, "scripted", task, limit, agent.done, condition={"seed": start, **condition})
    judgement = judged(session, task, episode)
    say(session, judgement)
    return Took(episode, judgement.outcome, judgement.code, session.catalog.episode(episode).seconds, start)


def judged(session: Session, task: Task, episode: UUID) -> Judgement:
    """Judge a take by the rules. One that a person stopped shows nothing."""
    row = session.catalog.episode(episode)
    if row.ended_by == STOPPED:
        return invalid("a person stopped the take")
    return failures.judge(Episode(session.root / row.path), task.instruction)


def say(session: Session, judgement: Judgement) -> None:
    """Put a judgement on record as the verdict on the session's last take."""
    session.judge(
        judgement.outcome,
        judgement.code,
        str(judgement.evidence.get("why", "")),
        stage=judgement.stage,
        secondary=judgement.secondary,
        evidence={"reached": judgement.reached} | judgement.evidence,
        labelled_by="auto",
    )


def tally(took: Sequence[Took]) -> str:
    """Say how a sitting went, e.g. ``9 of 10 succeeded; CON 1``."""
    good = sum(one.outcome is Outcome.SUCCESS for one in took)
    codes = [one.failure or str(one.outcome) for one in took if one.outcome is not Outcome.SUCCESS]
    named = ", ".join(f"{code} {codes.count(code)}" for code in sorted(set(codes)))
    return f"{good} of {len(took)} succeeded" + (f"; {named}" if named else "")
