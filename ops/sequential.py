"""Which of two policies is better, told as soon as the trials show it, however often one looks.

Both are tried from the same starts. Only starts from which one succeeded and the other failed say anything: if the
first were no better than the second, each of them would be the first's with probability one half at most. Against
that, a bet on every share between one half and one is laid; what it has won is an e-value, which by chance ever grows
beyond ``1 / level`` with probability ``level`` at most (Ville 1939; the mixture: Robbins 1970, section 2; paired tests
by betting: Waudby-Smith and Ramdas 2024). So one may look after every pair, and stop at will.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.05
"""How often, at most, a policy that is no better is said to be better."""

POWER = 0.8
"""How likely a difference has to be found to be called one that so many trials can show."""

MOST = 500
"""Trials beyond which nobody plans."""

Decision = Literal["better", "worse", "open"]


def evidence(wins: int, losses: int) -> float:
    """How many times a bet on "the first is better" has multiplied its stake: an e-value.

    Args:
        wins: starts from which the first succeeded and the second failed.
        losses: the other way round.
    """
    return float(np.exp(_log_evidence(np.array(wins), np.array(losses))))


def decide(wins: int, losses: int, level: float = LEVEL) -> Decision:
    """Say whether the first is better or worse than the second, or whether that is open."""
    if evidence(wins, losses) >= 1 / level:
        return "better"
    return "worse" if evidence(losses, wins) >= 1 / level else "open"


@dataclass(frozen=True)
class Forecast:
    """What a comparison will come to, if the policies are as good as supposed."""

    stops: Floats
    """(trials,): how likely it is decided for the first after exactly so many pairs, counted from one."""

    @property
    def chance(self) -> float:
        """How likely it is decided for the first within these trials."""
        return float(self.stops.sum())

    @property
    def mean(self) -> float:
        """Pairs that are needed on average, all of them where it is not decided."""
        pairs = 1 + np.arange(len(self.stops))
        return float((self.stops * pairs).sum() + (1 - self.chance) * len(self.stops))

    def within(self, power: float) -> int | None:
        """Pairs within which it is decided with this probability; None if these are too few."""
        enough = np.flatnonzero(self.stops.cumsum() >= power)
        return int(enough[0]) + 1 if len(enough) else None


def forecast(old: float, new: float, trials: int, level: float = LEVEL) -> Forecast:
    """Compute exactly how soon a policy of success rate ``new`` is found better than one of ``old``.

    Starts are supposed to be equally hard for both: where both find the same ones hard, it is decided sooner.

    Raises:
        ValueError: a rate is none, or there is no trial.
    """
    if not (0 <= old <= 1 and 0 <= new <= 1):
        raise ValueError(f"success rates are between 0 and 1, not {old} and {new}")
    if trials < 1:
        raise ValueError(f"a comparison needs at least one trial of each, not {trials}")
    win, loss = new * (1 - old), old * (1 - new)
    decided = _decided(trials, level)
    states: Floats = np.ones((1, 1))
    stops = np.zeros(trials)
    for pair in range(1, trials + 1):
        after = np.zeros((pair + 1, pair + 1))
        after[:pair, :pair] = (1 - win - loss) * states
        after[1:, :pair] += win * states
        after[:pair, 1:] += loss * states
        over = decided[: pair + 1, : pair + 1]
        stops[pair - 1] = after[over].sum()
        states = np.where(over, 0.0, after)
    return Forecast(stops)


def needed(old: float, new: float, power: float = POWER, level: float = LEVEL) -> int | None:
    """Trials of each policy within which the better one is found with this probability; None if `MOST` are too few."""
    return forecast(old, new, MOST, level).within(power) if new > old else None


def detectable(old: float, trials: int, power: float = POWER, level: float = LEVEL) -> float | None:
    """The least success rate that so many trials tell from ``old``, to one point; None where even 100 % is not told."""
    low, high = round(100 * old), 100
    if forecast(old, 1.0, trials, level).chance < power:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if forecast(old, middle / 100, trials, level).chance < power:
            low = middle
        else:
            high = middle
    return high / 100


def foretold(old: float, trials: int) -> str:
    """Say in words what so many trials of two policies can tell, if the one succeeds as often as ``old``.

    Of more than `MOST` trials it is said what these can tell.
    """
    trials = min(trials, MOST)
    told = detectable(old, trials)
    if told is not None:
        return f"{trials} trials of each tell {old:.0%} from {told:.0%}, four times in five"
    more = needed(old, 1.0)
    enough = f"; {more} would tell it from 100%" if more else ""
    return f"{trials} trials of each cannot tell {old:.0%} from anything better{enough}"


def _log_evidence(wins: NDArray[np.int64], losses: NDArray[np.int64]) -> Floats:
    """Logarithm of the mean over shares s in (1/2, 1) of ``(2 s)^wins (2 (1 - s))^losses``."""
    from scipy.special import betaln  # type: ignore[import-untyped]  # SciPy has no types, and takes long to import
    from scipy.stats import beta  # type: ignore[import-untyped]

    above = beta.logsf(0.5, wins + 1, losses + 1)
    found: Floats = (wins + losses + 1) * np.log(2) + betaln(wins + 1, losses + 1) + above
    return found


@cache
def _decided(trials: int, level: float) -> NDArray[np.bool_]:
    """(trials + 1, trials + 1): after so many wins and losses, whether it is decided for the first."""
    wins, losses = np.indices((trials + 1, trials + 1))
    found: NDArray[np.bool_] = _log_evidence(wins, losses) >= -np.log(level)
    return found
