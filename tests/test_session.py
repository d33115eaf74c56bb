"""What an operator may do, when; and what is on record afterwards. On a simulated bench, without waiting."""

import dataclasses
import os
import re
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance import station
from appliance.home import Home
from appliance.refusal import refusal
from appliance.session import STOPPED, NotNow, NotSo, Session, State, ctrl_c, judge, sitting
from collectors import Ended, RecorderProcess, RecordingFailed
from drivers import Row, row_type
from ops import leases
from storage import (
    Calibration,
    Catalog,
    EditKind,
    Episode,
    EpisodeRow,
    Observation,
    Outcome,
    Task,
    Verdict,
    Wanted,
    check,
)
from tests.test_station import CELL, LIMITS, Bench, Lever, write

BLIND = "blind = true\n"
"""Ends `CELL`: without the camera that is never ready, a take may be long."""

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


class Filling(Steady):
    """Lets the disk fill up on the way: a limit on the size of the recorder's files stands in for it."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.loop.robot.action)
        assert isinstance(session.recorder, RecorderProcess)
        assert session.recorder.pid is not None
        self._recorder = session.recorder
        self._pid: int = session.recorder.pid
        self._most = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)

    def act(self, seen: Observation) -> Row | None:
        if self.acted > 5:
            time.sleep(0.002)
        if self._recorder.written["arm"] > 5:
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (1, self._most[1]))
        return super().act(seen)

    def free(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._most)


class Stopping(Steady):
    """Stops the recorder on the way, which then neither writes nor answers."""

    def __init__(self, recorder: RecorderProcess) -> None:
        super().__init__(row_type(("q", "<f8", (1,))))
        self._recorder = recorder

    def act(self, seen: Observation) -> Row | None:
        if self.acted == 5:
            self._recorder.patience = 0.1
            os.kill(self._recorder.pid or 0, signal.SIGSTOP)
        return super().act(seen)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    bench = station.load(write(tmp_path, CELL + LIMITS))
    with sitting(bench, known(tmp_path), tmp_path, operator="ada") as session:
        yield session


def known(folder: Path) -> Catalog:
    """A catalog that knows the task."""
    catalog = Catalog(folder / "catalog.db")
    catalog.add(Task(name=REACH.name, instruction=REACH.instruction))
    return catalog


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


def test_the_catalog_knows_the_streams_the_station_and_who_was_there(session: Session, tmp_path: Path) -> None:
    assert session.station is not None
    arm = session.catalog.calibrate(Calibration(station="bench", device="arm", values={"offset": 1.0}, by="ada"))
    session.catalog.calibrate(Calibration(station="elsewhere", device="gauge", values={}, by="ada"))
    row = take(session)
    said = Episode(tmp_path / row.path).attributes
    assert said["calibrations"] == {"arm": arm.id}
    assert said["serials"] == {"arm": "A1", "eye": "A1", "gauge": "A1"}
    streams = {stream.name: stream for stream in session.catalog.streams(row.id)}
    assert streams.keys() == {"arm", "gauge", "eye", "action", "ticks"}
    assert (streams["arm"].rows, streams["arm"].calibration, streams["arm"].serial) == (20, arm.id, "A1")
    assert [name for name, stream in streams.items() if stream.camera] == ["eye"]
    assert row.station_digest == session.station.digest
    assert session.catalog.stations("bench")[0].text == (tmp_path / "station.toml").read_text()
    assert [one.name for one in session.catalog.operators()] == ["ada"]


@pytest.mark.parametrize("who", ["thread", "process"])
def test_a_take_below_what_the_station_demands_is_put_aside_and_says_why(tmp_path: Path, who: str) -> None:
    """The camera of this bench never gives a picture."""
    text = CELL.replace("hz", f'recorder = "{who}"\nhz') + LIMITS
    for demands, quarantined in (("", False), ("[grade]\nlate = 1\nlost = 0.0\n", True)):
        with sitting(station.load(write(tmp_path, text + demands)), known(tmp_path), tmp_path, "ada") as session:
            row = take(session)
            listed = session.catalog.find(Wanted(quarantined=quarantined))
        assert [one.row.id for one in listed] == [row.id]
    (edit,) = session.catalog.edits(row.id)
    assert (edit.kind, edit.by) == (EditKind.QUARANTINE, "bench")
    assert "100.0 % of eye lost" in edit.why


@pytest.mark.parametrize(("camera_hz", "quarantined"), [(10, False), (3, True)])
def test_a_healthy_take_in_the_twin_meets_its_demands_and_one_of_a_slow_camera_does_not(
    tmp_path: Path, camera_hz: int, quarantined: bool
) -> None:
    text = (station.FOLDER / "franka-sim.toml").read_text()
    driver = 'driver = "drivers.twin:FrankaTable"\n'
    assert driver in text
    slower = text.replace(driver, f"{driver}image = [24, 32]\ncamera_hz = {camera_hz}\n")
    with sitting(station.load(write(tmp_path, slower)), known(tmp_path), tmp_path, "ada") as session:
        row = take(session, Steady(session.loop.robot.action), seconds=2)
        (listed,) = session.catalog.find(Wanted())
    assert listed.standing.quarantined is quarantined
    assert row.lost == 0
    assert row.gap == pytest.approx(1 / camera_hz, abs=0.01)


def test_a_program_that_writes_is_started_once_and_ends_with_the_sitting(tmp_path: Path) -> None:
    bench = station.load(write(tmp_path, CELL.replace("hz", 'recorder = "process"\nhz') + LIMITS))
    with sitting(bench, known(tmp_path), tmp_path, "ada") as session:
        assert isinstance(session.recorder, RecorderProcess)
        pids = set()
        for _ in range(3):
            take(session)
            session.later()
            pids.add(session.recorder.pid)
    (pid,) = pids
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert session.catalog.count(Wanted()) == 3


def test_a_disk_that_is_full_ends_the_take_as_a_fault_and_harms_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The robot holds, the person is told, what was kept is brought in at the next start, and the next take works."""
    bench = station.load(write(tmp_path, CELL.replace("hz", 'recorder = "process"\nhz') + BLIND + LIMITS))
    held: list[bool] = []
    monkeypatch.setattr(Lever, "hold", lambda _self: held.append(True))
    with sitting(bench, known(tmp_path), tmp_path, "ada") as session:
        before = take(session)
        session.later()
        held.clear()
        filling = Filling(session)
        with pytest.raises(RecordingFailed) as failed:
            take(session, filling, seconds=600)
        filling.free()
        assert held
        assert "the episode ends as a fault: RecordingFailed: " in caplog.text
        told = refusal(failed.value)
        assert told is not None
        assert re.search(r"cannot keep the rows of '\w+': File too large; \d+ MB are free there", told)
        assert str(session.state) == State.READY
        after = take(session)
    assert [one.row for one in session.catalog.find(Wanted())] == [before, after]
    assert check(tmp_path / before.path) == check(tmp_path / after.path) == []
    catalog = Home(tmp_path, str(tmp_path / "catalog.db")).open(lambda _line: None)
    assert [one.row.ended_by for one in catalog.find(Wanted())] == ["timeout", "fault", "timeout"]
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_recorder_that_stands_still_ends_the_take_as_a_fault_and_later_seals_it_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text = CELL.replace("hz", 'recorder = "process"\nbacklog = 0.3\nhz') + BLIND + LIMITS
    held: list[bool] = []
    monkeypatch.setattr(Lever, "hold", lambda _self: held.append(True))
    with sitting(station.load(write(tmp_path, text)), known(tmp_path), tmp_path, "ada") as session:
        recorder = session.recorder
        assert isinstance(recorder, RecorderProcess)
        first = take(session)
        session.later()
        held.clear()
        patient = recorder.patience
        with pytest.raises(RecordingFailed, match=r"has not answered for 0\.1 s"):
            take(session, Stopping(recorder), seconds=6000)
        assert held
        assert "RecordingFailed: 0.3 MB wait to be written" in caplog.text
        os.kill(recorder.pid or 0, signal.SIGCONT)
        recorder.patience = patient
        last = take(session)
    catalog = Home(tmp_path, str(tmp_path / "catalog.db")).open(lambda _line: None)
    rows = [one.row for one in catalog.find(Wanted())]
    assert [row.id for row in rows] == [first.id, rows[1].id, last.id]
    assert [row.ended_by for row in rows] == ["timeout", "fault", "timeout"]
    assert not rows[1].recovered, "it was sealed by its recorder"
    assert list((tmp_path / "staging").iterdir()) == []


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


def test_a_real_robot_is_moved_by_one_program_at_a_time(tmp_path: Path) -> None:
    """Any number of a simulated cell may run; of a real one, who comes second is told who is there."""
    real = dataclasses.replace(station.load("franka-sim"), cell=None)
    with Catalog(tmp_path / "catalog.db") as catalog, leases.sole(tmp_path, "robot-franka-sim", "mika"):
        with (
            pytest.raises(NotNow, match=r"the robot of franka-sim is in use: mika \(process \d+\)"),
            sitting(real, catalog, tmp_path, "ada"),
        ):
            pass
        with sitting(station.load("franka-sim"), catalog, tmp_path, "ada") as session:
            assert session.state is State.READY
