"""What the doctor says of ports, adapters, controllers, cameras on USB and headsets."""

import fcntl
import os
import pty
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.doctor import usb, wires
from appliance.doctor.finding import Level
from tests.tree import lay, one

PORT = "/dev/ttyDXL_left"


@pytest.fixture
def line() -> Iterator[Path]:
    """The far end of a serial line."""
    master, slave = pty.openpty()
    yield Path(os.ttyname(slave))
    os.close(master)
    os.close(slave)


def plug(root: Path, line: Path, latency: str = "1") -> Path:
    """A false tree in which a serial adapter, known by a name of its own, leads to a line."""
    adapter = root / "sys/devices/usb1/1-2"
    lay(adapter, {"serial": "FT7WBG", f"1-2:1.0/{line.name}/latency_timer": latency})
    tty = root / "sys/class/tty" / line.name
    tty.mkdir(parents=True)
    (tty / "device").symlink_to(adapter / "1-2:1.0" / line.name)
    (root / "dev").mkdir()
    (root / PORT.lstrip("/")).symlink_to(line)
    return root


def test_a_port_that_is_ours_and_quick_is_fine(tmp_path: Path, line: Path) -> None:
    found = one(wires.port("left", PORT, plug(tmp_path, line)))
    assert (found.about, found.level) == ("port of left", Level.OK)
    assert "latency_timer is 1 ms" in found.what


@pytest.mark.parametrize(("latency", "level"), [("2", Level.WARN), ("16", Level.BAD)])
def test_a_slow_adapter_comes_with_the_line_of_its_udev_rule(
    tmp_path: Path, line: Path, latency: str, level: Level
) -> None:
    found = one(wires.port("left", PORT, plug(tmp_path, line, latency)))
    assert found.level is level
    now, how, rule = found.fix.splitlines()
    assert now == f"echo 1 | sudo tee /sys/class/tty/{line.name}/device/latency_timer"
    assert "udevadm" in how
    assert rule == 'SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTRS{serial}=="FT7WBG", ATTR{latency_timer}="1"'


def test_a_line_without_a_latency_timer_is_no_trouble(tmp_path: Path, line: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / PORT.lstrip("/")).symlink_to(line)
    assert one(wires.port("left", PORT, tmp_path)).level is Level.OK


def test_a_port_that_another_program_holds_is_told(tmp_path: Path, line: Path) -> None:
    plug(tmp_path, line)
    with line.open("rb", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = one(wires.port("left", PORT, tmp_path))
    assert found.level is Level.WARN
    assert "another program" in found.what


def test_a_missing_port_is_told_with_those_there_are_and_how_it_gets_its_name(tmp_path: Path) -> None:
    lay(tmp_path, {"dev/serial/by-id/usb-FTDI_FT7WBG": ""})
    found = one(wires.port("left", PORT, tmp_path))
    assert found.level is Level.BAD
    assert "usb-FTDI_FT7WBG" in found.what
    assert 'SYMLINK+="ttyDXL_left"' in found.fix.splitlines()[-1]
    assert "no serial adapter" in one(wires.port("left", "/dev/ttyUSB0", tmp_path / "bare")).what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_port_of_somebody_else_is_told_with_the_group(tmp_path: Path) -> None:
    lay(tmp_path, {"dev/ttyUSB0": ""})
    (tmp_path / "dev/ttyUSB0").chmod(0)
    assert "dialout" in one(wires.port("left", "/dev/ttyUSB0", tmp_path)).fix


@pytest.fixture
def listening() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(stack: ExitStack, host: str, *ports: int) -> None:
    """Answer at these ports until the test is over."""
    for port in ports:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen()


def test_a_controller_that_takes_commands_is_fine(listening: ExitStack, tmp_path: Path) -> None:
    listen(listening, "127.31.0.1", wires.FCI, wires.HAND)
    assert one(wires.controller("arm", "127.31.0.1", hand=True, root=tmp_path)).level is Level.OK


def test_a_controller_without_fci_is_told_from_one_that_is_off(listening: ExitStack, tmp_path: Path) -> None:
    listen(listening, "127.31.0.2", 8123)
    asleep = one(wires.controller("arm", "127.31.0.2", hand=True, root=tmp_path, desk=8123))
    assert asleep.level is Level.BAD
    assert "activate FCI" in asleep.fix
    off = one(wires.controller("arm", "127.31.0.3", hand=True, root=tmp_path, desk=8123))
    assert off.level is Level.BAD
    assert "LAN port" in off.fix
    assert "127.31.0.1/24" in off.fix


def test_a_hand_that_is_not_there_matters_only_where_one_is_mounted(listening: ExitStack, tmp_path: Path) -> None:
    listen(listening, "127.31.0.4", wires.FCI)
    assert one(wires.controller("arm", "127.31.0.4", hand=True, root=tmp_path)).level is Level.BAD
    assert one(wires.controller("arm", "127.31.0.4", hand=False, root=tmp_path)).level is Level.OK


ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 0100A8C0 0003 0 0 0 00000000 0 0 0
eth0 0000A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
eth1 00{} 00000000 0001 0 0 0 00FFFFFF 0 0 0"""
"""A way to everywhere through 192.168.0.1, and two nets of this machine's own."""


def test_a_controller_behind_a_router_is_too_far(listening: ExitStack, tmp_path: Path) -> None:
    """The table of routes is false: in it 127.31.0.0/24 is a net like any other, and then it is not."""
    listen(listening, "127.31.0.6", wires.FCI)
    lay(tmp_path, {"proc/net/route": ROUTES.format("001F7F")})
    assert one(wires.controller("arm", "127.31.0.6", hand=False, root=tmp_path)).level is Level.OK
    far = ROUTES.replace("eth0 00000000 0100A8C0", "eth0 00001F7F 0100A8C0").replace(
        "0 0 0 00000000 0", "0 0 0 0000FFFF 0"
    )
    lay(tmp_path, {"proc/net/route": far.format("0010AC")})
    found = one(wires.controller("arm", "127.31.0.6", hand=False, root=tmp_path))
    assert found.level is Level.WARN
    assert "router (192.168.0.1)" in found.what
    assert "127.31.0.1" in found.fix


def test_a_taken_port_is_told_with_how_to_find_its_owner(listening: ExitStack) -> None:
    assert one(wires.free((1337, 1338), "127.31.0.5")).level is Level.OK
    listen(listening, "127.31.0.5", 1338)
    found = one(wires.free((1337, 1338), "127.31.0.5"))
    assert found.level is Level.BAD
    assert "sport = :1338" in found.fix


def camera(speed: str, at: str = "2-1") -> dict[str, str]:
    folder = f"sys/bus/usb/devices/{at}"
    told = {"idVendor": "8086", "product": "Intel(R) RealSense(TM) Depth Camera 435", "speed": speed}
    return {f"{folder}/{name}": text for name, text in {**told, "busnum": "2", "devnum": "3"}.items()}


def test_a_camera_on_usb_2_is_bad_and_one_on_usb_3_is_not(tmp_path: Path) -> None:
    assert one(usb.buses(lay(tmp_path / "three", camera("5000")), 1)).level is Level.OK
    found = one(usb.buses(lay(tmp_path / "two", camera("480")), 1))
    assert found.level is Level.BAD
    assert "480 Mbit/s" in found.what


def test_other_devices_on_usb_are_nobodys_business(tmp_path: Path) -> None:
    mouse = {"sys/bus/usb/devices/1-1/idVendor": "046d", "sys/bus/usb/devices/1-1/product": "Mouse"}
    assert usb.buses(lay(tmp_path, mouse), 0) == []


def test_a_camera_that_the_kernel_does_not_see_is_told(tmp_path: Path) -> None:
    *_, found = usb.buses(lay(tmp_path, camera("5000")), 2)
    assert found.level is Level.BAD
    assert found.what == "1 RealSense on USB, the station has 2"


def test_small_usb_buffers_matter_once_there_are_two_cameras(tmp_path: Path) -> None:
    lay(tmp_path, {"sys/module/usbcore/parameters/usbfs_memory_mb": "16"} | camera("5000"))
    assert one(usb.buses(tmp_path, 1)).level is Level.OK
    *_, found = usb.buses(lay(tmp_path, camera("5000", "2-2")), 2)
    assert (found.about, found.level) == ("USB buffers", Level.WARN)
    assert "usbcore.usbfs_memory_mb=1000" in found.fix


RUNTIME = '{"file_format_version": "1.0.0", "runtime": {"name": "Monado", "library_path": "libopenxr_monado.so"}}'


def test_the_runtime_that_is_set_is_named(tmp_path: Path) -> None:
    lay(tmp_path, {"home/ada/.config/openxr/1/active_runtime.json": RUNTIME})
    found = one(wires.runtime(tmp_path, {}, "/home/ada"))
    assert found.level is Level.OK
    assert "Monado" in found.what


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"runtime": {}}'])
def test_a_runtime_that_is_missing_or_broken_is_bad(tmp_path: Path, text: str) -> None:
    assert one(wires.runtime(tmp_path, {}, "/home/ada")).level is Level.BAD
    lay(tmp_path, {"opt/runtime.json": text})
    found = one(wires.runtime(tmp_path, {"XR_RUNTIME_JSON": "/opt/runtime.json"}, "/home/ada"))
    assert found.level is Level.BAD
    assert "WiVRn" in found.fix
