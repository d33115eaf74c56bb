"""Work orders from failures: what to ask for, from which starts, and what it has brought."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from appliance import station
from appliance.begins import CannotOrder, begins, varied
from appliance.evaluate import plan, resume
from appliance.home import Home
from appliance.train import demonstrations
from ops.results import Comparison, PolicyReport, compare, of_batch, summarize
from ops.work_orders import WANTED, Proposal, Tried, propose
from storage import Batch, Catalog, Episode, Outcome, WorkOrder
from storage.images import Image

RESET = 10.0
"""Seconds that an operator needs to set the scene for one demonstration, unless it is known better."""


@dataclass(frozen=True)
class Suggested:
    """What to ask for so that one policy gets better."""

    policy: str
    batch: str
    """The trials that it follows from."""
    proposals: tuple[Proposal, ...]


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
        here = [listed.row.condition for listed in shown if listed.row.station == cell.name]
        starts = [begins(cell, condition, task.instruction) for condition in here]
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


@dataclass(frozen=True)
class Brought:
    """What an order has brought, on the starts that it asked for."""

    before: PolicyReport
    after: PolicyReport
    compared: Comparison

    @property
    def says(self) -> str:
        """E.g. ``half-1 n=10: 10% [2, 40]; half-2 n=10: 90% [60, 98]: better than half-1 (paired p = 0.008, ...)``."""
        both = "; ".join(f"{one.name} {one.says}" for one in (self.before, self.after))
        return f"{both}: {self.compared.says}"

    @property
    def facts(self) -> dict[str, Any]:
        """As the order keeps it."""
        rates = {
            when: {"policy": one.name, "trials": one.trials, "successes": one.successes, "interval": one.interval}
            for when, one in (("before", self.before), ("after", self.after))
        }
        return {**rates, "batch": self.after.batch, "says": self.says}


def again(home: Home, number: int, policy: str, trials: int, seed: int) -> Batch:
    """Plan to try an order's policy and a newer one again, from just the starts that it asked for, or go on with that.

    Raises:
        CannotOrder: it names no policy that it follows from, or just that one is given, or its station's scene is set
            by hand.
        CannotEvaluate: a policy cannot be tried there.
        Unknown: there is no such order or policy.
    """
    with home.join() as catalog:
        order = catalog.work_order(number)
        if not order.evidence.get("policy"):
            raise CannotOrder(f"order {number} was not made from trials; there is nothing to compare with")
        where = catalog.batch(order.evidence["batch"]).station
        before, after = catalog.policy(order.evidence["policy"]), catalog.policy(policy)
        if before.id == after.id:
            raise CannotOrder(f"order {number} follows from failures of {before.name}; name what was learned since")
        begun = [
            one
            for one in catalog.batches(order.task)
            if one.order == number
            and one.closed is None
            and after.id in {trial.policy for trial in catalog.trials(one.id)}
        ]
    if begun:
        return resume(home, order.task, begun[-1].id, where)[0]
    policies = [before.name, after.name]
    return plan(home, order.task, policies, trials, seed, where, vary=varied(order), order=order)[0]


def brought(catalog: Catalog, batch: Batch) -> Brought:
    """Close an order with what its batch has shown.

    Raises:
        CannotOrder: the batch is of no order, or not closed, or of one policy.
    """
    reports = of_batch(catalog, batch.id)
    if batch.order is None or catalog.batch(batch.id).closed is None or len(reports) != 2:
        raise CannotOrder(f"batch {batch.id} does not say what an order has brought: it is no order's, or not over")
    was = catalog.work_order(batch.order).evidence["policy"]
    before, after = sorted(reports, key=lambda one: one.name != was)
    found = Brought(before, after, compare(after, before))
    catalog.fulfil(batch.order, found.facts)
    return found


def ghost(home: Home, number: int, camera: str) -> Image:
    """What a camera saw as a failed trial began that an order follows from: to be laid over what it sees now.

    Raises:
        CannotOrder: the order follows from no trial, or none of them is on this disk with a picture of this camera.
        Unknown: there is no such order.
    """
    with home.join() as catalog:
        rows = [catalog.standing(key) for key in catalog.work_order(number).evidence.get("episodes", [])]
    for row in rows:
        if (home.folder / row.path).is_dir():
            episode = Episode(home.folder / row.path)
            if camera in episode.cameras and len(frames := episode.frames(camera)):
                return frames[0]
    raise CannotOrder(f"order {number} follows from {len(rows)} trials, and none has a picture of {camera!r} here")
