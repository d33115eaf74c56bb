"""The emulated bus against the vendor's own SDK: instructions, memory, rules, watchdog, and the SDK's traps."""

import importlib.resources
from typing import Any

import pytest
from dynamixel_sdk import (  # type: ignore[import-untyped]  # the SDK ships no types
    GroupBulkRead,
    GroupBulkWrite,
    GroupSyncRead,
    GroupSyncWrite,
    PacketHandler,
)

from drivers import StepClock
from drivers.dynamixel import registers as at
from drivers.dynamixel.wire import Packets
from drivers.emulators.dynamixel import Bus, Joint, MemoryPort, Servo, wire

MS = 1_000_000
FINE, ALERT = 0, 0x80


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
def bus(clock: StepClock) -> Bus:
    models = ["XM430-W350", "XM540-W270", "XM540-W270", "XL430-W250"]
    return Bus([Servo(i + 1, model, Joint(2000.0 + 10 * i)) for i, model in enumerate(models)], clock)


@pytest.fixture
def port(bus: Bus) -> MemoryPort:
    return MemoryPort(bus, 1_000_000)


@pytest.fixture
def sdk() -> Any:
    return PacketHandler(2.0)


def test_ping_says_model_and_who_is_there(port: MemoryPort, sdk: Any) -> None:
    assert [sdk.ping(port, i) for i in (1, 2, 4)] == [(1020, FINE, 0), (1120, FINE, 0), (1060, FINE, 0)]
    assert sdk.ping(port, 9)[1] == -3001
    found, code = sdk.broadcastPing(port)
    assert code == FINE
    assert found == {1: [1020, 47], 2: [1120, 47], 3: [1120, 47], 4: [1060, 47]}


def test_registers_stand_where_the_maker_says() -> None:
    """The tables that come with the SDK know every address and size."""
    files = importlib.resources.files("dynamixel_easy_sdk") / "control_table"
    names = {
        "Model Number": at.MODEL, "Firmware Version": at.FIRMWARE, "ID": at.ID, "Baud Rate": at.BAUD_RATE,
        "Return Delay Time": at.RETURN_DELAY, "Drive Mode": at.DRIVE_MODE, "Operating Mode": at.OPERATING_MODE,
        "Secondary(Shadow) ID": at.SECONDARY_ID, "Homing Offset": at.HOMING_OFFSET,
        "Temperature Limit": at.TEMPERATURE_LIMIT, "Max Voltage Limit": at.MAX_VOLTAGE,
        "Min Voltage Limit": at.MIN_VOLTAGE, "PWM Limit": at.PWM_LIMIT, "Current Limit": at.CURRENT_LIMIT,
        "Velocity Limit": at.VELOCITY_LIMIT, "Max Position Limit": at.MAX_POSITION,
        "Min Position Limit": at.MIN_POSITION, "Shutdown": at.SHUTDOWN, "Torque Enable": at.TORQUE,
        "Status Return Level": at.STATUS_RETURN_LEVEL, "Hardware Error Status": at.HARDWARE_ERROR,
        "Bus Watchdog": at.BUS_WATCHDOG, "Goal PWM": at.GOAL_PWM, "Goal Current": at.GOAL_CURRENT,
        "Goal Velocity": at.GOAL_VELOCITY, "Profile Acceleration": at.PROFILE_ACCELERATION,
        "Profile Velocity": at.PROFILE_VELOCITY, "Goal Position": at.GOAL_POSITION,
        "Present Current": at.PRESENT_CURRENT, "Present Velocity": at.PRESENT_VELOCITY,
        "Present Position": at.PRESENT_POSITION, "Present Input Voltage": at.VOLTAGE,
        "Present Temperature": at.TEMPERATURE,
    }  # fmt: skip
    for model in ("xm430_w350", "xm540_w270"):
        text = (files / f"{model}.model").read_text()
        table = [line.split("\t") for line in text.partition("[control table]")[2].splitlines()]
        known = {row[2]: (int(row[0]), int(row[1])) for row in table if len(row) == 3 and row[0].isdigit()}
        assert {name: known[name] for name in names} == {name: (r.address, r.size) for name, r in names.items()}


def test_memory_is_read_and_written(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    assert sdk.read4ByteTxRx(port, 2, 132) == (2010, FINE, 0)
    assert sdk.write1ByteTxRx(port, 2, 65, 1) == (FINE, 0)
    assert sdk.read1ByteTxRx(port, 2, 65) == (1, FINE, 0)
    assert sdk.write4ByteTxRx(port, 1, 20, -100) == (FINE, 0)
    assert bus[1].get(at.HOMING_OFFSET) == -100
    assert sdk.read4ByteTxRx(port, 1, 132) == (1900, FINE, 0)


@pytest.mark.parametrize(
    ("what", "address", "size", "value", "error"),
    [
        ("what it is cannot be written", 0, 2, 7, wire.ACCESS),
        ("what it senses cannot be written", 132, 4, 7, wire.ACCESS),
        ("a mode it does not have", 11, 1, 9, wire.RANGE),
        ("torque is on or off", 64, 1, 3, wire.RANGE),
        ("a goal beyond its limits", 116, 4, 5000, wire.LIMIT),
        ("a current beyond its limit", 102, 2, 1194, wire.LIMIT),
    ],
)
def test_a_servo_refuses(
    port: MemoryPort, sdk: Any, what: str, address: int, size: int, value: int, error: int
) -> None:
    data = list(value.to_bytes(size, "little"))
    assert sdk.writeTxRx(port, 1, address, size, data) == (FINE, error), what


def test_permanent_registers_are_locked_while_torque_is_on(port: MemoryPort, sdk: Any) -> None:
    assert sdk.write1ByteTxRx(port, 1, 64, 1) == (FINE, 0)
    assert sdk.write1ByteTxRx(port, 1, 11, 4) == (FINE, wire.ACCESS)
    assert sdk.write1ByteTxRx(port, 1, 64, 0) == (FINE, 0)
    assert sdk.write1ByteTxRx(port, 1, 11, 4) == (FINE, 0)


def test_a_servo_without_a_current_sensor_has_no_current_mode(port: MemoryPort, sdk: Any) -> None:
    assert sdk.write1ByteTxRx(port, 4, 11, at.CURRENT_POSITION) == (FINE, wire.RANGE)


def test_torque_makes_it_stay_and_a_goal_makes_it_move_as_fast_as_it_may(
    bus: Bus, port: MemoryPort, sdk: Any, clock: StepClock
) -> None:
    sdk.write4ByteTxRx(port, 1, 116, 3000)
    sdk.write4ByteTxRx(port, 1, 112, 100)
    sdk.write1ByteTxRx(port, 1, 64, 1)
    clock.sleep_until(500 * MS)
    assert sdk.read4ByteTxRx(port, 1, 132)[0] == 2000, "torque alone moved it"
    sdk.write4ByteTxRx(port, 1, 116, 2500)
    clock.sleep_until(600 * MS)
    assert sdk.read4ByteTxRx(port, 1, 132)[0] == pytest.approx(2000 + 0.1 * 100 * 0.229 / 60 * 4096, abs=1)
    assert sdk.read4ByteTxRx(port, 1, 128)[0] == 100
    clock.sleep_until(9000 * MS)
    assert sdk.read4ByteTxRx(port, 1, 132)[0] == 2500
    assert bus[1].joint.feel(1).current == 0


def test_groups_are_read_and_written(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    read, bulk = GroupSyncRead(port, sdk, 132, 4), GroupBulkRead(port, sdk)
    write, bulk_write = GroupSyncWrite(port, sdk, 116, 4), GroupBulkWrite(port, sdk)
    for i in (1, 2, 3):
        read.addParam(i)
        bulk.addParam(i, 132 if i < 3 else 146, 4 if i < 3 else 1)
        write.addParam(i, list((1000 + i).to_bytes(4, "little")))
        bulk_write.addParam(i, 112, 4, list((50 + i).to_bytes(4, "little")))
    for group in (read.txRxPacket, read.fastSyncRead):
        assert group() == FINE
        assert [read.getData(i, 132, 4) for i in (1, 2, 3)] == [2000, 2010, 2020]
    for group in (bulk.txRxPacket, bulk.fastBulkRead):
        assert group() == FINE
        assert [bulk.getData(1, 132, 4), bulk.getData(2, 132, 4), bulk.getData(3, 146, 1)] == [2000, 2010, 32]
    assert write.txPacket() == bulk_write.txPacket() == FINE
    assert [bus[i].get(at.GOAL_POSITION) for i in (1, 2, 3, 4)] == [1001, 1002, 1003, 2030]
    assert [bus[i].get(at.PROFILE_VELOCITY) for i in (1, 2, 3, 4)] == [51, 52, 53, 0]


def test_a_registered_write_waits_for_the_word(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    assert sdk.regWriteTxRx(port, 1, 65, 1, [1]) == (FINE, 0)
    assert bus[1]._memory[65] == 0
    sdk.action(port, 0xFE)
    assert bus[1]._memory[65] == 1


def test_a_second_servo_does_what_the_first_is_told_and_keeps_quiet(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    bus[3].put(at.SECONDARY_ID, 2)
    assert sdk.write4ByteTxRx(port, 2, 116, 2345) == (FINE, 0)
    assert bus[2].get(at.GOAL_POSITION) == bus[3].get(at.GOAL_POSITION) == 2345
    assert sdk.read4ByteTxRx(port, 3, 132) == (2020, FINE, 0)


def test_indirect_data_is_what_stands_at_the_address(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    sdk.write2ByteTxRx(port, 1, 168, 70)
    sdk.write2ByteTxRx(port, 1, 170, 146)
    bus[1].put(at.HARDWARE_ERROR, 0x20)
    assert sdk.readTxRx(port, 1, 224, 2) == ([0x20, 32], FINE, ALERT)


def test_an_ailing_servo_alerts_lets_go_and_needs_a_reboot(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    sdk.write1ByteTxRx(port, 2, 64, 1)
    bus.ail(2, 0x20)
    assert sdk.read1ByteTxRx(port, 2, 64) == (0, FINE, ALERT)
    assert sdk.write1ByteTxRx(port, 2, 64, 1) == (FINE, ALERT | wire.FAILED)
    assert sdk.reboot(port, 2)[0] == FINE
    assert sdk.write1ByteTxRx(port, 2, 64, 1) == (FINE, 0)


def test_the_watchdog_trips_at_its_moment_whenever_somebody_looks(
    bus: Bus, port: MemoryPort, sdk: Any, clock: StepClock
) -> None:
    sdk.write4ByteTxRx(port, 1, 112, 100)
    sdk.write1ByteTxRx(port, 1, 64, 1)
    sdk.write1ByteTxRx(port, 1, 98, 4)
    sdk.write4ByteTxRx(port, 1, 116, 4000)
    clock.sleep_until(5000 * MS)
    moved = sdk.read4ByteTxRx(port, 1, 132)[0] - 2000
    assert moved == pytest.approx(0.08 * 100 * 0.229 / 60 * 4096, abs=1.5)
    assert sdk.read1ByteTxRx(port, 1, 98)[0] == at.TRIPPED
    assert sdk.write4ByteTxRx(port, 1, 116, 3000) == (FINE, wire.RANGE)
    sdk.write1ByteTxRx(port, 1, 98, 0)
    assert sdk.write4ByteTxRx(port, 1, 116, 3000) == (FINE, 0)


def test_every_instruction_feeds_the_watchdog(bus: Bus, port: MemoryPort, sdk: Any, clock: StepClock) -> None:
    sdk.write1ByteTxRx(port, 1, 64, 1)
    sdk.write1ByteTxRx(port, 1, 98, 4)
    for tick in range(1, 20):
        clock.sleep_until(tick * 70 * MS)
        sdk.ping(port, 2)
    assert bus[1].get(at.BUS_WATCHDOG) == 4


def test_at_another_baud_nobody_hears(port: MemoryPort, sdk: Any) -> None:
    port.setBaudRate(57600)
    assert sdk.ping(port, 1)[1] == -3001


def test_a_servo_that_is_missing_silences_those_after_it(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    read = GroupSyncRead(port, sdk, 132, 4)
    for i in (1, 2, 3):
        read.addParam(i)
    bus.kill(2)
    assert read.txRxPacket() == -3001
    assert read.getData(1, 132, 4) == 0, "the SDK gives zero for what it does not know"
    assert read.fastSyncRead() == -3001


def test_wire_time_is_counted(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    bus[1].put(at.RETURN_DELAY, 0)
    before = bus.busy
    sdk.read4ByteTxRx(port, 1, 132)
    assert bus.busy - before == pytest.approx((14 + 15) * 10e-6)
    bus[1].put(at.RETURN_DELAY, 250)
    sdk.read4ByteTxRx(port, 1, 132)
    assert bus.took == pytest.approx((14 + 15) * 10e-6 + 500e-6)


def test_bytes_that_look_like_a_header_get_through(bus: Bus, port: MemoryPort, sdk: Any) -> None:
    """The SDK forgets to escape FF FF FD, so its packet is not understood; ours escapes it."""
    bus[1].put(at.OPERATING_MODE, at.EXTENDED)
    goal = 0x00FDFFFF
    assert sdk.write4ByteTxRx(port, 1, 116, goal)[0] == -3001
    assert bus.ear.misheard == 1
    assert Packets().write4ByteTxRx(port, 1, 116, goal) == (FINE, 0)
    assert bus[1].get(at.GOAL_POSITION) == goal
    assert Packets().read4ByteTxRx(port, 1, 116) == (goal, FINE, 0)


def test_a_stream_may_be_cut_anywhere_and_noise_is_skipped() -> None:
    ear = wire.Ear()
    packet = wire._packet(1, bytes([wire.WRITE, 116, 0, 0xFF, 0xFF, 0xFD, 0x00]))
    stream = b"\x00\xff\xff" + packet + b"\xfd\x12" + packet + packet[:-1] + b"\x00" + packet
    heard = [asked for i in range(len(stream)) for asked in ear.hear(stream[i : i + 1])]
    assert [asked.parameters[2:] for asked in heard] == [b"\xff\xff\xfd\x00"] * 3
    assert ear.misheard == 1


def test_two_servos_that_disagree_spend_current_on_it(clock: StepClock) -> None:
    joint = Joint(2000.0)
    bus = Bus([Servo(2, "XM540-W270", joint), Servo(3, "XM540-W270", joint)], clock)
    for id_, goal in ((2, 2000), (3, 2020)):
        bus[id_].write(64, b"\x01")
        bus[id_].write(116, goal.to_bytes(4, "little"))
    clock.sleep_until(1000 * MS)
    bus.pass_time()
    assert joint.position == pytest.approx(2010)
    assert bus[2].get(at.PRESENT_CURRENT) == -bus[3].get(at.PRESENT_CURRENT) == -400
