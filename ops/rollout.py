"""Prove it: planned trials of policies from the same starts, in a shuffled order, nobody knowing which is which."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np

from ops import axes
from ops.judging.judgement import Judgement, invalid
from storage import Batch, Catalog, Episode, EpisodeWriter, Outcome, PolicyRow, Refused, Trial, Verdict, rows_of

UNSEEN = 1_000_000
"""Starts of trials have seeds from here on; demonstrations are collected from seeds below."""

LAST = 2**31
"""Seeds stay below this."""

RARE = 100
"""Of so many starts, one has to fit."""


@dataclass(frozen=True)
class Turn:
    """What may be shown while a batch is open: not who drove, and no words that would tell."""

    turn: int
    """Counted from 1."""
    of: int
    outcome: Outcome
    code: str | None = None
    """How it failed, of the taxonomy."""


Attempt = Callable[[Trial], tuple[UUID, Judgement]]
"""Runs one trial to its sealed, catalogued episode and judges it."""


def plan(
    catalog: Catalog,
    task: str,
    policies: Sequence[PolicyRow],
    trials: int,
    seed: int,
    station: str,
    vary: Sequence[str] = (),
    order: int | None = None,
    fits: Callable[[int], bool] = lambda _start: True,
    name: str = "",
) -> Batch:
    """Write down a batch before any of it runs: every policy from the same ``trials`` starts, shuffled by ``seed``.

    All policies are tried from a start, in an order that is drawn, before any is from the next: what changes in the
    course of a batch changes for all of them, and they can be compared while it runs.

    Each axis of ``vary`` is tried as often, from the same starts once more, in the same variants for every policy.
    The starts and their order follow from the seed and the axes alone, so that another batch has the same ones. With
    ``order``, the batch says what a work order has brought, and ``fits`` tells which starts that is asked of; the axes
    are then its own, and nothing is tried as usual. ``name`` is the batch's id; empty: a new one.

    Raises:
        ValueError: there is no policy, the same policy twice, no trial, no such axis, a seed that cannot be one, or
            hardly any start fits.
        Unknown: there is no such task, policy or work order.
    """
    if not policies:
        raise ValueError("a batch needs at least one policy")
    if twice := sorted({row.name for row in policies if sum(other.id == row.id for other in policies) > 1}):
        raise ValueError(f"each policy is tried once per start, but {', '.join(twice)} came more than once")
    if trials < 1:
        raise ValueError(f"a batch needs at least one trial per policy, not {trials}")
    if not 0 <= seed < LAST:
        raise ValueError(f"a batch seed is between 0 and {LAST - 1}, not {seed}")
    vary = axes.chosen(vary, axes.AXES, "a trial")
    chance = np.random.default_rng(seed)
    starts = _starts(chance, trials, fits)
    asked = axes.conditions(vary, seed, trials)
    if order is not None and vary:
        del asked[axes.ORIG]
    begun = [
        {"seed": start} | variant
        for variants in asked.values()
        for start, variant in zip(starts, variants, strict=True)
    ]
    turns = [
        (begun[place], policies[which])
        for place in chance.permutation(len(begun))
        for which in chance.permutation(len(policies))
    ]
    batch = Batch(id=name or uuid4().hex[:8], task=task, station=station, seed=seed, planned=len(turns), order=order)
    catalog.plan(
        batch,
        [
            Trial(batch=batch.id, turn=turn, task=task, policy=policy.id, condition=condition)
            for turn, (condition, policy) in enumerate(turns)
        ],
    )
    return batch


def _starts(chance: np.random.Generator, trials: int, fits: Callable[[int], bool]) -> list[int]:
    """Draw so many different starts that fit."""
    found: dict[int, None] = {}
    for _ in range(RARE):
        drawn = chance.choice(LAST - UNSEEN, size=trials, replace=False) + UNSEEN
        found |= dict.fromkeys(start for start in drawn.tolist() if fits(start))
        if len(found) >= trials:
            return [*found][:trials]
    raise ValueError(f"of {trials * RARE} starts only {len(found)} fit, and {trials} are needed")


def run(
    catalog: Catalog,
    batch: Batch,
    attempt: Attempt,
    by: str,
    root: Path,
    tell: Callable[[Turn], None] = lambda _: None,
    enough: Callable[[], str] = lambda: "",
    holder: str = "",
) -> int:
    """Run the trials of a batch that nobody has taken, one at a time. Several processes may do so at once.

    An attempt that raises makes its trial invalid and does not stop the others; the trial then gets an episode
    without rows that says why. An interrupt gives the trial back and stops.

    Args:
        catalog: where the batch was planned.
        batch: what to run.
        attempt: runs one trial; its judgement is appended as a verdict.
        by: who runs it, as verdicts name them.
        root: the data folder.
        tell: hears of every closed trial, without the policy's name.
        enough: says why no further trial is needed, once that is so; the batch is ended then.
        holder: who has a trial while it runs: a host and process, that can be found dead. Empty: as ``by``.

    Returns:
        How many trials this call closed.

    Raises:
        Unknown: there is no such batch.
    """
    closed = 0
    while (trial := catalog.claim_trial(batch.id, holder or by)) is not None:
        started = datetime.now(UTC)
        try:
            episode, judgement = attempt(trial)
        except Exception as error:  # ruff: ignore[blind-except] - one broken trial costs no batch; its episode says why
            why = f"{type(error).__name__}: {error}"
            episode, judgement = _void(catalog, batch, trial, started, by, root, why)
        except BaseException:
            with suppress(Refused):
                catalog.release_trial(trial)
            raise
        catalog.add(_verdict(episode, judgement, by))
        try:
            catalog.close_trial(trial, episode)
        except Refused:  # this program stood still, the trial was given back, and another has run it: that counts
            continue
        closed += 1
        tell(Turn(trial.turn + 1, batch.planned, judgement.outcome, judgement.code))
        if why := enough():
            catalog.end_batch(batch.id, why)
    return closed


def _verdict(episode: UUID, judgement: Judgement, by: str) -> Verdict:
    """Say it as a row. Only a failure names its mode as the failure; ``ENV`` explains an invalid trial."""
    return Verdict(
        episode=episode,
        by=by,
        outcome=judgement.outcome,
        failure=judgement.code,
        stage=judgement.stage,
        secondary=list(judgement.secondary),
        evidence={"reached": judgement.reached} | judgement.evidence,
        labelled_by=judgement.labelled_by,
        note=str(judgement.evidence.get("why", "")),
    )


def _void(
    catalog: Catalog, batch: Batch, trial: Trial, started: datetime, by: str, root: Path, why: str
) -> tuple[UUID, Judgement]:
    """Keep a trial that could not run as an episode without rows, so that it is counted as invalid, not forgotten."""
    said = {
        "task": trial.task,
        "agent": "policy",
        "operator": by,
        "station": batch.station,
        "policy": str(trial.policy),
        "condition": trial.condition,
        "started": started.isoformat(),
        "error": why,
    }
    with EpisodeWriter(root, {}, said) as writer:
        sealed = writer.seal({"ended_by": "fault"})
    catalog.add(*rows_of(Episode(sealed.path), root))
    return sealed.id, invalid(f"the trial could not run: {why}")
