"""LeRobot datasets, v3.0 and v2.1: written, and read into episodes of ours."""

from storage.lerobot.adopt import Adopted, adopt
from storage.lerobot.read import CannotRead, Dataset, Foreign, open_dataset
from storage.lerobot.video import Coding
from storage.lerobot.write import Export, write

__all__ = [
    "Adopted",
    "CannotRead",
    "Coding",
    "Dataset",
    "Export",
    "Foreign",
    "adopt",
    "open_dataset",
    "write",
]
