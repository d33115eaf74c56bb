"""An operator sits down while the daemon learns: within seconds they have the machine, and their takes are in time."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from appliance import station
from appliance.home import Home
from ops.jobs import State
from storage import Wanted
from tests.nights import TASK, taught

PROGRAM = Path(sys.executable).with_name("appliance")

SOON = 5.0
"""Seconds from when a person asks until the learner is out of their way, or so much later they may begin anyway."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sitting_begins_within_seconds_of_training_and_its_loop_is_in_time(tmp_path: Path) -> None:
    home = taught(tmp_path / "home", 4)
    here = os.environ | {"APPLIANCE_HOME": str(home.folder)}
    with (
        home.jobs() as jobs,
        subprocess.Popen([PROGRAM, "serve", "--name", "here"], env=here) as daemon,
    ):
        try:
            job = jobs.enqueue("train", {"task": TASK, "method": "ccol", "settings": {"steps": "100000"}}, "ada")
            until(lambda: (told := jobs.get(job.id).progress) is not None and told.what == "training" and told.done > 5)
            asked = time.time()
            takes = subprocess.Popen(
                [
                    PROGRAM,
                    "collect",
                    "--task",
                    TASK,
                    "--by",
                    "scripted",
                    "--episodes",
                    "2",
                    "--station",
                    "franka-emulated",
                ],
                env=here,
            )
            until(lambda: jobs.get(job.id).state is State.PAUSED, SOON + 30)
            free = time.time()
            assert "collects: the learner makes way" in jobs.get(job.id).why
            assert takes.wait(300) == 0
            until(lambda: jobs.get(job.id).state is State.RUNNING, 20)
            jobs.cancel(job.id, "ada", "the test is over")
        finally:
            daemon.terminate()
            began = time.monotonic()
            daemon.wait(30)
    stopped = time.monotonic() - began
    lates, first = graded(home)
    demand = station.load("franka-emulated").demands["late"]
    sys.stderr.write(
        f"the learner was away {free - asked:.1f} s after `collect` was typed, the first take began after "
        f"{first - asked:.1f} s; 99 in 100 ticks at most {max(lates) * 1e3:.1f} ms late, of {demand * 1e3:.0f}; "
        f"the daemon stopped in {stopped:.1f} s\n"
    )
    assert first - free < SOON + 15, "programs and devices take their time, the learner does not"
    assert max(lates) <= demand
    assert stopped < 5.0


def until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def graded(home: Home) -> tuple[list[float], float]:
    """How late the ticks of the takes at the emulated cell were, and when the first of them began."""
    with home.join() as catalog:
        rows = [one.row for one in catalog.find(Wanted(task=TASK)) if one.row.station == "franka-emulated"]
    assert len(rows) == 2
    begun: list[datetime] = [row.started for row in rows]
    return [row.late for row in rows if row.late is not None], min(begun).timestamp()
