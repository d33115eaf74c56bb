"""From failures to the demonstrations that would cure them, most cure per operator minute first.

Failures of one code are looked for in a part of the starts where they are more frequent than elsewhere. What
demonstrations there would bring is estimated from how many there are: error falls with the square root of how densely
starts are covered, so the first demonstrations of a start nobody has shown bring most. (A rule of thumb: power laws
with exponents about there are reported for imitation, e.g. Lin et al. 2024, "Data scaling laws in imitation
learning".) A gain is an estimate for ranking; what an order has brought is measured when it is fulfilled.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ops.slices import Slice, Start, slices

WANTED = 12
"""Demonstrations of an order, unless somebody says otherwise."""

DECAY = 0.5
"""Exponent with which error falls as starts are covered more densely."""

PRIOR = 4.0
"""Trials' worth of belief that a part is like the whole, so that two failures of two are not taken for 100 %."""

SURE = 0.1
"""Over all parts that are looked at, chance names one with this probability at most (Fisher, one-sided; Bonferroni)."""

LEAST = 3
"""Failures that an order takes; fewer are chance."""


@dataclass(frozen=True)
class Tried:
    """One valid trial."""

    start: Start
    code: str | None
    """How it failed; None: it did not."""
    episode: str


@dataclass(frozen=True)
class Proposal:
    """Demonstrations worth asking for."""

    code: str
    where: Slice
    wanted: int
    trials: int
    """Valid trials from there."""
    failures: int
    """With this code."""
    shown: int
    """Demonstrations from there so far."""
    gain: float
    """Estimated points of success over all starts, 0 to 1."""
    minutes: float
    """Of the operator."""
    episodes: tuple[str, ...]
    """The failures."""

    @property
    def words(self) -> str:
        """E.g. ``12 demonstrations: left half (LOC in 9 of 11 trials, 0 demonstrations so far)``."""
        return (
            f"{self.wanted} demonstrations: {self.where.words} "
            f"({self.code} in {self.failures} of {self.trials} trials, {self.shown} demonstrations so far)"
        )


def propose(
    tried: Sequence[Tried], shown: Sequence[Start], seconds: float, wanted: int = WANTED, most: int = 5
) -> list[Proposal]:
    """Rank what to ask for. Each failure is taken by one proposal at most.

    Args:
        tried: valid trials of the policy that is to get better.
        shown: what its demonstrations began from.
        seconds: of an operator, for one demonstration and setting the scene for it.
        wanted: demonstrations of each order.
        most: proposals.
    """
    parts = list(slices([one.start for one in tried]))
    taken: set[str] = set()
    found: list[Proposal] = []
    while len(found) < most:
        codes = sorted({one.code for one in tried if one.code is not None and one.episode not in taken})
        sure = SURE / max(1, len(parts) - 1)
        each = (_offer(code, part, tried, taken, shown, seconds, wanted, sure) for code in codes for part in parts)
        offers = [offer for offer in each if offer is not None]
        if not offers:
            break
        best = max(offers, key=lambda offer: (offer.gain / offer.minutes, -len(offer.where.bounds)))
        found.append(best)
        taken |= {*best.episodes}
    return found


def _offer(
    code: str,
    part: Slice,
    tried: Sequence[Tried],
    taken: Collection[str],
    shown: Sequence[Start],
    seconds: float,
    wanted: int,
    sure: float,
) -> Proposal | None:
    """What demonstrations in this part would bring against failures that no other order takes; None if they are few."""
    inside = [one for one in tried if part.holds(one.start)]
    left = [one for one in tried if one.code == code and one.episode not in taken]
    failed = tuple(one.episode for one in left if part.holds(one.start))
    everywhere = len(left)
    if len(failed) < LEAST:
        return None
    if part.bounds and _chance(len(failed), len(inside), everywhere, len(tried)) > sure:
        return None
    rate = (len(failed) + PRIOR * everywhere / len(tried)) / (len(inside) + PRIOR)
    there = sum(part.holds(start) for start in shown)
    cured = 1 - ((there + 1) / (there + 1 + wanted)) ** DECAY
    gain = len(inside) / len(tried) * rate * cured
    return Proposal(code, part, wanted, len(inside), len(failed), there, gain, wanted * seconds / 60, failed)


def _chance(failed: int, inside: int, everywhere: int, tried: int) -> float:
    """How likely chance alone puts so many failures, or more, into a part."""
    from scipy.stats import hypergeom  # type: ignore[import-untyped]  # takes long to import

    return float(hypergeom.sf(failed - 1, tried, everywhere, inside))
