"""How a take ended, in the words of the failure taxonomy; and the same words in the classes of the papers.

Stages follow each other: S1 approach, S2 acquire, S3 transport, S4 deliver, S5 finish; S0 is the set-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage import Outcome

TAXONOMY = "failure-taxonomy/1.0"
"""What the codes mean."""

STAGES = ("S1", "S2", "S3", "S4", "S5")


@dataclass(frozen=True)
class Judgement:
    """How a take ended, as far as rows can tell."""

    outcome: Outcome
    stage: str | None
    """Where it failed; None after a success."""
    code: str | None
    """The failure mode; None after a success."""
    secondary: tuple[str, ...]
    """Other failure modes that were seen; ``recovered:CODE`` for those that were overcome."""
    evidence: dict[str, Any]
    """Plain values: rules, object, goal, row and seconds of the event, distances in metres."""
    reached: str
    """The furthest stage that was entered; ``S0`` when the trial is invalid."""
    labelled_by: str = "auto"
    """``auto`` by rules, ``human`` by whoever stood beside it."""


def invalid(why: str, rules: str = TAXONOMY) -> Judgement:
    """Say why a take tells nothing; ``rules`` looked at it, if any did."""
    return Judgement(Outcome.INVALID, "S0", "ENV", (), {"rules": rules, "reached": "S0", "why": why}, "S0")


def common(code: str) -> str:
    """The code that every task has, of a task's own: ``PREC`` of ``PREC.lid``."""
    return code.partition(".")[0]


def clap3(code: str, stage: str) -> str:
    """CLAP Table III: what did the attempt, the pick or the place fail at? ``excluded`` is no trial at all."""
    code = common(code)
    if code == "ENV":
        return "excluded"
    if code in {"SEM-OBJ", "SEM-IDLE"}:
        return "attempt"
    if code in {"SEM-GOAL", "DROP", "PREC"}:
        return "place"
    if code in {"CON", "LIFT", "SIZE"}:
        return "pick"
    if code in {"SEM-SEQ", "LOC", "KIN", "TIME"}:
        early = "attempt" if code == "SEM-SEQ" else "pick"
        return {"S1": early, "S2": early, "S3": "place", "S4": "place", "S5": "place"}.get(stage, "other")
    return "other"


def clap10(code: str, secondary: Sequence[str] = ()) -> str:
    """CLAP Figure 10: semantic or dexterous. A time-out is what its first secondary label that stood is."""
    code = common(code)
    if code == "ENV":
        return "excluded"
    if code.startswith("SEM-"):
        return "semantic"
    if code == "TIME":
        return next((clap10(label) for label in secondary if not label.startswith("recovered:")), "other")
    return "dexterous" if code in {"LOC", "CON", "LIFT", "DROP", "SIZE", "KIN", "PREC"} else "other"


def ccol6(code: str) -> str:
    """CCoL Figure 6: localisation, contact, kinematic or size; ``other`` for what the figure does not have."""
    code = common(code)
    if code == "ENV":
        return "excluded"
    places = {"LOC": "localisation", "PREC": "localisation", "KIN": "kinematic", "SIZE": "size"}
    return places.get(code, "contact" if code in {"CON", "LIFT", "DROP"} else "other")
