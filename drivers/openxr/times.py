"""Reads this machine's clock and the runtime's at one moment, in the way the runtime offers."""

import ctypes
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from drivers.openxr.sdk import xr

NS = 1_000_000_000


class Clock(Protocol):
    """Now, on the host's monotonic clock and as an XrTime, both in nanoseconds."""

    def __call__(self) -> tuple[int, int]: ...


def counter() -> int:
    """Read Windows' performance counter, in its own ticks."""
    ticks = ctypes.c_int64()
    ctypes.windll.kernel32.QueryPerformanceCounter(ctypes.byref(ticks))  # type: ignore[attr-defined]  # Windows has it
    return ticks.value


def timespec(instance: Any) -> Clock:
    """CLOCK_MONOTONIC as a timespec, which is this appliance's clock on Linux."""
    convert = _function(
        instance, "xrConvertTimespecTimeToTimeKHR", ctypes.POINTER(xr.timespec), ctypes.POINTER(ctypes.c_int64)
    )

    def now() -> tuple[int, int]:
        host, converted = time.monotonic_ns(), ctypes.c_int64()
        moment = xr.timespec(*divmod(host, NS))
        check(convert(instance, ctypes.byref(moment), ctypes.byref(converted)))
        return host, converted.value

    return now


def performance_counter(instance: Any, count: Callable[[], int] = counter) -> Clock:
    """Windows' performance counter, read together with the host's clock."""
    convert = _function(
        instance,
        "xrConvertWin32PerformanceCounterToTimeKHR",
        *(ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_int64)),
    )

    def now() -> tuple[int, int]:
        host, ticks, converted = time.monotonic_ns(), ctypes.c_int64(count()), ctypes.c_int64()
        check(convert(instance, ctypes.byref(ticks), ctypes.byref(converted)))
        return host, converted.value

    return now


CLOCKS: dict[str, Callable[[Any], Clock]] = (
    {"XR_KHR_win32_convert_performance_counter_time": performance_counter}
    if sys.platform == "win32"
    else {"XR_KHR_convert_timespec_time": timespec}
)
"""By the extension that a runtime has to offer for it."""


def check(code: int) -> None:
    """Raise what the code stands for, unless it is success."""
    result = xr.check_result(xr.Result(code))
    if result.is_exception():
        raise result


def _function(instance: Any, name: str, *arguments: Any) -> Any:
    """Return a function of an extension; pyopenxr's own look for it again with every call."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int, xr.Instance, *arguments)
    return ctypes.cast(xr.get_instance_proc_addr(instance, name), kind)
