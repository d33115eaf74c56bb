"""GoPro files as a camera would have written them, to rehearse with."""

from drivers.emulators.gopro.camera import chapters, film, timecode
from drivers.emulators.gopro.filmed import Filmed

__all__ = ["Filmed", "chapters", "film", "timecode"]
