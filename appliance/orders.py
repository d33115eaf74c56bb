"""Work orders from failures: what to ask for, from which starts, and what it has brought."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

from appliance import station
from appliance.home import Home
from appliance.refusal import Refusal
from appliance.station import Station
from appliance.train import demonstrations
from drivers.device import Foreseeing
from ops.results import PolicyReport, summarize
from ops.slices import Slice, Start
from ops.starts import start
from ops.work_orders import WANTED, Proposal, Tried, propose
from storage import Catalog, Outcome, Task, WorkOrder

RESET = 10.0
"""Seconds that an operator needs to set the scene for one demonstration, unless it is known better."""

LOOKED = 100_000
"""Starts that are looked at for those that an order asks for."""


class CannotOrder(Refusal):
    """There is nothing to order. The message says why."""


@dataclass(frozen=True)
class Suggested:
    """What to ask for so that one policy gets better."""

    policy: str
    batch: str
    """The trials that it follows from."""
    proposals: tuple[Proposal, ...]


def begins(cell: Station, condition: Mapping[str, Any], instruction: str) -> Start:
    """What a take with this condition begins from. Where people set the scene, what they were asked for is all."""
    table = cell.cell
    return start(table.places(condition) if isinstance(table, Foreseeing) else {}, condition, instruction)


def suggest(home: Home, task_name: str, policy: str | None = None, wanted: int = WANTED) -> Suggested:
    """What demonstrations would cure most failures of a policy, by its last closed batch.

    Args:
        home: where the trials are.
        task_name: which task.
        policy: its name; None for the one with the highest rate.
        wanted: demonstrations of each order.

    Raises:
        CannotOrder: there are no trials of it, or its station is not known here.
        Unknown: there is no such task or policy.
    """
    with home.join() as catalog:
        task = catalog.task(task_name)
        report = summarize(catalog, task_name)
        one = _chosen(report.policies, task_name, None if policy is None else catalog.policy(policy).id)
        cell = station.load(catalog.batch(one.batch).station)
        tried = [
            Tried(
                begins(cell, taken.condition, task.instruction),
                None if taken.outcome is Outcome.SUCCESS else taken.code or "unnamed",
                str(taken.episode),
            )
            for taken in one.taken
            if taken.outcome in {Outcome.SUCCESS, Outcome.FAILURE}
        ]
        shown = demonstrations(catalog, task_name)
        starts = [begins(cell, listed.row.condition, task.instruction) for listed in shown]
        seconds = RESET + sum(listed.row.seconds for listed in shown) / len(shown)
    return Suggested(one.name, one.batch, tuple(propose(tried, starts, seconds, wanted)))


def _chosen(policies: Sequence[PolicyReport], task: str, policy: UUID | None) -> PolicyReport:
    tried = [one for one in policies if one.trials and policy in {None, one.id}]
    if not tried:
        who = "this policy has no" if policy else "no policy has"
        raise CannotOrder(f"{who} closed trials of task {task!r}; try it first: appliance evaluate --task {task} ...")
    return max(tried, key=lambda one: one.success_rate or 0.0)


def place(catalog: Catalog, task: str, suggested: Suggested) -> list[WorkOrder]:
    """Ask for all of it, but for what an open order asks for already: the same failure in the same part."""
    open_ = [(order.failure, order.part) for order in catalog.orders(task)]
    return [
        catalog.order(
            WorkOrder(
                task=task,
                wanted=one.wanted,
                failure=one.code,
                why=one.words,
                part=one.where.facts,
                evidence={
                    "policy": suggested.policy,
                    "batch": suggested.batch,
                    "episodes": list(one.episodes),
                    "trials": one.trials,
                    "failures": one.failures,
                    "shown": one.shown,
                    "gain": one.gain,
                    "minutes": one.minutes,
                },
            )
        )
        for one in suggested.proposals
        if (one.code, one.where.facts) not in open_
    ]


def seeds(cell: Station, task: Task, order: WorkOrder, first: int) -> Iterator[int]:
    """Seeds from ``first`` on whose starts are what the order asks for.

    Raises:
        CannotOrder: among very many there is none: the part lies where this station puts nothing.
    """
    part = Slice.said(order.part)
    if order.part and not isinstance(cell.cell, Foreseeing):
        raise CannotOrder(f"at {cell.name} a person sets the scene; order {order.id} wants: {part.words}")
    looked = 0
    for seed in count(first):
        if part.holds(begins(cell, {"seed": seed, **order.condition}, task.instruction)):
            yield seed
            looked = 0
        elif (looked := looked + 1) == LOOKED:
            raise CannotOrder(f"order {order.id} wants {part.words}, and {cell.name} puts nothing there")
