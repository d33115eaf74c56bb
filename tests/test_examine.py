"""Plans beside what was done: how far, in what unit, which way; and what could not be asked or is no number."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from learners.examine import examine

torch.set_num_threads(1)

EPISODE = np.repeat([0, 1, 2], 4)
PLAN = np.random.default_rng(3).normal(size=(12, 5, 3)).astype(np.float32)


class Shown:
    """Twelve windows of three demonstrations; at the end of the last one nothing of the plan is left."""

    episode, instructions = EPISODE, ["a", "b", "c"]
    left = np.where(EPISODE == 2, 0, 5)
    plan = PLAN

    def sample(self, _most: int) -> Any:
        return np.arange(len(PLAN))

    def batch(self, index: Any) -> Any:
        plan = torch.from_numpy(PLAN[index])
        return SimpleNamespace(
            images=index, state=None, instructions=None, plan=plan, past_end=torch.zeros(1, 5, dtype=torch.bool)
        )


def examined(answer: Any) -> Any:
    """What a policy is said to be that answers so, given the window's number and what was done."""
    net = SimpleNamespace(steps=lambda index, _state, _said: torch.from_numpy(answer(index, PLAN[index])))
    policy: Any = SimpleNamespace(net=net)
    data: Any = Shown()
    return examine(policy, data)


def test_who_does_the_same_is_not_off_and_one_deviation_is_one() -> None:
    same = examined(lambda _index, done: done)
    assert same.error[:2].tolist() == [0, 0]
    assert same.along[:2] == pytest.approx([1, 1])
    off = PLAN.reshape(-1, 3).std(0)
    assert examined(lambda _index, done: done + off).error[:2] == pytest.approx([1, 1], abs=1e-5)


def test_who_goes_the_other_way_is_told() -> None:
    said = examined(lambda _index, done: done[:, :1] - (done - done[:, :1]))
    assert said.along[:2] == pytest.approx([-1, -1])


def test_what_was_not_asked_and_what_is_no_number_are_two_things() -> None:
    """A plan of no numbers is as far off as can be; of an episode without a window nothing is known."""
    said = examined(lambda index, done: done * np.float32(np.nan if EPISODE[index[0]] == 1 else 1))
    assert said.error[:2].tolist() == [0, np.inf]
    assert np.isnan(said.error[2])
