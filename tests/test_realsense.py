"""A RealSense, through the vendor's library, with an emulated camera at its other end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost
from drivers.emulators.realsense import EmulatedCamera, Usb
from drivers.realsense import RealSense, sdk
from tests.realsense import HZ, SIZE, before, camera, heartbeat, rows

HALVES = np.zeros((*SIZE, 3), np.uint8)
HALVES[:, 32:] = 200
STEP = np.full(SIZE, 1000, np.uint16)
STEP[:, 32:] = 2000


def still() -> tuple[Any, Any]:
    """Left near and black, right far and bright."""
    return HALVES, STEP


def test_what_the_camera_sees_is_in_the_rows_pixel_for_pixel() -> None:
    with camera(picture=still) as seen, before(seen) as device:
        for row in rows(device, 3):
            np.testing.assert_array_equal(row["rgb"], HALVES)
            np.testing.assert_array_equal(row["depth"], STEP)


def test_rows_are_stamped_when_their_light_fell_in() -> None:
    with camera() as seen, before(seen) as device:
        taken = rows(device, 20)
        exposed = [seen.taken[int(number)] for number in taken["number"][:, 0]]
        assert (np.abs(taken["t"] - exposed) < 1_000_000).all()
        assert (taken["t"] < taken["received"]).all()
        assert (np.diff(taken["seq"]) == 1).all()
        assert (taken["number"][:, 0] == taken["number"][:, 1]).all()
        assert device.clock_offset == pytest.approx(taken["t"][-1] - taken["device_t"][-1, 0] * 1e6, abs=30e6)


@pytest.mark.parametrize("domain", ["hardware", "system"])
def test_a_camera_that_stamps_in_another_time_is_late_by_its_quickest_way(domain: Any) -> None:
    with camera(domain=domain, began=2**32 - 200_000, drift=50e-6) as seen, before(seen) as device:
        taken = rows(device, 30)
        exposed = [seen.taken[int(number)] for number in taken["number"][:, 0]]
        late = (taken["t"] - exposed) / 1e6
        assert (late > -1).all()
        assert np.median(late) < 10, "the camera's clock wrapped meanwhile"


def test_depth_is_brought_to_where_colour_is_seen_from() -> None:
    """Colour is seen from 5 cm further right, so what is near moves further left than what is far."""
    with camera(picture=still, apart=0.05) as seen, before(seen) as device:
        aligned = rows(device, 1)[0]["depth"]
    with camera(picture=still, apart=0.05) as seen, before(seen, align=False) as device:
        np.testing.assert_array_equal(rows(device, 1)[0]["depth"], STEP)
    focal = 0.96 * SIZE[1]
    near = int((aligned == 1000).any(axis=0).sum())
    assert near == pytest.approx(32 - focal * 0.05 / 1.0, abs=1)


def test_depth_is_in_millimetres_whatever_the_camera_counts_in() -> None:
    with camera(picture=still, depth_units=0.0001) as seen, before(seen) as device:
        np.testing.assert_array_equal(rows(device, 1)[0]["depth"], STEP)
        assert device.described["depth_scale"] == pytest.approx(0.0001)


def test_colour_alone_needs_no_depth() -> None:
    with camera(picture=still) as seen, before(seen, depth=False) as device:
        row = rows(device, 1)[0]
        assert "depth" not in row.dtype.names
        np.testing.assert_array_equal(row["rgb"], HALVES)


def test_a_camera_is_found_by_its_serial_among_others() -> None:
    usb = Usb()
    with camera("111", usb=usb) as first, camera("222", usb=usb, picture=still) as second:
        with before(second) as device:
            assert (rows(device, 1)[0]["rgb"] == HALVES).all()
            assert device.described["serial"] == "222"
        with before(first) as device:
            assert (rows(device, 1)[0]["rgb"] != HALVES).any()


def test_a_serial_that_is_not_there_is_told_at_once_with_those_that_are() -> None:
    with camera("111") as seen, heartbeat() as between:
        began = time.monotonic()
        with pytest.raises(DeviceError, match=r"no camera with serial 999 .* 111 \(Intel RealSense.*rs-enumerate"):
            before(seen, serial="999").__enter__()
        assert time.monotonic() - began < 3
    assert max(between) < 2, "the SDK's pipeline would have stopped every thread for 15 s"


def test_no_camera_at_all_is_told_at_once_with_what_to_look_for() -> None:
    with heartbeat() as between, pytest.raises(DeviceError, match=r"nor any other RealSense.*USB 3.*udev"):
        RealSense("front", "999", context=Usb().context).__enter__()
    assert max(between) < 2


def test_a_camera_that_sends_nothing_is_told() -> None:
    seen = camera()
    seen.plug()
    with pytest.raises(DeviceError, match=r"front \(serial 000000000001\) is connected, but gave no row within 0.2 s"):
        before(seen, patience=0.2).__enter__()


def test_a_mode_that_it_does_not_have_is_told_with_those_it_has() -> None:
    with camera() as seen:
        with pytest.raises(DeviceError, match=r"no color of 480 x 640 at 60 Hz on USB 3.2; it has: 48 x 64 at 60 Hz"):
            before(seen, rgb=(480, 640)).__enter__()
        with pytest.raises(DeviceError, match=r"no depth of 9 x 9 at 60 Hz"):
            before(seen, depth=(9, 9)).__enter__()
        with before(seen) as device:
            rows(device, 1)


def test_two_drivers_do_not_share_a_camera() -> None:
    with camera() as seen, before(seen) as device:
        with pytest.raises(DeviceError, match="does not start"):
            before(seen).__enter__()
        rows(device, 3)


def test_a_camera_that_does_not_say_what_it_is_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_opened: sdk.Opened) -> None:
        raise RuntimeError("device disconnected")

    with camera() as seen:
        with monkeypatch.context() as pulled:
            pulled.setattr(sdk.Opened, "describe", gone)
            with pytest.raises(DeviceError, match=r"does not say what it is \(device disconnected") as told:
                before(seen).__enter__()
        with before(seen) as device:
            rows(device, 3)
        assert told.traceback, "what it told kept nothing open"


def test_options_are_set_and_what_would_undo_them_is_switched_off() -> None:
    asked: dict[str, Any] = {"exposure": 0.01, "gain": 32.0, "white_balance": 5000.0}
    with camera() as seen, before(seen, **asked, depth_options={"laser_power": 60, "exposure": 5000}):
        colour, depth = seen.options("colour"), seen.options("depth")
        assert (colour["exposure"], colour["gain"], colour["white_balance"]) == (100, 32, 5000)
        assert colour["enable_auto_exposure"] == colour["enable_auto_white_balance"] == 0
        assert (depth["laser_power"], depth["exposure"]) == (60, 5000)


def test_options_that_were_not_asked_for_are_left() -> None:
    with camera() as seen:
        left = {**seen.options("colour"), **seen.options("depth")}
        with before(seen):
            assert {**seen.options("colour"), **seen.options("depth"), "frames_queue_size": 16} == left


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"exposure": 2.0}, r"exposure of its RGB Camera goes from 1 to 10000 in steps of 1, not 20000"),
        ({"depth_options": {"laser_power": 45}}, r"laser_power of its Stereo Module goes from 0 to 360 in steps of 30"),
        ({"depth_options": {"zoom": 2}}, r"its Stereo Module has no zoom; it has \['.*'laser_power'"),
        ({"depth_options": {"white_balance": 5000}}, r"its Stereo Module has no white_balance"),
    ],
)
def test_an_option_that_it_cannot_have_is_told_with_what_it_can(asked: dict[str, Any], told: str) -> None:
    with camera() as seen, pytest.raises(DeviceError, match=told):
        before(seen, **asked).__enter__()


def test_it_says_what_an_episode_has_to_know() -> None:
    with camera(apart=0.015) as seen, before(seen, gain=20.0) as device:
        said = json.loads(json.dumps(device.described))
    assert said["kind"].startswith("Intel RealSense D435")
    assert (said["serial"], said["firmware"], said["usb"]) == (seen.serial, "5.16.0.1", "3.2")
    assert (said["colour"]["width"], said["colour"]["height"]) == (64, 48)
    assert said["colour"]["fx"] == pytest.approx(0.96 * 64)
    assert said["colour_T_depth"]["translation"] == pytest.approx([-0.015, 0, 0])
    assert said["options"]["RGB Camera"]["gain"] == 20
    assert said["aligned"] is True


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"serial": ""}, "serial must name"),
        ({"hz": 0}, "hz must be"),
        ({"silence": 2.0}, "silence must be .* at most reconnect"),
        ({"depth": False, "depth_options": {"gain": 1}}, "depth_options need depth"),
        ({"record": "film.bag"}, r"record must be a file NAME.db3"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        RealSense(**({"name": "front", "serial": "1"} | settings))


def test_it_can_be_left_and_entered_again() -> None:
    with camera() as seen:
        device = before(seen)
        for _ in range(2):
            with pytest.raises(DeviceLost, match="front has not been entered"):
                device.read(0)
            with device:
                rows(device, 2)
        device.__exit__(None, None, None)


def test_without_the_sdk_it_says_which_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    device = RealSense("front", "1", SIZE)
    assert device.dtype["rgb"].shape == (*SIZE, 3)
    with pytest.raises(DeviceError, match=r"pyrealsense2 is missing: install the extra \[hardware\]"):
        device.__enter__()


def test_without_libusb_it_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "pyrealsense2.py").write_text("raise ImportError('libusb-1.0.so.0: cannot open shared object file')")
    program = "from drivers.realsense import RealSense\nRealSense('front', '1').__enter__()"
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    said = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert "front: libusb-1.0.so.0" in said.stderr
    assert "apt-get install libusb-1.0-0" in said.stderr


def test_importing_the_driver_does_not_load_the_sdk() -> None:
    program = "import sys, drivers.realsense, drivers.emulators.realsense; print('pyrealsense2' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_the_emulated_camera_names_its_streams() -> None:
    with pytest.raises(ValueError, match="colour and depth, not 'sound'"):
        EmulatedCamera(rgb=SIZE, hz=HZ).stall("sound")  # type: ignore[arg-type]  # which is the point
