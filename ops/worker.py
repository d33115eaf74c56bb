"""Does the jobs: each in a process of its own, which makes way for people, and which may be killed at any moment.

A worker keeps no state: what it was doing when it died is found by its next incarnation, or by the others, who see
that its count stands still, and is asked for again. Only the end of a job is kept, so a job's process has to find out
by itself what an earlier one has done already.
"""

import functools
import json
import os
import platform
import signal
import subprocess  # ruff: ignore[suspicious-subprocess-import] - it starts this program only
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self, cast

from dbos import DBOS, SetWorkflowAttributes, SetWorkflowID
from dbos import error as dbos_error

from ops import leases
from ops.jobs import APPLICATION, DUE, JOB, NIGHT, QUEUES, VERSION, JobFailed, Plain, quiet
from ops.journal import Journal, Level
from storage import Catalog, WorkerRow
from storage.durable import jobs_at

GRACE = 3.0
"""Seconds that a job's process gets to store what it did before it is killed."""

LOOKING = 0.25
"""Seconds between two looks at whether a job's process has ended, or has to make way."""

BEAT = 2.0
"""Seconds between two counts of a worker."""

LOST = 10.0
"""Seconds after which a worker whose count stands still is given up."""

AGAIN = 3
"""How often a job's process may die of a signal that nobody here sent, before the job has failed."""

ENDS = 20
"""Lines of a process's errors that are kept as its last words."""


class AnotherWorker(Exception):
    """A worker of that name lives already."""


class Command(Protocol):
    """How a process is started that does one job; it reads ``{job, kind, settings}`` as JSON from its input.

    It tells, a line of JSON each on its output, ``{"progress": ...}``, ``{"log": ...}``, and at its end ``{"result":
    ...}`` or ``{"refused": ...}``.
    """

    def __call__(self) -> Sequence[str]: ...


type Share = Callable[[str, dict[str, Any], int], list[dict[str, Any]]]
"""Has a step of a night done once, by so many workers at the same time. Raises `JobFailed`."""

type Nightly = Callable[[Share, dict[str, Any]], dict[str, Any]]
"""Has a night's steps done in order."""


@dataclass
class Worker:
    """Takes jobs while the block runs.

    Raises:
        AnotherWorker: one of that name lives on this machine already.
        Unavailable: the catalog or the jobs cannot be reached.
    """

    folder: Path
    database: str
    command: Command
    kinds: Mapping[str, str]
    """The queue of every kind of job."""
    night: Nightly
    queues: Sequence[str] = tuple(QUEUES)
    yielding: Sequence[str] = ()
    """The queues whose jobs make way for people at this machine."""
    name: str = field(default_factory=platform.node)
    lost: float = LOST
    given_up: bool = field(default=False, init=False)
    """Whether others took it for dead while it stood still: what it was doing is theirs now."""
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                stack.enter_context(leases.sole(self.folder, f"worker-{self.name}", f"worker {self.name}"))
            except leases.Held as error:
                raise AnotherWorker(f"{error}: give this one another name, or stop that one") from error
            self._catalog = stack.enter_context(Catalog(self.database))
            self._journal = Journal.of(self.folder).of_these(worker=self.name)
            self._catalog.arrive(
                WorkerRow(name=self.name, node=platform.node(), process=os.getpid(), queues=[*self.queues])
            )
            self._launch(stack)
            counting = threading.Thread(target=self._count, name="counting", daemon=True)
            counting.start()
            stack.callback(self._stop.set)
            self._stack = stack.pop_all()
        self._journal.info("takes jobs", queues=[*self.queues])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._stack.close()

    def _launch(self, stack: ExitStack) -> None:
        url, engine = jobs_at(self.folder, self.database)
        stack.callback(engine.dispose)
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": url,
                "system_database_engine": engine,
                "executor_id": self.name,
                "application_version": VERSION,
                "serializer": Plain(),
                "use_listen_notify": False,
                "log_level": "ERROR",
                "scheduler_polling_interval_sec": 1.0,
            }
        )
        quiet()

        def job(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
            return self._work(str(DBOS.workflow_id), kind, settings)

        def night(settings: dict[str, Any]) -> dict[str, Any]:
            return self.night(functools.partial(_share, job_of_dbos, self.kinds, str(DBOS.workflow_id)), settings)

        def due(at: datetime, planned: dict[str, Any]) -> str:
            return self._ask(at, planned, job_of_dbos, night_of_dbos)

        job_of_dbos = DBOS.workflow(name=JOB, max_recovery_attempts=None)(job)
        night_of_dbos = DBOS.workflow(name=NIGHT, max_recovery_attempts=None)(night)
        DBOS.workflow(name=DUE, max_recovery_attempts=None)(due)
        DBOS.listen_queues([*self.queues])
        DBOS.launch()
        stack.callback(DBOS.destroy, destroy_registry=True, workflow_completion_timeout_sec=0)
        for queue in self.queues:
            DBOS.register_queue(
                queue, worker_concurrency=QUEUES[queue], polling_interval_sec=LOOKING, on_conflict="always_update"
            )

    def _ask(self, at: datetime, planned: dict[str, Any], job: Any, night: Any) -> str:
        """Ask for what is due: once for each time, however often this is gone through."""
        kind, settings = planned["kind"], planned["settings"] | {"due": at.isoformat()}
        queue, key = self.kinds[kind], f"{planned['name']}-{at:%Y-%m-%dT%H%M%S}"
        said = {"kind": kind, "queue": queue, "by": f"schedule {planned['name']}"}
        with SetWorkflowID(key), SetWorkflowAttributes(said):
            if queue == NIGHT:
                DBOS.enqueue_workflow(queue, night, settings)
            else:
                DBOS.enqueue_workflow(queue, job, kind, settings)
        return key

    def _work(self, key: str, kind: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Do one job. Its result is kept by DBOS as the result of one step."""
        return DBOS.run_step({"name": kind}, lambda: self._done(Doing(key, kind, settings)))

    def _done(self, job: "Doing") -> dict[str, Any]:
        """Have a job done by processes of its own, one after the other, until one ends well."""
        journal, died = self._journal.of_these(job=job.key), 0
        while True:
            self._until_free(job)
            ended = self._run(job, journal)
            if ended.result is not None:
                journal.info("done", result=ended.result)
                return ended.result
            if ended.refused is not None:
                journal.error(ended.refused)
                raise JobFailed(ended.refused)
            if ended.code == leases.PAUSED or ended.asked:
                continue
            died += 1
            words = f"its process ended with code {ended.code}: {ended.words}"
            journal.error(words)
            if ended.code >= 0 or died >= AGAIN:
                raise JobFailed(words)

    def _until_free(self, job: "Doing") -> None:
        """Wait while a person works at this machine, or has paused the job."""
        while reason := self._reason(job):
            job.note(waits=reason)
            if self._stop.wait(LOOKING):
                raise Leaving
        job.note(waits=None)

    def _reason(self, job: "Doing") -> str:
        """Why a job must not run at this moment; empty when it may.

        Raises:
            Cancelled: it was cancelled.
        """
        status, said = job.standing()
        if status == "CANCELLED":
            raise Cancelled(said.get("why") or "it was cancelled")
        if self.kinds.get(job.kind) in self.yielding and (who := leases.attended(self.folder)):
            return f"{who}: the learner makes way"
        return str(said.get("held") or "")

    def _run(self, job: "Doing", journal: Journal) -> "Ended":
        """Start a process for a job and see it end; have it end when it must make way."""
        process = subprocess.Popen(  # ruff: ignore[subprocess-without-shell-equals-true] - it starts this program only
            [*self.command()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"APPLIANCE_WORKER": str(os.getpid())},
        )
        said = Said(job, journal)
        readers = [
            threading.Thread(target=each, args=(pipe,), daemon=True)
            for each, pipe in ((said.hear, process.stdout), (said.complain, process.stderr))
        ]
        for reader in readers:
            reader.start()
        asked = False
        try:
            with suppress(BrokenPipeError), cast("IO[str]", process.stdin) as asked_for:
                json.dump({"job": job.key, "kind": job.kind, "settings": job.settings}, asked_for)
            looked = time.monotonic()
            while process.poll() is None:
                if self._stop.wait(LOOKING):
                    raise Leaving
                said.tell()
                every = 4 * LOOKING if not leases.attended(self.folder) else 0
                if time.monotonic() - looked >= every:
                    looked = time.monotonic()
                    if reason := self._reason(job):
                        journal.info(f"makes way: {reason}")
                        asked = True
                        _end(process)
        finally:
            _end(process)
            for reader in readers:
                reader.join()
            process.__exit__(None, None, None)
            said.tell(last=True)
        return Ended(process.returncode, asked, said.result, said.refused, " / ".join(said.words))

    def _count(self) -> None:
        """Say again and again that this worker lives, and give up those that no longer do."""
        seen: dict[str, tuple[int, float]] = {}
        while not self._stop.wait(BEAT):
            try:
                if not self._catalog.beat(self.name):
                    self._journal.error("was given up by others while it stood still, and stops")
                    self.given_up = True
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                for other in self._catalog.workers():
                    beat, since = seen.get(other.name, (-1, 0.0))
                    if beat != other.beat:
                        seen[other.name] = other.beat, time.monotonic()
                    elif other.name != self.name and time.monotonic() - since > self.lost:
                        self._give_up(other)
            except Exception as error:  # ruff: ignore[blind-except] - whatever it is, who counts no more is taken for dead
                self._journal.error(f"cannot count: {error}")

    def _give_up(self, other: WorkerRow) -> None:
        """Have others do what a worker was doing that no longer counts."""
        # Of those that wait already, and of those that another worker has begun, this changes nothing.
        again = DBOS._recover_pending_workflows([other.name])  # ruff: ignore[private-member-access] - it has no other way
        if self._catalog.give_up(other.name, other.beat):
            names = [one.get_workflow_id() for one in again]
            self._journal.error(f"worker {other.name} is gone: what it was doing is asked for again", jobs=names)


class Leaving(BaseException):
    """The worker stops. No ``Exception``: DBOS would keep one as the job's result, and the job is not done."""


class Cancelled(Exception):
    """A job was cancelled while it was done."""


@dataclass(frozen=True)
class Ended:
    """How a job's process ended."""

    code: int
    asked: bool
    """Whether it was asked to."""
    result: dict[str, Any] | None
    refused: str | None
    words: str


@dataclass
class Doing:
    """A job that a worker does."""

    key: str
    kind: str
    settings: dict[str, Any]
    _noted: dict[str, Any] = field(default_factory=dict)

    def standing(self) -> tuple[str, dict[str, Any]]:
        """What DBOS says of it, and what people do."""
        found = DBOS.list_workflows(workflow_ids=[self.key], load_input=False, load_output=False)[0]
        return found.status, found.attributes or {}

    def note(self, **said: Any) -> None:
        """Write down what is new of it."""
        # Of what an earlier worker wrote nothing is known here: what is said for the first time is written.
        new = {name: value for name, value in said.items() if self._noted.get(name, ...) != value}
        if new:
            self._noted |= new
            DBOS.update_workflow_attributes(self.key, new, merge=True)


class Said:
    """What a job's process says."""

    def __init__(self, job: Doing, journal: Journal) -> None:
        self.result: dict[str, Any] | None = None
        self.refused: str | None = None
        self.words: deque[str] = deque(maxlen=ENDS)
        self._job, self._journal = job, journal
        self._newest: dict[str, Any] | None = None
        self._first: tuple[str, int, float] | None = None
        self._told = 0.0

    def hear(self, lines: IO[str]) -> None:
        """Read its output to the end."""
        for line in lines:
            said = json.loads(line)
            if "progress" in said:
                self._newest = said["progress"]
            elif "log" in said:
                self._journal.write(Level(said["log"].pop("level", Level.INFO)), **said["log"])
            elif "result" in said:
                self.result = said["result"]
            elif "refused" in said:
                self.refused = said["refused"]

    def complain(self, lines: IO[str]) -> None:
        """Read its errors to the end."""
        for line in lines:
            if words := line.rstrip():
                self.words.append(words)
                self._journal.debug(words, **{"from": "stderr"})

    def tell(self, last: bool = False) -> None:
        """Write down how far it came, once a second at most."""
        now, newest = time.monotonic(), self._newest
        if newest is None or (now - self._told < 1.0 and not last):
            return
        self._told, self._newest = now, None
        what, done, of = newest["what"], int(newest["done"]), int(newest["of"])
        if self._first is None or self._first[0] != what:
            self._first = what, done, now
        _, before, since = self._first
        left = (of - done) * (now - since) / (done - before) if done > before else None
        at = datetime.now(UTC).isoformat(timespec="seconds")
        progress = newest | {"left": None if left is None else round(left, 1), "at": at}
        self._job.note(progress=progress)
        self._journal.info(**progress)


def _share(
    job: Any, kinds: Mapping[str, str], night: str, name: str, settings: dict[str, Any], ways: int
) -> list[dict[str, Any]]:
    """Have a night's step done by jobs of their own: what they found stays found, whoever dies meanwhile.

    Raises:
        JobFailed: one did not end well.
    """
    queue = kinds[name]
    handles = []
    for way in range(ways):
        key = f"{night}.{name.removeprefix('night.')}" + (f".{way + 1}" if ways > 1 else "")
        said = {"kind": name, "queue": queue, "by": night, "night": night}
        with SetWorkflowID(key), SetWorkflowAttributes(said):
            handles.append(DBOS.enqueue_workflow(queue, job, name, settings))
    try:
        return [handle.get_result() for handle in handles]
    except dbos_error.DBOSAwaitedWorkflowCancelledError as error:
        raise JobFailed("it was cancelled") from error


def _end(process: "subprocess.Popen[str]") -> None:
    """Ask a process to store what it did and to end; kill it, and all it started, when it does not."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
