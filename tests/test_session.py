"""What an operator may do, when; and what is on record afterwards. On a simulated bench, without waiting."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance import station
from appliance.session import STOPPED, NotNow, NotSo, Session, State, ctrl_c, judge, sitting
from collectors import Ended
from drivers import Row
from storage import Catalog, Episode, EpisodeRow, Observation, Outcome, Task, Verdict, Wanted
from tests.test_station import CELL, LIMITS, Bench, Lever, write

REACH = Task(name="reach", instruction="reach the pose")


class Steady:
    """Drives to one place; can be made to trip on the way."""

    def __init__(self, loop_action: np.dtype[np.void], trip: type[BaseException] | None = None) -> None:
        self._action = loop_action
        self._trip = trip
        self.acted = 0

    def reset(self, instruction: str) -> None: ...

    def act(self, seen: Observation) -> Row | None:
        self.acted += 1
        if self._trip is not None and self.acted == 5:
            raise self._trip
        target = np.zeros(1, self._action)
        target["t"], target["q"] = seen.t, 0.5
        return target[0]  # type: ignore[no-any-return]  # numpy does not say what an element of a structured array is


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(Task(name=REACH.name, instruction=REACH.instruction))
    bench = station.load(write(tmp_path, CELL + LIMITS))
    with sitting(bench, catalog, tmp_path, operator="ada") as session:
        yield session


def take(session: Session, agent: Steady | None = None, seconds: float = 1) -> EpisodeRow:
    agent = agent or Steady(session.loop.robot.action)
    session.run(agent, "person", REACH, seconds, lambda _seen: False, condition={"seed": 7})
    return session.catalog.find(Wanted(task="reach"))[-1].row


def test_an_episode_says_who_did_what_where_and_how(session: Session, tmp_path: Path) -> None:
    row = take(session)
    episode = Episode(tmp_path / row.path)
    said = episode.attributes
    assert session.station is not None
    assert isinstance(session.station.cell, Bench)
    assert session.station.cell.arranged == [{"seed": 7}]
    assert said["task"] == row.task == "reach"
    assert said["instruction"] == "reach the pose"
    assert said["agent"] == row.agent == "person"
    assert said["operator"] == row.operator == "ada"
    assert said["station"] == row.station == "bench"
    assert said["station_digest"] == session.station.digest
    assert said["condition"] == row.condition == {"seed": 7}
    assert said["ended_by"] == row.ended_by == Ended.TIMEOUT
    assert said["revision"]
    assert said["clock"].keys() == {"wall", "monotonic", "loop"}
    assert not Path(row.path).is_absolute()


def test_each_state_allows_only_its_own_moves(session: Session) -> None:
    with pytest.raises(NotNow, match="the session is ready, not review"):
        session.judge(Outcome.SUCCESS)
    take(session)
    assert str(session.state) == State.REVIEW
    with pytest.raises(NotNow, match="the session is review, not ready"):
        take(session)
    session.judge(Outcome.SUCCESS)
    assert str(session.state) == State.READY
    take(session)


def test_the_screen_hears_of_every_move(session: Session) -> None:
    heard: list[State] = []
    session.tell = heard.append
    take(session)
    session.judge(Outcome.SUCCESS)
    assert heard == [State.RUNNING, State.REVIEW, State.READY]


def test_an_accident_leaves_the_session_ready_and_the_take_in_staging(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        take(session, Steady(session.loop.robot.action, trip=ZeroDivisionError))
    assert str(session.state) == State.READY
    assert session.catalog.find(Wanted()) == []
    assert len(list((tmp_path / "staging").iterdir())) == 1


def test_a_stop_ends_the_take_at_the_next_tick_and_keeps_it(session: Session, tmp_path: Path) -> None:
    agent = Steady(session.loop.robot.action)
    session.tell = lambda state: session.stop.set() if state is State.RUNNING else None
    row = take(session, agent, seconds=60)
    assert agent.acted == 0
    assert row.ended_by == STOPPED
    assert Episode(tmp_path / row.path).attributes["ended_by"] == STOPPED
    session.judge(Outcome.INVALID, note="stopped")
    with pytest.raises(NotNow, match="stopped"):
        take(session)


def test_ctrl_c_in_the_middle_of_a_take_holds_the_robot_and_seals_the_take(session: Session, tmp_path: Path) -> None:
    row = take(session, Steady(session.loop.robot.action, trip=KeyboardInterrupt), seconds=60)
    assert row.ended_by == STOPPED
    assert session.stop.is_set()
    assert len(Episode(tmp_path / row.path)["action", "t"]) == 4
    assert list((tmp_path / "staging").iterdir()) == []


def test_ctrl_c_while_the_robot_is_being_held_still_leaves_it_held(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def hold(_self: Lever) -> None:
        """Ctrl-C comes at the worst moment: at the end of the take, before the robot has heard of it."""
        held.append(len(held) > 0)
        if len(held) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Lever, "hold", hold)
    assert take(session).ended_by == STOPPED
    assert held[-1]


def test_the_first_ctrl_c_asks_and_the_second_interrupts(session: Session) -> None:
    before = signal.getsignal(signal.SIGINT)
    with ctrl_c(session.stop):
        os.kill(os.getpid(), signal.SIGINT)
        assert session.stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_take_that_was_over_anyway_was_not_stopped(session: Session) -> None:
    """The stop came after the last tick: the take has its own end."""
    session.tell = lambda state: None
    agent = Steady(session.loop.robot.action)
    session.run(agent, "person", REACH, 1, lambda _seen: agent.acted == 20)
    session.stop.set()
    assert session.catalog.find(Wanted())[-1].row.ended_by == Ended.TIMEOUT


@pytest.mark.parametrize(
    ("outcome", "failure", "helps"),
    [
        (Outcome.FAILURE, None, "has to say how it failed: CON, DROP"),
        (Outcome.FAILURE, "ENV", "If the cell was at fault, the outcome is invalid"),
        (Outcome.FAILURE, "DORP", "there is no failure DORP; there are: CON, DROP, ENV"),
        (Outcome.INVALID, "DROP", "invalid means the cell was at fault"),
        (Outcome.SUCCESS, "DROP", "a success has no failure"),
    ],
)
def test_a_verdict_that_contradicts_itself_is_refused(
    session: Session, outcome: Outcome, failure: str | None, helps: str
) -> None:
    take(session)
    with pytest.raises(NotSo, match=re.escape(helps)):
        session.judge(outcome, failure)
    assert session.state is State.REVIEW, "a refused verdict leaves the episode waiting for one"


def test_verdicts_are_appended_and_the_last_one_counts(session: Session) -> None:
    row = take(session)
    session.judge(Outcome.FAILURE, "DROP", "slipped")
    judge(session.catalog, row.id, "bob", Outcome.INVALID, "ENV", "somebody bumped the table")
    said: list[Verdict] = session.catalog.verdicts(row.id)
    assert [(v.by, v.outcome, v.failure) for v in said] == [
        ("ada", Outcome.FAILURE, "DROP"),
        ("bob", Outcome.INVALID, "ENV"),
    ]
    assert session.catalog.last_verdicts([row.id])[row.id].by == "bob"


def test_a_failure_that_was_overcome_may_be_mentioned(session: Session) -> None:
    row = take(session)
    session.judge(Outcome.SUCCESS, secondary=["recovered:CON"])
    assert session.catalog.verdicts(row.id)[0].secondary == ["recovered:CON"]
