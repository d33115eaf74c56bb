"""What the doctor says of a computer: kernel, priority, processor, clock, and what is installed."""

from pathlib import Path

import pytest

from appliance.doctor import machine, software
from appliance.doctor.finding import Level
from appliance.doctor.software import Sdk
from tests.tree import lay, one

WITHOUT = {"proc/self/status": "CapEff:\t0000000000000000"}
"""A process without any capability."""


def test_a_real_time_kernel_is_recognised(tmp_path: Path) -> None:
    lay(tmp_path, {"sys/kernel/realtime": "1"})
    assert one(machine.kernel(tmp_path, wanted=True, enforced=True)).level is Level.OK


def test_an_ordinary_kernel_matters_to_a_franka_only(tmp_path: Path) -> None:
    assert one(machine.kernel(tmp_path, wanted=False)).level is Level.OK
    found = one(machine.kernel(tmp_path, wanted=True))
    assert found.level is Level.WARN
    assert "linux-image-rt-amd64" in found.fix
    assert one(machine.kernel(tmp_path, wanted=True, enforced=True)).level is Level.BAD


@pytest.mark.parametrize(("limit", "level"), [("99", Level.OK), ("unlimited", Level.OK), ("0", Level.WARN)])
def test_the_limit_of_real_time_priority_is_read(tmp_path: Path, limit: str, level: Level) -> None:
    lay(tmp_path, WITHOUT | {"proc/self/limits": f"Max realtime priority     {limit:<20} {limit:<20}"})
    assert one(machine.priority(tmp_path, wanted=True)).level is level


def test_the_lines_for_the_limits_file_are_whole(tmp_path: Path) -> None:
    lay(tmp_path, WITHOUT | {"proc/self/limits": "Max realtime priority     0                    0"})
    first, *lines = one(machine.priority(tmp_path, wanted=True, user="ada")).fix.splitlines()
    assert "usermod -a -G realtime ada" in first
    assert "@realtime hard rtprio 99" in lines
    assert "@realtime soft memlock 102400" in lines


def test_a_process_that_may_do_anything_needs_no_limit(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/self/status": "CapEff:\t0000000000800000", "proc/self/limits": "Max realtime priority 0 0"})
    assert one(machine.priority(tmp_path, wanted=True)).level is Level.OK


def test_cores_that_save_power_are_found_though_others_do_not(tmp_path: Path) -> None:
    cores = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
    lay(tmp_path, {cores.format(0): "performance"})
    assert one(machine.governor(tmp_path)).level is Level.OK
    lay(tmp_path, {cores.format(1): "powersave"})
    found = one(machine.governor(tmp_path))
    assert found.level is Level.WARN
    assert found.what.startswith("powersave")
    assert "tee" in found.fix


def test_a_clock_that_nobody_keeps_right_is_found(tmp_path: Path) -> None:
    assert one(machine.synced(tmp_path, lambda: 0x40)).level is Level.WARN
    assert one(machine.synced(tmp_path, lambda: 0x2001)).level is Level.OK
    lay(tmp_path, {"run/systemd/timesync/synchronized": ""})
    assert one(machine.synced(tmp_path, lambda: 0x40)).level is Level.OK


def test_this_machines_kernel_can_be_asked_about_its_clock(tmp_path: Path) -> None:
    assert one(machine.synced(tmp_path)).level in {Level.OK, Level.WARN}


@pytest.mark.parametrize(("pace", "level"), [(1.0, Level.OK), (1.0005, Level.OK), (1.003, Level.WARN)])
def test_a_wall_clock_that_is_pushed_about_is_found(pace: float, level: Level) -> None:
    now = [0]

    def sleep(seconds: float) -> None:
        now[0] += round(seconds * 1e9)

    found = one(machine.steady(1.0, lambda: round(now[0] * pace), lambda: now[0], sleep))
    assert found.level is level


def package(folder: Path, name: str, code: str) -> Sdk:
    """A vendor's package, installed in a folder."""
    lay(
        folder,
        {
            f"{name}.py": code,
            f"{name}-1.2.3.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3",
        },
    )
    return Sdk(name, name, "hardware")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which Python finds packages."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_a_package_that_imports_is_told_with_its_version(installed: Path) -> None:
    found = one(software.sdk(package(installed, "whole_sdk", ""), wanted=True))
    assert found.level is Level.OK
    assert "1.2.3" in found.what


@pytest.mark.parametrize(("wanted", "level"), [(True, Level.BAD), (None, Level.WARN), (False, Level.OK)])
def test_a_missing_package_matters_as_much_as_the_station_needs_it(wanted: bool | None, level: Level) -> None:
    found = one(software.sdk(Sdk("no_such_sdk", "no-such-sdk", "hardware"), wanted))
    assert found.level is level
    assert found.fix == ("" if level is Level.OK else "pip install 'appliance[hardware]'")


def test_a_missing_system_library_is_named_with_its_debian_package(installed: Path) -> None:
    broken = "raise ImportError('libusb-1.0.so.0: cannot open shared object file: No such file or directory')"
    found = one(software.sdk(package(installed, "broken_sdk", broken), wanted=True))
    assert found.level is Level.BAD
    assert found.fix == "sudo apt-get install libusb-1.0-0"


def test_a_package_that_crashes_or_hangs_is_a_finding_and_no_more(installed: Path) -> None:
    crash = package(installed, "crashing_sdk", "import os; os.abort()")
    hang = package(installed, "hanging_sdk", "import time; time.sleep(60)")
    assert "SIGABRT" in one(software.sdk(crash, wanted=True)).what
    late = one(software.sdk(hang, wanted=True, limit=0.5))
    assert (late.level, late.fix) == (Level.WARN, software.BUSY)
    assert "0.5 s" in late.what


def test_a_station_needs_the_packages_of_its_drivers() -> None:
    assert software.needed(["drivers.dynamixel:Follower", "drivers.dual:Dual"]) == {software.DYNAMIXEL}
    assert software.needed(["drivers.emulators.fci.table:EmulatedTable"]) == {software.FRANKA, software.MUJOCO}


def test_an_old_python_is_refused() -> None:
    assert one(software.interpreter((3, 11, 4))).level is Level.BAD
