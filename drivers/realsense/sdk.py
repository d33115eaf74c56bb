"""librealsense as this driver uses it: find a camera by its serial, open its streams, set and read its options.

The SDK's ``pipeline`` is not used. Its ``start`` waits 15 s for a camera that has just gone, and holds Python's lock
meanwhile; and its framesets show the last frame of a stream that has stopped again and again. Sensors are opened one
by one instead, which fails at once, and every frame is seen exactly once.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.device import DeviceError
from drivers.realsense.frames import Depths
from drivers.realsense.rows import mode

if TYPE_CHECKING:
    from drivers.realsense.camera import RealSense

QUEUE = 32
"""Frames that may wait for the reader: half a second of two streams."""


SETTLED = 100
"""Milliseconds without a frame after which a film that was paused has no more on their way."""


class Absent(DeviceError):
    """The camera is not connected. The message says what is."""


def library(name: str) -> Any:
    """Return the SDK.

    Raises:
        DeviceError: it is not installed. The message says what to do.
    """
    try:
        import pyrealsense2  # type: ignore[import-untyped]  # it ships no type information
    except ImportError as error:
        if "libusb" in str(error):
            raise DeviceError(f"{name}: {error}; type: sudo apt-get install libusb-1.0-0") from error
        raise DeviceError(f"{name}: pyrealsense2 is missing: install the extra [hardware]") from error
    return pyrealsense2


def context() -> Any:
    """Return the cameras of this machine."""
    return library("RealSense").context()


def connected(known: Any) -> dict[str, Any]:
    """Return every camera that a context knows, by serial."""
    rs = library("RealSense")
    found = {}
    for device in known.query_devices():
        with suppress(RuntimeError):  # it left while it was asked
            found[device.get_info(rs.camera_info.serial_number)] = device
    return found


def find(settings: "RealSense", known: Any) -> Any:
    """Return the camera with the serial.

    Raises:
        Absent: it is not there. The message says what is, and how to find out.
    """
    rs = library(settings.name)
    there = connected(known)
    if settings.serial in there:
        return there[settings.serial]
    if there:
        others = ", ".join(f"{serial} ({device.get_info(rs.camera_info.name)})" for serial, device in there.items())
        raise Absent(
            f"{settings.name}: no camera with serial {settings.serial} is connected; connected: {others}. "
            "The serial is on the camera's sticker, and `rs-enumerate-devices -s` lists it"
        )
    raise Absent(
        f"{settings.name}: no camera with serial {settings.serial} is connected, nor any other RealSense. Is its cable "
        "in a USB 3 port? If `lsusb` lists it (8086:...), librealsense's udev rules are missing"
    )


class Opened:
    """A camera whose streams run into ``queue``, until ``close``.

    Raises:
        DeviceError: it has no such mode or option, another program has it, or the file to record to cannot be written.
            The message says what it has.
    """

    def __init__(self, settings: "RealSense", device: Any, record: str = "") -> None:
        self._rs = rs = library(settings.name)
        self._device = device
        self._film = device.as_playback() if device.is_playback() else None
        self.queue = rs.frame_queue(QUEUE, True)
        self.depths: Depths | None = None
        self._running: list[Any] = []
        wanted = [(rs.stream.color, rs.format.rgb8, settings.rgb)]
        depth = mode(settings.rgb, settings.depth)
        if depth is not None:
            wanted.append((rs.stream.depth, rs.format.z16, depth))
        try:
            if record:
                self._device = _recorder(rs, settings, device, record)
            chosen = [_choose(rs, settings, self._device, *one) for one in wanted]
            self.profiles = [profile for _, profile in chosen]
            _set_colour(rs, settings, chosen[0][0])
            if depth:
                _set(rs, settings, chosen[1][0], settings.depth_options)
                self.depths = Depths(rs, settings.align, chosen[1][0].get_option(rs.option.depth_units))
            # A D405's colour and depth come from one sensor, which is then opened once, for both.
            sensors = {sensor.get_info(rs.camera_info.name): sensor for sensor, _ in chosen}
            if self._film is not None:
                self._film.pause()  # or it would run from the start of its first stream, without the second
            for name, sensor in sensors.items():
                sensor.open([p for s, p in chosen if s.get_info(rs.camera_info.name) == name])
                self._running.append(sensor)
                sensor.start(self.queue)
            if self._film is not None:
                self._film.resume()
        except RuntimeError as error:
            self.close()
            busy = "; does another program have it open?" if "busy" in str(error).lower() else ""
            raise DeviceError(f"{settings.name} (serial {settings.serial}) does not start: {error}{busy}") from error
        except DeviceError:
            self.close()
            raise

    def describe(self) -> dict[str, Any]:
        """Return lenses, places, options and firmware, as JSON can hold them."""
        info = self._rs.camera_info
        facts = {
            "kind": info.name,
            "serial": info.serial_number,
            "firmware": info.firmware_version,
            "usb": info.usb_type_descriptor,
        }
        said: dict[str, Any] = {
            word: self._device.get_info(what) for word, what in facts.items() if self._device.supports(what)
        }
        said["options"] = {sensor.get_info(info.name): _options(sensor) for sensor in self._device.query_sensors()}
        said["colour"] = _lens(self.profiles[0])
        if self.depths is not None:
            colour, depth = self.profiles
            place = depth.get_extrinsics_to(colour)
            said["depth"] = _lens(depth)
            said["depth_scale"] = self.depths.scale
            said["colour_T_depth"] = {
                "rotation": np.reshape(place.rotation, (3, 3)).T.tolist(),  # the SDK's is column by column
                "translation": list(place.translation),
            }
        return said

    def close(self) -> None:
        """Stop its streams, also when the camera is gone."""
        if self._film is not None:
            # The SDK aborts the program when a film's sensor is let go while one of its frames is on its way.
            with suppress(RuntimeError):
                self._film.pause()
                while self.queue.try_wait_for_frame(SETTLED)[0]:
                    pass
        for end in ("stop", "close"):
            for sensor in self._running:
                with suppress(RuntimeError):  # of a camera that is gone the SDK says so, once more
                    getattr(sensor, end)()
        self._running = []
        self._device = None


def _recorder(rs: Any, settings: "RealSense", device: Any, file: str) -> Any:
    """Return the camera as one whose frames go to a file as well."""
    try:
        return rs.recorder(file, device)
    except RuntimeError as error:
        raise DeviceError(f"{settings.name} cannot be recorded to {file}: {error}") from error


def _choose(rs: Any, settings: "RealSense", device: Any, stream: Any, form: Any, size: tuple[int, int]) -> Any:
    """Return the sensor that has the mode, and the mode."""
    modes = []
    for sensor in device.query_sensors():
        for profile in sensor.get_stream_profiles():
            if profile.stream_type() == stream and profile.format() == form and profile.is_video_stream_profile():
                video = profile.as_video_stream_profile()
                modes.append(((video.height(), video.width()), profile.fps()))
                if modes[-1] == (size, settings.hz):
                    return sensor, video
    usb = rs.camera_info.usb_type_descriptor
    port = f" on USB {device.get_info(usb)}" if device.supports(usb) else ""
    there = ", ".join(f"{h} x {w} at {hz} Hz" for (h, w), hz in sorted(set(modes))) or "none at all"
    raise DeviceError(
        f"{settings.name} (serial {settings.serial}) has no {stream.name} of {size[0]} x {size[1]} at {settings.hz} Hz"
        f"{port}; it has: {there}"
    )


def _set_colour(rs: Any, settings: "RealSense", sensor: Any) -> None:
    """Set what was asked for of the picture; automatics that would undo it are switched off first."""
    if settings.exposure is not None or settings.gain is not None:
        _set(rs, settings, sensor, {"enable_auto_exposure": 0})
    if settings.exposure is not None:
        # A colour sensor counts in 100 us, as UVC does; a stereo sensor, with which a D405 sees colour, in 1 us.
        unit = 1e-6 if sensor.supports(rs.option.depth_units) else 1e-4
        _set(rs, settings, sensor, {"exposure": max(1, round(settings.exposure / unit))})
    if settings.gain is not None:
        _set(rs, settings, sensor, {"gain": settings.gain})
    if settings.white_balance is not None:
        _set(rs, settings, sensor, {"enable_auto_white_balance": 0, "white_balance": settings.white_balance})


def _set(rs: Any, settings: "RealSense", sensor: Any, options: Mapping[str, float]) -> None:
    for word, value in options.items():
        option = rs.option.__members__.get(word)
        if option is None or not sensor.supports(option):
            raise DeviceError(
                f"{settings.name}: its {_name(rs, sensor)} has no {word}; it has {sorted(_options(sensor))}"
            )
        try:
            sensor.set_option(option, value)
        except RuntimeError as error:
            span = sensor.get_option_range(option)
            raise DeviceError(
                f"{settings.name}: {word} of its {_name(rs, sensor)} goes from {span.min:g} to {span.max:g} in steps "
                f"of {span.step:g}, not {value:g} ({error})"
            ) from error


def _name(rs: Any, sensor: Any) -> str:
    return str(sensor.get_info(rs.camera_info.name))


def _options(sensor: Any) -> dict[str, float]:
    found = {}
    for option in sensor.get_supported_options():
        with suppress(RuntimeError):  # some can be asked for only at times, e.g. while streaming
            found[option.name] = sensor.get_option(option)
    return found


def _lens(profile: Any) -> dict[str, Any]:
    """Focal lengths and centre in pixels, and how the lens bends."""
    lens = profile.get_intrinsics()
    return {
        **{key: getattr(lens, key) for key in ("width", "height", "fx", "fy", "ppx", "ppy")},
        "distortion": lens.model.name,
        "coefficients": list(lens.coeffs),
    }
