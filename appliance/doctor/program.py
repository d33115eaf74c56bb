"""What another program found out: it may fail, crash or hang without taking the doctor with it."""

# ruff: file-ignore[suspicious-subprocess-import, subprocess-without-shell-equals-true] - it starts this very Python
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """How a program ended."""

    out: str
    error: str
    """The last line of its complaint; empty when it ended well."""


def python(arguments: Sequence[str], limit: float, more: Mapping[str, str] | None = None) -> Answer:
    """Run this Python with these arguments, without input, for at most ``limit`` seconds; ``more`` environment."""
    started = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | (more or {}),
        start_new_session=True,
    )
    try:
        out, error = started.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return Answer("", f"it did not come back within {limit:g} s")
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
    if started.returncode == 0:
        return Answer(out, "")
    if started.returncode < 0:
        return Answer(out, f"it crashed ({signal.Signals(-started.returncode).name})")
    said = [line.strip() for line in error.splitlines() if line.strip()]
    return Answer(out, said[-1] if said else f"it ended with {started.returncode}")
