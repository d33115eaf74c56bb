"""Whose doing it was that a take ended in a fault: the robot's own brake, or whatever else can fail.

A robot that brakes while it is commanded was commanded to where it must not go: that is a failure of whoever drove. A
cable, a controller or another program that fails is nobody's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ops.judging.judgement import Judgement
from ops.judging.scene import NS, Rows
from storage import Outcome

VERSION = "stop-rules/1.1"
"""Which rules were used. A changed threshold or definition is a new version."""

REFLEX = 4
"""What a Franka's rows say in ``mode`` when it has braked by itself."""

IN_TIME = 0.85
"""The share of commands in time below which it braked because they did not come: 20 lost of its last 100 stop it."""

SOON = 0.25
"""How long before the stop, in seconds, the last command was given, if it was commanded at all."""

OPEN = {"TIME", "SEM-IDLE"}
"""What a story is called that nothing else ended."""


@dataclass(frozen=True)
class Stop:
    """Why a take stopped that was driven to where it could not go on."""

    why: str
    evidence: Mapping[str, Any]


def stopped(arm: Rows, action: Rows) -> Stop | None:
    """What whoever drove did that ended the take, as the rows of the arm and of what it was told say; else None."""
    if not len(arm) or not len(action):
        return None
    if wrong := [name for name in action.dtype.names or () if not np.isfinite(action[name][-1]).all()]:
        return Stop(f"it was told a {wrong[0]} that is no number", {"told": wrong[0]})
    if not {"mode", "tau_ext", "success_rate"} <= {*(arm.dtype.names or ())}:
        return None
    braked = arm["mode"] == REFLEX
    last = int(braked.argmax()) - 1
    if not braked.any() or last < 0:
        return None
    # The row before the brake: afterwards no commands are counted.
    t, in_time = arm["t"][last], arm["success_rate"][last] >= IN_TIME
    driven = bool(((action["t"] <= t) & (action["t"] >= t - round(SOON * NS))).any())
    if not driven or not in_time:
        return None
    felt = round(float(np.abs(arm["tau_ext"][last : last + 2]).max()), 1)
    return Stop("the arm braked by itself while it was commanded", {"tau_ext": felt})


def blamed(found: Judgement, stop: Stop) -> Judgement:
    """The judgement of a take that was stopped so: what else went wrong before it stays the failure."""
    if found.outcome is Outcome.INVALID:
        return found
    evidence = {**found.evidence, **stop.evidence, "why": stop.why, "stopped": VERSION}
    if found.code is not None and found.code not in OPEN:
        others = tuple(dict.fromkeys((*found.secondary, *(["KIN"] if found.code != "KIN" else []))))
        return replace(found, secondary=others, evidence=evidence)
    stage = found.stage or found.reached
    others = tuple(code for code in found.secondary if code != "KIN")
    evidence |= {"instead_of": found.code or str(found.outcome)}
    return Judgement(Outcome.FAILURE, stage, "KIN", others, evidence, stage)
