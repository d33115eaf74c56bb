"""Judge takes in a suite of the papers by the suite's own count, and name what failed as far as its truth tells.

Success is what the suite calls so, at any step until it is over. Where the suite is one of ALOHA's tables, our rules
for those name the failure, and say whether a success lasted: one that did not has what became of it beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors import kitchen
from ops.judging import aloha
from ops.judging.judgement import Judgement, invalid
from ops.judging.scene import NS, Incomplete, Rows, together
from storage import Outcome

VERSION = "suite-rules/1.0"
"""Which rules were used. A changed threshold or definition is a new version."""

GAP = 0.25
"""How long truth or arm may be silent before the record is incomplete, in seconds."""

PROGRESS = 0.01
"""A tool that moves less than this in the last second has stopped, in metres."""

NEAR = 0.06
"""A tool that came this near to a handle has reached it, in metres."""

OPENED, CLOSED, AIMED = 0.06, 0.03, 0.15
"""Fingers that go from wider to narrower than these this near to a handle were meant for it and missed, in metres."""

STIRRED = 0.02
"""An element that came this much nearer to done was moved, in the suite's own measure."""


def fits(names: Sequence[str]) -> bool:
    """Whether these rules can read a truth with these fields."""
    return {"reward", "success", "over"} <= {*names}


def judge_rows(
    truth: Rows,
    arm: Rows,
    instruction: str,
    end: int | None = None,
    _sizes: Mapping[str, Sequence[float]] | None = None,
) -> Judgement:
    """Judge a take from its rows of truth and arm; ``end`` is when its last tick was due, in nanoseconds.

    Raises:
        Unclear: the instruction does not ask for what is to be done here.
    """
    ruled = aloha.fits(truth.dtype.names or ())
    ours = (aloha.judge_rows if ruled else _named)(truth, arm, instruction, end)
    if ours.outcome is Outcome.INVALID:
        return ours
    counted = truth[: int(truth["over"].argmax()) + 1] if truth["over"].any() else truth
    evidence: dict[str, Any] = {**ours.evidence, "suite_rules": VERSION, "steps": len(counted) - 1}
    if not counted["success"].any():
        late = Judgement(Outcome.FAILURE, "S5", "TIME", ours.secondary, {}, "S5")
        return replace(late if ours.outcome is Outcome.SUCCESS else ours, evidence=evidence)
    first = counted["t"][counted["success"].argmax()] - truth["t"][0]
    evidence |= {"reached": "S5", "first_success": round(float(first) / NS, 3)}
    if not ruled:
        return Judgement(Outcome.SUCCESS, None, None, (), evidence, "S5")
    evidence["lasted"] = ours.outcome is Outcome.SUCCESS
    others = dict.fromkeys([*([ours.code] if ours.code else []), *ours.secondary])
    return Judgement(Outcome.SUCCESS, None, None, tuple(others), evidence, "S5")


def finished(streams: Mapping[str, Rows], instruction: str) -> bool:
    """Tell a running loop that the take is over: the suite says so, or its success has lasted where rules can tell.

    Raises:
        Unclear: the instruction does not ask for what is to be done here.
    """
    truth = streams["truth"]
    if not len(truth):
        return False
    if aloha.fits(truth.dtype.names or ()):
        return bool(truth["over"][-1]) or aloha.finished(streams, instruction)
    return bool(truth["over"][-1] or truth["success"].any())


def _named(truth: Rows, arm: Rows, instruction: str, end: int | None) -> Judgement:
    """Name a failure by how near the hand came and what it moved, if truth tells of a handle, or by whether it moved.

    Raises:
        Unclear: the instruction does not ask for what is to be done here.
    """
    try:
        truth, at = together(truth, arm, end, GAP)
    except Incomplete as incomplete:
        return invalid(str(incomplete), VERSION)
    tools = arm["tool"][at, :3]
    recent = tools[truth["t"] >= truth["t"][-1] - NS]
    idle = bool(np.linalg.norm(recent - recent[-1], axis=1).max() < PROGRESS)
    stage, code, what = "S1", "SEM-IDLE" if idle else "TIME", {}
    if "off" in (truth.dtype.names or ()):
        element = kitchen.asked(instruction, truth.dtype.names or ())
        apart = np.linalg.norm(truth[element] - tools, axis=1)
        distance = float(apart.min())
        nearest = float(truth["off"].min())
        what = {"object": element, "distance": round(distance, 4), "off": round(nearest, 4)}
        if truth["off"][0] - nearest >= STIRRED:
            stage, code = "S4", "PREC" if idle else "TIME"
        elif distance <= NEAR:
            stage, code = "S2", "CON"
        elif bool((apart[_closings(arm["width"][at])] <= AIMED).any()):
            code = "LOC"
    evidence = {"rules": VERSION, "reached": stage, "row": len(truth) - 1, **what}
    return Judgement(Outcome.FAILURE, stage, code, (), evidence, stage)


def _closings(width: NDArray[np.float64]) -> list[int]:
    """The rows at which fingers that were open had closed."""
    found, ready = [], False
    for row, opening in enumerate(width.tolist()):
        if ready and opening < CLOSED:
            found.append(row)
        ready = opening > OPENED or (ready and opening >= CLOSED)
    return found
