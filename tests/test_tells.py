"""What gives a demonstration away that is not what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.tells import following, tells
from storage import Episode, EpisodeWriter, Lossless
from storage.orders import LED
from tests.lessons import arm_rows
from tests.takes import PADS, TASK, Take

SECOND = 1_000_000_000
SAID = "reach the pose"


def take(root: Path, behind: int, agent: str = "scripted", *, astray: bool = False, still: bool = False) -> Episode:
    """An arm that follows its targets so many rows of 10 ms later; with ``astray``, targets mean nothing to it."""
    stamps = np.arange(400) * (SECOND // 100)
    rows = arm_rows(stamps)
    told = np.stack([np.sin(np.linspace(0, 4, 400) + phase) for phase in range(7)], axis=1) * (not still)
    rows["q_target"] = told[::-1] if astray else told
    rows["q"] = np.roll(told, behind, axis=0)
    if behind > 0:
        rows["q"][:behind] = told[0]
    if behind < 0:
        rows["q"][behind:] = told[-1]
    said: dict[str, Any] = {"agent": agent, "instruction": SAID}
    with EpisodeWriter(root, {"arm": rows.dtype}, said, Lossless()) as writer:
        writer.append("arm", rows)
        return Episode(writer.seal().path)


def test_a_robot_that_follows_what_it_is_told_gives_nothing_away(tmp_path: Path) -> None:
    episode = take(tmp_path, 4)
    follows = following(episode)
    assert follows is not None
    assert abs(follows[0] - 0.04) < 1e-6
    assert not [*tells(episode, SAID)]


def test_a_robot_that_is_ahead_of_what_it_is_told_runs_backwards_in_time(tmp_path: Path) -> None:
    assert [*tells(take(tmp_path, -4), SAID)] == ["time runs backwards: the robot is 0.04 s ahead of what it is told"]


def test_a_robot_that_does_not_do_what_it_is_told_is_found(tmp_path: Path) -> None:
    (said,) = tells(take(tmp_path, 4, astray=True), SAID)
    assert said.startswith("the robot does not do what it is told")


def test_what_is_led_by_hand_is_ahead_of_its_targets_rightly(tmp_path: Path) -> None:
    assert not [*tells(take(tmp_path, -4, LED), SAID)]


def test_who_does_not_move_cannot_be_told(tmp_path: Path) -> None:
    assert following(take(tmp_path, 0, still=True)) is None


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (Take().to("green_cube", dx=0.04).close().wait(1), "its own record shows SEM-OBJ at S1"),
        (Take({"red_cube": PADS["yellow_pad"]}).wait(1), "red_cube already was on yellow_pad at the start"),
    ],
)
def test_a_failure_that_is_called_a_success_is_given_away_by_its_own_truth(
    tmp_path: Path, shown: Take, why: str
) -> None:
    (said,) = tells(Episode(shown.record(tmp_path).path), TASK)
    assert why in said


def test_a_success_is_not_given_away(tmp_path: Path) -> None:
    done = Take().carry("red_cube", "yellow_pad").wait(0.5)
    assert not [*tells(Episode(done.record(tmp_path).path), TASK)]


def test_who_cannot_read_an_instruction_doubts_nobody(tmp_path: Path) -> None:
    assert not [*tells(Episode(Take().wait(1).record(tmp_path).path), "tidy up")]
