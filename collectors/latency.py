"""How far the robot was behind the hand that led it, from what an episode recorded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.loop import FOLLOWING
from drivers import Rows
from storage import Episode

UNKNOWN = int(np.iinfo(np.int64).min)
"""The ``age`` of a pose where a headset tells no time of this machine."""


@dataclass(frozen=True)
class Latency:
    """Of the ticks at which a hand led. Times in seconds; NaN where nothing is known."""

    led: float
    """Their share of all ticks."""
    clamped: float
    """The share of them at which the box or the speed limit held a tool back."""
    gap: tuple[float, float]
    """From the moment that the hand's pose is for to the command made of it: median, and 99 of 100 are shorter."""
    age: float
    """How old poses were when the headset told them, the median; a part of the gap."""


def measured(following: Rows, hands: Rows) -> Latency:
    """Measure a take: ``following`` as who drove wrote it, ``hands`` as every headset did."""
    led = following[following["engaged"].any(axis=1)]
    used = hands[np.isin(hands["t"], led["source_t"])]
    ages = used["age"][used["age"] != UNKNOWN]
    gaps = (led["t"] - led["source_t"]) / 1e9
    return Latency(
        led=len(led) / len(following) if len(following) else float("nan"),
        clamped=float(led["clamped"].any(axis=1).mean()) if len(led) else float("nan"),
        gap=(_share(gaps, 50), _share(gaps, 99)),
        age=_share(ages / 1e9, 50),
    )


def report(episode: Episode) -> str:
    """Say it in a line, e.g. ``hand to command 14 ms, p99 27 ms (pose age 6 ms); led 93 %, held back 4 %``."""
    hands = [name for name in episode.streams if "grip" in (episode.dtype(name).names or ())]
    if FOLLOWING not in episode.streams or not hands:
        return ""
    rows = np.concatenate([episode.columns(name, ["t", "age"]) for name in hands])
    found = measured(episode.rows(FOLLOWING), rows)
    if np.isnan(found.gap[0]):
        return "no hand led the robot"
    age = "unknown" if np.isnan(found.age) else f"{found.age * 1e3:.0f} ms"
    return (
        f"hand to command {found.gap[0] * 1e3:.0f} ms, p99 {found.gap[1] * 1e3:.0f} ms (pose age {age}); "
        f"led {found.led * 100:.0f} %, held back {found.clamped * 100:.0f} %"
    )


def _share(values: NDArray[np.float64], percent: float) -> float:
    """A percentile, or NaN of nothing."""
    return float(np.percentile(values, percent)) if len(values) else float("nan")
