"""How busy this machine is: processors, memory, and graphics processors where there are any."""

import shutil
import subprocess  # ruff: ignore[suspicious-subprocess-import] - it asks nvidia-smi, nothing else
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

ASKS = ("utilization.gpu", "memory.used", "memory.total", "temperature.gpu")

LOOK = 0.2
"""Seconds for which processors are looked at."""

PATIENCE = 2.0
"""Seconds that nvidia-smi gets."""


@dataclass(frozen=True)
class Gpu:
    """One graphics processor."""

    busy: float
    """0 to 1."""
    used: float
    """Bytes."""
    total: float
    hot: float
    """Degrees Celsius."""


@dataclass(frozen=True)
class Load:
    """A machine at a moment."""

    busy: float
    """Of all processors, while it was looked, 0 to 1."""
    used: float
    """Bytes of memory that are not free."""
    total: float
    gpus: Sequence[Gpu]

    @property
    def says(self) -> str:
        """In a line, e.g. ``CPU 45%  memory 3.1 of 8.0 GB  no GPU``."""
        gpus = "  ".join(
            f"GPU {one.busy:.0%} {one.used / 1e9:.1f} of {one.total / 1e9:.1f} GB {one.hot:.0f} °C" for one in self.gpus
        )
        return f"CPU {self.busy:.0%}  memory {self.used / 1e9:.1f} of {self.total / 1e9:.1f} GB  {gpus or 'no GPU'}"


def load() -> Load:
    """Look for a moment. What a graphics processor does not tell is left out."""
    memory = psutil.virtual_memory()
    return Load(psutil.cpu_percent(LOOK) / 100, memory.total - memory.available, memory.total, tuple(_gpus()))


def _gpus() -> list[Gpu]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    words = [program, f"--query-gpu={','.join(ASKS)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(  # ruff: ignore[subprocess-without-shell-equals-true] - our own words, and no shell
            words, capture_output=True, text=True, check=True, timeout=PATIENCE
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return read(said)


def read(said: str) -> list[Gpu]:
    """Read what nvidia-smi says; a line with a number that it does not know is left out."""
    found = []
    for line in said.splitlines():
        try:
            busy, used, total, hot = (float(part) for part in line.split(","))
        except ValueError:
            continue
        found.append(Gpu(busy / 100, used * 2**20, total * 2**20, hot))
    return found
