"""What the kernel tells in its small files."""

from pathlib import Path


def text(path: Path) -> str:
    """What such a file says; empty when there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
