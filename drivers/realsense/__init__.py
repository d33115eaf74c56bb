"""A RealSense camera, and a film of one, through the vendor's librealsense."""

from drivers.realsense.camera import RealSense
from drivers.realsense.recording import Recording

__all__ = ["RealSense", "Recording"]
