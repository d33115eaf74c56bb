"""What recording costs: a paced take of two 640 x 480 cameras at 30 Hz and an arm at 1 kHz, beside LeRobot's recorder.

Ours is the recorder's own process, fed through shared memory; LeRobot encodes when an episode is saved (its default)
or meanwhile (streaming). Processor time is of this process, its children and theirs.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.bench import ours, peer
from tests.bench.beside import Demand, in_turns, tell, tell_both
from tests.bench.content import BUILD, CAMERAS, FPS, FRAMES, frames

STATE_HZ = 1000.0
LATE = 1 / FPS
"""A tick that begins later than this, in seconds, has missed a frame."""


class Side:
    """One way to record, and what every round of it showed."""

    def __init__(self) -> None:
        self.handing: list[float] = []
        """Seconds that the loop spent in every tick, handing over its rows."""
        self.ready: list[float] = []
        """Seconds from the last row to the next take's first, every round."""
        self.kept: list[int] = []
        """Frames that are there to be read, every round."""

    def round(self, begin: Callable[[], Any], hand: Callable[[int], None], end: Callable[[], int]) -> float:
        """Record one paced take; return the seconds of processor time it took, in all processes."""
        begin()
        before, start = spent(), time.perf_counter()
        for i in range(FRAMES):
            time.sleep(max(0.0, start + i / FPS - time.perf_counter()))
            began = time.perf_counter()
            hand(i)
            self.handing.append(time.perf_counter() - began)
        stopped = time.perf_counter()
        self.kept.append(end())
        self.ready.append(time.perf_counter() - stopped)
        return spent() - before


def spent() -> float:
    """Processor time (s) of this process and of everything it started, alive or ended."""
    here = psutil.Process()
    times = [here.cpu_times()] + [child.cpu_times() for child in here.children(recursive=True)]
    return sum(t.user + t.system for t in times) + times[0].children_user + times[0].children_system


if __name__ == "__main__":
    peer.prepare("tests.bench.bench_recording")
