"""The SDK's frames, taken apart: what they say of themselves, and their pictures."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.realsense.rows import Shot

MILLIMETRE = 0.001


def shot(rs: Any, frame: Any) -> Shot:
    """Return what a frame says of itself, now that it is here."""
    wall, arrived = time.time_ns(), time.monotonic_ns()
    return Shot(
        number=frame.get_frame_number(),
        device_t=frame.get_timestamp(),
        domain=int(frame.get_frame_timestamp_domain()),
        lead=_lead(rs.frame_metadata_value, frame),
        arrived=arrived,
        wall=wall,
    )


def _lead(kind: Any, frame: Any) -> float:
    """Milliseconds from the middle of the exposure to the frame's stamp, which is taken when it is read out."""
    if not (
        frame.supports_frame_metadata(kind.frame_timestamp) and frame.supports_frame_metadata(kind.sensor_timestamp)
    ):
        return 0.0
    lead = (frame.get_frame_metadata(kind.frame_timestamp) - frame.get_frame_metadata(kind.sensor_timestamp)) / 1e3
    return lead if 0 <= lead < 100 else 0.0


def picture(frame: Any) -> NDArray[np.uint8]:
    """Return its picture (h, w, 3), which lives as long as the frame does."""
    return np.asanyarray(frame.get_data())


class Depths:
    """Turns a pair of frames into depth in whole millimetres, from the picture's view or the sensor's own."""

    def __init__(self, rs: Any, align: bool, scale: float) -> None:
        self._align = rs.align(rs.stream.color) if align else None
        self.scale = scale
        """Metres of one unit of the camera's depth."""
        self._pair: list[Any] = []
        # The SDK aligns framesets only, and makes them only of frames that it has paired itself, or in here.
        self._joined = rs.frame_queue(1)
        self._join = rs.processing_block(
            lambda _frame, source: source.frame_ready(source.allocate_composite_frame(self._pair))
        )
        self._join.start(self._joined)

    def of(self, colour: Any, depth: Any) -> NDArray[np.uint16]:
        """Return the depth (h, w).

        Raises:
            RuntimeError: the SDK cannot.
        """
        if self._align is not None:
            self._pair[:] = [depth, colour]
            try:
                self._join.invoke(colour)
                depth = self._align.process(self._joined.wait_for_frame(1000).as_frameset()).get_depth_frame()
            finally:
                self._pair.clear()
        raw = np.array(depth.get_data(), np.uint16)
        factor = self.scale / MILLIMETRE
        return raw if abs(factor - 1) < 1e-6 else np.minimum(np.rint(raw * factor), 65535).astype(np.uint16)
