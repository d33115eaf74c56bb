"""Figures about an appliance, in the text format that Prometheus reads (version 0.0.4)."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shutil import disk_usage

from ops.backup import remembered
from ops.jobs import Job, State
from storage import Catalog, Wanted

TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What a client is told that it gets."""

type Labels = Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """One figure, for each set of labels."""

    name: str
    """With its unit at the end; it begins with ``appliance_``."""
    about: str
    values: Sequence[tuple[Labels, float]]
    kind: str = "gauge"
    """``gauge``, or ``counter`` for what only grows."""


def text(metrics: Iterable[Metric]) -> str:
    """Write figures down; one that has no values is left out."""
    lines = [line for metric in metrics if metric.values for line in _lines(metric)]
    return "".join(f"{line}\n" for line in lines)


def measured(folder: Path, catalog: Catalog, jobs: Sequence[Job], now: datetime) -> list[Metric]:
    """Every figure there is.

    Args:
        folder: the data folder.
        catalog: what is known.
        jobs: the newest ones.
        now: this moment.
    """
    return [*_of_disk(folder), *_of_jobs(jobs, now), *_of_catalog(catalog), *_of_backups(folder)]


def _of_disk(folder: Path) -> list[Metric]:
    told = disk_usage(folder)
    return [
        Metric("appliance_disk_free_bytes", "Room on the disk of the data folder.", [({}, told.free)]),
        Metric("appliance_disk_size_bytes", "Size of the disk of the data folder.", [({}, told.total)]),
    ]


def _of_jobs(jobs: Sequence[Job], now: datetime) -> list[Metric]:
    states = Counter((job.queue, str(job.state)) for job in jobs)
    queues = sorted({job.queue for job in jobs})
    counts = [({"queue": queue, "state": state}, states[queue, state]) for queue in queues for state in State]
    since = {
        queue: min((one.created for one in jobs if one.queue == queue and one.state is State.WAITING), default=now)
        for queue in queues
    }
    running = [job for job in jobs if job.state is State.RUNNING and job.progress and job.progress.of]
    far = [({"job": job.id, "kind": job.kind}, one.done / one.of) for job in running if (one := job.progress)]
    loss = [
        ({"job": job.id}, one.loss) for job in running if (one := job.progress) is not None and one.loss is not None
    ]
    ages = [({"queue": queue}, (now - first).total_seconds()) for queue, first in since.items()]
    return [
        Metric("appliance_jobs", "Jobs by queue and state, of the newest ones.", counts),
        Metric("appliance_queue_age_seconds", "For how long the first job of a queue has waited.", ages),
        Metric("appliance_job_progress_ratio", "How far a running job is.", far),
        Metric("appliance_job_loss", "The loss of a training that runs.", loss),
    ]


def _of_catalog(catalog: Catalog) -> Iterator[Metric]:
    workers = catalog.workers()
    beats = [({"worker": one.name, "node": one.node}, float(one.beat)) for one in workers]
    yield Metric("appliance_workers", "Workers that nobody has given up.", [({}, len(workers))])
    yield Metric("appliance_worker_beats_total", "Counts up while a worker lives.", beats, "counter")
    tasks = [task.name for task in catalog.tasks()]
    episodes = [({"task": task}, catalog.count(Wanted(task=task))) for task in tasks]
    yield Metric("appliance_episodes", "Episodes that are neither retired nor purged.", episodes)
    trials = Counter((one.task, one.episode is not None) for one in catalog.trials())
    tried = [({"task": task, "run": str(run).lower()}, float(count)) for (task, run), count in sorted(trials.items())]
    yield Metric("appliance_trials", "Trials that were planned, and whether they have run.", tried)
    last = {night.task: night for night in catalog.nights()}
    decided = [({"task": task, "decision": one.decision or "running"}, 1.0) for task, one in last.items()]
    ended = [({"task": task}, one.ended.timestamp()) for task, one in last.items() if one.ended is not None]
    yield Metric("appliance_night_decision", "1 for how a task's last night was decided.", decided)
    yield Metric("appliance_night_ended_timestamp_seconds", "When a task's last night ended.", ended)
    late, moment = [], []
    for name in dict.fromkeys(one.name for one in catalog.stations()):
        for newest in catalog.find(Wanted(station=name, retired=None, purged=None), last=1):
            moment.append(({"station": name}, newest.row.started.timestamp()))
            if newest.row.late is not None:
                late.append(({"station": name}, newest.row.late))
    yield Metric("appliance_loop_late_seconds", "How late the loop's ticks were in a station's newest episode.", late)
    yield Metric("appliance_episode_started_timestamp_seconds", "When a station's newest episode began.", moment)


def _of_backups(folder: Path) -> Iterator[Metric]:
    last = remembered(folder)
    when, well = [], []
    for what, about in last.items():
        with suppress(KeyError, ValueError):
            when.append(({"what": what}, datetime.fromisoformat(about["at"]).timestamp()))
            well.append(({"what": what}, float(about["ok"])))
    yield Metric("appliance_backup_timestamp_seconds", "When the last backup, or try to restore one, ended.", when)
    yield Metric("appliance_backup_ok", "Whether the last backup, or try to restore one, ended well.", well)


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escaped(metric.about)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in metric.values:
        said = ",".join(f'{name}="{_escaped(of, quoted=True)}"' for name, of in labels.items())
        yield f"{metric.name}{said and f'{{{said}}}'} {_number(value)}"


def _escaped(given: str, quoted: bool = False) -> str:
    given = given.replace("\\", "\\\\").replace("\n", "\\n")
    return given.replace('"', '\\"') if quoted else given


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value)) if value != int(value) else str(int(value))
