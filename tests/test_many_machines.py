"""Three machines, one catalog, one store: what one of them was doing when it died is done once, by another."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from appliance import shared
from appliance.collect import Sitting, collect, starts
from appliance.evaluate import plan
from appliance.film import film
from appliance.home import STARTER, Home
from appliance.settings import learner
from appliance.train import train
from learners.clap.vd_vae import VdVaeNet
from ops.jobs import Job, Jobs, State
from storage import Outcome
from storage.store import Store
from tests.buckets import bucket
from tests.hosts import ended
from tests.postgres import installed, postgres
from tests.test_watching import TASK, bring, learn

ROOT = Path(__file__).parent.parent
PATIENCE = 500.0
"""Seconds that machines which share two cores get for a few seconds of work."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(installed() is None, reason="the tests of the catalog say what to type"),
]


class Machine:
    """A machine of its own, as far as folders and processes go: ``appliance serve`` in a data folder."""

    def __init__(self, folder: Path, cell: Home) -> None:
        self.home = Home(folder, cell.database, cell.store)
        self.name = folder.name
        where = {"APPLIANCE_HOME": str(folder), "APPLIANCE_DATABASE": cell.database, "APPLIANCE_STORE": cell.store}
        words = ["serve", "--name", self.name, "--queues", "learn,twin", "--lost", "8"]
        self.program = subprocess.Popen(
            [sys.executable, "-m", "appliance.cli", *words],
            cwd=ROOT,
            env=os.environ | where | {"OMP_NUM_THREADS": "1"},
        )

    @property
    def children(self) -> list[int]:
        """The processes that do its jobs."""
        tasks = Path(f"/proc/{self.program.pid}/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.program.send_signal(signal.SIGTERM)
        try:
            self.program.wait(30)
        except subprocess.TimeoutExpired:
            self.program.kill()
            self.program.wait()


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Where people collect: it does no jobs."""
    with postgres() as database, bucket(monkeypatch) as store:
        home = Home(tmp_path / "cell", database, store)
        home.open(lambda _said: None).close()
        yield home


@contextmanager
def three(cell: Home) -> Generator[list[Machine]]:
    """Three machines that take jobs."""
    machines = [Machine(cell.folder.parent / name, cell) for name in ("ada", "eve", "mia")]
    try:
        with cell.join() as catalog:
            until(lambda: len(catalog.workers()) == 3)
        yield machines
    finally:
        for machine in machines:
            machine.end()


def until(holds: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
    return found


def done(jobs: Jobs, key: str) -> Job:
    """The job, once it has ended well."""

    def over() -> Job | None:
        job = jobs.get(key)
        assert job.state not in {State.FAILED, State.CANCELLED}, job.why
        return job if job.state is State.DONE else None

    found: Job = until(over)
    return found


def test_a_machine_that_dies_while_it_learns_leaves_the_job_to_another_and_it_is_done_once(cell: Home) -> None:
    with cell.join() as catalog:
        for _ in range(2):
            bring(cell, catalog, "person", Outcome.SUCCESS)
    assert shared.push(cell).number == 2
    settings = {"cameras": '["front"]', "steps": "150", "batch": "8", "workers": "0", "tracker": "none"}
    asked = {"task": TASK, "method": "ccol", "preset": "tiny", "settings": settings}
    with three(cell) as machines, cell.jobs() as jobs, cell.join() as catalog:
        jobs.enqueue("train", asked, "mika", id="lesson")
        until(lambda: (now := jobs.get("lesson").progress) and now.what == "training" and now.done > 5)
        (busy,) = (each for each in machines if each.name == jobs.get("lesson").worker)
        (working,) = busy.children
        busy.program.kill()
        busy.program.wait()
        until(lambda: ended(working))
        assert catalog.policies() == []
        job = done(jobs, "lesson")
        (row,) = catalog.policies()
        (elsewhere,) = (each for each in machines if each.name == job.worker)
        assert elsewhere is not busy
        assert job.result is not None
        assert job.result["policy"] == row.name == "ccol-1"
        assert [each.name for each in machines if (each.home.folder / row.path).exists()] == [elsewhere.name]
        assert Store(cell.store).has(row.path)
        again = Machine(busy.home.folder, cell)
        machines.append(again)
        until(lambda: len(catalog.workers()) == 3)
        assert jobs.get("lesson") == job
        assert [one.id for one in catalog.policies()] == [row.id]
        assert shared.present(cell, policies=[row]).number == 1


def test_three_machines_label_film_together_each_piece_once(cell: Home) -> None:
    """The labeller and the film come from the store."""
    with cell.join() as catalog:
        bring(cell, catalog, "person", Outcome.SUCCESS)
        bring(cell, catalog, "human")
        row = learn(cell)
        for _ in range(9):
            bring(cell, catalog, "human")
        shared.push(cell)
        reader = VdVaeNet.load(cell.folder / row.path / "vd_vae").digest
        films = [one.row.id for one in film(catalog, TASK)]
        assert len(catalog.labelled(reader, films)) == 1
        with three(cell), cell.jobs() as jobs:
            for part in range(3):
                jobs.enqueue("label", {"task": TASK, "policy": row.name}, "mika", id=f"label-{part}")
            ended = [done(jobs, f"label-{part}") for part in range(3)]
        assert catalog.labelled(reader, films) == set(films)
    assert sum(job.result["labelled"] for job in ended if job.result) == 9
    assert {job.worker for job in ended} == {"ada", "eve", "mia"}


def test_three_machines_try_a_policy_together_each_trial_once(cell: Home) -> None:
    begun = starts(cell, STARTER.name, "franka-sim", 2, 0)
    assert collect(Sitting(cell, STARTER.name, "franka-sim", "script", begun), 1, lambda _took: None)
    train(cell, STARTER.name, "nearest", "tiny", learner("nearest", "tiny", {}), lambda *_: None)
    shared.push(cell)
    batch, _ = plan(cell, STARTER.name, ["nearest-1"], 6, 0, "franka-sim")
    with three(cell), cell.jobs() as jobs, cell.join() as catalog:
        for part in range(3):
            jobs.enqueue("trials", {"batch": batch.id}, "mika", id=f"trials-{part}")
        ended = [done(jobs, f"trials-{part}") for part in range(3)]
        trials = catalog.trials(batch.id)
        episodes = [trial.episode for trial in trials if trial.episode]
        assert len({*episodes}) == len(trials) == 6
        assert catalog.batch(batch.id).closed is not None
        assert sum(job.result["trials"] for job in ended if job.result) == 6
        assert {job.worker for job in ended} == {"ada", "eve", "mia"}
        taken = {trial.claimed_by for trial in trials}
        assert len(taken) > 1
        # What each recorded is there for the others to look at.
        found = catalog.among(episodes).values()
        assert shared.present(cell, found).number == 6
