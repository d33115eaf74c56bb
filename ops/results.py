"""What the trials have shown: rates with intervals, failures, and comparisons that only claim what they can.

One rule decides what counts: for every policy, the last closed batch of a task in which it took part. Open batches
are mentioned but not counted, so that nobody looks at half a result. Two policies are compared over the starting
conditions that both were tried from; invalid trials count for nobody.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ops.axes import name, start, varied
from ops.by_axis import VALID, OnAxis, by_axis, learned
from ops.cadence import Cadence, together
from ops.judging.judgement import STAGES, ccol6, clap3, clap10
from ops.published import Published, published
from ops.raters import Agreement, agreements
from ops.rates import mcnemar, tell_p, tell_rate, wilson
from ops.sequential import Decision, decide
from storage import Batch, Catalog, Listed, Outcome, PolicyRow, Trial, Verdict

SIGNIFICANT = 0.05
"""A paired difference with a larger p is no difference."""


@dataclass(frozen=True)
class Taken:
    """One trial that ran, as it was last judged."""

    episode: UUID
    path: str
    """Relative to the data folder."""
    condition: dict[str, Any]
    outcome: Outcome | None
    """None until somebody judges it."""
    code: str | None
    stage: str | None
    secondary: tuple[str, ...]
    reached: str
    """The furthest stage it entered."""
    closing: float | None
    """When the fingers first closed, in seconds; None if they never did, or nobody measured it."""
    lasted: bool | None = None
    """Whether a success by a suite's own count was one by our rules too; None where only one of them counts."""
    cadence: dict[str, Any] | None = None
    """How its plans kept up, as `ops.cadence.of` tells it; None where nobody looked."""


@dataclass(frozen=True)
class Comparison:
    """Two policies from the same starts: who succeeded where the other did not."""

    other: str
    pairs: int
    """Starts."""
    only_this: int
    """Starts from which it succeeded more often than the other did."""
    only_other: int
    p: float | None
    """Exact McNemar test, two-sided; None without a common start."""
    distinguishable: bool
    """The intervals do not overlap, and the pairs agree."""
    decided: Decision
    """What may be said however often one has looked before: see `ops.sequential`."""
    says: str


@dataclass(frozen=True)
class PolicyReport:
    """How one policy did in the last closed batch it took part in."""

    id: UUID
    name: str
    method: str
    preset: str
    task: str
    batch: str
    trials: int
    """Valid trials; invalid and unjudged ones are counted apart."""
    successes: int
    invalid: int
    unjudged: int
    success_rate: float | None
    """None without a valid trial: missing is not zero."""
    interval: tuple[float, float] | None
    """Wilson, 95 %."""
    failures: dict[str, int]
    """By code, most frequent first."""
    stages: dict[str, int]
    """Failures by the stage they happened in."""
    funnel: dict[str, int]
    """How many valid trials entered each stage."""
    views: dict[str, dict[str, int]]
    """The same failures in the classes of the papers: ``clap3``, ``clap10``, ``ccol6``."""
    taken: tuple[Taken, ...]
    """In the order they were planned."""
    against_best: Comparison | None = None
    """Against the other policy of this task with the highest rate; None when it is alone."""
    axes: tuple[OnAxis, ...] = ()
    """The same trials by what of the scene was varied, as usual first."""

    @property
    def cadence(self) -> Cadence | None:
        """How its plans kept up in all trials that ran; None where nothing tells."""
        return together(one.cadence for one in self.taken)

    @property
    def says(self) -> str:
        """The result in one line."""
        return tell_rate(self.successes, self.trials)

    @property
    def lasted(self) -> int | None:
        """How many successes by a suite's own count were such by our rules, too; None where only one of them counts."""
        told = [one.lasted for one in self.taken if one.outcome is Outcome.SUCCESS and one.lasted is not None]
        return sum(told) if told else None


@dataclass(frozen=True)
class Tally:
    """How one policy did in one closed batch: what progress is drawn from."""

    task: str
    batch: str
    closed: datetime
    policy: str
    trials: int
    successes: int
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Report:
    """Every policy of one task, or of all."""

    task: str | None
    made: datetime
    policies: tuple[PolicyReport, ...]
    """By task, then oldest first; never by rate."""
    instructions: dict[str, str]
    """What each task asks for."""
    open_batches: dict[str, tuple[int, int]]
    """Batches that still run: trials done, trials planned."""
    published: tuple[Published, ...] = ()
    """What papers report where these policies were tried: other data."""
    raters: tuple[Agreement, ...] = ()
    trend: tuple[Tally, ...] = ()
    """Every closed batch, in the order they were closed; those that were run for a work order are left out."""
    """Whether people who tagged the same of these trials mean the same by their tags."""


def summarize(catalog: Catalog, task: str | None = None) -> Report:
    """Read what the trials of a task, or of every task, have shown.

    Raises:
        Unknown: there is no such task.
    """
    tasks = [catalog.task(task)] if task is not None else catalog.tasks()
    policies = {row.id: row for row in catalog.policies()}
    ran: list[tuple[Batch, PolicyRow, list[Trial]]] = []
    running: dict[str, tuple[int, int]] = {}
    for batch in catalog.batches(task):
        trials = catalog.trials(batch.id)
        if batch.order is not None:
            continue
        if batch.closed is None:
            running[batch.id] = sum(trial.episode is not None for trial in trials), batch.planned
            continue
        ran.extend((batch, policies[policy], own) for policy, own in _by_policy(trials).items())
    every = _of_policies(catalog, [(policy, trials) for _, policy, trials in ran])
    last = {(one.task, one.id): (one, batch.station) for (batch, _, _), one in zip(ran, every, strict=True)}
    alone = [one for one, _ in last.values()]
    alone = _with_axes(catalog, alone)
    alone.sort(key=lambda one: (one.task, policies[one.id].created, one.name))
    return Report(
        task=task,
        made=datetime.now(UTC),
        policies=tuple(replace(one, against_best=_against_best(one, alone)) for one in alone),
        instructions={row.name: row.instruction for row in tasks},
        open_batches=running,
        published=_published(catalog, sorted({station for _, station in last.values()})),
        trend=tuple(sorted(map(_tally, (batch for batch, _, _ in ran), every), key=lambda at: (at.closed, at.policy))),
        raters=tuple(agreements(catalog.verdicts_by_people(each.episode for one in alone for each in one.taken))),
    )


def _tally(batch: Batch, one: PolicyReport) -> Tally:
    closed = batch.closed or batch.created
    return Tally(one.task, batch.id, closed, one.name, one.trials, one.successes, one.interval)


def _published(catalog: Catalog, stations: Sequence[str]) -> tuple[Published, ...]:
    """What papers report of the suites that these stations were when they were last used."""
    files = [catalog.stations(name) for name in stations]
    found = [one for rows in files if rows for one in published(max(rows, key=lambda row: row.since).text)]
    return tuple(dict.fromkeys(found))


def of_batch(catalog: Catalog, batch: str) -> list[PolicyReport]:
    """What one batch has shown so far of each of its policies, in the order they were first tried.

    Raises:
        Unknown: there is no such batch.
    """
    tried = _by_policy(catalog.trials(batch))
    return _of_policies(catalog, [(catalog.policy(policy), trials) for policy, trials in tried.items()])


def _by_policy(trials: Iterable[Trial]) -> dict[UUID, list[Trial]]:
    """The trials of each policy, the first that was tried first."""
    found: dict[UUID, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.policy, []).append(trial)
    return found


def enough(catalog: Catalog, batch: str) -> str:
    """Why no further trial of a batch is needed: it is decided which of its two policies is better. Else nothing.

    Looking after every trial does no harm, see `ops.sequential`.

    Raises:
        Unknown: there is no such batch.
    """
    reports = of_batch(catalog, batch)
    if len(reports) != 2:
        return ""
    found = compare(*reports)
    return "" if found.decided == "open" else f"decided after {found.pairs} pairs"


def _of_policies(catalog: Catalog, tried: Sequence[tuple[PolicyRow, Sequence[Trial]]]) -> list[PolicyReport]:
    ran = [trial.episode for _, trials in tried for trial in trials if trial.episode]
    episodes, verdicts = catalog.among(ran), catalog.last_verdicts(ran)
    return [_of_policy(policy, trials, episodes, verdicts) for policy, trials in tried]


def _with_axes(catalog: Catalog, alone: Sequence[PolicyReport]) -> list[PolicyReport]:
    """The same reports, with the trials of each counted by what was varied."""
    tried: dict[str, set[str]] = {}
    for one in alone:
        tried.setdefault(one.task, set()).update(axis for each in one.taken for axis in varied(each.condition))
    known = learned(catalog, tried)
    return [replace(one, axes=by_axis(one.taken, known.get(one.id, ()))) for one in alone]


def _of_policy(
    policy: PolicyRow, trials: Sequence[Trial], episodes: Mapping[UUID, Listed], verdicts: Mapping[UUID, Verdict]
) -> PolicyReport:
    taken = tuple(
        _taken(trial, episodes[trial.episode], verdicts.get(trial.episode)) for trial in trials if trial.episode
    )
    valid = [one for one in taken if one.outcome in VALID]
    failed = [one for one in valid if one.outcome is Outcome.FAILURE]
    n, successes = len(valid), len(valid) - len(failed)
    return PolicyReport(
        id=policy.id,
        name=policy.name,
        method=policy.method,
        preset=policy.preset,
        task=trials[0].task,
        batch=trials[0].batch,
        trials=n,
        successes=successes,
        invalid=sum(one.outcome is Outcome.INVALID for one in taken),
        unjudged=sum(one.outcome is None for one in taken),
        success_rate=successes / n if n else None,
        interval=wilson(successes, n) if n else None,
        failures=_count(one.code or "unnamed" for one in failed),
        stages=dict(sorted(_count(one.stage or "unknown" for one in failed).items())),
        funnel={stage: sum(one.reached >= stage for one in valid) for stage in STAGES},
        views={
            "clap3": _count(clap3(one.code or "", one.stage or "") for one in failed),
            "clap10": _count(clap10(one.code or "", one.secondary) for one in failed),
            "ccol6": _count(ccol6(one.code or "") for one in failed),
        },
        taken=taken,
    )


def _taken(trial: Trial, episode: Listed, verdict: Verdict | None) -> Taken:
    """Put a trial and its last verdict together. A person who only names a stage has said how far it came."""
    evidence = verdict.evidence if verdict else {}
    outcome = verdict.outcome if verdict else None
    stage = verdict.stage if verdict else None
    furthest = "S5" if outcome is Outcome.SUCCESS else stage if stage in STAGES else STAGES[0]
    return Taken(
        episode=episode.row.id,
        path=episode.standing.path,
        condition=trial.condition,
        outcome=outcome,
        code=verdict.failure if verdict else None,
        stage=stage,
        secondary=tuple(verdict.secondary) if verdict else (),
        reached=str(evidence.get("reached", furthest)),
        closing=evidence.get("first_closing"),
        lasted=evidence.get("lasted"),
        cadence=evidence.get("cadence"),
    )


def _count(labels: Iterable[str]) -> dict[str, int]:
    return dict(Counter(sorted(labels)).most_common())


def _against_best(this: PolicyReport, everyone: Sequence[PolicyReport]) -> Comparison | None:
    """Compare with the best other policy of the same task."""
    others = [one for one in everyone if one.task == this.task and one.id != this.id and one.success_rate is not None]
    if not others or this.interval is None:
        return None
    return compare(this, max(others, key=lambda one: (one.success_rate or 0.0, one.trials)))


def compare(this: PolicyReport, other: PolicyReport) -> Comparison:
    """Compare two policies start by start, over the conditions that both were validly tried in.

    A start is a pair once, however many axes it was varied along: what succeeds there once succeeds there again. The
    test compares in how many of its conditions each succeeded. What is decided while trials run may not turn again, so
    there the condition of it that was planned first speaks for it. Intervals are of trials along the axes that both
    were tried along: a table that varies is harder.
    """
    shared = {name(one.condition) for one in this.taken} & {name(one.condition) for one in other.taken}
    mine, theirs = _by_condition(this), _by_condition(other)
    ahead: dict[str, list[int]] = {}
    for key, (begun, succeeded) in mine.items():
        if key in theirs:
            ahead.setdefault(begun, []).append(succeeded - theirs[key][1])
    only_this, only_other = (sum(way * sum(each) > 0 for each in ahead.values()) for way in (1, -1))
    p = mcnemar(only_this, only_other) if ahead else None
    (low, high), (least, most) = _interval(this, shared), _interval(other, shared)
    distinguishable = (low > most or high < least) and (p is None or p < SIGNIFICANT)
    word = "better than" if low > most else "worse than"
    decided = decide(*(sum(way * each[0] > 0 for each in ahead.values()) for way in (1, -1)))
    looked = "" if decided == "open" else f"; {decided}, however often one looked"
    says = f"{word if distinguishable else 'not distinguishable from'} {other.name} ({tell_p(p, len(ahead))}{looked})"
    return Comparison(other.name, len(ahead), only_this, only_other, p, distinguishable, decided, says)


def _interval(policy: PolicyReport, shared: Collection[str]) -> tuple[float, float]:
    """The interval of the rate along some axes; without a valid trial there it may be any."""
    valid = [one.outcome for one in policy.taken if one.outcome in VALID and name(one.condition) in shared]
    return wilson(valid.count(Outcome.SUCCESS), len(valid)) if valid else (0.0, 1.0)


def _by_condition(policy: PolicyReport) -> dict[str, tuple[str, bool]]:
    """Return, for the condition of each valid trial as planned, the start that it varies and whether it succeeded."""
    return {
        json.dumps(one.condition, sort_keys=True): (start(one.condition), one.outcome is Outcome.SUCCESS)
        for one in policy.taken
        if one.outcome in VALID
    }
