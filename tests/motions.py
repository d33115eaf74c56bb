"""Chunks made by hand: arms that wander, and arms that reach somewhere smoothly while a hand opens or closes."""

import numpy as np
from numpy.typing import NDArray

from learners import Windows
from learners.body import ONE_ARM, Body
from learners.transforms import axes
from tests.lessons import INSTRUCTION


def windows(plan: NDArray[np.floating], body: Body = ONE_ARM, each: int = 4, hz: float = 10.0) -> Windows:
    """Windows that saw nothing and did this (N, H, 7 * arms), ``each`` to an episode; the tools are turned anyhow."""
    random = np.random.default_rng(0)
    count = len(plan)
    state = random.normal(size=(count, 1, body.width)).astype("f4")
    for arm in range(body.arms):
        q = random.normal(size=(count, 1, 4))
        end = (arm + 1) * (body.width // body.arms)
        state[..., end - 7 : end - 1] = axes(q / np.linalg.norm(q, axis=-1, keepdims=True))
    return Windows(
        frames=(),
        frame=np.zeros((count, 0), np.intp),
        state=state,
        plan=plan.astype("f4"),
        left=np.full(count, plan.shape[1]),
        key=np.zeros((count, 9 * body.arms), "f4"),
        episode=np.arange(count) // each,
        instructions=(INSTRUCTION,) * (-(-count // each)),
        hz=hz,
        body=body,
    )


def wandering(count: int, steps: int = 6, arms: int = 1, seed: int = 0) -> NDArray[np.float64]:
    """Chunks of arms that wander off, each hand open or closed all the time."""
    random = np.random.default_rng(seed)
    plan = random.normal(size=(count, steps, 7 * arms)).cumsum(1) * 0.2 / steps
    plan[..., 6::7] = random.choice([0.0, 0.08], (count, 1, arms))
    return plan


def reaching(count: int, steps: int = 32, arms: int = 1, seed: int = 0) -> NDArray[np.float64]:
    """Chunks of minimum jerk towards any place and turn, in which each hand opens or closes at any step."""
    random = np.random.default_rng(seed)
    s = np.linspace(1 / steps, 1, steps)[:, None]
    goal = random.uniform(-1, 1, (count, arms, 1, 6)) * [0.3, 0.3, 0.3, 0.5, 0.5, 0.5]
    pose = (10 * s**3 - 15 * s**4 + 6 * s**5) * goal
    after = np.arange(steps) >= random.integers(0, steps, (count, arms, 1))
    hand = np.where(after ^ (random.random((count, arms, 1)) < 0.5), 0.08, 0.0)
    plan: NDArray[np.float64] = np.concatenate([pose, hand[..., None]], axis=-1)
    return plan.swapaxes(1, 2).reshape(count, steps, 7 * arms)
