"""What is measured beside success: how smooth a trial was, and how fast methods learn and plan, in turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import learners
from learners.senses import ROBOT
from learners.transforms import ToolView
from storage import Episode
from storage.pictures import Pictures, Unpacked
from tests.bench.methods.recipes import briefly

STEPS = 8
"""Training steps in a turn. The first two and the last are not counted: they begin and end other things, too."""
MOMENTS = 100
"""At which plans are compared with what was shown."""
LEAST = 2
"""Ticks that are too few to say how smooth they were."""


@dataclass(frozen=True)
class Pace:
    """How fast a method is, beside others in the same process."""

    steps: tuple[float, ...]
    """Training steps a second of the wall's clock, round by round: the median of each."""
    worked: tuple[float, ...]
    """The same of the processor's time, all threads together."""
    plan: float
    """Milliseconds until a plan."""


@dataclass(frozen=True)
class Plans:
    """What a policy plans where the script's own demonstrations, never learned from, say what was right.

    All meet the same moments there, whether they succeed or not, and none is smooth because it is slow. Millimetres of
    the tools' places, or thousandths of a radian of the joints, as the policy plans them.
    """

    rough: float
    """Mean |second difference| along a plan."""
    shown: float
    """The same of what the script did."""
    error: float
    """Mean |difference| between both."""


def plans(policy: learners.ChunkPolicy, episodes: Sequence[Episode], instruction: str) -> Plans:
    """Plan at moments evenly spread over these demonstrations; steps past an episode's end are none."""
    windows = _windows(policy.how, episodes, instruction)
    whole = np.flatnonzero(windows.left >= policy.how.k)
    moments = whole[np.linspace(0, len(whole) - 1, min(MOMENTS, len(whole))).astype(int)]
    said, shown = [], []
    with torch.inference_mode():
        for moment in moments:
            batch = windows.batch(moment[None])
            said.append(_moved(policy, policy.net.steps(batch.images, batch.state, batch.instructions)))
            shown.append(_moved(policy, batch.plan))
    ours, theirs = np.concatenate(said), np.concatenate(shown)
    return Plans(_bent(ours), _bent(theirs), float(np.abs(ours - theirs).mean()))


def _moved(policy: learners.ChunkPolicy, plan: torch.Tensor) -> NDArray[np.float64]:
    """Where a plan (B, k, d) sends the arms, without their hands: (B, k, numbers), in thousandths."""
    each = plan.double().numpy().reshape(*plan.shape[:2], policy.body.arms, -1)
    places = each[..., :3] if isinstance(policy.how.view, ToolView) else each[..., :-1]
    return 1e3 * places.reshape(*plan.shape[:2], -1)


def _bent(plan: NDArray[np.float64]) -> float:
    return float(np.abs(np.diff(plan, 2, axis=1)).mean())


def smoothness(episode: Episode) -> float:
    """Mean |second difference| of the joints' targets that were in force, tick by tick: rad a tick squared."""
    targets = in_force(episode)
    return float(np.abs(np.diff(targets, 2, axis=0)).mean()) if len(targets) > LEAST else 0.0


def seconds(episode: Episode) -> float:
    """How long a trial took."""
    ticks = episode["ticks", "t"]
    return float(ticks[-1] - ticks[0]) / 1e9 if len(ticks) else 0.0


def in_force(episode: Episode) -> NDArray[np.float64]:
    """Targets of the joints (ticks, joints) that the robot reports half a tick after each: what the guard let pass."""
    ticks = episode["ticks", "t"]
    if len(ticks) < LEAST:
        return np.zeros((0, 0))
    half = int(np.median(np.diff(ticks))) // 2
    row = np.searchsorted(episode[ROBOT, "t"], ticks + half, side="right") - 1
    return np.asarray(episode[ROBOT, "q_target"][row[row >= 0]], np.float64)


def paces(
    policies: Mapping[str, learners.ChunkPolicy],
    episodes: Sequence[Episode],
    instruction: str,
    rounds: int,
    tell: Callable[[str], None],
) -> dict[str, Pace]:
    """Let the learner of every policy train a few steps and the policy plan, round after round, all in this process.

    What is timed are steps of the method's own ``fit``, loader and all: of a method with several stages, the last.
    """
    windows = {name: _windows(policy.how, episodes, instruction) for name, policy in policies.items()}
    trained: dict[str, list[tuple[float, float]]] = {name: [] for name in policies}
    planned: dict[str, list[float]] = {name: [] for name in policies}
    for _ in range(rounds):
        for name, policy in policies.items():
            tell(name)
            if hasattr(policy.how, "training"):
                trained[name].append(_steps(policy.how, windows[name]))
            planned[name].append(_plan(policy, windows[name]))
    return {
        name: Pace(
            steps=tuple(1 / wall for wall, _ in trained[name]),
            worked=tuple(1 / work for _, work in trained[name]),
            plan=1e3 * statistics.median(planned[name]),
        )
        for name in policies
    }


def _windows(how: Any, episodes: Sequence[Episode], instruction: str) -> learners.Windows:
    return learners.windows(how, episodes, [instruction] * len(episodes), pixels=_unpacked)


def _unpacked(_camera: str, pictures: Pictures) -> Unpacked:
    whole = np.empty(pictures.shape, np.uint8)
    pictures.into(np.arange(len(pictures)), whole)
    return Unpacked(whole)


def _steps(how: Any, windows: learners.Windows) -> tuple[float, float]:
    """Median seconds of a step: of the wall's clock, and of the processor's."""
    at: list[tuple[float, float]] = []

    def tell(_done: int, _of: int, _loss: float) -> None:
        at.append((time.perf_counter(), time.process_time()))

    briefly(how, STEPS).fit(windows, None, tell)
    spent = np.diff(np.array(at[-STEPS:]), axis=0)[1:-1]
    wall, work = np.median(spent, axis=0).tolist()
    return wall, work


def _plan(policy: learners.ChunkPolicy, windows: learners.Windows, times: int = 5) -> float:
    """Median seconds until a plan for one moment."""
    batch = windows.batch(np.array([len(windows) // 2]))
    spent = []
    with torch.inference_mode():
        for _ in range(times + 1):
            began = time.perf_counter()
            policy.net.steps(batch.images, batch.state, batch.instructions)
            spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:])
