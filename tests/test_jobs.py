"""Durable jobs, done for real: a worker of this process, jobs in processes of their own, a database on the disk."""

import fcntl
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOS

from ops import leases, worker
from ops.jobs import CannotDo, Job, JobFailed, Jobs, NoJob, Schedule, State
from ops.worker import Worker
from storage import Catalog, WorkerRow

QUEUES = {"learn": "learn", "chore": "chores", "night": "night", "night.one": "chores", "night.two": "twin"}
COMMAND = [sys.executable, "-m", "tests.jobbing"]


def two_steps(share: worker.Share, asked: dict[str, Any]) -> dict[str, Any]:
    """A night: one step, then another by two workers."""
    one = share("night.one", asked, 1)[0]
    two = share("night.two", asked, 2)
    return {"one": one, "two": two}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Catalog(tmp_path / "catalog.db").close()
    return tmp_path


@pytest.fixture
def jobs(folder: Path) -> Iterator[Jobs]:
    with Jobs(folder, str(folder / "catalog.db"), QUEUES) as opened:
        yield opened


@pytest.fixture
def working(folder: Path, jobs: Jobs) -> Iterator[Worker]:
    with working_in(folder) as here:
        yield here


def working_in(folder: Path, name: str = "here") -> Worker:
    return Worker(
        folder, str(folder / "catalog.db"), lambda: COMMAND, QUEUES, two_steps, name=name, yielding=("learn", "twin")
    )


def wish(folder: Path, **more: Any) -> dict[str, Any]:
    return {"note": str(folder / "ran"), "steps": 1, **more}


def runs(folder: Path, job: str) -> int:
    """How many processes did that job."""
    return (folder / "ran").read_text().count(f"{job} ") if (folder / "ran").exists() else 0


def until(holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return found


def stands(jobs: Jobs, key: str, state: State) -> Callable[[], Job | None]:
    return lambda: job if (job := jobs.get(key)).state is state else None


def test_a_job_waits_until_there_is_a_worker_and_is_done_once(folder: Path, jobs: Jobs) -> None:
    asked = jobs.enqueue("chore", wish(folder, steps=3), "mika", id="first")
    assert (asked.state, asked.by, asked.queue, asked.began) == (State.WAITING, "mika", "chores", None)
    assert jobs.enqueue("chore", wish(folder, steps=9), "eve", id="first").by == "mika", "it stays as it is"
    with working_in(folder):
        assert jobs.result("first") == {"steps": 3, "attempt": 1}
    job = jobs.get("fir")
    assert (job.state, job.result, job.worker) == (State.DONE, {"steps": 3, "attempt": 1}, "here")
    assert job.progress is not None
    assert (job.progress.what, job.progress.done, job.progress.of) == ("stepping", 3, 3)
    logged = [line["what"] for line in jobs.log("first") if line["level"] == "info"]
    assert "it is done" in logged
    assert logged[-1] == "done"
    assert runs(folder, "first") == 1


def test_doors_that_come_and_go_take_nothing_from_one_that_stays_open(folder: Path, jobs: Jobs) -> None:
    """As in the screen's threads, or the daemon's: two SQLites in one process would take away each other's locks."""
    for number in range(1, 6):
        jobs.enqueue("chore", {}, "mika")
        with Jobs(folder, str(folder / "catalog.db"), QUEUES) as other:
            assert len(other.list()) == number
        assert len(jobs.list()) == number


def test_what_is_not_there_is_refused_with_what_is(jobs: Jobs) -> None:
    with pytest.raises(CannotDo, match="no job 'dream'; there are: chore, learn"):
        jobs.enqueue("dream", {}, "mika")
    with pytest.raises(NoJob, match="no job 'nothing'"):
        jobs.get("nothing")
    for key in ("twin-a", "twin-b"):
        jobs.enqueue("chore", {}, "mika", id=key)
    with pytest.raises(NoJob, match="several jobs begin with 'twin'"):
        jobs.get("twin")


def test_a_refusal_is_the_jobs_last_word_and_it_can_be_tried_again_with_a_reason(
    folder: Path, jobs: Jobs, working: Worker
) -> None:
    key = jobs.enqueue("chore", wish(folder, fails=1), "mika").id
    with pytest.raises(JobFailed, match="nothing new to learn from"):
        jobs.result(key)
    job = jobs.get(key)
    assert (job.state, job.why) == (State.FAILED, "there is nothing new to learn from")
    jobs.retry(key, "eve", "there is now")
    assert jobs.result(key)["attempt"] == 2
    assert jobs.get(key).why == "tried again by eve: there is now"
    with pytest.raises(CannotDo, match="is done: only what failed"):
        jobs.retry(key, "eve", "again")


def test_a_mistake_fails_the_job_with_its_last_words(folder: Path, jobs: Jobs, working: Worker) -> None:
    key = jobs.enqueue("chore", wish(folder, mistake=True), "mika").id
    with pytest.raises(JobFailed, match=r"ended with code 1: .*ZeroDivisionError: a mistake of the program"):
        jobs.result(key)
    assert runs(folder, key) == 1


@pytest.mark.parametrize(("times", "state"), [(2, State.DONE), (3, State.FAILED)])
def test_a_process_that_is_killed_is_begun_again_but_not_for_ever(
    folder: Path, jobs: Jobs, working: Worker, times: int, state: State
) -> None:
    key = jobs.enqueue("chore", wish(folder, dies=times), "mika").id
    job = until(lambda: found if (found := jobs.get(key)).state in (State.DONE, State.FAILED) else None)
    assert (job.state, runs(folder, key)) == (state, 3)


def test_learning_makes_way_for_a_person_within_seconds_and_goes_on_where_it_was(
    folder: Path, jobs: Jobs, working: Worker
) -> None:
    key = jobs.enqueue("learn", wish(folder, steps=60, seconds=0.03), "mika").id
    until(stands(jobs, key, State.RUNNING))
    until(lambda: runs(folder, key))
    with leases.attending(folder, "mika collects"):
        job = until(stands(jobs, key, State.PAUSED), 5.0)
        assert job.why == "mika collects: the learner makes way"
        done = int((folder / f"ran.{key}").read_text())
        time.sleep(0.5)
        assert int((folder / f"ran.{key}").read_text()) == done < 60
    assert jobs.result(key) == {"steps": 60, "attempt": 2}


def test_a_chore_does_not_make_way(folder: Path, jobs: Jobs, working: Worker) -> None:
    with leases.attending(folder, "mika collects"):
        key = jobs.enqueue("chore", wish(folder, steps=5), "mika").id
        assert jobs.result(key)["attempt"] == 1


def test_a_person_pauses_a_job_and_lets_it_go_on(folder: Path, jobs: Jobs, working: Worker) -> None:
    key = jobs.enqueue("chore", wish(folder, steps=80, seconds=0.03), "mika").id
    until(lambda: runs(folder, key))
    jobs.pause(key, "eve", "it is too loud")
    assert until(stands(jobs, key, State.PAUSED)).why == "paused by eve: it is too loud"
    assert int((folder / f"ran.{key}").read_text()) < 80
    jobs.go_on(key)
    assert jobs.result(key)["attempt"] == 2


def test_a_cancelled_job_ends_within_seconds_and_a_process_is_not_left(
    folder: Path, jobs: Jobs, working: Worker
) -> None:
    key = jobs.enqueue("chore", wish(folder, steps=1000, seconds=0.05), "mika").id
    until(lambda: runs(folder, key))
    process = int((folder / "ran").read_text().split()[-1])
    jobs.cancel(key, "eve", "the wrong task")
    job = jobs.get(key)
    assert (job.state, job.why) == (State.CANCELLED, "cancelled by eve: the wrong task")
    until(lambda: not Path(f"/proc/{process}").exists(), 8.0)
    with pytest.raises(CannotDo, match="is cancelled and cannot be paused"):
        jobs.pause(key, "eve", "")


def test_a_night_has_its_steps_done_once_each_and_goes_on_with_the_one_that_failed(
    folder: Path, jobs: Jobs, working: Worker
) -> None:
    jobs.enqueue("night", wish(folder, fails=1), "mika", id="tonight")
    with pytest.raises(JobFailed, match="nothing new"):
        jobs.result("tonight")
    assert jobs.get("tonight.one").night == "tonight"
    jobs.retry("tonight", "eve", "there is now")
    with pytest.raises(JobFailed, match="nothing new"):  # the second step, both ways, fails once too
        jobs.result("tonight")
    until(lambda: not jobs.list(100, State.RUNNING))
    jobs.retry("tonight", "eve", "there is now")
    found = jobs.result("tonight")
    assert found["one"]["attempt"] == 2
    assert runs(folder, "tonight.one") == 2, "its first step was not done a third time"
    jobs.enqueue("night", wish(folder, steps=50, seconds=0.1), "mika", id="other")
    with pytest.raises(CannotDo, match="pause one of them"):
        jobs.pause("other", "eve", "")


def test_what_is_planned_is_asked_for_once_each_time_it_is_due(folder: Path, jobs: Jobs, working: Worker) -> None:
    every_second = Schedule("chore-often", "* * * * * *", "UTC", "chore", wish(folder), "mika")
    with pytest.raises(CannotDo, match="cron"):
        jobs.schedule(Schedule("bad", "at noon", "UTC", "chore", {}, "mika"))
    jobs.schedule(every_second)
    assert jobs.schedules() == [every_second]
    until(lambda: len([job for job in jobs.list(100, State.DONE) if job.kind == "chore"]) >= 2)
    assert jobs.unschedule("chore-often")
    assert not jobs.unschedule("chore-often")
    ids = [job.id for job in jobs.list() if job.kind == "chore"]
    assert len(ids) == len(set(ids))
    assert all(runs(folder, key) == 1 for key in ids if jobs.get(key).state is State.DONE)


def test_two_workers_of_one_name_are_refused(folder: Path, jobs: Jobs, working: Worker) -> None:
    with pytest.raises(worker.AnotherWorker, match=r"worker here \(process \d+\) holds"), working_in(folder):
        pass


def test_a_worker_that_is_left_leaves_its_job_to_the_next(folder: Path, jobs: Jobs) -> None:
    key = jobs.enqueue("chore", wish(folder, steps=100, seconds=0.03), "mika").id
    with working_in(folder):
        until(lambda: runs(folder, key))
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    assert jobs.get(key).state is State.RUNNING
    with working_in(folder):
        assert jobs.result(key) == {"steps": 100, "attempt": 2}


def test_what_one_worker_waited_for_is_no_longer_said_when_another_does_the_job(folder: Path, jobs: Jobs) -> None:
    """The first stops while somebody collects; when the second begins, nobody does."""
    key = jobs.enqueue("learn", wish(folder, steps=40, seconds=0.05), "mika").id
    with leases.attending(folder, "mika collects"), working_in(folder):
        until(stands(jobs, key, State.PAUSED))
    with working_in(folder):
        until(lambda: runs(folder, key))
        assert jobs.get(key).state is State.RUNNING
        jobs.result(key)


def test_a_plan_that_cannot_be_leaves_the_one_before(jobs: Jobs) -> None:
    good = Schedule("chore-nightly", "30 2 * * *", "Europe/Berlin", "chore", {}, "mika")
    jobs.schedule(good)
    for cron, zone in (("at noon", "Europe/Berlin"), ("30 3 * * *", "Europe/Atlantis")):
        with pytest.raises(CannotDo):
            jobs.schedule(Schedule("chore-nightly", cron, zone, "chore", {}, "mika"))
        assert jobs.schedules() == [good]


def test_daemons_that_begin_at_once_plan_the_same_once(folder: Path, jobs: Jobs) -> None:
    """As after a power cut: each of them sees to it that the store is shared every hour."""
    hourly = Schedule("share", "17 * * * *", "UTC", "chore", {}, "serve")
    wrong: list[BaseException] = []

    def plan() -> None:
        try:
            with Jobs(folder, str(folder / "catalog.db"), QUEUES) as own:
                for _ in range(10):
                    own.schedule(hourly)
        except BaseException as error:  # ruff: ignore[blind-except] - the test asks for it
            wrong.append(error)

    both = [threading.Thread(target=plan) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert (wrong, jobs.schedules()) == ([], [hourly])


def test_a_worker_that_was_given_up_stops_and_says_so(folder: Path, working: Worker) -> None:
    """Whoever runs it has to know that it did not end because somebody asked."""
    heard = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: heard.set())
    try:
        with Catalog(folder / "catalog.db") as catalog:
            until(lambda: any(catalog.give_up("here", row.beat) for row in catalog.workers()))
        until(heard.is_set)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert working.given_up


def test_a_worker_counts_on_when_another_cannot_be_given_up(
    folder: Path, working: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever went wrong with it, e.g. a server that begins anew: who counts no longer is given up itself."""

    def broken(_names: list[str]) -> None:
        raise RuntimeError("the server is gone")

    monkeypatch.setattr(DBOS, "_recover_pending_workflows", broken)
    working.lost = 0.1
    with Catalog(folder / "catalog.db") as catalog:
        catalog.arrive(WorkerRow(name="gone", node="elsewhere", process=1, queues=[]))
        until(lambda: "cannot count" in "".join(p.read_text() for p in (folder / "logs").glob("*.jsonl")))
        counts = {row.name: row.beat for row in catalog.workers()}["here"]
        until(lambda: {row.name: row.beat for row in catalog.workers()}["here"] > counts)


def test_two_who_look_at_once_at_what_a_killed_program_left_see_nobody(folder: Path) -> None:
    """What the first look holds to find out is not taken for somebody who works here."""
    note = folder / leases.LEASES / platform.node() / "people" / "1-1"
    note.parent.mkdir(parents=True)
    note.write_text("mika collects")
    with note.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert leases.attended(folder) == ""


def test_who_works_here_is_told_however_long_the_name(folder: Path) -> None:
    with leases.attending(folder, "x" + "ö" * 150):
        assert leases.attended(folder).startswith("xöö")


def test_a_job_that_another_process_of_this_machine_still_does_is_not_failed_but_asked_for_again(folder: Path) -> None:
    """As when a worker stood still, was given up, and its job's process goes on."""
    code = "from appliance import work; work.PATIENCE = 0.1; work.main()"
    about = {"APPLIANCE_WORKER": str(os.getpid()), "APPLIANCE_HOME": str(folder)}
    with leases.sole(folder, "job-first", "a worker"):
        said = subprocess.run(
            [sys.executable, "-c", code],
            input='{"job": "first", "kind": "verify", "settings": {}}',
            env=os.environ | about,
            capture_output=True,
            text=True,
            check=False,
        )
    assert said.returncode == leases.PAUSED, said.stderr
    assert "holds job-first" in said.stdout


def test_a_lease_of_a_killed_program_is_free_at_once(folder: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ops import leases\n"
        "with leases.attending(Path(sys.argv[1]), 'mika collects'):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        held.stdout.readline()
        assert leases.attended(folder) == "mika collects"
        held.send_signal(signal.SIGKILL)
        held.wait()
    assert leases.attended(folder) == ""


def test_a_person_waits_for_the_learner_but_not_for_ever(folder: Path) -> None:
    free = threading.Event()

    def learn() -> None:
        with leases.learning(folder, "training"):
            free.wait(0.4)

    thread = threading.Thread(target=learn)
    thread.start()
    until(lambda: leases.told(folder, "learning"))
    began = time.monotonic()
    with leases.attending(folder, "mika"):
        waited = time.monotonic() - began
        assert leases.told(folder, "learning") == ""
    thread.join()
    assert 0.1 < waited < leases.YIELDING


@pytest.mark.parametrize("where", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_another_worker_takes_over_what_a_dead_one_was_doing(where: str, folder: Path) -> None:
    """Kill -9 of the one that does the job; the other notices, and the job is done once, there."""
    Catalog(where).close()
    code = (
        "import sys, time; from pathlib import Path; from tests import test_jobs as t; from ops.worker import Worker\n"
        "w = Worker(Path(sys.argv[1]), sys.argv[2], lambda: t.COMMAND, t.QUEUES, t.two_steps, name='other', lost=2.0)\n"
        "with w:\n    time.sleep(600)"
    )
    with Jobs(folder, where, QUEUES) as jobs:
        key = jobs.enqueue("chore", wish(folder, steps=60, seconds=0.05), "mika").id
        with subprocess.Popen([sys.executable, "-c", code, str(folder), where]) as other:
            until(lambda: runs(folder, key), 40.0)
            assert jobs.get(key).worker == "other"
            os.kill(other.pid, signal.SIGKILL)
            other.wait()
        with Worker(folder, where, lambda: COMMAND, QUEUES, two_steps, name="here", lost=2.0):
            assert jobs.result(key)["steps"] == 60
        job = jobs.get(key)
        assert (job.worker, job.state, runs(folder, key)) == ("here", State.DONE, 2)
