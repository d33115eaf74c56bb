"""What was found, in words; and many checks looking at once, each for as long as it may."""

import enum
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

STUCK = "Whatever it asked does not answer: a driver that waits, or a disk that fails. The other findings stand."
"""What is known of a check that does not come back."""


class Level(enum.StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARN = "warn"
    """Works today; may cost a take, or makes something slower."""
    BAD = "bad"
    """Something that was asked for will not work."""


@dataclass(frozen=True)
class Finding:
    """One thing that somebody has looked at."""

    about: str
    """What was looked at, e.g. ``port of arm.left``."""
    level: Level
    what: str
    fix: str = ""
    """What to do: a line to type, or a sentence. Empty when there is nothing to do."""
    seconds: float = 0.0
    """How long it took to find out."""


def fine(about: str, what: str) -> Finding:
    """All is well."""
    return Finding(about, Level.OK, what)


def warn(about: str, what: str, fix: str) -> Finding:
    """Somebody should look at it."""
    return Finding(about, Level.WARN, what, fix)


def bad(about: str, what: str, fix: str) -> Finding:
    """Somebody has to repair it first."""
    return Finding(about, Level.BAD, what, fix)


@dataclass(frozen=True)
class Check:
    """Something to look at."""

    about: str
    look: Callable[[], Sequence[Finding]]
    limit: float = 10.0
    """Seconds until nobody waits for it any longer."""


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Let every check look, all at once, and return what they found, in the order of the checks.

    A check that takes longer than it may is itself a finding, and so is one that fails; neither delays the others.
    What it was doing goes on in a thread that ends with the program.
    """
    began = time.monotonic()
    lines: list[queue.SimpleQueue[list[Finding]]] = []
    for check in checks:
        line: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
        lines.append(line)
        threading.Thread(target=_look, args=(check, line), name=check.about, daemon=True).start()
    found = []
    for check, line in zip(checks, lines, strict=True):
        try:
            found += line.get(timeout=max(0.0, began + check.limit - time.monotonic()))
        except queue.Empty:
            found.append(replace(bad(check.about, f"no answer within {check.limit:g} s", STUCK), seconds=check.limit))
    return found


def _look(check: Check, line: queue.SimpleQueue[list[Finding]]) -> None:
    began = time.monotonic()
    try:
        found = check.look()
    except Exception as error:  # ruff: ignore[blind-except] - one check that fails must not hide what the others find
        found = [bad(check.about, f"could not be looked at: {type(error).__name__}: {error}", "Tell who wrote this.")]
    seconds = round(time.monotonic() - began, 3)
    line.put([replace(finding, seconds=seconds) for finding in found])
