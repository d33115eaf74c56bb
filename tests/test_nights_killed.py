"""The daemon is killed at twenty random moments of a night; the night ends with the rows of an undisturbed one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.home import Home
from ops.jobs import State
from tests.nights import NIGHT, asked, copied, taught

KILLS = 20

LONGEST = 9.0
"""Seconds that a daemon lives at most before it is killed."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_of_the_daemon_change_no_row_of_a_night(tmp_path: Path) -> None:
    calm = taught(tmp_path / "calm", 8)
    stormy = copied(calm, tmp_path / "stormy")
    wish = asked(trials=4, settings={"steps": "60", "save_every": "10", "tracker": "none"})
    undisturbed = night(calm, wish, 0)
    disturbed = night(stormy, wish, KILLS)
    assert disturbed == undisturbed
    assert len(undisturbed["policies"]) == 1
    assert len(undisturbed["trials"]) == 4


def night(home: Home, wish: dict[str, Any], kills: int) -> dict[str, Any]:
    """Have a night by a daemon that is killed so often; what the catalog says afterwards."""
    drawn, key = random.Random(6), f"night-{NIGHT}"
    with home.jobs() as jobs:
        jobs.enqueue("night", wish, "ada", id=key)
        done = 0
        while (job := jobs.get(key)).state not in (State.DONE, State.FAILED):
            with daemon(home) as serving:
                if done < kills:
                    time.sleep(drawn.uniform(0.5, LONGEST))
                    done += 1
                    sys.stderr.write(f"kill {done}: {[one.id for one in jobs.list(5, State.RUNNING)]}\n")
                else:
                    while jobs.get(key).state not in (State.DONE, State.FAILED):
                        assert serving.poll() is None, "the daemon ended by itself"
                        time.sleep(0.5)
                serving.send_signal(signal.SIGKILL)
        assert job.state is State.DONE, job.why
        assert done == kills, "the night was over before it was killed so often: make it longer"
    return rows(home)


def daemon(home: Home) -> "subprocess.Popen[bytes]":
    """``appliance serve``, as a person starts it."""
    here = os.environ | {"APPLIANCE_HOME": str(home.folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([Path(sys.executable).with_name("appliance"), "serve", "--name", "here"], env=here)


def rows(home: Home) -> dict[str, Any]:
    """What a night leaves, without when it was and how long it took."""
    with home.join() as catalog:
        row = catalog.night(NIGHT)
        trials = catalog.trials(row.batch)
        last = catalog.last_verdicts(one.episode for one in trials if one.episode is not None)
        policies = catalog.policies()
        said = {
            "decision": (row.decision, row.why, row.candidate, row.batch),
            "policies": [(one.id, one.name, one.digest, one.snapshot, one.metrics["episodes"]) for one in policies],
            "trials": [
                (one.turn, one.policy, one.condition, one.episode and str(last[one.episode].outcome)) for one in trials
            ],
            "promotions": [(one.policy, one.kind, one.why) for one in catalog.promotions(row.task)],
            "orders": [(one.task, one.wanted, one.part, one.failure) for one in catalog.orders(row.task, None)],
            "nights": [one.id for one in catalog.nights()],
        }
    plain: dict[str, Any] = json.loads(json.dumps(said, default=str))
    return plain
