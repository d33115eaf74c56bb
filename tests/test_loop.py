"""However a take ends, the robot is holding, and everything seen until then is kept."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors import Conveyor, Ended, Loop, RecorderProcess, RecordingFailed, Teleop
from collectors.process import room
from drivers import (
    Clock,
    DeviceLost,
    Guard,
    HostClock,
    Limits,
    Row,
    Rows,
    StepClock,
    newest,
    sensed,
    telling_last,
)
from storage import Episode, EpisodeWriter, Jpeg, Lossless, Observation
from tests.toy import JOINTS, SimCamera, SimOperator, SimRobot

LIMITS = Limits(low=(-1.0,) * JOINTS, high=(1.0,) * JOINTS, speed=(2.0,) * JOINTS)


class Kept:
    """A sink that keeps everything in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Rows]] = {}

    def append(self, stream: str, rows: Rows) -> None:
        self.rows.setdefault(stream, []).append(rows)

    def __getitem__(self, stream: str) -> Rows:
        return np.concatenate(self.rows[stream])


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
def arm(clock: StepClock) -> SimRobot:
    return SimRobot(clock)


@pytest.fixture
def camera(clock: StepClock) -> SimCamera:
    return SimCamera("wrist", clock)


@pytest.fixture
def loop(clock: StepClock, arm: SimRobot, camera: SimCamera) -> Loop:
    hand = SimOperator(clock, path=lambda s: min(s, 0.8))
    return Loop(Guard(arm, LIMITS, clock), [camera, hand], clock, hz=50)


@pytest.fixture
def person(arm: SimRobot) -> Teleop:
    return Teleop("hand", arm.action)


def never(_seen: object) -> bool:
    return False


def assert_still(arm: SimRobot, clock: StepClock) -> None:
    now = clock.now()
    clock.sleep_until(now + 1_000_000_000)
    later = arm.read(now)["q"]
    assert later == pytest.approx(np.broadcast_to(later[0], later.shape)), "the arm went on moving"


def test_it_ends_when_it_is_done_and_the_robot_holds(
    loop: Loop, person: Teleop, arm: SimRobot, clock: StepClock
) -> None:
    ended = loop.run(person, "", Kept(), 3, done=lambda seen: seen.t >= 1_000_000_000)
    assert (ended, clock.now()) == (Ended.DONE, 1_000_000_000)
    assert_still(arm, clock)


def test_it_ends_when_time_is_up_and_the_robot_holds(
    loop: Loop, person: Teleop, arm: SimRobot, clock: StepClock
) -> None:
    kept = Kept()
    assert loop.run(person, "", kept, 2, never) is Ended.TIMEOUT
    assert len(kept["ticks"]) == 100
    assert kept["ticks"]["late"].max() == 0
    assert_still(arm, clock)


def test_losing_a_device_ends_the_take_and_holds_the_robot_and_the_log_says_which(
    loop: Loop,
    person: Teleop,
    arm: SimRobot,
    camera: SimCamera,
    clock: StepClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def pull_the_plug(seen: Observation) -> bool:
        camera.lost = seen.t >= 1_000_000_000
        return False

    assert loop.run(person, "", Kept(), 3, pull_the_plug) is Ended.FAULT
    assert clock.now() == 1_020_000_000
    assert "DeviceLost: wrist: no answer" in caplog.text
    assert_still(arm, clock)


class Braking(SimRobot):
    """An arm that is lost at a moment, between two ticks, and knows its rows until then; it notes when it holds."""

    def __init__(self, clock: StepClock, told: list[str]) -> None:
        super().__init__(clock)
        self._told, self.brakes = told, 1_015_000_000

    def read(self, since: int) -> Rows:
        rows = super().read(since)
        if self._clock.now() < self.brakes:
            return rows
        with telling_last(lambda _since: rows, since):
            raise DeviceLost("arm: it braked")

    def hold(self) -> None:
        self._told.append("hold")
        super().hold()


class Telling(Kept):
    """Notes when rows come."""

    def __init__(self, told: list[str]) -> None:
        super().__init__()
        self._told = told

    def append(self, stream: str, rows: Rows) -> None:
        self._told.append(stream)
        super().append(stream, rows)


@pytest.mark.parametrize("robot", [True, False])
def test_the_rows_before_a_loss_are_recorded_once_the_robot_holds(
    clock: StepClock, camera: SimCamera, robot: bool
) -> None:
    """Whichever device is lost: of all of them. The row of 1.02 s is the first that the arm's tick did not see."""
    told: list[str] = []
    arm, kept = Braking(clock, told), Telling(told)
    if not robot:
        arm.brakes = 10**18
    hand = SimOperator(clock, path=lambda s: min(s, 0.8))

    def pull_the_plug(seen: Observation) -> bool:
        camera.lost = not robot and seen.t >= 1_000_000_000
        return False

    loop = Loop(arm, [hand, camera], clock, hz=50)
    assert loop.run(Teleop("hand", arm.action), "", kept, 3, pull_the_plug) is Ended.FAULT
    assert clock.now() == 1_020_000_000
    held = told.index("hold")
    assert told[:held].count("arm") == (50 if robot else 51)
    assert "arm" in told[held:]
    assert "hand" in told[held:]
    for stream, period in (("arm", 10_000_000), ("hand", round(1e9 / 60))):
        stamps = kept[stream]["t"]
        assert stamps[-1] > clock.now() - period
        assert (np.diff(stamps) == period).all(), "rows are missing, or there twice"


def test_a_command_that_finds_the_robot_lost_does_not_lose_its_rows(clock: StepClock) -> None:
    class Late(SimRobot):
        def command(self, target: Row) -> None:
            if self._clock.now() >= 1_000_000_000:
                self._clock.sleep_until(self._clock.now() + 10_000_000)
                raise DeviceLost("arm: it braked")
            super().command(target)

    arm, kept = Late(clock), Kept()
    loop = Loop(arm, [SimOperator(clock, path=lambda s: min(s, 0.8))], clock, hz=50)
    assert loop.run(Teleop("hand", arm.action), "", kept, 3, never) is Ended.FAULT
    assert kept["arm"]["t"][-1] == 1_010_000_000


def test_a_recorder_that_fails_with_the_last_rows_leaves_the_loss_as_what_ended_the_take(clock: StepClock) -> None:
    told: list[str] = []
    said: list[str] = []

    class Full(Telling):
        def append(self, stream: str, rows: Rows) -> None:
            if "hold" in told:
                raise RecordingFailed("the disk is full")
            super().append(stream, rows)

    arm = Braking(clock, told)
    loop = Loop(arm, [SimOperator(clock, path=lambda s: min(s, 0.8))], clock, hz=50)
    assert loop.run(Teleop("hand", arm.action), "", Full(told), 3, never, said.append) is Ended.FAULT
    assert said == ["DeviceLost: arm: it braked"]


def test_a_device_that_never_gives_a_row_ends_the_take(
    loop: Loop, person: Teleop, clock: StepClock, caplog: pytest.LogCaptureFixture
) -> None:
    asleep = SimCamera("front", clock, hz=0.01)
    loop = replace(loop, watching=[asleep, *loop.watching])
    assert loop.run(person, "", Kept(), 60, never) is Ended.FAULT
    assert clock.now() == pytest.approx(1_000_000_000, abs=40_000_000)
    assert "front: no row within 1.0 s" in caplog.text


def test_a_target_that_is_not_a_number_ends_the_take_and_is_on_record(
    loop: Loop, arm: SimRobot, clock: StepClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Confused(Teleop):
        def act(self, seen: Observation) -> Row | None:
            target = super().act(seen)
            if target is not None and seen.t > 1_000_000_000:
                target["q"][2] = np.nan
            return target

    kept = Kept()
    assert loop.run(Confused("hand", arm.action), "", kept, 3, never) is Ended.FAULT
    assert np.isnan(kept["action"]["q"][-1][2])
    assert "Refused" in caplog.text
    assert_still(arm, clock)


def test_an_interrupt_leaves_the_robot_holding(loop: Loop, person: Teleop, arm: SimRobot, clock: StepClock) -> None:
    def interrupt(seen: Observation) -> bool:
        if seen.t >= 500_000_000:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        loop.run(person, "", Kept(), 3, interrupt)
    assert_still(arm, clock)


def test_an_agent_that_stays_holds_the_robot(loop: Loop, arm: SimRobot, clock: StepClock) -> None:
    class Idle(Teleop):
        def act(self, seen: Observation) -> Row | None:
            return None

    kept = Kept()
    assert loop.run(Idle("hand", arm.action), "", kept, 1, never) is Ended.TIMEOUT
    assert "action" not in kept.rows
    assert np.abs(kept["arm"]["q"]).max() == 0


def test_every_device_is_recorded_on_its_own_clock(loop: Loop, person: Teleop) -> None:
    kept = Kept()
    loop.run(person, "", kept, 2.5, never)
    assert sorted(kept.rows) == ["action", "arm", "hand", "ticks", "wrist"]
    assert len(kept["arm"]) == pytest.approx(250, abs=2)
    assert len(kept["wrist"]) == pytest.approx(75, abs=2)
    for stream in kept.rows:
        assert (np.diff(kept[stream]["t"]) > 0).all(), stream
        assert kept[stream].dtype == loop.streams()[stream]


def test_what_was_asked_and_what_was_applied_are_both_kept(loop: Loop, person: Teleop, clock: StepClock) -> None:
    """The hand asks for 2 rad; the guard lets 1 rad through; the record shows both."""
    kept = Kept()
    replace(loop, watching=[SimOperator(clock, path=lambda _s: 2.0)]).run(person, "", kept, 2, never)
    assert kept["action"]["q"].max() == pytest.approx(2.0)
    assert kept["arm"]["q_target"].max() == pytest.approx(1.0)


def test_a_full_disk_ends_the_take_and_holds_the_robot(
    loop: Loop, person: Teleop, arm: SimRobot, clock: StepClock
) -> None:
    class FullDisk:
        def append(self, stream: str, rows: Rows) -> None:
            raise OSError(28, "No space left on device")

    recorder = Conveyor(FullDisk())
    with pytest.raises(RecordingFailed), recorder:
        assert loop.run(person, "", recorder, 60, never) is Ended.FAULT
    assert_still(arm, clock)


def test_a_disk_that_cannot_keep_up_ends_the_take_and_keeps_what_it_was_given(
    loop: Loop, person: Teleop, arm: SimRobot, clock: StepClock
) -> None:
    """No row is dropped to keep up: the rows that were accepted are all there, in order, and then the take ends."""

    class SlowDisk(Kept):
        def __init__(self) -> None:
            super().__init__()
            self.free = threading.Event()

        def append(self, stream: str, rows: Rows) -> None:
            self.free.wait()
            super().append(stream, rows)

    disk = SlowDisk()
    with Conveyor(disk, backlog=50) as recorder:
        assert loop.run(person, "", recorder, 60, never) is Ended.FAULT
        disk.free.set()
    assert clock.now() < 1_000_000_000
    assert disk["arm"]["t"].tolist() == [10_000_000 * i for i in range(1, len(disk["arm"]) + 1)]
    assert_still(arm, clock)


def test_a_conveyor_passes_everything_on_in_order() -> None:
    kept = Kept()
    rows = np.zeros(1, LAYOUT)
    with Conveyor(kept) as recorder:
        for t in range(1000):
            rows = np.zeros(1, LAYOUT)
            rows["t"] = t
            recorder.append("x", rows)
    assert kept["x"]["t"].tolist() == list(range(1000))


LAYOUT: np.dtype[Any] = np.dtype([("t", "<i8")])


def test_training_sees_exactly_what_the_agent_saw(loop: Loop, arm: SimRobot, tmp_path: Path) -> None:
    """Replaying the record gives the agent's own observations, row for row, and nothing later."""

    class Witness(Teleop):
        def __init__(self, action: np.dtype[np.void]) -> None:
            super().__init__("hand", action)
            self.saw: list[Observation] = []

        def act(self, seen: Observation) -> Row | None:
            self.saw.append(Observation(seen.t, {k: v.copy() for k, v in seen.streams.items()}))
            return super().act(seen)

    witness = Witness(arm.action)
    with EpisodeWriter(tmp_path, loop.streams(), {"task": "reach"}, Lossless()) as writer:
        with Conveyor(writer) as recorder:
            loop.run(witness, "reach the pose", recorder, 2, never)
        sealed = writer.seal()
    replayed = list(Episode(sealed.path).replay(loop.memory))
    assert len(replayed) == len(witness.saw) == 100
    for live, read in zip(witness.saw, replayed, strict=True):
        assert live.t == read.t
        for stream, rows in live.streams.items():
            for field in rows.dtype.names or ():
                np.testing.assert_array_equal(read.streams[stream][field], rows[field])


class Stopwatch(HostClock):
    """The host's clock, from when it was made."""

    def __init__(self) -> None:
        self._start = super().now()

    def now(self) -> int:
        return super().now() - self._start


class SimDepth(SimCamera):
    """A camera that sees in colour and how far away things are."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(name, clock, 30, (480, 640))
        self.dtype = sensed(("rgb", "u1", (480, 640, 3)), ("depth", "<u2", (480, 640)))

    def _fill(self, row: Row) -> None:
        super()._fill(row)
        row["depth"] = int(row["seq"]) % 5000


def test_a_whole_cell_in_real_time_loses_no_row(tmp_path: Path) -> None:
    """A robot at 1 kHz and two cameras of 640 x 480 at 30 Hz, one with depth, written by another program."""
    clock = Stopwatch()
    arm = SimRobot(clock, hz=1000)
    hand = SimOperator(clock, path=lambda s: 0.5 * np.sin(s))
    cell = Loop(arm, [SimCamera("front", clock, size=(480, 640)), SimDepth("wrist", clock), hand], clock, hz=30)
    with RecorderProcess(room(cell.streams(), cell.hz)) as recorder:
        recorder.begin(tmp_path, cell.streams(), {"demands": {"lost": 0.0}}, Jpeg())
        assert cell.run(Teleop("hand", arm.action), "", recorder, 3, never) is Ended.TIMEOUT
        episode = Episode(recorder.end({"ended_by": "timeout"}).path)
    rows = {stream: episode.columns(stream, ["seq"]) for stream in ("arm", "front", "wrist", "hand")}
    for stream, each in rows.items():
        assert (np.diff(each["seq"]) == 1).all(), stream
    ticks = episode.rows("ticks")
    assert len(ticks) == 90
    took = (ticks["t"][-1] + ticks["late"][-1] - ticks["t"][0]) / 1e9 + 1 / cell.hz
    assert took > 2.9
    assert len(rows["arm"]) == pytest.approx(1000 * took, abs=2)
    assert len(rows["front"]) == len(rows["wrist"]) == pytest.approx(30 * took, abs=2)
    assert episode.frames("wrist", "depth")[-1].min() == rows["wrist"]["seq"][-1] % 5000
    assert episode.attributes["grade"]["lost"] == 0
    assert episode.attributes["quarantine"] == ""


def test_the_agent_sees_the_newest_rows_of_every_device(loop: Loop, arm: SimRobot) -> None:
    ages = []

    class Curious(Teleop):
        def act(self, seen: Observation) -> Row | None:
            ages.extend([seen.t - int(row["t"]) for rows in seen.streams.values() if (row := newest(rows)) is not None])
            return super().act(seen)

    loop.run(Curious("hand", arm.action), "", Kept(), 2, never)
    assert min(ages) >= 0
    assert max(ages) < 34_000_000
