"""ALOHA's arms on emulated buses in stepped time: no torque before a look, and what every fault shows."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
from pydantic import TypeAdapter

from drivers import DeviceError, DeviceLost, StepClock
from drivers.dynamixel import Follower, Leader
from drivers.dynamixel import registers as at
from drivers.dynamixel.bus import Bus as Line
from drivers.emulators.dynamixel import Bus, follower, plug, wire
from tests.dynamixel import MIDDLE, MS, arm, in_hand, moved, positions, target, torque

OVERLOAD = 0x20


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


def pass_on(robot: Follower, clock: StepClock) -> None:
    robot.read(clock.now() - 10 * MS)
    clock.sleep_until(clock.now() + 20 * MS)


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


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_ones(clock: StepClock) -> None:
    _, bus = arm(clock)
    line = Line("left", "memory", plug(bus), 1_000_000, retries=1, slack=0.008)
    bus.faults.late = wire.status(4, 0, bytes(12))
    assert len(line.read(4, at.TORQUE.address, 83).data) == 83
    assert line.retried == 1
    line.close()


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
        hand._line.pump.stop()
        clock.sleep_until(clock.now() + 1000 * MS)
        bus.pass_time()
        assert bus[9].get(at.GOAL_CURRENT) == 0, "it pushes on, though nobody talks to it"
    assert not any(torque(bus).values())


@pytest.mark.parametrize("refused", [at.GOAL_CURRENT, at.BUS_WATCHDOG, at.TORQUE])
def test_a_spring_never_has_torque_without_its_limits(
    clock: StepClock, monkeypatch: pytest.MonkeyPatch, refused: at.Register
) -> None:
    bus = follower(clock, MIDDLE)
    gripper, write = bus[9], bus[9].write

    def refusing(address: int, data: bytes) -> int:
        error = 1 if address == refused.address and any(data) else write(address, data)
        assert gripper.get(at.GOAL_CURRENT) <= 37 or not gripper.get(at.TORQUE)
        return error

    monkeypatch.setattr(gripper, "write", refusing)
    hand = Leader("hand", "memory", arm="ViperX 300 S", spring=0.1, clock=clock, plug=plug(bus))
    with pytest.raises(DeviceError, match="servo 9 refuses"), hand:
        pass
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
