"""A trained network as a policy: from what is seen now to timed targets, a chunk at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners import checkpoint
from learners.body import Body
from learners.data import KEY, Windows
from learners.senses import ROBOT, Senses
from learners.transforms import Affine, View
from storage import Observation

LEAST = {"state": 0.05, "plan": 0.01, "key": 0.05}
"""Spreads below this (m, rad, parts of an axis) are noise: a hand that was always upright leans a little later."""


class Scales(nn.Module):
    """Zero mean and unit spread for states, plans and key frames; stored with the weights.

    Plans are scaled per step as well as per number, so that the first, small steps count as much as the far ones.
    """

    def __init__(self, body: Body, steps: int, width: int) -> None:
        super().__init__()
        for name, shape in (("state", (body.width,)), ("plan", (steps, width)), ("key", (KEY * body.arms,))):
            self.register_buffer(f"{name}_mean", torch.zeros(shape))
            self.register_buffer(f"{name}_scale", torch.ones(shape))

    def fit(self, data: Windows) -> None:
        """Measure enough of the windows; steps past an episode's end repeat its last target and count as such."""
        some = data.sample()
        flat = data.plan[some].reshape(len(some), -1)
        for name, values in (("state", data.state[some]), ("plan", flat), ("key", data.key[some])):
            affine = Affine.fit(values, LEAST[name])
            self._set(f"{name}_mean", affine.mean)
            self._set(f"{name}_scale", affine.scale)

    def _set(self, name: str, values: NDArray[np.float32]) -> None:
        buffer = self.get_buffer(name)
        buffer.copy_(torch.from_numpy(values).reshape(buffer.shape))

    def do(self, name: str, values: Tensor) -> Tensor:
        return (values - self.get_buffer(f"{name}_mean")) / self.get_buffer(f"{name}_scale")

    def undo(self, name: str, values: Tensor) -> Tensor:
        return values * self.get_buffer(f"{name}_scale") + self.get_buffer(f"{name}_mean")


class Chunked(Protocol):
    """Settings every chunk-predicting method has."""

    @property
    def senses(self) -> Senses: ...
    @property
    def view(self) -> View: ...
    @property
    def hz(self) -> float: ...
    @property
    def k(self) -> int: ...
    @property
    def replan(self) -> float: ...
    @property
    def ensemble(self) -> float | None: ...


@dataclass(frozen=True)
class ChunkPolicy:
    """A network, its settings and what they are called."""

    method: str
    how: Chunked
    net: Any
    """A module whose ``steps(images, state, instructions)`` gives chunks (B, k, d) in the view's own units."""
    facts: dict[str, Any]
    """What the settings do not say and is needed to build it again, `Body.facts` among it."""
    measured: dict[str, float] = field(default_factory=dict)
    """The last losses of its training, also on windows held out from it."""

    @property
    def name(self) -> str:
        return self.method

    @property
    def body(self) -> Body:
        """The robot that it moves."""
        return Body.said(self.facts)

    @property
    def senses(self) -> Senses:
        """What it looks at."""
        return self.how.senses

    @property
    def memory(self) -> float:
        """Seconds that it looks back."""
        return self.senses.memory

    @property
    def horizon(self) -> int:
        """Nanoseconds of a plan that are followed before the next is asked for."""
        return round(self.how.replan * 1e9)

    @property
    def ensemble(self) -> float | None:
        return self.how.ensemble

    @property
    def _device(self) -> torch.device:
        """Where the network is; one that only remembers has buffers and no parameters."""
        return next(iter([*self.net.parameters(), *self.net.buffers()])).device

    def glimpse(self, seen: Observation) -> Observation:
        """The little of it that a plan is made from, as a copy: what comes later overwrites none of it."""
        return self.senses.glimpse(seen)

    @torch.inference_mode()
    def plan(self, seen: Observation, instruction: str) -> NDArray[np.void]:
        """Targets from now on: first where the robot is already sent, then ``k`` steps at ``hz``."""
        images, state, now = self.how.senses.live(seen)
        steps = self.net.steps(images.to(self._device), torch.from_numpy(state).to(self._device), [instruction])
        targets = self.how.view.of(self.body).decode(steps.double().cpu().numpy(), now)
        return timed(seen, targets, self.how.hz)

    def save(self, folder: Path) -> None:
        """Write the policy's folder; `learners.load` reads it.

        What it was made with and can go on from lies in folders within, written first.
        """
        for name, part in getattr(self.net, "artefacts", {}).items():
            part.save(folder / name)
        checkpoint.write(folder, self.method, self.how, self.facts, self.net.state_dict())


def timed(seen: Observation, targets: dict[str, NDArray[Any]], hz: float) -> NDArray[np.void]:
    """Rows of a plan: the target in force at ``seen.t``, then each step's, ``1 / hz`` apart."""
    fields: Sequence[tuple[str, str, tuple[int, ...]]] = [
        (name, "<f8", values.shape[2:]) for name, values in targets.items()
    ]
    length = next(iter(targets.values())).shape[1]
    plan: NDArray[np.void] = np.zeros(length + 1, np.dtype([("t", "<i8"), *fields]))
    plan["t"] = seen.t + np.arange(length + 1) * round(1e9 / hz)
    robot = seen.streams[ROBOT][-1]
    for name, values in targets.items():
        plan[name][0] = robot[f"{name}_target"]
        plan[name][1:] = values[0]
    return plan


class CannotGoOn(Exception):
    """A policy cannot be the start of another. The message says what differs."""


def go_on(net: nn.Module, parent: ChunkPolicy, body: Body) -> None:
    """Give ``net``, which moves this robot, the parent's weights.

    Raises:
        CannotGoOn: they do not fit, because the robot, the method or a size is another.
    """
    if parent.body != body:
        raise CannotGoOn(f"the parent moves {parent.body}, and the demonstrations are of {body}")
    try:
        net.load_state_dict(parent.net.state_dict())
    except RuntimeError as error:
        raise CannotGoOn(
            f"a {parent.method} policy's weights do not fit these settings; train with the parent's method and sizes "
            f"({str(error).splitlines()[1].strip()})"
        ) from error
