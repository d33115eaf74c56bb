"""What the tests of a RealSense share: an emulated camera, a driver before it, and waiting for what is to come."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from drivers import Rows
from drivers.emulators.realsense import EmulatedCamera
from drivers.realsense import RealSense

try:
    import pyrealsense2  # type: ignore[import-untyped]  # ruff: ignore[unused-import] - only whether it is there
except ImportError as error:
    if "libusb" not in str(error):
        raise
    pytest.skip(f"{error}; type: sudo apt-get install libusb-1.0-0", allow_module_level=True)

SIZE = (48, 64)
HZ = 60


def before(camera: EmulatedCamera, **settings: Any) -> RealSense:
    """The driver, with a camera at its cable."""
    usual: dict[str, Any] = {"name": "front", "serial": camera.serial, "rgb": camera.rgb, "hz": camera.hz}
    return RealSense(**(usual | settings), context=camera.usb.context)


def camera(serial: str = "000000000001", **settings: Any) -> EmulatedCamera:
    """A small, quick one."""
    usual: dict[str, Any] = {"rgb": SIZE, "hz": HZ}
    return EmulatedCamera(serial, **(usual | settings))


def until(come: Callable[[], bool], what: str, limit: float = 5.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + limit
    while not come():
        assert time.monotonic() < end, f"{what}: not within {limit} s"
        time.sleep(0.002)


def rows(device: RealSense, n: int, since: int | None = None) -> Rows:
    """The first rows after a moment, which is now."""
    since = time.monotonic_ns() if since is None else since
    until(lambda: len(device.read(since)) >= n, f"{n} rows")
    return device.read(since)[:n]


@contextmanager
def heartbeat() -> Generator[list[float]]:
    """Seconds between the beats of another thread, meanwhile."""
    beats, over = [time.perf_counter()], threading.Event()

    def beat() -> None:
        while not over.wait(0.005):
            beats.append(time.perf_counter())

    thread = threading.Thread(target=beat)
    thread.start()
    between: list[float] = []
    try:
        yield between
    finally:
        over.set()
        thread.join()
        between.extend(np.diff([*beats, time.perf_counter()]))
