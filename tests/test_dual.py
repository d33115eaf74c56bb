"""Two arms as one robot: two emulated followers, two Frankas of the twin, two toys."""

from collections.abc import Callable

import numpy as np
import pytest

from drivers import Clock, DeviceError, DeviceLost, Overrun, StepClock, row_type, sensed
from drivers.dual import Dual
from drivers.twin.table import Arm
from drivers.twin.world import World
from tests.dynamixel import arm, positions, torque
from tests.toy import SimRobot

MS = 1_000_000


def followers(clock: Clock) -> Dual:
    return Dual("arms", arm(clock, "left")[0], arm(clock, "right")[0])


def frankas(clock: Clock) -> Dual:
    left, right = (Arm(World(clock, (8, 8), 20, 100)) for _ in range(2))
    return Dual("arms", left, right)


def toys(clock: Clock) -> Dual:
    return Dual("arms", SimRobot(clock), SimRobot(clock))


PAIRS = [followers, frankas, toys]


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


def test_two_frankas_have_fourteen_joints_and_two_tools(clock: StepClock) -> None:
    robot = frankas(clock)
    assert robot.action == row_type(("q", "<f8", (14,)), ("width", "<f8", (2,)))
    assert robot.dtype["tool"].shape == (14,)
    assert robot.dtype.names is not None
    assert robot.dtype.names[:4] == ("t", "received", "seq", "age")


@pytest.mark.parametrize("make", PAIRS)
def test_each_arm_gets_its_half_and_rows_show_both(make: Callable[[Clock], Dual], clock: StepClock) -> None:
    with make(clock) as robot:
        clock.sleep_until(50 * MS)
        rest = robot.read(0)["q"][-1]
        wanted = rest + np.repeat([0.1, -0.1], len(rest) // 2)
        for _ in range(60):
            row = np.zeros(1, robot.action)
            row["q"] = wanted
            if "width" in (robot.action.names or ()):
                row["width"] = [0.02, 0.06]
            robot.command(row[0])
            clock.sleep_until(clock.now() + 20 * MS)
        last = robot.read(clock.now() - 100 * MS)[-1]
        assert last["q_target"] == pytest.approx(wanted)
        assert last["q"] == pytest.approx(wanted, abs=0.02)
        if "width" in (robot.action.names or ()):
            assert last["width"] == pytest.approx([0.02, 0.06], abs=2e-3)
        left, right = (each.read(last["t"] - 1)[0] for each in robot.arms.values())
        for name in set(left.dtype.names) - {"t", "received", "seq"}:
            np.testing.assert_array_equal(last[name], np.append(left[name], right[name]))


@pytest.mark.parametrize("make", [followers, frankas])
def test_the_tools_of_both_are_where_each_arm_says(make: Callable[[Clock], Dual], clock: StepClock) -> None:
    robot = make(clock)
    q = np.concatenate([np.full(n := robot.dtype["q"].shape[0] // 2, 0.2), np.full(n, -0.3)])
    q[3::n] = -0.5
    tool = robot.kinematics.tool(q)
    assert tool[:7] == pytest.approx(robot.left.kinematics.tool(q[:n]))
    assert tool[7:] == pytest.approx(robot.right.kinematics.tool(q[n:]))
    if make is followers:
        assert robot.kinematics.tool(robot.kinematics.joints(q + 0.05, tool)) == pytest.approx(tool, abs=1e-3)


def test_rows_pair_with_the_newest_that_is_not_after_once_that_is_certain(clock: StepClock) -> None:
    robot = Dual("arms", SimRobot(clock, hz=100), SimRobot(clock, hz=30))
    clock.sleep_until(500 * MS)
    rows = robot.read(100 * MS)
    right = robot.right.read(0)["t"]
    assert rows["t"][-1] == 490 * MS, "which is not certain until the right arm has a row at 500 ms"
    assert (rows["age"] == [t - right[right <= t].max() for t in rows["t"]]).all()
    assert 30 * MS < rows["age"].max() < 34 * MS
    assert (np.diff(rows["seq"]) == 1).all()
    clock.sleep_until(800 * MS)
    np.testing.assert_array_equal(rows, robot.read(100 * MS)[: len(rows)])


def test_an_arm_that_lags_far_behind_is_lost(clock: StepClock) -> None:
    robot = Dual("arms", SimRobot(clock, hz=100), SimRobot(clock, hz=2))
    clock.sleep_until(720 * MS)
    with pytest.raises(DeviceLost, match=r"arms, right: its rows are 0.2. s behind the other arm's"):
        robot.read(0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_losing_one_arm_is_losing_both_and_both_hold(side: str, clock: StepClock) -> None:
    (one, bus), (two, other) = arm(clock, "left"), arm(clock, "right")
    buses = {"left": bus, "right": other}
    with Dual("arms", one, two) as robot:
        for tick in range(1, 26):
            row = np.zeros(1, robot.action)
            row["q"] = 0.02 * tick
            robot.command(row[0])
            clock.sleep_until(clock.now() + 20 * MS)
        row["q"] = 1.2
        robot.command(row[0])
        buses[side].kill(6)
        clock.sleep_until(clock.now() + 20 * MS)
        with pytest.raises(DeviceLost, match=f"arms, {side}: {side}: servo 6 no longer answers"):
            robot.read(clock.now() - 15 * MS)
        clock.sleep_until(clock.now() + 300 * MS)
        stood = [positions(each)[:6] for each in buses.values()]
        assert np.max(stood) < 2048 + 0.6 * 4096 / 6.3, "one went on"
        clock.sleep_until(clock.now() + 500 * MS)
        assert [positions(each)[:6] for each in buses.values()] == stood
        buses[side].revive()
        for call in (lambda: robot.read(0), lambda: robot.command(row[0])):
            with pytest.raises(DeviceLost, match="servo 6 no longer answers"):
                call()
    assert not any(torque(bus).values())
    assert not any(torque(other).values())


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_pairs_rows_before_a_loss_come_with_it(side: str, clock: StepClock) -> None:
    (one, bus), (two, other) = arm(clock, "left"), arm(clock, "right")
    with Dual("arms", one, two) as robot:
        clock.sleep_until(200 * MS)
        rows = robot.read(0)
        clock.sleep_until(230 * MS)
        {"left": bus, "right": other}[side].kill(6)
        clock.sleep_until(260 * MS)
        for _ in range(2):
            with pytest.raises(DeviceLost, match="servo 6") as lost:
                robot.read(int(rows["t"][-1]))
            last = lost.value.last
            assert last is not None
            assert last.dtype == robot.dtype
            assert len(last) >= 1
            assert (np.diff(np.append(rows["seq"], last["seq"])) == 1).all()


def test_an_arm_that_comes_back_is_not_taken_on_unasked(clock: StepClock) -> None:
    robot = toys(clock)
    with robot:
        clock.sleep_until(100 * MS)
        robot.right.lost = True  # type: ignore[attr-defined]  # a toy whose cable can be pulled
        with pytest.raises(DeviceLost, match="arms, right: arm: no answer"):
            robot.read(0)
        robot.right.lost = False  # type: ignore[attr-defined]
        with pytest.raises(DeviceLost, match="no answer"):
            robot.read(0)
    with robot:
        assert len(robot.read(0))


def test_a_target_that_one_arm_refuses_moves_neither(clock: StepClock) -> None:
    (one, bus), (two, other) = arm(clock, "left"), arm(clock, "right")
    with Dual("arms", one, two) as robot:
        row = np.zeros(1, robot.action)
        row["q"] = np.append(np.full(6, 0.5), np.full(6, np.nan))
        with pytest.raises(DeviceError, match=r"arms, right: .*finite") as said:
            robot.command(row[0])
        assert not isinstance(said.value, DeviceLost)
        clock.sleep_until(500 * MS)
        assert positions(bus)[:6] == positions(other)[:6] == [2048] * 6
        row["q"] = 0.1
        robot.command(row[0])


def test_if_the_second_arm_cannot_be_entered_the_first_is_left(clock: StepClock) -> None:
    (one, bus), (two, other) = arm(clock, "left"), arm(clock, "right")
    other.kill(1)
    with pytest.raises(DeviceLost, match="servo 1"), Dual("arms", one, two):
        pass
    assert not any(torque(bus).values())
    assert not bus.taken


def test_if_one_arm_cannot_be_left_the_other_is_all_the_same(clock: StepClock) -> None:
    for broken in (0, 1):
        pair = arm(clock, "left"), arm(clock, "right")
        with pytest.raises(DeviceError, match="servo 4"), Dual("arms", pair[0][0], pair[1][0]):
            pair[broken][1].kill(4)
        assert not any(torque(pair[1 - broken][1]).values())


def test_arms_of_two_kinds_are_refused(clock: StepClock) -> None:
    with pytest.raises(ValueError, match="two arms of one kind"):
        Dual("arms", SimRobot(clock), arm(clock)[0])


def test_a_reader_that_falls_behind_is_told(clock: StepClock) -> None:
    with followers(clock) as robot:
        clock.sleep_until(3000 * MS)
        with pytest.raises(Overrun):
            robot.read(0)


def test_rows_and_stamps_are_laid_out_like_every_devices(clock: StepClock) -> None:
    robot = toys(clock)
    assert robot.dtype == sensed(("age", "<i8"), ("q", "<f8", (14,)), ("q_target", "<f8", (14,)))
