"""What an agent may have beside its targets: a trace, a robot that a hand moves, something to put right afterwards."""

import logging
from pathlib import Path

import numpy as np
import pytest

from collectors import Conveyor, Ended, Loop, Teleop
from drivers import DeviceError, Limits, Row, Rows, StepClock, row_type
from drivers.guard import Guard
from storage import Episode, EpisodeWriter, Lossless, Observation
from tests.toy import JOINTS, SimOperator, SimRobot

LIMITS = Limits(low=(-1.0,) * JOINTS, high=(1.0,) * JOINTS, speed=(2.0,) * JOINTS)


class Held(SimRobot):
    """Counts how often it is told to hold."""

    holds = 0

    def hold(self) -> None:
        self.holds += 1
        super().hold()


class Follower(Teleop):
    """Follows the operator's device, and says which row of it."""

    trace_dtype = row_type(("source_t", "<i8"), ("engaged", "u1", (1,)))

    def __init__(self, action: np.dtype[np.void], trips: bool = False) -> None:
        super().__init__("hand", action)
        self._trips = trips
        self._traced: Rows = np.zeros(0, self.trace_dtype)
        self.left: list[bool] = []

    def act(self, seen: Observation) -> Row | None:
        self._traced = np.array([(seen.t, int(seen.streams["hand"][-1]["t"]), (1,))], self.trace_dtype)
        if self._trips and seen.t > 500_000_000:
            raise DeviceError("hand: let go")
        return super().act(seen)

    def trace(self) -> Rows:
        traced, self._traced = self._traced, self._traced[:0]
        return traced

    def leave(self) -> None:
        self.left.append(True)
        if self._trips:
            raise DeviceError("arm: cannot be made stiff")


class Hand(Teleop):
    """A person who moves the robot by hand."""

    def __init__(self, action: np.dtype[np.void], by_hand: bool) -> None:
        super().__init__("hand", action)
        self.by_hand = by_hand

    def act(self, seen: Observation) -> Row | None:
        return None


@pytest.fixture
def arm() -> Held:
    return Held(StepClock())


@pytest.fixture
def loop(arm: Held) -> Loop:
    clock = arm._clock
    return Loop(Guard(arm, LIMITS, clock), [SimOperator(clock, path=lambda s: min(s, 0.8))], clock, hz=50)


class Nowhere:
    """Keeps nothing."""

    def append(self, stream: str, rows: Rows) -> None: ...


def never(_seen: object) -> bool:
    return False


def test_what_an_agent_followed_is_recorded_and_shown_to_no_policy_and_graded_as_no_sensor(
    loop: Loop, arm: Held, tmp_path: Path
) -> None:
    agent = Follower(arm.action)
    with EpisodeWriter(tmp_path, loop.streams(agent), {"task": "reach"}, Lossless()) as writer:
        with Conveyor(writer) as recorder:
            assert loop.run(agent, "", recorder, 1, never) is Ended.TIMEOUT
        episode = Episode(writer.seal().path)
    assert len(episode["following", "t"]) == 50
    assert (episode["following", "t"] - episode["following", "source_t"] < 20_000_000).all()
    assert all("following" not in seen.streams for seen in episode.replay(1.0))
    assert episode.attributes["grade"]["streams"]["following"]["gap"] is None
    assert "following" not in loop.streams(Teleop("hand", arm.action))


def test_an_agent_puts_right_what_it_must_however_its_run_ends_and_once_the_robot_holds(
    loop: Loop, arm: Held, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Follower(arm.action, trips=True)
    with caplog.at_level(logging.WARNING):
        assert loop.run(agent, "", Nowhere(), 1, never) is Ended.FAULT
    assert agent.left == [True]
    assert "after the episode: DeviceError: arm: cannot be made stiff" in caplog.text


@pytest.mark.parametrize(("by_hand", "holds"), [(False, 51), (True, 1)])
def test_a_robot_that_a_hand_moves_is_not_held_before_the_end(loop: Loop, arm: Held, by_hand: bool, holds: int) -> None:
    loop.run(Hand(arm.action, by_hand), "", Nowhere(), 1, never)
    assert arm.holds == holds
