"""LeRobot datasets, v3.0 and v2.1: written, and read into episodes of ours."""

from storage.lerobot.columns import CannotWrite
from storage.lerobot.video import Coding
from storage.lerobot.write import Export, Take, Written, write

__all__ = ["CannotWrite", "Coding", "Export", "Take", "Written", "write"]
