"""A headset with two controllers, over OpenXR."""

from drivers.openxr.headset import Headset
from drivers.openxr.rows import HANDS, LOWER, MENU, STICK, UNKNOWN, UPPER

__all__ = ["HANDS", "LOWER", "MENU", "STICK", "UNKNOWN", "UPPER", "Headset"]
