"""What has been, is and will be learned: jobs, policies that no job made, and trainings that were interrupted."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from appliance.home import Home
from appliance.tui.graph import Curve
from ops.curves import OfJob, OfRun
from ops.jobs import Job, State
from storage import Catalog, Outcome, PolicyRow, Unknown, Wanted

LAST = 40
"""Jobs that are listed."""

POLICIES = 20
"""Policies without a job that are listed."""

STILL = 120.0
"""Seconds after which a training that stores nothing was interrupted, while another one runs."""

LEARNS = {"train", "night.train"}
"""Jobs that have a loss."""


@dataclass(frozen=True)
class Line:
    """One of them."""

    key: str
    kind: str
    state: str
    far: str
    """How far it is, or what came of it."""
    loss: float | None
    left: float | None
    """Seconds until it is done, as far as can be told."""
    by: str
    why: str
    made: datetime
    job: Job | None = None
    policy: PolicyRow | None = None
    run: Path | None = None
    """The folder that tells of a training."""


def lines(home: Home) -> list[Line]:
    """Everything, newest first."""
    with home.jobs() as there, home.join() as catalog:
        jobs, policies = there.list(LAST), catalog.policies()
    by_name = {policy.name: policy for policy in policies}
    found = [_of_job(home, job, by_name) for job in jobs]
    made = {line.policy.name for line in found if line.policy is not None}
    alone = [policy for policy in policies if policy.name not in made][-POLICIES:]
    found += [_of_policy(home, policy) for policy in alone]
    running = any(job.state is State.RUNNING and job.kind in LEARNS for job in jobs)
    found += _interrupted(home.folder / "runs", {str(policy.id) for policy in policies}, STILL if running else 0.0)
    return sorted(found, key=lambda line: line.made, reverse=True)


def _of_job(home: Home, job: Job, policies: Mapping[str, PolicyRow]) -> Line:
    told, result = job.progress, job.result or {}
    policy = policies.get(str(result.get("policy")))
    far = f"{told.what} {told.done}/{told.of}" if told is not None else ""
    if job.state is State.DONE:
        far = policy.name if policy is not None else ", ".join(f"{name} {said}" for name, said in result.items())
    return Line(
        key=job.id,
        kind=f"{job.kind} {job.settings.get('method', '')}".rstrip(),
        state=str(job.state),
        far=far,
        loss=None if told is None else told.loss,
        left=None if told is None or job.state is not State.RUNNING else told.left,
        by=job.by,
        why=job.why,
        made=job.created,
        job=job,
        policy=policy,
        run=None if policy is None else home.folder / "runs" / str(policy.id),
    )


def _of_policy(home: Home, policy: PolicyRow) -> Line:
    loss = policy.metrics.get("loss")
    run = home.folder / "runs" / str(policy.id)
    return Line(
        policy.name, policy.method, "done", policy.name, loss, None, "", "", policy.created, policy=policy, run=run
    )


def _interrupted(folder: Path, known: set[str], still: float) -> Iterator[Line]:
    """Trainings that stored something and are no policy."""
    for note in folder.glob("*/last.json"):
        name = note.parent.name
        if name in known:
            continue
        try:
            made = note.stat().st_mtime
            if time.time() - made < still:
                continue
            said = json.loads(note.read_text())
            far = f"{said['done']}/{said['how']['steps']}"
        except (OSError, ValueError, LookupError):
            continue
        why = "the same training, asked for again, goes on from there"
        stored = datetime.fromtimestamp(made, UTC)
        yield Line(name, "training", "interrupted", far, None, None, "", why, stored, run=note.parent)


def about(catalog: Catalog, line: Line) -> list[str]:
    """What it learns, how, and from whose episodes."""
    if line.policy is not None:
        return _about_policy(catalog, line.policy)
    job = line.job
    if job is None:
        return [f"training {line.key}, interrupted", line.why]
    said = job.settings
    where = "" if job.night is None else f", night {job.night}"
    found = [f"{job.id}{where}, {job.attempts} attempts" if job.attempts else f"{job.id}{where}"]
    if "method" in said:
        start = f", from {said['start']}" if said.get("start") else ""
        found.append(f"{said['method']} {said.get('preset', '')} learns {said.get('task')}{start}")
    elif said:
        found.append(", ".join(f"{name} {value}" for name, value in said.items() if value not in (None, {}, [])))
    if job.kind in LEARNS and (task := said.get("task")):
        try:
            good = Wanted(task=task, outcome=Outcome.SUCCESS, quarantined=False)
            found.append(f"would use now: {_whose(catalog.tally(good, 'operator'))}")
        except Unknown as error:
            found.append(str(error))
    return [*found, *([job.why] if job.why else [])]


def _about_policy(catalog: Catalog, policy: PolicyRow) -> list[str]:
    found = [f"{policy.name}: {policy.method} {policy.preset}, {policy.task}".replace(" ,", ",")]
    if policy.parent is not None:
        found.append(f"from {catalog.policy(policy.parent).name}")
    if policy.snapshot is not None:
        held = Wanted(snapshot=policy.snapshot, retired=None, purged=None)
        found.append(f"snapshot {policy.snapshot[:8]}: {_whose(catalog.tally(held, 'operator'))}")
    numbers = {name: value for name, value in policy.metrics.items() if isinstance(value, int | float)}
    return [*found, ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())]


def _whose(tally: Mapping[str, int]) -> str:
    people = ", ".join(f"{name or 'nobody named'} {count}" for name, count in tally.items())
    return f"{sum(tally.values())} episodes{people and f': {people}'}"


@dataclass
class Losses:
    """The curves of one line, read on from where the reading stopped."""

    line: Line
    home: Path
    _points: dict[str, dict[int, float]] = field(default_factory=dict)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        job, run = self.line.job, self.line.run
        self._from: list[OfJob | OfRun] = []
        if job is not None and job.kind in LEARNS:
            self._from.append(OfJob(self.home, job.id, job.created))
        if run is not None:
            self._from.append(OfRun(run))

    def more(self) -> list[Curve]:
        """All that is known by now; a step that was done twice counts as it was done last."""
        with self._one_at_a_time:
            for source in self._from:
                for point in source.more():
                    self._points.setdefault(point.name, {})[point.step] = point.value
        names = sorted(self._points, key=lambda name: (name != "loss", name != "held_out", name))[:2]
        return [Curve(name, *zip(*sorted(self._points[name].items()), strict=True)) for name in names]


def minutes(seconds: float | None) -> str:
    """How long it takes, as people say it."""
    if seconds is None:
        return ""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def ready(catalog: Catalog) -> tuple[list[str], dict[str, str]]:
    """Every task, and the champion of each that has one."""
    tasks = [task.name for task in catalog.tasks()]
    champions = {name: champion.name for name in tasks if (champion := catalog.champion(name)) is not None}
    return tasks, champions
