"""Whether two people who tag the same trials mean the same by their tags."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from uuid import UUID

from storage import Verdict


@dataclass(frozen=True)
class Agreement:
    """Two people, over the episodes that both judged; what each said last counts."""

    one: str
    other: str
    episodes: int
    same: float
    """Share of the episodes that both gave the same tag."""
    kappa: float | None
    """Beyond what chance would give (Cohen 1960): 1 is all, 0 is chance. None where only one tag was ever given."""
    apart: tuple[tuple[str, str, int], ...]
    """What the one and the other said where they differ, and how often, most frequent first."""

    @property
    def says(self) -> str:
        """E.g. ``ada and bob: the same tag in 8 of 10 trials, kappa 0.71``."""
        beyond = "" if self.kappa is None else f", kappa {self.kappa:.2f}"
        same = f"the same tag in {round(self.same * self.episodes)} of {self.episodes} trials"
        most = f"; most often {self.apart[0][0]} against {self.apart[0][1]}" if self.apart else ""
        return f"{self.one} and {self.other}: {same}{beyond}{most}"


def agreements(verdicts: Iterable[Verdict]) -> list[Agreement]:
    """Compare everybody with everybody; verdicts come in the order they were given, those by rules are left out."""
    said: dict[str, dict[UUID, str]] = {}
    for verdict in verdicts:
        if verdict.labelled_by == "human":
            said.setdefault(verdict.by, {})[verdict.episode] = verdict.failure or str(verdict.outcome)
    found = []
    for one, other in combinations(sorted(said), 2):
        both = sorted(said[one].keys() & said[other].keys())
        if both:
            found.append(_compare(one, other, [(said[one][each], said[other][each]) for each in both]))
    return found


def _compare(one: str, other: str, pairs: Sequence[tuple[str, str]]) -> Agreement:
    n = len(pairs)
    same = sum(a == b for a, b in pairs) / n
    mine, theirs = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(mine[tag] * theirs[tag] for tag in mine) / n**2
    kappa = (same - chance) / (1 - chance) if chance < 1 else None
    apart = Counter(sorted((a, b) for a, b in pairs if a != b))
    return Agreement(one, other, n, same, kappa, tuple((*pair, times) for pair, times in apart.most_common()))
