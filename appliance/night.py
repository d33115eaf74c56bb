"""A night: from what is new to a better champion, or to the reason why not.

The order of the steps is a pure function of what they return, so that a durable queue may replay it; each step may be
killed at any moment and asked again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance import night_exam, night_steps, night_tried
from appliance.doing import Doing, Paused, Quiet
from appliance.home import Home
from appliance.refusal import Refusal, refusal

type Facts = dict[str, Any]
"""JSON."""

type Does = Callable[[Home, Facts, Doing], Facts]

STEPS: Mapping[str, Does] = {
    "night.begin": night_steps.begin,
    "night.verify": night_steps.verify,
    "night.grade": night_steps.grade,
    "night.snapshot": night_steps.snapshot,
    "night.train": night_steps.learn,
    "night.proof": night_steps.proof,
    "night.gates": night_exam.gates,
    "night.plan": night_tried.plan,
    "night.trials": night_tried.trials,
    "night.decide": night_tried.decide,
    "night.promote": night_tried.promote,
    "night.orders": night_tried.orders,
    "night.end": night_tried.end,
    "night.page": night_tried.page,
}
"""Every step. All but the first are given ``{"night": its name}`` and find what they need in the catalog."""

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
    """Have a night: ``asked`` is `night_steps.Asked` as JSON, with the night's name or when it was due.

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
    steps.share("night.trials", named, found["ways"])
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


@dataclass(frozen=True)
class InOrder:
    """Does every step here and now."""

    home: Home
    doing: Doing = field(default_factory=Quiet)

    def do(self, name: str, settings: Facts) -> Facts:
        """Do a step.

        Raises:
            StepFailed: it could not be done.
            Paused: somebody asked for that. Asked again, the night goes on where it was.
        """
        try:
            return STEPS[name](self.home, settings, self.doing)
        except Paused:
            raise
        except Exception as error:  # whatever it is, the morning page has to say so
            raise StepFailed(name, refusal(error) or f"{type(error).__name__}: {error}") from error

    def share(self, name: str, settings: Facts, ways: int) -> list[Facts]:
        """Do a step in several processes of this machine.

        Raises:
            StepFailed: it could not be done.
            Paused: somebody asked for that.
        """
        return [self.do(name, settings | {"workers": ways})]
