"""What fails, and what is asked for against it: plain values for the screen of failures and orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from appliance.home import Home
from appliance.orders import Suggested, place
from ops.judging.judgement import STAGES
from ops.report import NAMES
from ops.results import PolicyReport, summarize
from storage import Catalog, Listed, Outcome, Wanted, WorkOrder

CLIPS = 50
"""Failures of a code that are shown, the newest."""

BAR = 18
"""Cells of a whole bar."""


@dataclass(frozen=True)
class Asked:
    """An order, and how far it is."""

    order: WorkOrder
    done: int

    @property
    def gain(self) -> str:
        """What it is expected to bring, in points of success, or what it has brought."""
        if "after" in self.order.result:
            rates = [self.order.result[when] for when in ("before", "after")]
            before, after = (one["successes"] / one["trials"] if one["trials"] else 0.0 for one in rates)
            return f"was {(after - before) * 100:+.0f}"
        expected = self.order.evidence.get("gain")
        return "" if expected is None else f"{expected * 100:+.1f}"

    @property
    def minutes(self) -> str:
        """Of an operator, for what is left of it."""
        whole = self.order.evidence.get("minutes")
        left = max(0, self.order.wanted - self.done) / self.order.wanted
        return "" if whole is None or self.order.closed is not None else f"{whole * left:.0f}"

    def bar(self, cells: int = 6) -> str:
        """How far it is, e.g. ``███··· 6/12``."""
        full = min(cells, self.done * cells // self.order.wanted)
        return f"{'█' * full}{'·' * (cells - full)} {self.done}/{self.order.wanted}"


@dataclass(frozen=True)
class Failing:
    """Everything of one task."""

    task: str
    tasks: Sequence[str]
    reports: Sequence[PolicyReport]
    """Each policy in the last closed batch it took part in, the champion first."""
    names: Mapping[str, str]
    """Of codes."""
    everywhere: Mapping[str, int]
    """Failures by code, of all episodes."""
    orders: Sequence[Asked]
    """Of all tasks."""


def read(home: Home, task: str | None, closed: bool) -> Failing:
    """Read what fails in a task, or in the first there is, and what is asked for.

    Raises:
        Unknown: there is no such task.
    """
    with home.join() as catalog:
        tasks = [one.name for one in catalog.tasks()]
        name = task or tasks[0]
        champion = catalog.champion(name)
        reports = [one for one in summarize(catalog, name).policies if one.taken]
        reports.sort(key=lambda one: (champion is None or one.id != champion.id, -(one.success_rate or 0.0)))
        asked = [
            Asked(order, catalog.order_progress(order.id)) for order in catalog.orders(None, None if closed else False)
        ]
        return Failing(
            task=name,
            tasks=tasks,
            reports=reports,
            names={mode.code: mode.name for mode in catalog.failure_modes()},
            everywhere=catalog.tally(Wanted(task=name, outcome=Outcome.FAILURE), "failure"),
            orders=asked,
        )


def clips(catalog: Catalog, task: str, code: str) -> list[Listed]:
    """The newest episodes of a task that failed so, newest first."""
    return catalog.find(Wanted(task=task, outcome=Outcome.FAILURE, failure=code), CLIPS)[::-1]


def funnel(report: PolicyReport) -> list[str]:
    """How many of its valid trials entered each stage, and succeeded, as bars."""
    steps = {f"{stage} {NAMES[stage]}": report.funnel[stage] for stage in STAGES} | {"success": report.successes}
    most = max(1, report.trials)
    return [f"{name:<12} {'█' * (count * BAR // most):<{BAR}} {count}" for name, count in steps.items()]


def codes(failing: Failing, report: PolicyReport | None) -> list[tuple[str, str, int, int]]:
    """Each code with its name, how often the policy failed so in its trials, and how often anybody did."""
    tried = {} if report is None else report.failures
    every = sorted(
        {*tried, *failing.everywhere}, key=lambda code: (-tried.get(code, 0), -failing.everywhere.get(code, 0))
    )
    return [(code, failing.names.get(code, ""), tried.get(code, 0), failing.everywhere.get(code, 0)) for code in every]


def about(asked: Asked) -> list[str]:
    """What is known of an order."""
    order, facts = asked.order, asked.order.evidence
    found = [f"order {order.id} of {order.made.astimezone():%m-%d %H:%M}: {order.why or 'no reason was given'}"]
    if order.condition:
        found.append("scene: " + ", ".join(f"{key} {value}" for key, value in order.condition.items()))
    if "policy" in facts:
        failed = f"{facts.get('failures')} of {facts.get('trials')} trials"
        found.append(
            f"from {facts['policy']}'s batch {facts.get('batch')}: {failed}, {facts.get('shown')} shown before"
        )
    if order.closed is not None:
        by = f" by {order.result['by']}" if order.result.get("by") else ""
        why = order.result.get("why") or order.result.get("says") or ""
        found.append(f"closed {order.closed.astimezone():%m-%d %H:%M}{by}{why and f': {why}'}")
    return found


def order_one(home: Home, task: str, suggested: Suggested, which: int) -> list[WorkOrder]:
    """Ask for one of what was suggested; nothing when an open order asks for it already."""
    with home.join() as catalog:
        return place(catalog, task, replace(suggested, proposals=(suggested.proposals[which],)))
