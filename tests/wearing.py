"""An emulated headset for a test, and how to wait for what it says."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from drivers import Device, Row, Rows, newest
from drivers.emulators.openxr import Emulated
from drivers.openxr import Headset

DEADLINE = 30.0
"""Seconds after which a wait is hopeless, however busy the machine."""


@contextmanager
def worn(**settings: Any) -> Generator[Emulated]:
    """Wear an emulated headset, and see to it that the emulator made no mistake."""
    pytest.importorskip("drivers.openxr.sdk", reason="the extra [hardware] is not installed")
    device = Emulated("hands", **({"silence": 5.0} | settings))
    with device:
        runtime = device.runtime
        focused(device)
        yield device
    assert not runtime.state.errors, runtime.state.errors[0]


def wait(device: Device, condition: Callable[[Row], Any]) -> Row:
    """Return the first row from now on that fulfils the condition."""
    start, end = time.monotonic_ns(), time.monotonic() + DEADLINE
    while time.monotonic() < end:
        for row in device.read(start):
            start = max(start, int(row["t"]))
            if condition(row):
                return cast("Row", row)
        time.sleep(0.001)
    pytest.fail(f"it never came; last: {newest(device.read(start - 10**9))}")


def focused(device: Headset) -> Row:
    """Return the first row from now on in which the input is ours."""
    return wait(device, lambda row: bool(row["focused"]))


def after(device: Headset, start: int, count: int) -> Rows:
    """Wait until more than ``count`` rows came after ``start``, and return them."""
    end = time.monotonic() + DEADLINE
    while len(rows := device.read(start)) <= count and time.monotonic() < end:
        time.sleep(0.001)
    return rows


def until(condition: Callable[[], Any]) -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.001)
    pytest.fail("it never came")
