"""A night: from what is new to a better champion, or to the reason why not.

The order of the steps is a pure function of what they return, so that a durable queue may replay it; each step may be
killed at any moment and asked again.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.doing import Doing, Here, Paused
from appliance.home import Home
from appliance.refusal import Refusal, refusal

type Facts = dict[str, Any]
"""JSON."""

STEPS: Mapping[str, str] = {
    "night.begin": "appliance.night_steps:begin",
    "night.verify": "appliance.night_steps:verify",
    "night.grade": "appliance.night_steps:grade",
    "night.snapshot": "appliance.night_steps:snapshot",
    "night.train": "appliance.night_steps:learn",
    "night.proof": "appliance.night_steps:proof",
    "night.gates": "appliance.night_exam:gates",
    "night.plan": "appliance.night_tried:plan",
    "night.trials": "appliance.night_tried:trials",
    "night.decide": "appliance.night_tried:decide",
    "night.promote": "appliance.night_tried:promote",
    "night.orders": "appliance.night_tried:orders",
    "night.end": "appliance.night_tried:end",
    "night.page": "appliance.night_tried:page",
}
"""Who does each step, as an import path, so that the order needs nothing of what they need.

All but the first are given ``{"night": its name}`` and find what they need in the catalog.
"""

GATES = ("night.verify", "night.grade", "night.snapshot", "night.train", "night.proof", "night.gates", "night.plan")
"""Steps that each may end the night: in this order, before anything is tried."""

REFUSED, FAILED = "refused", "failed"


class StepFailed(Refusal):
    """A step could not be done. The message says why."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step, self.why = step, why


class Steps(Protocol):
    """Who does a night's steps: this process, or a durable queue."""

    def do(self, name: str, settings: Facts) -> Facts:
        """Do a step, once ever for this night.

        Raises:
            StepFailed: it could not be done.
        """
        ...

    def share(self, name: str, settings: Facts, ways: int) -> list[Facts]:
        """Do one step by several workers at once.

        Raises:
            StepFailed: it could not be done.
        """
        ...


def night(steps: Steps, asked: Facts) -> Facts:
    """Have a night: ``asked`` is `night_asked.Asked` as JSON, with the night's name or when it was due.

    Raises:
        StepFailed: it cannot begin at all, e.g. because another one of its task is under way.
    """
    begun = steps.do("night.begin", asked)
    named = {"night": begun["night"]}
    try:
        decided = _decided(steps, named, begun)
    except StepFailed as failed:
        decided = {"decision": FAILED, "gate": failed.step, "why": failed.why}
    trouble = []
    if decided["decision"] not in {REFUSED, FAILED}:
        trouble = _tried(steps, "night.orders", named)
    steps.do("night.end", named | decided | {"trouble": trouble})
    trouble += _tried(steps, "night.page", named)
    return named | decided | {"trouble": trouble}


def _decided(steps: Steps, named: Facts, begun: Facts) -> Facts:
    """Go from gate to gate until one says no, or trials have decided."""
    found, name = begun, "night.begin"
    for following in (*GATES, ""):
        if not found["passed"]:
            return {"decision": found.get("decision", REFUSED), "gate": name, "why": found["why"]}
        if following:
            found, name = steps.do(following, named), following
    steps.share("night.trials", named | {"workers": found["workers"]}, found["ways"])
    decided = steps.do("night.decide", named)
    if decided["better"]:
        decided = steps.do("night.promote", named)
    return {"decision": decided["decision"], "gate": "night.decide", "why": decided["why"]}


def _tried(steps: Steps, name: str, named: Facts) -> list[str]:
    """Do a step that changes no decision; what went wrong with it."""
    try:
        steps.do(name, named)
    except StepFailed as failed:
        return [str(failed)]
    return []


def do(home: Home, name: str, settings: Facts, doing: Doing) -> Facts:
    """Do one step."""
    done: Facts = pkgutil.resolve_name(STEPS[name])(home, settings, doing)
    return done


@dataclass(frozen=True)
class InOrder:
    """Does every step here and now."""

    home: Home
    doing: Doing = field(default_factory=Here)

    def do(self, name: str, settings: Facts) -> Facts:
        """Do a step.

        Raises:
            StepFailed: it could not be done.
            Paused: somebody asked for that. Asked again, the night goes on where it was.
        """
        try:
            return do(self.home, name, settings, self.doing)
        except Paused:
            raise
        except Exception as error:  # whatever it is, the morning page has to say so
            raise StepFailed(name, refusal(error) or f"{type(error).__name__}: {error}") from error

    def share(self, name: str, settings: Facts, ways: int) -> list[Facts]:
        """Do a step here: one that can be shared says in its settings among how many processes.

        Raises:
            StepFailed: it could not be done.
            Paused: somebody asked for that.
        """
        return [self.do(name, settings)]
