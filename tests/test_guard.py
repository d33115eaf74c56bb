"""Nothing that breaks a limit reaches the motors."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers import Clock, DeviceLost, Guard, HostClock, Limits, Refused, Row, StepClock, row_type
from tests.toy import JOINTS, Gantry, SimRobot

MS = 1_000_000
LIMITS = Limits(
    low=(-1.0,) * JOINTS,
    high=(1.0,) * JOINTS,
    speed=(2.0,) * (JOINTS - 1) + (4.0,),
    box_low=(-0.5, -0.5, -0.5),
    box_high=(0.5, 0.5, 0.5),
    width=(0.01, 0.07),
)
FREE = replace(LIMITS, box_low=(-np.inf,) * 3, box_high=(np.inf,) * 3)


class Witness(SimRobot):
    """A toy arm with fingers that remembers what it was told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.action = row_type(("q", "<f8", (JOINTS,)), ("width", "<f8"))
        self.told: list[Row] = []
        self.holds = 0
        self.held = threading.Event()

    def command(self, target: Row) -> None:
        super().command(target)
        self.told.append(target.copy())

    def hold(self) -> None:
        super().hold()
        self.holds += 1
        self.held.set()


@pytest.fixture
def clock() -> StepClock:
    clock = StepClock()
    clock.sleep_until(100 * MS)
    return clock


@pytest.fixture
def arm(clock: StepClock) -> Witness:
    return Witness(clock)


@pytest.fixture
def guard(arm: Witness, clock: StepClock) -> Iterator[Guard]:
    with Guard(arm, LIMITS, clock) as guard:
        yield guard


@pytest.fixture
def free(arm: Witness, clock: StepClock) -> Iterator[Guard]:
    """No walls, only joints."""
    with Guard(arm, FREE, clock) as guard:
        yield guard


def target(q: object, width: float = 0.05) -> Row:
    row = np.zeros(1, row_type(("q", "<f8", (JOINTS,)), ("width", "<f8")))
    row["q"], row["width"] = q, width
    return row[0]  # type: ignore[no-any-return]  # a row of a structured array


def follow(guard: Guard, clock: Clock, q: object, ticks: int, width: float = 0.05) -> None:
    for _ in range(ticks):
        clock.sleep_until(clock.now() + 20 * MS)
        guard.read(clock.now() - 20 * MS)
        guard.command(target(q, width))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["q", "width"])
def test_what_is_not_a_number_is_refused_and_the_robot_holds(
    guard: Guard, arm: Witness, clock: StepClock, bad: float, field: str
) -> None:
    follow(guard, clock, 0.4, ticks=5)
    told, holds = len(arm.told), arm.holds
    row = target(0.4)
    if field == "q":
        row["q"][3] = bad
    else:
        row["width"] = bad
    with pytest.raises(Refused, match=f"{field} must be finite"):
        guard.command(row)
    assert len(arm.told) == told
    assert arm.holds > holds


def test_a_target_of_the_wrong_shape_is_refused_and_the_robot_holds(guard: Guard, arm: Witness) -> None:
    wrong = np.zeros(1, row_type(("q", "<f8", (6,)), ("width", "<f8")))
    with pytest.raises(Refused, match="must be laid out as"):
        guard.command(wrong[0])
    assert arm.told == []
    assert arm.holds


def test_joints_stop_at_their_limits(free: Guard, arm: Witness, clock: StepClock) -> None:
    follow(free, clock, 5.0, ticks=100)
    assert arm.told[-1]["q"] == pytest.approx(np.full(JOINTS, 1.0))
    follow(free, clock, -5.0, ticks=100)
    assert arm.told[-1]["q"] == pytest.approx(np.full(JOINTS, -1.0))


def test_no_joint_is_sent_faster_than_its_own_speed(free: Guard, arm: Witness, clock: StepClock) -> None:
    follow(free, clock, 0.9, ticks=30)
    sent = np.array([np.zeros(JOINTS), *(row["q"] for row in arm.told)])
    steps = np.diff(sent, axis=0) / 0.02
    assert steps[:, 0].max() == pytest.approx(2.0)
    assert steps[:, -1].max() == pytest.approx(4.0)


def test_the_first_command_moves_from_where_the_robot_is(free: Guard, arm: Witness, clock: StepClock) -> None:
    arm._q = arm._target = np.full(JOINTS, 0.7)
    follow(free, clock, 0.0, ticks=1)
    assert arm.told[0]["q"][0] == pytest.approx(0.7 - 2.0 * 0.02)


def test_after_a_hold_it_starts_again_from_where_the_robot_is(free: Guard, arm: Witness, clock: StepClock) -> None:
    follow(free, clock, 0.9, ticks=10)
    free.hold()
    stands = arm.read(clock.now() - 20 * MS)["q"][-1][0]
    follow(free, clock, 0.9, ticks=1)
    assert abs(arm.told[-1]["q"][0] - stands) <= 2.0 * 0.02 + 1e-9


def test_a_long_pause_does_not_buy_a_long_jump(arm: Witness, clock: StepClock) -> None:
    patient = Guard(arm, replace(FREE, watchdog=100.0), clock)
    follow(patient, clock, 0.0, ticks=1)
    clock.sleep_until(clock.now() + 5000 * MS)
    patient.command(target(0.9))
    assert arm.told[-1]["q"][0] == pytest.approx(2.0 * 0.1)


def test_without_knowing_where_the_robot_is_nothing_moves(arm: Witness, clock: StepClock) -> None:
    early = StepClock()
    blind = Guard(arm, LIMITS, early)
    early.sleep_until(50_000 * MS)
    with pytest.raises(Refused, match="nobody knows where it stands"):
        blind.command(target(0.1))
    assert arm.told == []


def test_a_robot_that_does_not_know_where_it_stands_is_sent_nowhere(guard: Guard, arm: Witness) -> None:
    arm._q = np.full(JOINTS, np.nan)
    with pytest.raises(Refused, match="q must be finite"):
        guard.command(target(0.1))
    assert arm.told == []
    assert arm.holds


def test_the_tool_never_leaves_its_box(guard: Guard, arm: Witness, clock: StepClock) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        follow(guard, clock, random.uniform(-1, 1, JOINTS), ticks=20)
    sent = np.array([row["q"][:3] for row in arm.told])
    assert np.abs(sent).max() <= 0.5
    assert np.abs(sent).max() > 0.499, "it never came near the wall"


def test_along_a_wall_it_slides(guard: Guard, arm: Witness, clock: StepClock) -> None:
    follow(guard, clock, [0.9, 0.0, 0.0, 0.0, 0, 0, 0], ticks=30)
    follow(guard, clock, [0.9, 0.4, 0.0, 0.2, 0, 0, 0], ticks=30)
    assert arm.told[-1]["q"][:2] == pytest.approx([0.5, 0.4], abs=2e-3)


def test_an_inverse_that_errs_does_not_carry_the_tool_out(arm: Witness, clock: StepClock) -> None:
    """Finding joints for the point on the wall is best effort; what it finds is checked again."""

    class Sloppy(Gantry):
        def joints(self, near: NDArray[np.float64], tool: NDArray[np.float64]) -> NDArray[np.float64]:
            return super().joints(near, tool) + 0.1

    arm.kinematics = Sloppy()
    follow(Guard(arm, LIMITS, clock), clock, [0.9, 0, 0, 0, 0, 0, 0], ticks=40)
    sent = np.array([row["q"][:3] for row in arm.told])
    assert np.abs(sent).max() <= 0.5
    assert sent[-1][0] > 0.49, "it stopped before the wall"


def test_an_inverse_that_fails_leaves_the_robot_holding(guard: Guard, arm: Witness, clock: StepClock) -> None:
    class Failing(Gantry):
        def joints(self, near: NDArray[np.float64], tool: NDArray[np.float64]) -> NDArray[np.float64]:
            raise np.linalg.LinAlgError("it does not converge")

    follow(guard, clock, [0.45, 0, 0, 0, 0, 0, 0], ticks=20)
    arm.kinematics = Failing()
    holds = arm.holds
    with pytest.raises(np.linalg.LinAlgError):
        follow(guard, clock, [0.9, 0, 0, 0, 0, 0, 0], ticks=20)
    assert arm.holds > holds


def test_from_outside_its_box_it_may_only_come_back(guard: Guard, arm: Witness, clock: StepClock) -> None:
    arm._q = arm._target = np.array([0.8, 0, 0, 0, 0, 0, 0])
    follow(guard, clock, [0.9, 0, 0, 0, 0, 0, 0], ticks=5)
    assert max(row["q"][0] for row in arm.told) == pytest.approx(0.8)
    follow(guard, clock, [0.0, 0, 0, 0, 0, 0, 0], ticks=50)
    assert arm.told[-1]["q"][0] == pytest.approx(0.0)


@pytest.mark.parametrize(("asked", "sent"), [(0.5, 0.07), (-0.5, 0.01), (0.03, 0.03)])
def test_the_fingers_keep_their_limits(guard: Guard, arm: Witness, clock: StepClock, asked: float, sent: float) -> None:
    follow(guard, clock, 0.0, ticks=1, width=asked)
    assert arm.told[-1]["width"] == pytest.approx(sent)


def test_when_commands_stop_the_robot_holds_at_the_next_read(guard: Guard, arm: Witness, clock: StepClock) -> None:
    follow(guard, clock, 0.4, ticks=3)
    clock.sleep_until(clock.now() + 240 * MS)
    guard.read(clock.now())
    assert arm.holds == 0
    clock.sleep_until(clock.now() + 20 * MS)
    guard.read(clock.now())
    assert arm.holds == 1
    guard.read(clock.now())
    assert arm.holds == 1, "once is enough"


def test_on_the_hosts_clock_it_holds_without_being_read() -> None:
    arm = Witness(clock := HostClock())
    arm._rows = np.zeros(1, arm.dtype)
    arm._rows["t"] = clock.now()
    with Guard(arm, replace(LIMITS, watchdog=0.02), clock) as guard:
        guard.read(clock.now())
        guard.command(target(0.0))
        assert arm.held.wait(timeout=30)
    assert not [thread for thread in threading.enumerate() if "watchdog" in thread.name]


def test_a_hold_that_fails_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    class Deaf(Witness):
        deaf = True

        def hold(self) -> None:
            super().hold()
            if self.deaf:
                raise DeviceLost("arm: no answer")

    arm = Deaf(clock := HostClock())
    with Guard(arm, replace(LIMITS, watchdog=0.02), clock) as guard:
        for _ in range(2):
            arm._rows = np.zeros(1, arm.dtype)
            arm._rows["t"] = clock.now()
            arm.held.clear()
            guard.command(target(0.0))
            assert arm.held.wait(timeout=30)
        arm.deaf = False
    assert "arm was not commanded any more, and cannot hold: arm: no answer" in caplog.text


def test_hold_works_from_any_thread_and_twice(guard: Guard, arm: Witness, clock: StepClock) -> None:
    follow(guard, clock, 0.4, ticks=3)
    threads = [threading.Thread(target=guard.hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert arm.holds == 4


def test_leaving_holds(arm: Witness, clock: StepClock) -> None:
    with Guard(arm, LIMITS, clock) as guard:
        follow(guard, clock, 0.4, ticks=3)
    assert arm.holds


def test_a_robot_that_is_gone_is_told_to_hold_and_the_loss_is_passed_on(
    guard: Guard, arm: Witness, clock: StepClock
) -> None:
    arm.lost = True
    with pytest.raises(DeviceLost):
        guard.command(target(0.0))
    assert arm.holds


def test_a_clock_that_starts_again_does_not_confuse_it(guard: Guard, arm: Witness, clock: StepClock) -> None:
    follow(guard, clock, 0.4, ticks=3)
    clock.restart()
    arm._rows = np.zeros(0, arm.dtype)
    arm._q = arm._target = np.full(JOINTS, 0.2)
    follow(guard, clock, 0.4, ticks=3)
    assert arm.told[-3]["q"][0] == pytest.approx(0.24)
    assert np.diff([row["q"][0] for row in arm.told[-3:]]) == pytest.approx([0.04, 0.04])
