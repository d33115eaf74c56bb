"""How an emulated camera is built, out of the SDK's own software device: sensors, modes, lenses, options, frames."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.realsense import sdk

if TYPE_CHECKING:
    from drivers.emulators.realsense.camera import EmulatedCamera, Stream

FIRMWARE = "5.16.0.1"

FOCAL = 0.96
"""Focal length of a D435's colour camera, in widths of its picture."""

COLOUR_OPTIONS = {
    "enable_auto_exposure": (0, 1, 1, 1),
    "exposure": (1, 10000, 1, 166),
    "gain": (0, 128, 1, 64),
    "enable_auto_white_balance": (0, 1, 1, 1),
    "white_balance": (2800, 6500, 10, 4600),
}
DEPTH_OPTIONS = {
    "enable_auto_exposure": (0, 1, 1, 1),
    "exposure": (1, 165000, 1, 8500),
    "gain": (16, 248, 1, 16),
    "emitter_enabled": (0, 2, 1, 1),
    "laser_power": (0, 360, 30, 150),
}
"""Least, most, step, and what a D435 begins with, in the SDK's units: kelvin, mW, and exposures in
100 us of colour but 1 us of depth."""


def named(stream: "Stream") -> "Stream":
    """Return the stream's name.

    Raises:
        ValueError: there is no such stream.
    """
    if stream not in {"colour", "depth"}:
        raise ValueError(f"a camera has the streams colour and depth, not {stream!r}")
    return stream


class Device:
    """One camera from being plugged in to being pulled out."""

    def __init__(self, camera: "EmulatedCamera") -> None:
        self._rs = rs = sdk.library(f"camera {camera.serial}")
        self._domain = {
            "hardware": rs.timestamp_domain.hardware_clock,
            "system": rs.timestamp_domain.system_time,
            "global": rs.timestamp_domain.global_time,
        }[camera.domain]
        self._units = camera.depth_units
        self.software = rs.software_device()
        for what, said in (
            (rs.camera_info.name, "Intel RealSense D435 (emulated)"),
            (rs.camera_info.serial_number, camera.serial),
            (rs.camera_info.product_line, "D400"),
            (rs.camera_info.firmware_version, FIRMWARE),
            (rs.camera_info.usb_type_descriptor, "3.2"),
            (rs.camera_info.physical_port, f"emulated-{camera.serial}"),
        ):
            self.software.register_info(what, said)
        self._depth, self._colour = self.software.add_sensor("Stereo Module"), self.software.add_sensor("RGB Camera")
        self._depth_mode = self._depth.add_video_stream(self._mode(camera, rs.stream.depth, rs.format.z16, 2), True)
        self._colour_mode = self._colour.add_video_stream(self._mode(camera, rs.stream.color, rs.format.rgb8, 3), True)
        place = rs.extrinsics()
        place.rotation, place.translation = np.eye(3).ravel().tolist(), [-camera.apart, 0.0, 0.0]
        self._depth_mode.register_extrinsics_to(self._colour_mode, place)
        self._depth.add_read_only_option(rs.option.depth_units, camera.depth_units)
        self._depth.add_read_only_option(rs.option.stereo_baseline, 50.0)
        for sensor, options in ((self._colour, COLOUR_OPTIONS), (self._depth, DEPTH_OPTIONS)):
            for word, span in options.items():
                self._allow(sensor, word, *span)
        self.software.create_matcher(rs.matchers.default)

    def push_colour(self, rgb: NDArray[np.uint8], number: int, stamp: float, lead: float) -> None:
        """Send a picture, stamped ``stamp`` ms, ``lead`` microseconds after the middle of its exposure."""
        self._push(self._colour, self._colour_mode, np.array(rgb, np.uint8), number, stamp, lead)

    def push_depth(self, depth: NDArray[np.uint16], number: int, stamp: float, lead: float) -> None:
        """Send depth, given in millimetres."""
        raw = np.rint(depth * (0.001 / self._units)).astype(np.uint16)
        self._push(self._depth, self._depth_mode, raw, number, stamp, lead)

    def options(self, stream: "Stream") -> dict[str, float]:
        """What a sensor is set to."""
        sensor = self._colour if named(stream) == "colour" else self._depth
        return {option.name: sensor.get_option(option) for option in sensor.get_supported_options()}

    def _mode(self, camera: "EmulatedCamera", stream: Any, form: Any, size: int) -> Any:
        rs = self._rs
        height, width = camera.rgb
        lens = rs.intrinsics()
        lens.width, lens.height, lens.ppx, lens.ppy = width, height, width / 2, height / 2
        lens.fx = lens.fy = camera.focal or FOCAL * width
        lens.model, lens.coeffs = rs.distortion.brown_conrady, [0.0] * 5
        mode = rs.video_stream()
        mode.type, mode.index, mode.uid = stream, 0, size
        mode.width, mode.height, mode.fps, mode.bpp, mode.fmt, mode.intrinsics = (
            width,
            height,
            camera.hz,
            size,
            form,
            lens,
        )
        return mode

    def _allow(self, sensor: Any, word: str, least: float, most: float, step: float, default: float) -> None:
        span = self._rs.option_range()
        span.min, span.max, span.step, span.default = least, most, step, default
        sensor.add_option(self._rs.option.__members__[word], span, True)

    def _push(self, sensor: Any, mode: Any, pixels: NDArray[Any], number: int, stamp: float, lead: float) -> None:
        rs = self._rs
        for what, value in (
            (rs.frame_metadata_value.frame_counter, number),
            (rs.frame_metadata_value.frame_timestamp, round(stamp * 1e3)),
            (rs.frame_metadata_value.sensor_timestamp, round(stamp * 1e3 - lead)),
        ):
            sensor.set_metadata(what, value)
        frame = rs.software_video_frame()
        frame.pixels, frame.stride, frame.bpp = pixels, pixels.strides[0], pixels.strides[1]
        frame.timestamp, frame.domain, frame.frame_number = stamp, self._domain, number
        frame.profile = mode.as_video_stream_profile()
        if pixels.ndim == 2:
            frame.depth_units = self._units
        sensor.on_video_frame(frame)
