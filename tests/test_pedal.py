"""A pedal is heard wherever the focus is: in the kernel's own words, from the other end of a pipe instead of it."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import station
from appliance.pedal import ANY, CODES, KEY, KEYS, NoPedal, Pedal
from appliance.station import StationError
from collectors import Event, Events
from tests.hosts import until
from tests.test_session import BLIND
from tests.test_station import CELL, LIMITS, write

NAME = "PCsensor FootSwitch Keyboard"


class Kernel:
    """What there is under ``/dev/input`` and ``/sys/class/input`` on a machine with a keyboard, a pedal and a mouse."""

    def __init__(self, folder: Path) -> None:
        self.devices, self.names = folder / "dev", folder / "sys"
        self.devices.mkdir()
        for number, name in enumerate(("AT Keyboard", NAME, "Mouse")):
            place = self.names / f"event{number}" / "device"
            place.mkdir(parents=True)
            (place / "name").write_text(f"{name}\n")
            os.mkfifo(self.devices / f"event{number}")
        self.foot = os.open(self.devices / "event1", os.O_RDWR)

    def say(self, code: int, value: int, kind: int = KEYS) -> bytes:
        """What a key does, and that that was all: the kernel's ``SYN_REPORT``."""
        return KEY.pack(1, 2, kind, code, value) + KEY.pack(1, 2, 0, 0, 0)

    def press(self, key: str) -> None:
        os.write(self.foot, self.say(CODES[key], 1) + self.say(CODES[key], 2) + self.say(CODES[key], 0))


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    yield made
    os.close(made.foot)


def alone(_device: int) -> None:
    """A pipe has nobody else to keep away."""


def pedal(kernel: Kernel, **more: object) -> Pedal:
    said = {"means": {}, "grab": alone} | more
    return Pedal(NAME, devices=kernel.devices, names=kernel.names, **said)  # type: ignore[arg-type]  # of each its own


def test_the_kernel_says_a_press_in_24_bytes() -> None:
    assert KEY.size == 24


def test_a_key_that_goes_down_is_one_press_however_long_it_stays_down(kernel: Kernel) -> None:
    events = Events()
    with pedal(kernel, means={CODES["b"]: (Event.STOP,)}).hear(events):
        kernel.press("b")
        kernel.press("c")
        kernel.press("b")
        assert [events.wait(5.0), events.wait(5.0)] == [Event.STOP, Event.STOP]
    assert events.take() is None


def test_a_pedal_of_which_nothing_is_said_begins_and_ends_takes_with_any_key(kernel: Kernel) -> None:
    events = Events()
    with pedal(kernel).hear(events):
        kernel.press("page down")
        assert events.wait(5.0, Event.SUCCESS) is Event.SUCCESS
    assert ANY == (Event.START, Event.SUCCESS)


def test_what_comes_in_pieces_is_put_together(kernel: Kernel) -> None:
    events = Events()
    whole = kernel.say(CODES["b"], 1)
    with pedal(kernel).hear(events):
        os.write(kernel.foot, whole[:10])
        assert events.wait(0.1) is None
        os.write(kernel.foot, whole[10:])
        assert events.wait(5.0) is Event.START


def test_it_is_kept_from_typing_and_given_back(kernel: Kernel) -> None:
    kept: list[int] = []
    with pedal(kernel, grab=kept.append).hear(Events()):
        (device,) = kept
        assert Path(f"/proc/self/fd/{device}").readlink() == kernel.devices / "event1"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(device)


def test_a_pedal_that_is_unplugged_stops_and_says_so(
    kernel: Kernel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has lost the key that says stop has to be safe without it."""
    events = Events()
    path = kernel.devices / "event2"
    foot = os.open(path, os.O_RDWR)
    (kernel.names / "event2" / "device" / "name").write_text("Other")
    with Pedal("Other", {}, kernel.devices, kernel.names, alone).hear(events):
        os.close(foot)
        end = os.open(path, os.O_WRONLY)
        os.close(end)
        assert events.wait(5.0) is Event.STOP
        until(lambda: caplog.messages)
    assert caplog.messages == ['the pedal "Other" is gone: plug it in, and begin the sitting anew']


def test_a_pedal_that_is_not_there_is_told_with_those_that_are(kernel: Kernel, tmp_path: Path) -> None:
    missing = Pedal("Pedal", {}, kernel.devices, kernel.names, alone)
    with pytest.raises(NoPedal, match=f'device = one of "AT Keyboard", "{NAME}", "Mouse"'), missing.hear(Events()):
        pass
    with (
        pytest.raises(NoPedal, match="device = one of none"),
        Pedal("Pedal", {}, tmp_path / "no", tmp_path / "no").hear(Events()),
    ):
        pass


def test_a_pedal_that_may_not_be_read_is_told_with_the_line_to_type(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("appliance.pedal.os.open", refuse)  # for root everything may be read
    with pytest.raises(NoPedal, match="sudo usermod -aG input") as told, pedal(kernel).hear(Events()):
        pass
    assert str(kernel.devices / "event1") in str(told.value)


def test_a_pedal_that_another_program_has_is_told_with_the_line_that_finds_it(kernel: Kernel) -> None:
    def busy(_device: int) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    with pytest.raises(NoPedal, match=r"resource busy.*sudo fuser -v"), pedal(kernel, grab=busy).hear(Events()):
        pass


def test_what_is_no_input_device_cannot_be_grabbed(kernel: Kernel) -> None:
    with (
        pytest.raises(NoPedal, match="cannot be had alone: Inappropriate ioctl"),
        Pedal(NAME, {}, kernel.devices, kernel.names).hear(Events()),
    ):
        pass


@pytest.mark.parametrize(
    ("key", "code"), [("b", 48), ("z", 44), ("1", 2), ("0", 11), ("f1", 59), ("f12", 88), ("f13", 183), ("f24", 194)]
)
def test_keys_have_the_kernels_codes(key: str, code: int) -> None:
    assert CODES[key] == code


def test_the_station_file_says_which_and_what_its_keys_mean(tmp_path: Path) -> None:
    said = f'[pedal]\ndevice = "{NAME}"\nkeys = {{ b = ["start", "success"], c = "stop" }}\n'
    made = station.load(write(tmp_path, CELL + BLIND + LIMITS + said)).pedal
    assert made == Pedal(NAME, {48: (Event.START, Event.SUCCESS), 46: (Event.STOP,)})
    assert station.load(write(tmp_path, CELL + BLIND + LIMITS)).pedal is None
    for wrong, why in (
        ("keys = { b = 'start' }", "device"),
        ("device = 'x'\nkeys = { bee = 'start' }", r"\[pedal\] there is no key 'bee'; there are 0, 1, 2"),
        ("device = 'x'\nkeys = { b = 'begin' }", r"\[pedal\] 'b' means begin"),
    ):
        with pytest.raises(StationError, match=why):
            station.load(write(tmp_path, CELL + BLIND + LIMITS + f"[pedal]\n{wrong}\n"))
