"""Parts of the ways a task can begin: the left half, the far third turned left, red cubes.

A start is told as numbers (where the instructed thing stands, how it is turned) and words (what it is, what else is
unusual). Slices are told apart along these, by halves and thirds of what was tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np

type Start = Mapping[str, float | str]
"""What a trial or a demonstration began from, by feature. Metres and radians."""

ENDS = {"x": ("near", "far"), "y": ("right", "left"), "yaw": ("turned right", "turned left")}
"""What the low and the high end of a feature are called, as the robot's base sees it."""

PARTS = {
    (0, 2): "{low} half",
    (1, 2): "{high} half",
    (0, 3): "{low} third",
    (1, 3): "middle third",
    (2, 3): "{high} third",
}
"""Parts of a range and their names: which, of how many."""


@dataclass(frozen=True)
class Bound:
    """A feature's numbers from ``low`` to ``high``, both included, or its word."""

    feature: str
    low: float | str
    high: float | str
    words: str

    def holds(self, start: Start) -> bool:
        value = start.get(self.feature)
        if isinstance(value, str) or isinstance(self.low, str) or isinstance(self.high, str) or value is None:
            return value == self.low
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Slice:
    """Starts for which every bound holds; without one, all."""

    bounds: tuple[Bound, ...] = ()

    def holds(self, start: Start) -> bool:
        return all(bound.holds(start) for bound in self.bounds)

    @property
    def words(self) -> str:
        """E.g. ``left half, turned right half``."""
        return ", ".join(bound.words for bound in self.bounds) or "anywhere"

    @property
    def facts(self) -> list[dict[str, Any]]:
        """As JSON."""
        return [vars(bound) for bound in self.bounds]

    @classmethod
    def said(cls, facts: Sequence[Mapping[str, Any]]) -> Self:
        """From JSON.

        Raises:
            ValueError: it is no slice.
        """
        try:
            return cls(tuple(Bound(**each) for each in facts))
        except TypeError as error:
            raise ValueError(f"{facts!r} is no slice: each bound has feature, low, high and words") from error


def slices(starts: Sequence[Start]) -> Iterator[Slice]:
    """All of these starts, parts of them along one feature, and along two."""
    yield Slice()
    bounds = [
        bound for feature in sorted({name for start in starts for name in start}) for bound in _parts(feature, starts)
    ]
    for bound in bounds:
        yield Slice((bound,))
    for one, other in combinations(bounds, 2):
        if one.feature != other.feature:
            yield Slice((one, other))


def _parts(feature: str, starts: Sequence[Start]) -> Iterator[Bound]:
    """Halves and thirds of a feature's range, or its words; nothing where all are alike."""
    values = {start[feature] for start in starts if feature in start}
    words = sorted(value for value in values if isinstance(value, str))
    numbers = [value for value in values if not isinstance(value, str)]
    if len(words) > 1 or (words and any(feature not in start for start in starts)):
        for word in words:
            yield Bound(feature, word, word, word.replace("_", " "))
    if numbers and (least := min(numbers)) < (most := max(numbers)):
        low, high = ENDS.get(feature.rpartition(" ")[2], (f"low {feature}", f"high {feature}"))
        thing = feature.rpartition(" ")[0]
        for (part, of), name in PARTS.items():
            ends = np.linspace(least, most, of + 1)[part : part + 2].tolist()  # exact at both ends of the range
            said = name.format(low=low, high=high)
            yield Bound(feature, ends[0], ends[1], f"{thing} {said}".strip() if thing else said)
