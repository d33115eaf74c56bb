"""Where an episode is made that comes from elsewhere: aside, so that there is a whole one afterwards, or none."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from storage.seal import alone, lock, unlock

APART = ".import-"
"""How folders are named in which an episode is made; one that is left over was interrupted, and can go."""


@contextmanager
def apart(root: Path) -> Generator[Path]:
    """A folder to work in that nobody looks into, and that `sweep` leaves alone meanwhile."""
    (root / "episodes").mkdir(parents=True, exist_ok=True)
    folder = root / f"{APART}{uuid4().hex}"
    with alone(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> list[Path]:
    """Remove what imports left that were killed; those that still run are let be. Returns what was removed."""
    gone = []
    for left in sorted(root.glob(f"{APART}*")):
        if (held := lock(left, wait=False)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            unlock(held)
            gone.append(left)
    return gone
