"""ALOHA's arms over the vendor's SDK, on emulated buses in stepped time: what works."""

from collections.abc import Callable

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, Overrun, StepClock
from drivers.dynamixel import Follower
from drivers.dynamixel import registers as at
from drivers.dynamixel.kinematics import Chain
from drivers.emulators.dynamixel import follower, plug, wire
from drivers.emulators.dynamixel.arm import RESTING
from tests.dynamixel import MS, arm, in_hand, moved, positions, target, torque


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


def test_an_arm_is_entered_where_it_lies_and_does_not_move(clock: StepClock) -> None:
    bus = follower(clock)
    with Follower("left", "memory", clock=clock, plug=plug(bus)):
        clock.sleep_until(1000 * MS)
        assert set(torque(bus).values()) == {1}
        assert positions(bus) == pytest.approx(RESTING, abs=4)


def test_the_arm_goes_where_it_is_told_and_says_so(clock: StepClock) -> None:
    robot, _ = arm(clock)
    with robot:
        wanted = np.array([0.3, -0.4, 0.5, -0.2, 0.1, 0.6])
        for _ in range(50):
            robot.command(target(wanted, 0.02))
            clock.sleep_until(clock.now() + 20 * MS)
        row = robot.read(clock.now() - 20 * MS)[-1]
    assert row["q"] == pytest.approx(wanted, abs=1e-3)
    assert row["q_target"] == pytest.approx(wanted)
    assert row["width"] == pytest.approx(0.02, abs=1e-4)
    assert row["tool"] == pytest.approx(robot.kinematics.tool(row["q"]))
    assert row["tool_target"] == pytest.approx(robot.kinematics.tool(wanted))


def test_both_servos_of_a_joint_share_the_way(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        moved(robot, clock, 0.5)
        goals = {id_: bus[id_].get(at.GOAL_POSITION) for id_ in (2, 3, 4, 5)}
        assert goals[2] == goals[3] > 2100
        assert goals[4] == goals[5] > 2100


def test_no_joint_moves_faster_than_it_may_however_far_the_target_jumps(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        robot.command(target(np.full(6, 1.2)))
        was, fastest = np.array(positions(bus)), 0.0
        for _ in range(50):
            clock.sleep_until(clock.now() + 10 * MS)
            now = np.array(positions(bus))
            fastest = max(fastest, float(np.abs(now - was)[:6].max()) / at.TURN * 2 * np.pi / 0.01)
            was = now
    assert fastest == pytest.approx(robot.speed, rel=0.05)


def test_the_servos_themselves_are_told_how_fast_they_may_turn(clock: StepClock) -> None:
    """If this program aims too far, they still do not go faster."""
    robot, bus = arm(clock)
    with robot:
        counts = {bus[id_].get(at.PROFILE_VELOCITY) for id_ in range(1, 10)}
        assert [count * at.SPEED for count in counts] == pytest.approx([robot.speed], abs=at.SPEED)


def test_the_goal_is_never_far_ahead_of_where_the_arm_may_be(clock: StepClock) -> None:
    """So that little is left to do if this is the last word that the servos hear."""
    robot, bus = arm(clock)
    with robot:
        robot.command(target(np.full(6, 1.2)))
        for _ in range(10):
            was = bus[1].get(at.GOAL_POSITION)
            clock.sleep_until(clock.now() + 10 * MS)
            assert bus[1].get(at.GOAL_POSITION) - was <= robot.speed * 0.01 / (2 * np.pi) * at.TURN + 1


def test_a_target_beyond_the_limits_stops_at_them(clock: StepClock) -> None:
    robot, _ = arm(clock)
    with robot:
        for _ in range(100):
            robot.command(target(np.full(6, 9.0), 1.0))
            clock.sleep_until(clock.now() + 20 * MS)
        row = robot.read(clock.now() - 20 * MS)[-1]
    assert row["q"] == pytest.approx(robot.calibration.high, abs=1e-3)
    assert row["width"] == pytest.approx(robot.widest, abs=1e-4)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_target_that_is_no_number_is_refused_and_the_arm_holds(clock: StepClock, wrong: float) -> None:
    robot, bus = arm(clock)
    with robot:
        moved(robot, clock, 0.3)
        with pytest.raises(DeviceError, match="finite"):
            robot.command(target(np.full(6, wrong)))
        clock.sleep_until(clock.now() + 20 * MS)
        stood = positions(bus)
        clock.sleep_until(clock.now() + 500 * MS)
        assert positions(bus)[:6] == pytest.approx(stood[:6], abs=1)


def test_the_gripper_squeezes_with_no_more_than_its_current(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        joint = bus[9].joint
        joint.wall = 2300  # type: ignore[attr-defined]  # this bus has massless joints
        for _ in range(100):
            robot.command(target(np.zeros(6), 0.0))
            clock.sleep_until(clock.now() + 20 * MS)
        row = robot.read(clock.now() - 20 * MS)[-1]
    assert row["width"] == pytest.approx(robot.calibration.width(2300, robot.widest), abs=1e-4)
    assert abs(row["grip"]) == pytest.approx(robot.grip, rel=0.02)


def test_a_leader_is_read_and_never_driven(clock: StepClock) -> None:
    hand, bus = in_hand(clock, {1: lambda s: 2048 + 300 * np.sin(s), 6: lambda _s: 2249})
    with hand:
        clock.sleep_until(1500 * MS)
        rows = hand.read(500 * MS)
        assert set(torque(bus).values()) == {0}
    wanted = 300 * np.sin(rows["t"] / 1e9) * 2 * np.pi / at.TURN
    assert rows["q"][:, 1] == pytest.approx(wanted, abs=1e-3)
    assert rows["width"] == pytest.approx(0.079)
    assert wire.SYNC_WRITE not in bus.asked


def test_a_follower_copies_a_leader_at_50_hz(clock: StepClock) -> None:
    """The goal is one cycle behind the hand that was seen, and moves evenly: no more than 40 ms in all."""

    def sway(i: int) -> Callable[[float], float]:
        return lambda s: 2048 + 300 * float(np.sin(2 * s + i) - np.sin(i))

    paths = {i: sway(i) for i in range(6)}
    hand, _ = in_hand(clock, paths)
    robot, bus = arm(clock)
    late = []
    with hand, robot:
        for tick in range(1, 251):
            clock.sleep_until(tick * 20 * MS)
            seen = hand.read(clock.now() - 20 * MS)[-1]
            robot.command(target(seen["q"], seen["width"]))
            if tick > 50:
                now = clock.now() / 1e9
                behind = np.array([path(now - 0.04) for path in paths.values()])
                late.append(np.array(positions(bus)[:6]) - behind)
    assert np.abs(late).max() * 360 / at.TURN < 1.0, "degrees"


def test_the_health_of_every_servo_comes_round(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        bus[4].put(at.TEMPERATURE, 55)
        bus[5].put(at.VOLTAGE, 111)
        clock.sleep_until(200 * MS)
        rows = robot.read(20 * MS)
    assert set(rows["polled"]) == set(range(1, 10))
    assert set(rows["temperature"][rows["polled"] == 4]) == {55}
    assert rows["voltage"][rows["polled"] == 5] == pytest.approx(11.1)


def test_a_cycle_takes_less_than_a_third_of_its_time_on_the_wire(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        before = bus.busy
        clock.sleep_until(1000 * MS)
        assert (bus.busy - before) / 100 < 0.0035


def test_servos_that_do_not_know_fast_reads_are_read_the_older_way(clock: StepClock) -> None:
    robot, bus = arm(clock)
    bus.faults.old = True
    with robot:
        clock.sleep_until(100 * MS)
        rows = robot.read(0)
    assert rows["q"][-1] == pytest.approx(np.zeros(6))
    assert not rows["retries"].any()


def test_an_arm_that_holds_is_let_down_gently_and_every_servo_lets_go(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        clock.sleep_until(100 * MS)
        left = clock.now()
    assert (clock.now() - left) / 1e9 == pytest.approx(robot.sink, abs=0.1)
    assert not any(torque(bus).values())
    assert bus[2].get(at.GOAL_PWM) == 0, "it was weak before it let go"


def test_an_arm_that_still_stands_by_its_motors_is_taken_over_without_a_jolt(clock: StepClock) -> None:
    """A program died and the servos hold; the next one goes on from there."""
    robot, bus = arm(clock)
    robot.__enter__()
    moved(robot, clock, 0.5)
    bus.taken = False
    robot._pump.stop()
    clock.sleep_until(clock.now() + 500 * MS)
    stood = positions(bus)
    assert bus[1].get(at.BUS_WATCHDOG) == at.TRIPPED
    again = Follower("left", "memory", clock=clock, plug=plug(bus))
    with again:
        clock.sleep_until(clock.now() + 500 * MS)
        assert positions(bus) == pytest.approx(stood, abs=1)
        assert set(torque(bus).values()) == {1}


def test_an_arm_at_rest_is_read_and_sent_nowhere_until_the_next_command(clock: StepClock) -> None:
    """So that somebody else may put it elsewhere; it goes on from there."""
    robot, bus = arm(clock)
    with robot:
        moved(robot, clock, 0.3)
        robot.rest()
        clock.sleep_until(clock.now() + 20 * MS)
        for servo in bus.servos:
            servo.joint.position = 2248.0  # type: ignore[attr-defined]  # this bus has massless joints
            servo.stay()
            servo.act()
        clock.sleep_until(clock.now() + 100 * MS)
        robot.hold()
        clock.sleep_until(clock.now() + 100 * MS)
        row = robot.read(clock.now() - 20 * MS)[-1]
        there = 200 * 2 * np.pi / at.TURN
        assert row["q"] == pytest.approx(np.full(6, there), abs=1e-3), "it was sent back"
        assert row["q_target"] == pytest.approx(row["q"])
        for _ in range(10):
            robot.command(target(row["q"] + 0.1))
            clock.sleep_until(clock.now() + 20 * MS)
            assert min(positions(bus)[:6]) > 2247, "it went back first"
        assert positions(bus)[:6] == pytest.approx([2248 + 0.1 * at.TURN / (2 * np.pi)] * 6, abs=1)
        bus.kill(4)
        clock.sleep_until(clock.now() + 40 * MS)
        with pytest.raises(DeviceLost, match="servo 4"):
            robot.rest()


def test_a_reader_that_falls_behind_is_told(clock: StepClock) -> None:
    robot, _ = arm(clock)
    with robot:
        clock.sleep_until(3000 * MS)
        with pytest.raises(Overrun):
            robot.read(0)
        assert len(robot.read(2500 * MS)) == 50


def test_the_tool_is_where_the_drawing_says() -> None:
    """gym-aloha's start pose and gripper frame, known from its scene: 0.1518 m ahead, 0.2953 m up."""
    chain = Chain((-3.1,) * 6, (3.1,) * 6)
    pose = chain.tool(np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0]))
    pitch = -0.1
    ahead = np.array([np.cos(pitch), 0.0, -np.sin(pitch)])
    assert pose[:3] - 0.1347 * ahead == pytest.approx([0.1518, 0.0, 0.2953], abs=2e-4)
    assert pose[3:] == pytest.approx([np.cos(pitch / 2), 0.0, np.sin(pitch / 2), 0.0])


def test_joints_and_tool_undo_each_other() -> None:
    robot = Follower("left", "memory")
    low, high = np.array(robot.calibration.low), np.array(robot.calibration.high)
    random = np.random.default_rng(0)
    off = []
    for _ in range(100):
        q = random.uniform(low * 0.7, high * 0.7)
        tool = robot.kinematics.tool(q)
        found = robot.kinematics.joints(np.clip(q + random.uniform(-0.2, 0.2, 6), low, high), tool)
        assert (found >= low).all()
        assert (found <= high).all()
        off.append(np.abs(robot.kinematics.tool(found) - tool).max())
    assert np.quantile(off, 0.95) < 1e-3
