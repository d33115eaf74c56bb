"""An OpenXR runtime without a headset, for rehearsing what a person's hands do."""

from drivers.emulators.openxr.admin import Unwilling, ask
from drivers.emulators.openxr.emulated import Emulated
from drivers.emulators.openxr.person import Hand, Person, Pose, Script, circles, played

__all__ = ["Emulated", "Hand", "Person", "Pose", "Script", "Unwilling", "ask", "circles", "played"]
