"""What a person's hands say: the headset as a device, through pyopenxr and its loader, on an emulated runtime."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, Overrun
from drivers.emulators.openxr import Emulated, Hand, Person, Pose
from drivers.openxr import HANDS, LOWER, MENU, STICK, UNKNOWN, UPPER, Headset
from drivers.openxr.rows import unseen
from tests.wearing import after, focused, until, wait, worn

TIMES = ("XR_KHR_convert_timespec_time",)


@pytest.fixture
def headset() -> Iterator[Emulated]:
    with worn() as device:
        yield device


def test_its_rows_are_known_before_connecting() -> None:
    device = Headset("hands")
    assert device.dtype == HANDS
    assert device.described == {}
    assert (device.dtype.names or ())[:3] == ("t", "received", "seq")
    with pytest.raises(DeviceLost, match="hands has not been entered"):
        device.read(0)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="hz must be between 10 and 500, not 5"):
        Headset("hands", hz=5)
    with pytest.raises(ValueError, match="application must be 1 to 127 bytes"):
        Headset("hands", application="")


def test_rows_come_in_order_none_is_missing_and_none_is_from_the_future(headset: Emulated) -> None:
    start = time.monotonic_ns()
    rows = after(headset, start, 45)
    assert (np.diff(rows["t"]) > 0).all()
    assert (np.diff(rows["seq"]) == 1).all()
    assert (rows["t"] <= rows["received"]).all()
    assert rows["received"][-1] <= time.monotonic_ns()
    assert (rows["age"] >= 0).all()
    assert (rows["age"] <= rows["received"] - rows["t"]).all()
    np.testing.assert_array_equal(rows, headset.read(start)[: len(rows)])


def test_beats_that_were_missed_are_not_made_up_for(headset: Emulated) -> None:
    start = int(focused(headset)["t"])
    headset.runtime.stall(0.5)
    stamps = np.insert(after(headset, start, 80)["t"], 0, start)
    gap = int(np.diff(stamps).argmax())
    later = stamps[gap + 1 :]
    assert later[0] - stamps[gap] > 400_000_000
    assert later[60] - later[0] > 450_000_000, "60 are due in 0.67 s; 45 were missed"


def test_stamps_rise_even_where_the_clock_is_coarse() -> None:
    """Windows' monotonic clock may stand still for 15 ms."""
    device, row = Headset("hands"), unseen()
    row["t"] = 5
    for _ in range(3):
        device._keep(row)
    assert device._ring.rows["t"].tolist() == [5, 6, 7]


def test_a_reader_that_falls_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.openxr.headset.KEPT", 0.05)
    with worn() as device:
        first = wait(device, lambda row: row["seq"] > 0)
        wait(device, lambda row: row["seq"] > first["seq"] + 10)
        with pytest.raises(Overrun):
            device.read(int(first["t"]))


def test_poses_are_told_from_where_the_head_was_at_the_start(headset: Emulated) -> None:
    turn = (0.0, 0.0, 0.6, 0.8)
    headset.runtime.move(
        right={"grip": [0.3, 1.2, -0.4, *turn], "aim": [0.3, 1.3, -0.5, 0, 0, 0, 1]}, head=[0.1, 1.7, 0, 0, 0, 0, 1]
    )
    row = wait(headset, lambda row: row["grip"][1][0] == pytest.approx(0.3))
    assert row["grip"][1] == pytest.approx((0.3, -0.4, -0.4, *turn), abs=1e-6)
    assert row["aim"][1] == pytest.approx((0.3, -0.3, -0.5, 0, 0, 0, 1), abs=1e-6)
    assert row["head"] == pytest.approx((0.1, 0.1, 0, 0, 0, 0, 1), abs=1e-6)
    assert row["valid"].tolist() == row["tracked"].tolist() == row["active"].tolist() == [1, 1]


def test_a_pose_is_that_of_the_rows_own_moment(headset: Emulated) -> None:
    def walk(seconds: float) -> Person:
        return replace(Person(), right=Hand(Pose((seconds, 1.6, 0.0))))

    headset.runtime.play(walk)
    start = headset.runtime.state.began
    wait(headset, lambda row: row["t"] > start + 300_000_000)
    rows = headset.read(start + 20_000_000)
    assert rows["grip"][:, 1, 0] == pytest.approx((rows["t"] - start) / 1e9, abs=1e-5)


def test_what_the_fingers_do_arrives(headset: Emulated) -> None:
    headset.runtime.move(
        left={"trigger": 0.25, "buttons": LOWER | MENU, "stick": [0.5, -1.0]},
        right={"squeeze": 1.0, "trigger": 0.75, "buttons": UPPER | STICK},
    )
    row = wait(headset, lambda row: row["squeeze"][1] > 0.9)
    assert row["trigger"].tolist() == [0.25, 0.75]
    assert row["squeeze"].tolist() == [0.0, 1.0]
    assert row["stick"].tolist() == [[0.5, -1.0], [0.0, 0.0]]
    assert row["buttons"].tolist() == [LOWER | MENU, UPPER | STICK]


@pytest.mark.parametrize(
    ("profile", "squeeze", "buttons"),
    [
        ("oculus/touch_controller", 1.0, LOWER | UPPER | STICK | MENU),
        ("bytedance/pico_neo3_controller", 1.0, LOWER | UPPER | STICK | MENU),
        ("bytedance/pico4_controller", 1.0, LOWER | UPPER | STICK | MENU),
        ("valve/index_controller", 1.0, LOWER | UPPER | STICK),
        ("khr/generic_controller", 1.0, LOWER | UPPER | STICK),
        ("khr/simple_controller", np.nan, MENU),
    ],
)
def test_every_kind_of_controller_says_what_it_has(profile: str, squeeze: float, buttons: int) -> None:
    with worn(profile=f"/interaction_profiles/{profile}") as device:
        device.runtime.move(left={"trigger": 1.0, "squeeze": 1.0, "buttons": 15}, right={"trigger": 1.0})
        row = wait(device, lambda row: row["trigger"].tolist() == [1.0, 1.0])
        assert row["squeeze"][0] == pytest.approx(squeeze, nan_ok=True)
        assert row["buttons"].tolist() == [buttons, 0]
        assert row["valid"].tolist() == [1, 1]


def test_a_pulse_is_felt_in_the_hand_it_is_for(headset: Emulated) -> None:
    headset.pulse(0, 0.05, 0.8)
    headset.pulse(1, 0.1, 0.3)
    pulses = until(lambda: len(headset.runtime.pulses) == 2 and headset.runtime.pulses)
    assert [(pulse.hand, pulse.seconds) for pulse in pulses] == [(0, 0.05), (1, 0.1)]
    assert [pulse.amplitude for pulse in pulses] == pytest.approx([0.8, 0.3])
    for wrong in ((2, 0.1, 0.5), (0, 0.0, 0.5), (0, 0.1, 1.5)):
        with pytest.raises(ValueError, match="a pulse is for hand 0 or 1"):
            headset.pulse(*wrong)  # type: ignore[arg-type]  # a hand that nobody has


def test_an_episode_can_say_what_it_was_recorded_with(headset: Emulated) -> None:
    assert headset.described == {
        "runtime": "Emulated OpenXR runtime",
        "headset": "Emulated headset",
        "headless": True,
        "clock": "XR_KHR_convert_timespec_time",
    }


def test_it_can_be_left_and_entered_again() -> None:
    device = Emulated("hands", silence=5.0)
    for _ in range(3):
        with device:
            row = focused(device)
            assert row["seq"] < 90
        with pytest.raises(DeviceLost, match="has not been entered"):
            device.read(0)
        device.__exit__(None, None, None)


def test_a_program_has_one_headset_and_the_second_is_told(headset: Emulated) -> None:
    with pytest.raises(DeviceError, match="hands is in use already"):
        headset.__enter__()
    with pytest.raises(DeviceError, match="second: another headset is in use in this program"), Headset("second"):
        pass
    assert focused(headset)["valid"].all(), "the first goes on"


def test_a_runtime_that_tells_no_time_sets_the_pace_and_the_age_is_unknown() -> None:
    with worn() as device:
        offered = [name for name in device.runtime.state.extensions if name not in TIMES]
        device.runtime.offer(offered)
        device.runtime.lose_session()
        row = wait(device, lambda row: row["space"] == 1 and row["focused"])
        assert row["age"] == UNKNOWN
        assert row["valid"].tolist() == [1, 1]
        assert device.described["clock"] == "predicted display time"
        start = int(row["t"])
        rows = after(device, start, 72)
        assert np.median(np.diff(rows["t"])) > 1e9 / 80, "the headset sets the pace, 72 Hz, and not our 90"
        assert (rows["t"] <= rows["received"]).all()


def test_on_windows_the_performance_counter_tells_the_time() -> None:
    """The runtime's side is emulated with ticks of 100 ns, as Windows has them; the client's counter is passed in."""
    with worn() as device:
        runtime = device.runtime
    from drivers.openxr.sdk import xr
    from drivers.openxr.times import performance_counter

    name = "XR_KHR_win32_convert_performance_counter_time"
    runtime.offer([name])
    with runtime.installed():
        instance = xr.create_instance(xr.InstanceCreateInfo(enabled_extension_names=[name]))
        try:
            host, moment = performance_counter(instance, lambda: time.monotonic_ns() // 100)()
        finally:
            xr.destroy_instance(instance)
    assert 0 <= moment - host + 100 < 1_000_000_000
    assert abs(time.monotonic_ns() - host) < 10_000_000_000


def test_only_what_is_known_is_a_number() -> None:
    with worn() as device:
        device.runtime.focus(on=False)
        row = wait(device, lambda row: not row["focused"])
        for field in ("grip", "aim", "trigger", "squeeze", "stick"):
            assert np.isnan(row[field]).all(), field
        assert not np.isnan(row["head"]).any(), "the head is still seen"
