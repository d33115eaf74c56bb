"""What another program found out: it may fail, crash or hang without taking the doctor with it."""

# ruff: file-ignore[suspicious-subprocess-import, subprocess-without-shell-equals-true] - it starts this very Python
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """How a program ended."""

    out: str
    error: str
    """The last line of its complaint; empty when it ended well."""
    late: bool = False
    """Whether it was given up."""


def python(arguments: Sequence[str], limit: float) -> Answer:
    """Run this Python with these arguments, without input, for at most ``limit`` seconds."""
    try:
        ended = subprocess.run(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer("", f"it did not come back within {limit:g} s", late=True)
    if ended.returncode == 0:
        return Answer(ended.stdout, "")
    if ended.returncode < 0:
        return Answer(ended.stdout, f"it crashed ({signal.Signals(-ended.returncode).name})")
    said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    return Answer(ended.stdout, said[-1] if said else f"it ended with {ended.returncode}")
