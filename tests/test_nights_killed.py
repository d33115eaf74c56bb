"""The daemon is killed at twenty random moments of a night; the night ends with the rows of an undisturbed one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.home import Home
from ops.jobs import State
from tests.nights import NIGHT, asked, copied, taught

KILLS = 20

LIVES = (0.05, 0.35)
"""How long a daemon lives before it is killed, as a share of what the undisturbed night takes: drawn between these."""


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_twenty_kills_of_the_daemon_change_no_row_of_a_night(tmp_path: Path) -> None:
    """As many nights as it takes until twenty moments of one were the last of a daemon."""
    home = taught(tmp_path / "home", 8)
    wish = asked(trials=4, settings={"steps": "60", "save_every": "10", "tracker": "none"})
    drawn, seen = random.Random(6), Counter[str]()
    calm = copied(home, tmp_path / "calm")
    began = time.monotonic()
    night(calm, wish, lambda: None, seen)
    took, undisturbed = time.monotonic() - began, rows(calm)
    assert len(undisturbed["policies"]) == 1
    assert len(undisturbed["trials"]) == 4
    while seen.total() < KILLS:
        stormy = copied(home, tmp_path / f"stormy-{seen.total()}")
        night(stormy, wish, lambda: took * drawn.uniform(*LIVES) if seen.total() < KILLS else None, seen)
        assert rows(stormy) == undisturbed
    sys.stderr.write(f"a night takes {took:.0f} s; killed in: {dict(seen)}\n")
    assert len(seen) > 5, "the kills are spread over the night's steps"


def night(home: Home, wish: dict[str, Any], life: Callable[[], float | None], seen: Counter[str]) -> None:
    """Have a night by daemons that are each killed when their life is over; ``seen`` counts in which step."""
    key = f"night-{NIGHT}"
    with home.jobs() as jobs:
        jobs.enqueue("night", wish, "ada", id=key)
        while jobs.get(key).state not in (State.DONE, State.FAILED):
            lasts = life()
            until = time.monotonic() + (600 if lasts is None else lasts)
            with daemon(home) as serving:
                while time.monotonic() < until and (job := jobs.get(key)).state not in (State.DONE, State.FAILED):
                    assert serving.poll() is None, "the daemon ended by itself"
                    time.sleep(0.1)
                if lasts is not None and job.state is State.RUNNING:
                    seen[jobs.list(1)[0].kind] += 1
                serving.send_signal(signal.SIGKILL)
        assert jobs.get(key).state is State.DONE, jobs.get(key).why


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
