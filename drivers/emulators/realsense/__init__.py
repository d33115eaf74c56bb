"""A RealSense camera without the camera: the vendor's own library sees it, and opens it as a real one."""

from drivers.emulators.realsense.camera import EmulatedCamera, Usb
from drivers.emulators.realsense.driver import Emulated

__all__ = ["Emulated", "EmulatedCamera", "Usb"]
