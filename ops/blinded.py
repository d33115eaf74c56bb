"""What may be told of trials while they run: how it goes, how sure that is, and how much is left. Never whose it was.

Rates are of all policies together, and what sets two apart is told after both were tried from a start, without saying
which of them it speaks for: nobody learns from it who drives next.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ops.by_axis import VALID
from ops.rates import tell_rate
from ops.results import PolicyReport, compare, of_batch
from ops.sequential import POWER, decide, forecast
from storage import Catalog, Listed, Outcome

BLIND = "blinded"
"""Stands for the name of a policy that must not be shown."""

FORESEEN = 200
"""Trials of each policy beyond which nobody is told how many more are needed."""


@dataclass(frozen=True)
class Pairs:
    """Two policies from the same starts, none of them named."""

    starts: int
    """Tried by both."""
    differ: int
    """Of these, how many only one of them mastered."""
    decided: bool
    """Whether one is shown to be better."""
    least: int
    """Further starts after which that could be decided at the earliest."""
    likely: int | None
    """Further starts within which it is, four times in five, if they go on as so far; None if that tells nothing."""


@dataclass(frozen=True)
class SoFar:
    """How a batch goes."""

    done: int
    planned: int
    successes: int
    trials: int
    """Valid ones."""
    invalid: int
    pairs: Pairs | None
    """None where there are not two policies."""

    @property
    def left(self) -> int:
        return self.planned - self.done

    @property
    def says(self) -> tuple[str, str]:
        """How often it succeeded, and how many trials are still needed."""
        both = " of both together" if self.pairs is not None else ""
        invalid = f", {self.invalid} invalid" if self.invalid else ""
        return f"{tell_rate(self.successes, self.trials)}{both}{invalid}", self._needed

    @property
    def _needed(self) -> str:
        pairs = self.pairs
        if pairs is None:
            return f"{self.left} trials left"
        seen = f"{pairs.starts} starts tried by both, {pairs.differ} told them apart"
        if pairs.decided:
            return f"{seen}: it is decided which is better"
        if pairs.least > -(-self.left // 2):
            return f"{seen}; the {self.left} trials left can no longer decide which is better"
        likely = "" if pairs.likely is None else f", likely after {pairs.likely}"
        return f"{seen}; decided after {pairs.least} more at the earliest{likely}; {self.left} trials left"


def so_far(catalog: Catalog, batch: str) -> SoFar:
    """How a batch goes.

    Raises:
        Unknown: there is no such batch.
    """
    planned, reports = catalog.batch(batch).planned, of_batch(catalog, batch)
    return SoFar(
        done=sum(len(one.taken) for one in reports),
        planned=planned,
        successes=sum(one.successes for one in reports),
        trials=sum(one.trials for one in reports),
        invalid=sum(one.invalid for one in reports),
        pairs=_pairs(*reports) if len(reports) == 2 else None,
    )


def untold(catalog: Catalog) -> Mapping[UUID, datetime]:
    """Policies that are tried in open batches, and since when: whose a take of theirs is must not be shown.

    That holds for all that such a policy did since, for a take is kept before it is known as one of the batch.
    """
    found: dict[UUID, datetime] = {}
    for batch in catalog.batches():
        if batch.closed is None:
            found = {one.policy: batch.created for one in catalog.trials(batch.id)} | found
    return found


def drove(catalog: Catalog, episodes: Iterable[Listed]) -> dict[UUID, str]:
    """The policy that drove, by name, of each episode that one drove in; `BLIND` where it must not be shown."""
    since, names = untold(catalog), {policy.id: policy.name for policy in catalog.policies()}
    return {
        one.row.id: BLIND if policy in since and one.row.started >= since[policy] else names[policy]
        for one in episodes
        if (policy := one.row.policy) is not None
    }


def _pairs(one: PolicyReport, other: PolicyReport) -> Pairs:
    found = compare(one, other)
    more, fewer = sorted((found.only_this, found.only_other), reverse=True)
    return Pairs(
        starts=found.pairs,
        differ=more + fewer,
        decided=found.decided != "open",
        least=next((n for n in range(FORESEEN) if decide(more + n, fewer) != "open"), FORESEEN),
        likely=_likely(one, other, found.pairs),
    )


def _likely(one: PolicyReport, other: PolicyReport, starts: int) -> int | None:
    """How many more starts it takes, if both go on to succeed as often as where both were tried."""
    mine, theirs = _succeeded(one), _succeeded(other)
    both = mine.keys() & theirs.keys()
    old, new = sorted(sum(each[key] for key in both) / max(1, len(both)) for each in (mine, theirs))
    within = forecast(old, new, FORESEEN).within(POWER) if new > old else None
    return None if within is None else max(1, within - starts)


def _succeeded(one: PolicyReport) -> dict[str, bool]:
    """Whether each valid trial did, by its condition."""
    valid = [each for each in one.taken if each.outcome in VALID]
    return {json.dumps(each.condition, sort_keys=True): each.outcome is Outcome.SUCCESS for each in valid}
