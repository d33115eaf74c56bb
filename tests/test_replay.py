"""A take is repeated: the same motion at its own pace or slower, from where it began. In stepped time."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.session import NotThere, Session
from collectors import leader, replay, ways
from collectors.replay import Motion
from collectors.ways import Lacking
from drivers import Guard
from drivers.settings import Unfit
from storage import Catalog, Episode, Observation, Task
from tests import driven
from tests.test_aloha import Kept
from tests.test_leader import Table, gripping, never, turned

TASK = Task(name="wave", instruction="wave with both arms")


@pytest.fixture
def table() -> Iterator[Table]:
    waving = turned(0, lambda s: 0.3 * math.sin(2 * s)), gripping(lambda s: 0.0 if 1 < s < 2 else 1.0)
    with Table(waving) as table:
        yield table


@pytest.fixture
def session(table: Table, tmp_path: Path) -> Session:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(TASK)
    return Session(table.loop, catalog, tmp_path, "ada", events=table.place.events)


@pytest.fixture
def shown(table: Table, session: Session) -> Episode:
    return take(session, leader.agent(table.place), 3.0)


def take(session: Session, agent: leader.Follow | replay.Replay, seconds: float, of: Episode | None = None) -> Episode:
    done = agent.done if isinstance(agent, replay.Replay) else never
    made = session.run(agent, "any", TASK, seconds, done, follows=None if of is None else of.id)
    session.later()
    return Episode(session.root / session.catalog.episode(made).path)


def again(table: Table, shown: Episode, **settings: float) -> replay.Replay:
    return replay.agent(replace(table.place, repeats=shown, settings=settings))


def waist(episode: Episode, seconds: NDArray[Any]) -> NDArray[np.float64]:
    t = episode["arm", "t"]
    return np.asarray(np.interp(seconds, (t - t[0]) / 1e9, episode["arm", "q"][:, 0]))


def test_a_take_is_done_again_from_where_it_began_and_says_which_it_follows(
    table: Table, session: Session, shown: Episode
) -> None:
    repeated = take(session, again(table, shown), 10, of=shown)
    assert session.catalog.episode(repeated.id).follows == shown.id
    assert repeated.attributes["ended_by"] == "done"
    assert repeated.seconds == pytest.approx(shown.seconds, abs=0.3)
    assert np.abs(repeated["arm", "q"][0] - shown["arm", "q"][0]).max() < 0.03, "it went there before the take"
    seconds = np.arange(0.2, 2.8, 0.02)
    late = [
        float(np.abs(waist(repeated, seconds + by) - waist(shown, seconds)).max()) for by in np.arange(0, 0.1, 0.01)
    ]
    assert min(late) < 0.01, late
    assert np.ptp(repeated["arm", "q"][:, 0]) > 0.5
    assert np.abs(repeated["arm", "q"][-1] - shown["arm", "q_target"][-1]).max() < 0.03
    for episode in (shown, repeated):
        assert (episode["arm", "width_target"][:, 1].min(), episode["arm", "width_target"][:, 1].max()) == (
            pytest.approx(0, abs=1e-3),
            pytest.approx(0.079, abs=1e-3),
        )


def test_it_goes_slowly_to_where_it_begins(table: Table, shown: Episode) -> None:
    first = shown["arm", "q_target"][0]
    nearing, kept = again(table, shown).approach, Kept()
    table.loop.run(nearing, "", kept, 5, nearing.done)
    start = np.concatenate(kept.rows["arm"])["q_target"][0]
    sent = np.vstack([start, np.concatenate(kept.rows["action"])["q"]])
    assert np.abs(np.diff(sent, axis=0)).max() <= 0.3 * 0.02 + 1e-9
    assert np.abs(sent[0] - first).max() > 0.05


def test_it_may_be_slower_and_is_where_the_robot_may_not_be_as_fast(
    table: Table, session: Session, shown: Episode
) -> None:
    slower = take(session, again(table, shown, pace=0.5), 20)
    assert slower.seconds == pytest.approx(2 * shown.seconds, abs=0.4)
    calm = Guard(table.robot, replace(table.robot.limits, speed=(0.3,) * 6), table.clock)
    driver = replay.agent(replace(table.place, robot=calm, repeats=shown))
    fastest = replay.motion(shown, table.robot.action).fastest(20_000_000).max()
    assert 0.6 <= fastest < 1.2, "a hand's 0.6 rad/s, and what brings the robot to it"
    assert driver.pace == pytest.approx(0.95 * 0.3 / fastest)


def test_a_robot_that_does_not_get_there_begins_no_take(
    table: Table, session: Session, shown: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds it, here a limit that it did not have before, keeps it from where the motion begins."""
    monkeypatch.setattr("appliance.session.APPROACH", 3.0)
    low = replace(table.robot.limits, low=(0.5, *table.robot.limits.low[1:]))
    session.loop = replace(session.loop, robot=Guard(table.robot, low, table.clock))
    with pytest.raises(NotThere, match=r"at: going to where it begins: joint 1 \d+\.\d deg off"):
        take(session, again(table, shown), 10)


def stood_still(table: Table, ticks: int) -> Callable[[Observation], bool]:
    """A loop that stands still for 0.2 s after so many ticks, shorter than the guard's patience; never done."""
    count = 0

    def done(_seen: Observation) -> bool:
        nonlocal count
        count += 1
        if count == ticks:
            table.clock.sleep_until(table.clock.now() + 200_000_000)
        return False

    return done


def test_a_loop_that_stood_still_is_no_short_cut(table: Table, session: Session, shown: Episode) -> None:
    """What would have been done meanwhile is done now: a way that is left out may have led around something."""
    again_, still = again(table, shown), stood_still(table, 100)
    made = session.run(again_, "any", TASK, 10, lambda seen: again_.done(seen) or still(seen))
    repeated = Episode(session.root / session.catalog.episode(made).path)
    assert repeated.attributes["ended_by"] == "done"
    fastest = replay.motion(shown, table.robot.action).fastest(20_000_000).max()
    assert np.abs(np.diff(repeated["action", "q"], axis=0)).max() <= fastest * 0.04 + 1e-6
    assert np.abs(repeated["arm", "q"][-1] - shown["arm", "q_target"][-1]).max() < 0.03


def test_a_loop_that_stood_still_on_the_way_to_the_beginning_is_no_leap(table: Table, shown: Episode) -> None:
    nearing, kept, still = again(table, shown).approach, Kept(), stood_still(table, 10)
    table.loop.run(nearing, "", kept, 5, lambda seen: nearing.done(seen) or still(seen))
    assert np.abs(np.diff(np.concatenate(kept.rows["action"])["q"], axis=0)).max() <= 0.3 * 0.04 + 1e-9


def test_a_slow_repetition_of_something_long_may_take_its_time(table: Table, session: Session, shown: Episode) -> None:
    assert again(table, shown, pace=0.1).lasts == pytest.approx(10 * shown.seconds, rel=0.1)


def test_between_rows_joints_move_evenly_and_fingers_do_not() -> None:
    motion = Motion(np.array([10, 20]), np.array([[0.0, 1.0], [1.0, 3.0]]), np.array([[0.08], [0.0]]))
    q, width = motion.at(5)
    assert (q.tolist(), width.tolist()) == ([0.5, 2.0], [0.08])
    q, width = motion.at(99)
    assert (q.tolist(), width.tolist()) == ([1.0, 3.0], [0.0])
    assert motion.at(-1)[0].tolist() == [0.0, 1.0]
    assert Motion(np.arange(3) * 10**9, np.array([[0.0], [1.0], [1.5]]), np.zeros((3, 1))).fastest(10**9) == [1.0]


def test_what_cannot_be_repeated_is_refused_with_the_reason(table: Table, shown: Episode, tmp_path: Path) -> None:
    with pytest.raises(Lacking, match="--by replay needs an episode to repeat"):
        ways.agent("replay", table.place)
    one = driven.drive(tmp_path / "one")
    with pytest.raises(Lacking, match=r"is of a robot with \d joints; this one has 12|tells of no robot"):
        again(table, one)
    with pytest.raises(Unfit, match="pace is more than 0 and at most 2"):
        again(table, shown, pace=5.0)
