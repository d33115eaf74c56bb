"""From failures to the demonstrations that would cure them, most cure per operator minute first.

Failures of one code, and failures of any, are looked for in a part of the starts where they are more frequent than
elsewhere: where nothing was shown, a policy fails in many ways. What
demonstrations there would bring is estimated from how many there are: error falls with the square root of how densely
starts are covered, so the first demonstrations of a start nobody has shown bring most. (A rule of thumb: power laws
with exponents about there are reported for imitation, e.g. Lin et al. 2024, "Data scaling laws in imitation
learning".) A gain is an estimate for ranking; what an order has brought is measured when it is fulfilled.
"""

from collections import Counter
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

    codes: tuple[tuple[str, int], ...]
    """How trials from there failed, and how often, most frequent first: one code, or all there are."""
    where: Slice
    wanted: int
    trials: int
    """Valid trials from there."""
    shown: int
    """Demonstrations from there so far."""
    gain: float
    """Estimated points of success over all starts, 0 to 1."""
    minutes: float
    """Of the operator."""
    episodes: tuple[str, ...]
    """The failures."""

    @property
    def code(self) -> str:
        """What they are most of all to cure."""
        return self.codes[0][0]

    @property
    def failures(self) -> int:
        """How many trials failed so."""
        return len(self.episodes)

    @property
    def words(self) -> str:
        """E.g. ``12 demonstrations: left half (failed in 9 of 11 trials: LOC 6, CON 3; 0 demonstrations so far)``."""
        how = ", ".join(f"{code} {times}" for code, times in self.codes)
        return (
            f"{self.wanted} demonstrations: {self.where.words} (failed in {self.failures} of {self.trials} trials: "
            f"{how}; {self.shown} demonstrations so far)"
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
        kinds = [*({code} for code in codes), {*codes}]
        sure = SURE / max(1, len(parts) - 1)
        each = (_offer(kind, part, tried, taken, shown, seconds, wanted, sure) for kind in kinds for part in parts)
        offers = [offer for offer in each if offer is not None]
        if not offers:
            break
        best = max(offers, key=lambda offer: (offer.gain / offer.minutes, -len(offer.where.bounds)))
        found.append(best)
        taken |= {*best.episodes}
    return found


def _offer(
    codes: Collection[str],
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
    free = [one for one in tried if one.episode not in taken]
    left = [one for one in free if one.code in codes]
    failed = [one for one in left if part.holds(one.start)]
    everywhere = len(left)
    if len(failed) < LEAST:
        return None
    if not part.bounds and len(codes) > 1:
        return None
    # Elsewhere another order may have taken just these failures: trials that it took say nothing of where they are.
    if part.bounds and _chance(len(failed), sum(part.holds(one.start) for one in free), everywhere, len(free)) > sure:
        return None
    rate = (len(failed) + PRIOR * everywhere / len(tried)) / (len(inside) + PRIOR)
    there = sum(part.holds(start) for start in shown)
    cured = 1 - ((there + 1) / (there + 1 + wanted)) ** DECAY
    gain = len(inside) / len(tried) * rate * cured
    counted = tuple(Counter(sorted(str(one.code) for one in failed)).most_common())
    episodes = tuple(one.episode for one in failed)
    return Proposal(counted, part, wanted, len(inside), there, gain, wanted * seconds / 60, episodes)


def _chance(failed: int, inside: int, everywhere: int, tried: int) -> float:
    """How likely chance alone puts so many failures, or more, into a part."""
    from scipy.stats import hypergeom  # type: ignore[import-untyped]  # takes long to import

    return float(hypergeom.sf(failed - 1, tried, everywhere, inside))
