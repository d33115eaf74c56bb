"""A false /sys, /proc and /dev, and what a doctor finds there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.doctor.finding import Finding


def lay(root: Path, files: Mapping[str, str]) -> Path:
    """Write small files below a folder, and return the folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n")
    return root


def one(found: Sequence[Finding]) -> Finding:
    """The only finding."""
    (finding,) = found
    return finding
