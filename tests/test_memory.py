"""A cell remembers seconds: what was known at any of their moments, however fast a device is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collectors import Conveyor, Loop, Teleop
from collectors.memory import Memory
from drivers import Clock, Row, Rows, StepClock, sensed
from learners import Senses
from storage import Episode, EpisodeWriter, Lossless, Observation, Stale, latest
from storage.layout import arrival
from tests.lessons import arm_rows
from tests.toy import SimCamera, SimOperator, SimRobot

MS = 1_000_000
ROW = sensed(("x", "<i8"))


def rows(count: int, hz: float, delay: int = 0) -> Rows:
    """Rows of a device, each of which arrives ``delay`` nanoseconds after it was measured."""
    made: Rows = np.zeros(count, ROW)
    made["t"] = np.round(np.arange(1, count + 1) * 1e9 / hz)
    made["received"], made["seq"] = made["t"] + delay, np.arange(count)
    return made


@pytest.mark.parametrize("hz", [0.3, 7, 64, 333, 1000, 8000])
def test_what_was_known_at_any_moment_of_its_seconds_is_what_the_whole_record_says(hz: float) -> None:
    every = rows(round(4 * hz), hz, delay=3 * MS)
    memory, given = Memory(ROW, 0.5), 0
    for now in range(0, 4000 * MS, 50 * MS):
        had = int(np.searchsorted(every["received"], now, side="right"))
        memory.push(every[given:had], now)
        given, shown = had, memory.at(now)
        assert memory.last == (every["t"][had - 1] if had else None)
        if not had:
            assert not len(shown)
            continue
        moments = np.arange(max(now - 500 * MS, int(every["received"][0])), now + 1, 7 * MS)
        record, remembered = (each[latest(arrival(each), moments, 10**10)] for each in (every[:had], shown))
        np.testing.assert_array_equal(remembered, record)
        assert shown["t"][-1] == every["t"][had - 1]
        assert len(shown) <= 0.5 * hz + 2, "more is remembered than was asked for"


def test_rows_that_were_shown_stay_as_they_were_when_room_is_made() -> None:
    memory, every = Memory(ROW, 1.0), rows(2000, 1000)
    memory.push(every[:60], 60 * MS)
    before, copy = memory.at(60 * MS), memory.at(60 * MS).copy()
    memory.push(every[60:1000], 1000 * MS)
    np.testing.assert_array_equal(before, copy)
    np.testing.assert_array_equal(memory.at(1000 * MS), every[:1000])


@pytest.mark.parametrize("hz", [30, 90, 1000])
def test_room_is_made_while_few_rows_have_to_move(hz: float) -> None:
    """Moving a second of pictures would keep the loop for a third of a second; so none moves later."""
    memory, every, bases = Memory(ROW, 1.0), rows(round(3 * hz), hz), []
    for start in range(0, len(every), 2):
        now = int(every["t"][start : start + 2][-1])
        memory.push(every[start : start + 2], now)
        if now > 400 * MS:
            bases.append(memory.at(now).base)
    assert all(base is bases[0] for base in bases)


def test_rows_that_come_in_one_burst_do_not_ask_for_a_room_of_millions() -> None:
    memory, burst = Memory(ROW, 1.0), rows(9, 1e8)
    memory.push(burst, int(burst["t"][-1]))
    shown = memory.at(int(burst["t"][-1]))
    assert len(shown) == 9
    assert shown.base is not None
    assert len(shown.base) <= 2 * 16 * 9


class Witness(Teleop):
    """A person who keeps what they were shown."""

    def __init__(self, action: np.dtype[np.void]) -> None:
        super().__init__("hand", action)
        self.saw: list[Observation] = []

    def act(self, seen: Observation) -> Row | None:
        self.saw.append(replace(seen, streams={name: each.copy() for name, each in seen.streams.items()}))
        return super().act(seen)


def fast(clock: Clock, hz: float = 50) -> Loop:
    """A cell whose arm has a thousand rows a second."""
    hand = SimOperator(clock, path=lambda s: min(s, 0.8))
    return Loop(SimRobot(clock, hz=1000), [SimCamera("front", clock, hz=90), hand], clock, hz)


def test_of_a_fast_robot_the_agent_sees_a_second_and_its_record_shows_the_same(tmp_path: Path) -> None:
    loop = fast(StepClock())
    witness = Witness(loop.robot.action)
    with EpisodeWriter(tmp_path, loop.streams(), {}, Lossless()) as writer:
        with Conveyor(writer) as recorder:
            loop.run(witness, "", recorder, 2, lambda _seen: False)
        replayed = list(Episode(writer.seal().path).replay(loop.memory))
    assert {name: len(each) for name, each in witness.saw[-1].streams.items()} == {"arm": 1001, "front": 91, "hand": 61}
    assert len(replayed) == len(witness.saw) == 100
    for live, read in zip(witness.saw, replayed, strict=True):
        assert (live.t, live.since) == (read.t, read.since)
        for stream, each in live.streams.items():
            np.testing.assert_array_equal(read.streams[stream], each)


def test_a_policy_that_looks_further_back_than_the_loop_remembers_is_refused_not_misled() -> None:
    """Rows that were forgotten would look like a robot that had been at rest."""
    senses = Senses((), None, history=4, spacing=0.5)
    arm = arm_rows(np.arange(1, 4001) * MS)
    now = 4000 * MS
    short = Observation(now, {"arm": arm[-1001:]}, since=now - 1000 * MS)
    with pytest.raises(Stale, match=r"looks back 1.5 s is shown 1 s; use Loop.remembering"):
        senses.live(short)
    enough = Observation(now, {"arm": arm[-1501:]}, since=now - 1500 * MS)
    np.testing.assert_array_equal(senses.live(enough)[1], senses.body(arm, np.array([now]))[0])


def test_a_loop_can_be_asked_to_remember_more_and_never_less() -> None:
    loop = fast(StepClock())
    assert loop.remembering(4).memory == pytest.approx(4)
    assert loop.remembering(0.2) == loop
