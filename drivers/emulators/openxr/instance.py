"""The functions of OpenXR that an instance has: extensions, the headset, names, times, events."""

import ctypes
from collections.abc import Callable
from typing import Any

from drivers.emulators.openxr.state import Client, R, State, give, raw
from drivers.openxr.sdk import xr

NS = 1_000_000_000
TICK = 100
"""Nanoseconds of a tick of the emulated Windows performance counter."""


class Instance:
    """Instance functions on a state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "xrEnumerateInstanceExtensionProperties": self.extensions,
            "xrCreateInstance": self.create,
            "xrDestroyInstance": self.destroy,
            "xrGetInstanceProperties": self.properties,
            "xrResultToString": self.result_name,
            "xrPollEvent": self.poll,
            "xrStringToPath": self.path,
            "xrPathToString": self.path_name,
            "xrGetSystem": self.system,
            "xrGetSystemProperties": self.system_properties,
            "xrEnumerateViewConfigurations": self.views,
            "xrEnumerateEnvironmentBlendModes": self.blend_modes,
            "xrConvertTimespecTimeToTimeKHR": self.from_timespec,
            "xrConvertTimeToTimespecTimeKHR": self.to_timespec,
            "xrConvertWin32PerformanceCounterToTimeKHR": self.from_counter,
            "xrGetOpenGLGraphicsRequirementsKHR": self.graphics,
        }

    def extensions(self, layer: Any, capacity: int, count: Any, properties: Any) -> Any:
        known = self._state.extensions
        count[0] = len(known)
        if capacity:
            if capacity < len(known):
                return R.ERROR_SIZE_INSUFFICIENT
            for index, name in enumerate(known):
                properties[index].extension_name = name.encode()
                properties[index].extension_version = 1
        return R.SUCCESS

    def create(self, info: Any, out: Any) -> Any:
        asked = info.contents
        names = {
            raw(asked, "enabled_extension_names")[index].decode() for index in range(asked.enabled_extension_count)
        }
        if not names.issubset(self._state.extensions):
            return R.ERROR_EXTENSION_NOT_PRESENT
        if self._state.client.instance:
            return R.ERROR_LIMIT_REACHED
        self._state.lost = False
        self._state.client = Client(instance=self._state.handle(), enabled=names)
        give(out, self._state.client.instance)
        return R.SUCCESS

    def destroy(self, instance: Any) -> Any:
        self._state.client = Client()
        return R.SUCCESS

    def properties(self, instance: Any, out: Any) -> Any:
        out.contents.runtime_name = self._state.name.encode()
        out.contents.runtime_version = (1 << 48) | 1
        return R.SUCCESS

    def result_name(self, instance: Any, value: int, buffer: Any) -> Any:
        name = f"XR_{R(value).name}".encode() + b"\0"
        ctypes.memmove(buffer, name, len(name))
        return R.SUCCESS

    def poll(self, instance: Any, buffer: Any) -> Any:
        if not self._state.client.events:
            return R.EVENT_UNAVAILABLE
        event = self._state.client.events.popleft()
        ctypes.memmove(buffer, event, len(event))
        return R.SUCCESS

    def path(self, instance: Any, text: bytes, out: Any) -> Any:
        name, paths = text.decode(), self._state.client.paths
        if not name.startswith("/") or name != name.lower():
            return R.ERROR_PATH_FORMAT_INVALID
        if name not in paths:
            paths.append(name)
        out[0] = paths.index(name)
        return R.SUCCESS

    def path_name(self, instance: Any, path: int, capacity: int, count: Any, buffer: Any) -> Any:
        if not 0 < path < len(self._state.client.paths):
            return R.ERROR_PATH_INVALID
        name = self._state.client.paths[path].encode() + b"\0"
        count[0] = len(name)
        if capacity:
            ctypes.memmove(buffer, name, len(name))
        return R.SUCCESS

    def system(self, instance: Any, info: Any, out: Any) -> Any:
        if raw(info.contents, "form_factor") != xr.FormFactor.HEAD_MOUNTED_DISPLAY:
            return R.ERROR_FORM_FACTOR_UNSUPPORTED
        if not self._state.headset:
            return R.ERROR_FORM_FACTOR_UNAVAILABLE
        out[0] = 1
        return R.SUCCESS

    def system_properties(self, instance: Any, system: int, out: Any) -> Any:
        out.contents.system_name = b"Emulated headset"
        out.contents.tracking_properties.position_tracking = 1
        out.contents.tracking_properties.orientation_tracking = 1
        return R.SUCCESS

    def views(self, instance: Any, system: int, capacity: int, count: Any, out: Any) -> Any:
        return _one(int(xr.ViewConfigurationType.PRIMARY_STEREO), capacity, count, out)

    def blend_modes(self, instance: Any, system: int, view: int, capacity: int, count: Any, out: Any) -> Any:
        return _one(int(xr.EnvironmentBlendMode.OPAQUE), capacity, count, out)

    def from_timespec(self, instance: Any, moment: Any, out: Any) -> Any:
        out[0] = moment.contents.tv_sec * NS + moment.contents.tv_nsec
        return R.SUCCESS

    def to_timespec(self, instance: Any, t: int, out: Any) -> Any:
        out.contents.tv_sec, out.contents.tv_nsec = divmod(t, NS)
        return R.SUCCESS

    def from_counter(self, instance: Any, ticks: Any, out: Any) -> Any:
        out[0] = ticks[0] * TICK
        return R.SUCCESS

    def graphics(self, instance: Any, system: int, out: Any) -> Any:
        self._state.client.graphics_asked = True
        out.contents.min_api_version_supported = 3 << 48
        out.contents.max_api_version_supported = (4 << 48) | (6 << 32)
        return R.SUCCESS


def _one(value: int, capacity: int, count: Any, out: Any) -> Any:
    count[0] = 1
    if capacity:
        out[0] = value
    return R.SUCCESS
