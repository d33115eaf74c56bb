"""ALOHA's arms over the vendor's SDK, on emulated buses in stepped time: what works, and what every fault shows."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
from pydantic import TypeAdapter

from drivers import DeviceError, DeviceLost, Overrun, StepClock
from drivers.dynamixel import Follower, Leader
from drivers.dynamixel import registers as at
from drivers.dynamixel.kinematics import Chain
from drivers.emulators.dynamixel import Bus, follower, plug, wire
from drivers.emulators.dynamixel.arm import RESTING
from tests.dynamixel import MIDDLE, MS, arm, in_hand, positions, target, torque

OVERLOAD = 0x20


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


def moved(robot: Follower, clock: StepClock, seconds: float, speed: float = 0.5) -> None:
    """Lead the arm upwards from zero at 50 Hz."""
    for _ in range(round(seconds * 50)):
        robot.command(target(np.full(6, speed * (clock.now() / 1e9))))
        clock.sleep_until(clock.now() + 20 * MS)


def pass_on(robot: Follower, clock: StepClock) -> None:
    robot.read(clock.now() - 10 * MS)
    clock.sleep_until(clock.now() + 20 * MS)


# What works.


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


def test_a_reader_that_falls_behind_is_told(clock: StepClock) -> None:
    robot, _ = arm(clock)
    with robot:
        clock.sleep_until(3000 * MS)
        with pytest.raises(Overrun):
            robot.read(0)
        assert len(robot.read(2500 * MS)) == 50


# Before torque.


REASONS: dict[str, Callable[[Bus], object]] = {
    "servo 7 \\(wrist_angle\\) is a XL430-W250, not a XM540-W270": lambda bus: bus[7].put(at.MODEL, 1060),
    "servo 6 no longer answers, others do": lambda bus: bus.kill(6),
    "no servo answers on memory: is the arm's power on": lambda bus: bus.kill(*range(1, 10)),
    "servo 2 \\(shoulder\\) has 8.0 V, and needs 9.5 to 16.0 V": lambda bus: bus[2].put(at.VOLTAGE, 80),
    "servo 4 \\(elbow\\) has 79 degrees": lambda bus: bus[4].put(at.TEMPERATURE, 79),
    "servo 9 \\(gripper\\) has switched itself off: it was overloaded": lambda bus: bus.ail(9, OVERLOAD),
    "servo 1 \\(waist\\) does not acknowledge": lambda bus: bus[1].put(at.STATUS_RETURN_LEVEL, 1),
    "servo 3 \\(shoulder\\) follows 255, not servo 2": lambda bus: bus[3].put(at.SECONDARY_ID, 255),
    "servos 4 and 5 \\(elbow\\) face each other, but turn alike": lambda bus: bus[5].put(at.DRIVE_MODE, 0),
    "servos 2 and 3 \\(shoulder\\) say 2048 and 2148, and would fight": lambda bus: bus[3].put(at.HOMING_OFFSET, 100),
    "elbow stands at 1.99 rad, and turns from -1.76 to 1.60": lambda bus: stand(bus, 4, 3348),
    "gripper\\) is limited to 100 counts": lambda bus: bus[9].put(at.CURRENT_LIMIT, 100),
}


def stand(bus: Bus, id_: int, position: float) -> None:
    bus[id_].joint.position = position  # type: ignore[attr-defined]  # this bus has massless joints


@pytest.mark.parametrize("reason", REASONS)
def test_no_torque_before_everything_is_plausible(clock: StepClock, reason: str) -> None:
    robot, bus = arm(clock)
    REASONS[reason](bus)
    with pytest.raises(DeviceError, match=reason), robot:
        pass
    assert not any(torque(bus).values())
    assert not bus.taken, "the port was left open"


def test_everything_that_is_wrong_is_said_at_once(clock: StepClock) -> None:
    robot, bus = arm(clock)
    bus[2].put(at.VOLTAGE, 80)
    bus[4].put(at.TEMPERATURE, 79)
    with pytest.raises(DeviceError, match=r"servo 2.*servo 4"), robot:
        pass


def test_a_wrong_mode_is_set_right_while_nothing_holds(clock: StepClock) -> None:
    robot, bus = arm(clock)
    bus[1].put(at.OPERATING_MODE, at.VELOCITY)
    bus[1].put(at.RETURN_DELAY, 250)
    with robot:
        assert bus[1].get(at.OPERATING_MODE) == at.POSITION
        assert bus[1].get(at.RETURN_DELAY) == 0


def test_a_wrong_mode_is_refused_while_the_servo_holds_the_arm(clock: StepClock) -> None:
    robot, bus = arm(clock)
    bus[1].put(at.OPERATING_MODE, at.EXTENDED)
    bus[1].put(at.TORQUE, 1)
    with pytest.raises(DeviceError, match="support the arm"), robot:
        pass
    assert torque(bus)[1] == 1, "the arm fell"


def test_if_one_servo_takes_no_torque_none_keeps_it(clock: StepClock, monkeypatch: pytest.MonkeyPatch) -> None:
    robot, bus = arm(clock)
    weak, write = bus[7], bus[7].write
    monkeypatch.setattr(
        weak, "write", lambda address, data: 1 if address == 64 and data == b"\x01" else write(address, data)
    )
    with pytest.raises(DeviceError, match="servo 7 refuses 1 at address 64: it failed"), robot:
        pass
    assert not any(torque(bus).values())


def test_two_programs_cannot_use_one_bus(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot, pytest.raises(DeviceError, match="another program"), Follower("two", "m", clock=clock, plug=plug(bus)):
        pass


# Faults while it moves.


def test_a_lost_answer_is_asked_for_again_and_counted(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        moved(robot, clock, 0.2)
        bus.faults.drop = 1
        moved(robot, clock, 0.2)
        bus.faults.corrupt = 1
        moved(robot, clock, 0.2)
        rows = robot.read(0)
    assert rows["retries"].sum() == 2
    assert (np.diff(rows["seq"]) == 1).all()


FAULTS: dict[str, Callable[[Bus], object]] = {
    "left: servo 4 no longer answers, others do": lambda bus: bus.kill(4),
    "left: servos 2, 3 no longer answer": lambda bus: bus.kill(2, 3),
    "left: no servo answers on memory": lambda bus: bus.kill(*range(1, 10)),
    "left: servo 5 \\(elbow\\) has switched itself off: it was overloaded": lambda bus: bus.ail(5, OVERLOAD),
    "left: servo 8 \\(wrist_rotate\\) has switched itself off: it is too hot": lambda bus: bus.ail(8, 0x04),
    "left: servo 6 \\(forearm_roll\\) has lost its torque": lambda bus: bus[6].reboot(),
    "left: the cable of memory is out": lambda bus: setattr(bus.faults, "unplugged", True),
    "left: servo 1 now and then|left: servo 1 answers now and then": lambda bus: setattr(bus.faults, "drop", 11),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_fault_names_what_is_wrong_and_nothing_goes_on_moving(clock: StepClock, reason: str) -> None:
    robot, bus = arm(clock)
    with robot:
        moved(robot, clock, 0.5)
        FAULTS[reason](bus)
        at_fault = np.array(positions(bus))
        with pytest.raises(DeviceLost, match=reason):  # ruff: ignore[pytest-raises-with-multiple-statements]
            for _ in range(20):
                robot.command(target(np.full(6, 1.2)))
                pass_on(robot, clock)
        robot.hold()
        clock.sleep_until(clock.now() + 1000 * MS)
        radians = np.abs(np.array(positions(bus)) - at_fault)[:6] * 2 * np.pi / at.TURN
        assert radians.max() < robot.speed * 0.2, "it went on"
        stood = positions(bus)
        clock.sleep_until(clock.now() + 1000 * MS)
        assert positions(bus) == pytest.approx(stood), "it is still moving"
        with pytest.raises(DeviceLost, match=reason):
            robot.command(target(np.zeros(6)))
    reachable = [servo for servo in bus.servos if not servo.dead]
    if not bus.faults.unplugged:
        assert not any(servo.get(at.TORQUE) for servo in reachable), "a servo that answers was left with torque"
    assert not bus.taken


def test_an_alert_is_seen_in_the_very_next_cycle(clock: StepClock) -> None:
    """Group reads of the vendor's SDK hide it."""
    robot, bus = arm(clock)
    with robot:
        clock.sleep_until(105 * MS)
        bus.ail(7, OVERLOAD)
        clock.sleep_until(111 * MS)
        with pytest.raises(DeviceLost, match="servo 7"):
            robot.read(0)


def test_a_servo_that_is_sick_but_holds_on_is_made_safe_all_the_same(clock: StepClock) -> None:
    """Its alert comes with every answer; it must not keep the others from letting go."""
    robot, bus = arm(clock)
    with robot:
        bus[4].put(at.HARDWARE_ERROR, 0x01)
    assert not any(torque(bus).values())


def test_a_dead_servo_does_not_keep_the_others_from_letting_go(
    clock: StepClock, caplog: pytest.LogCaptureFixture
) -> None:
    robot, bus = arm(clock)
    with pytest.raises(DeviceError, match="servo 4 does not answer"), robot:
        bus.kill(4)
    assert {id_ for id_, on in torque(bus).items() if on} == {4}
    assert any("not safe" in record.message and record.levelno == logging.ERROR for record in caplog.records)


def test_a_control_program_that_stops_talking_is_noticed_by_the_servos(clock: StepClock) -> None:
    """The bus watchdog, in the servos' own time."""
    robot, bus = arm(clock)
    with robot:
        moved(robot, clock, 0.5)
        robot.command(target(np.full(6, 1.2)))
        clock.sleep_until(clock.now() + 40 * MS)
        robot._pump.stop()
        clock.sleep_until(bus.last + 100 * MS)
        after = positions(bus)
        clock.sleep_until(clock.now() + 1000 * MS)
        assert positions(bus) == pytest.approx(after)
        assert {bus[id_].get(at.BUS_WATCHDOG) for id_ in range(1, 10)} == {at.TRIPPED}


def test_a_tripped_watchdog_is_said_and_not_driven_over(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        moved(robot, clock, 0.2)
        bus[5].trip(clock.now())
        with pytest.raises(DeviceLost, match=r"servo 5 .* heard nothing for 0.08 s"):  # ruff: ignore[pytest-raises-with-multiple-statements]
            for _ in range(10):
                pass_on(robot, clock)


def test_a_cycle_that_dies_without_a_word_is_noticed(clock: StepClock) -> None:
    """Old rows are not new ones."""
    robot, _ = arm(clock)
    with robot:
        clock.sleep_until(100 * MS)
        end = robot._pump._end
        assert end is not None
        end()
        clock.sleep_until(700 * MS)
        for call in (lambda: robot.read(0), lambda: robot.command(target(np.zeros(6)))):
            with pytest.raises(DeviceLost, match=r"left: no row for 0\.6 s"):
                call()


def test_after_a_fault_the_arm_is_left_mended_and_entered_again(clock: StepClock) -> None:
    robot, bus = arm(clock)
    with robot:
        bus.faults.unplugged = True
        clock.sleep_until(50 * MS)
        with pytest.raises(DeviceLost):
            robot.read(0)
        bus.faults.unplugged = False
        clock.sleep_until(100 * MS)
        with pytest.raises(DeviceLost, match="cable"):
            robot.read(0)
    with robot:
        clock.sleep_until(clock.now() + 50 * MS)
        assert len(robot.read(clock.now() - 45 * MS))


def test_each_loss_is_logged_once(clock: StepClock, caplog: pytest.LogCaptureFixture) -> None:
    robot, bus = arm(clock)
    with robot:
        bus.faults.unplugged = True
        clock.sleep_until(500 * MS)
        with pytest.raises(DeviceLost):
            robot.read(0)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "left: the cable of memory is out. Plug it in, and connect again"
    ]


@pytest.mark.parametrize("reason", ["hand: servo 4 no longer answers", "hand: the cable of memory is out"])
def test_a_leader_that_is_lost_says_so(clock: StepClock, reason: str) -> None:
    hand, bus = in_hand(clock)
    with hand:
        clock.sleep_until(50 * MS)
        if "cable" in reason:
            bus.faults.unplugged = True
        else:
            bus.kill(4)
        clock.sleep_until(100 * MS)
        with pytest.raises(DeviceLost, match=reason):
            hand.read(0)


def test_a_leader_that_stands_by_its_motors_is_let_down(clock: StepClock) -> None:
    hand, bus = in_hand(clock)
    for servo in bus.servos:
        servo.put(at.TORQUE, 1)
    with hand:
        assert clock.now() / 1e9 == pytest.approx(hand.sink, abs=0.1)
        assert not any(torque(bus).values())


def test_a_spring_works_only_where_the_servo_can_steer_current(clock: StepClock) -> None:
    with pytest.raises(ValueError, match="XL430-W250, which cannot steer current"):
        Leader("hand", "memory", spring=0.1)
    bus = follower(clock, MIDDLE)
    hand = Leader("hand", "memory", arm="ViperX 300 S", spring=0.1, clock=clock, plug=plug(bus))
    with hand:
        assert {id_ for id_, on in torque(bus).items() if on} == {9}
        assert bus[9].get(at.GOAL_CURRENT) == 37
    assert not any(torque(bus).values())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"watchdog": 0.01}, "watchdog"),
        ({"hz": 20.0}, "two cycles"),
        ({"speed": 9.0}, "speed"),
        ({"grip": 5.0}, "grip"),
    ],
)
def test_settings_that_would_be_dangerous_are_refused(settings: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Follower("left", "memory", **settings)  # type: ignore[arg-type]  # which setting is wrong is the point


def test_a_station_file_can_describe_both() -> None:
    given = {"name": "left", "port": "/dev/ttyDXL", "speed": 1.0, "calibration": {"closed": 1600, "id": 4}}
    robot = TypeAdapter(Follower).validate_python(given)
    assert (robot.speed, robot.calibration.closed, robot.calibration.id) == (1.0, 1600, 4)
    hand = TypeAdapter(Leader).validate_python({"name": "hand", "port": "/dev/ttyDXL", "arm": "ViperX 300 S"})
    assert hand.layout.name == "ViperX 300 S"


# Kinematics.


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
