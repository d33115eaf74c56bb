"""What is pressed in a take, before it and between takes; and how the robot is brought to where a take begins."""

import os
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance import station
from appliance.mending import mend
from appliance.offers import Offer
from appliance.session import NotThere, Session, State, sitting
from appliance.sitting import Attended, interrupts
from collectors import Event
from collectors.events import Press
from collectors.ways import Place
from drivers import DeviceLost, Row, Rows
from storage import Episode, Observation, Wanted
from tests.hosts import until
from tests.test_session import BLIND, REACH, Steady, known
from tests.test_station import CELL, LIMITS, Lever, write

HERE = (
    'name = "table"\nhz = 100\nrobot = "arm"\nrecorder = "thread"\n'
    '[device.arm]\ndriver = "tests.test_session_pressed:Fragile"\nhosted = false\n'
    '[device.pedal]\ndriver = "tests.test_station:Gauge"\nhosted = false\n'
)


@dataclass
class Fragile(Lever):
    """A lever whose cable may be out, and that recovers when it is asked to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lost = self.broken = self.cut = False
        self.entered = 0

    def read(self, since: int) -> Rows:
        if self.lost:
            raise DeviceLost(f"{self.name}: its cable is out")
        return super().read(since)

    def recover(self) -> None:
        if self.broken:
            raise DeviceLost(f"{self.name}: connect it anew")
        self.lost = False

    def __enter__(self) -> "Fragile":
        if self.cut:
            raise DeviceLost(f"{self.name}: its cable is still out")
        self.entered += 1
        self.lost = False
        return self


class Pedal:
    """Presses of something whose rows are stamped 1, 2, 3, ... in a take of 20 ticks a second."""

    stream = "gauge"

    def __init__(self, *presses: tuple[int, Press]) -> None:
        self._presses = list(presses)
        self.heard: list[int] = []

    def hear(self, rows: Rows) -> list[Press]:
        self.heard += rows["t"].tolist()
        due = [press for t, press in self._presses if len(rows) and rows["t"][-1] >= t]
        self._presses = self._presses[len(due) :]
        return due


class Aligning(Steady):
    """Drives to 0.2 and is done there."""

    status = "aligning, 3.2 deg"

    def act(self, seen: Observation) -> Row | None:
        target = super().act(seen)
        if target is not None:
            target["q"] = 0.2
        return target

    def done(self, seen: Observation) -> bool:
        return bool(abs(seen.streams["arm"][-1]["q"][0] - 0.2) < 1e-9)


class Aligned(Steady):
    """Needs the robot somewhere before it begins."""

    def __init__(self, action: np.dtype[np.void], first: Aligning) -> None:
        super().__init__(action)
        self.approach = first


class Endless(Aligning):
    def done(self, seen: Observation) -> bool:
        return False


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    bench = station.load(write(tmp_path, CELL + BLIND + LIMITS))
    with sitting(bench, known(tmp_path), tmp_path, operator="ada") as session:
        yield session


@contextmanager
def table(folder: Path) -> Generator[tuple[Session, Fragile]]:
    """A sitting at a table where people set the scene."""
    cell = station.load(write(folder, HERE + LIMITS))
    with sitting(cell, known(folder), folder, operator="ada") as session:
        arm = cell.drivers["arm"]
        assert isinstance(arm, Fragile)
        yield session, arm


def run(session: Session, agent: Steady | None = None, **more: Any) -> Episode:
    agent = agent or Steady(session.loop.robot.action)
    made = session.run(agent, "vr", REACH, 1, lambda _seen: False, **more)
    return Episode(session.root / session.catalog.episode(made).path)


def test_a_press_on_a_device_ends_a_take_and_is_on_record_with_its_moment(session: Session) -> None:
    session.sources = [Pedal((4, (Event.TAG_2,)), (8, (Event.START, Event.AGAIN)))]
    episode = run(session)
    assert session.ended is Event.AGAIN
    assert episode.attributes["ended_by"] == "stopped"
    (first, tag), (second, end) = episode.attributes["marks"]
    assert (tag, end) == ("tag_2", "again")
    assert (first, second) == (pytest.approx(200_000_000, abs=6e7), pytest.approx(400_000_000, abs=6e7))


@pytest.mark.parametrize(("event", "ended_by"), [(Event.SUCCESS, "done"), (Event.STOP, "stopped")])
def test_how_a_take_ended_is_what_was_pressed(session: Session, event: Event, ended_by: str) -> None:
    session.sources = [Pedal((4, (event,)))]
    assert run(session).attributes["ended_by"] == ended_by
    assert session.state is State.REVIEW


def test_what_is_pressed_while_a_take_is_prepared_ends_it_before_the_robot_moves(session: Session) -> None:
    session.events.put(Event.STOP)
    agent = Steady(session.loop.robot.action)
    assert run(session, agent).attributes["ended_by"] == "stopped"
    assert (session.ended, agent.acted) == (Event.STOP, 0)


def test_the_robot_is_brought_to_where_the_take_begins_and_that_is_not_recorded(session: Session) -> None:
    action = session.loop.robot.action
    first = Aligning(action)
    episode = run(session, Aligned(action, first))
    assert first.acted > 0
    assert episode["arm", "q"][0, 0] == pytest.approx(0.2)
    assert len(episode["ticks", "t"]) == 20


@pytest.mark.parametrize("pressed", [True, False])
def test_where_it_cannot_be_brought_no_take_begins_and_it_is_said_why(
    session: Session, pressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.session.APPROACH", 1.0)
    session.sources = [Pedal((4, (Event.STOP,)))] if pressed else []
    action = session.loop.robot.action
    why = "stop was pressed" if pressed else "it ended as timeout"
    with pytest.raises(NotThere, match=f"{why}, at: aligning, 3.2 deg"):
        run(session, Aligned(action, Endless(action)))
    assert session.state is State.READY
    assert session.catalog.find(Wanted()) == []


def test_between_takes_presses_are_heard_and_a_cable_that_is_out_is_told(tmp_path: Path) -> None:
    with table(tmp_path) as (session, arm):
        pedal = Pedal((0, (Event.START,)))
        pedal.stream = "pedal"
        session.sources = [pedal]
        assert session.listen() == ""
        assert session.events.take() is Event.START
        assert pedal.heard[0] > session.loop.clock.now() - 2_000_000_000
        arm.lost = True
        assert session.listen() == "arm: its cable is out"


def test_what_is_lost_is_mended_in_the_way_it_can_be(tmp_path: Path) -> None:
    with table(tmp_path) as (_, arm):
        assert (mend([arm], 0), arm.entered) == ("", 1)
        arm.lost = True
        assert (mend([arm], 0), arm.lost, arm.entered) == ("", False, 1)
        arm.lost = arm.broken = True
        assert (mend([arm], 0), arm.lost, arm.entered) == ("", False, 2)


def test_no_take_begins_while_something_is_lost_and_the_person_is_told_what(tmp_path: Path) -> None:
    with table(tmp_path) as (session, arm):
        assert session.station is not None
        place = Place(session.loop.robot, session.station.drivers, 100, session.events)
        told: list[str] = []
        sitting_ = Attended(session, place, "vr", [Offer(REACH, 1)], limit=0.2, tell=told.append)
        sitting_.make = lambda _way, here: Steady(here.robot.action)
        arm.lost = arm.broken = arm.cut = True

        def person() -> None:
            until(lambda: "START" in sitting_.view.asks)
            session.events.put(Event.START)
            until(lambda: told)
            assert sitting_.view.trouble == "arm: its cable is out"
            arm.cut = False
            session.events.put(Event.START)
            until(lambda: "How did it go" in sitting_.view.asks)
            session.events.put(Event.SUCCESS)

        thread = threading.Thread(target=person)
        thread.start()
        assert sitting_.run()
        thread.join()
        assert told[0] == "no take begins: arm: its cable is still out"
        assert [row.row.ended_by for row in session.catalog.find(Wanted())] == ["timeout"]


def test_a_scene_that_a_person_sets_is_on_record_and_left_to_them(tmp_path: Path) -> None:
    with table(tmp_path) as (session, _):
        session.set_by_hand = True
        assert run(session, condition={"cube": "left"}).attributes["condition"] == {"cube": "left"}


class Interrupting(Steady):
    """Somebody who presses Ctrl-C at some ticks."""

    def __init__(self, action: np.dtype[np.void], *ticks: int) -> None:
        super().__init__(action)
        self._ticks = ticks

    def act(self, seen: Observation) -> Row | None:
        if self.acted in self._ticks:
            os.kill(os.getpid(), signal.SIGINT)
        return super().act(seen)


def test_the_first_ctrl_c_of_a_take_ends_the_take_and_one_without_a_take_the_sitting(session: Session) -> None:
    action = session.loop.robot.action
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background may be deaf to it
    with interrupts(session):
        for _ in range(2):
            assert run(session, Interrupting(action, 5)).attributes["ended_by"] == "stopped"
            assert (session.ended, session.stop.is_set()) == (Event.STOP, False)
            session.later()
        os.kill(os.getpid(), signal.SIGINT)
        assert session.stop.is_set()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_in_the_same_take_stops_the_sitting(session: Session) -> None:
    class Twice(Interrupting):
        def act(self, seen: Observation) -> Row | None:
            target = super().act(seen)
            if self.acted == 6:
                os.kill(os.getpid(), signal.SIGINT)
            return target

    with interrupts(session):
        episode = run(session, Twice(session.loop.robot.action, 5))
    assert episode.attributes["ended_by"] == "stopped"
    assert session.stop.is_set()
