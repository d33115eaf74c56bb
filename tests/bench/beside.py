"""Two sides measured in one process, in turns, and what is demanded of the outcome.

Every bench adds its measures to ``build/bench.json``: ``{name: {ours, peer, ratio, demand, holds}}``.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.bench.content import BUILD

FILE = BUILD.parent / "bench.json"
ROUNDS = 5
"""Rounds whose median counts, at least."""


@dataclass(frozen=True)
class Demand:
    """What has to hold: of the ratio ours / peer, or of our figure alone."""

    of: Literal["ratio", "ours"]
    at: Literal["least", "most"]
    bound: float

    def holds(self, ours: float, ratio: float | None) -> bool:
        value = ours if self.of == "ours" else ratio
        return value is not None and (value >= self.bound if self.at == "least" else value <= self.bound)

    def __str__(self) -> str:
        return f"{self.of} {'>=' if self.at == 'least' else '<='} {self.bound:.4g}"


def in_turns(sides: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Ask every side for its figure, round after round, so that a busy moment meets all of them."""
    figures: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, measure in sides.items():
            figures[side].append(measure())
    return figures


def tell(name: str, unit: str, ours: float, peer: float | None, demand: Demand, ratio: float | None = None) -> bool:
    """Print one measure, add it to ``build/bench.json``, and say whether it is as demanded.

    ``ratio`` is ours / peer unless it was taken round by round.
    """
    ratio = ours / peer if ratio is None and peer else ratio
    holds = demand.holds(ours, ratio)
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    found[name] = {"ours": ours, "peer": peer, "ratio": ratio, "demand": str(demand), "holds": holds, "unit": unit}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(found, indent=1))
    beside = "" if peer is None else f", peer {peer:.4g}"
    beside += "" if ratio is None else f", ratio {ratio:.3g}"
    sys.stdout.write(f"{'ok ' if holds else 'NOT'} {name}: ours {ours:.4g}{beside} {unit}; demanded {demand}\n")
    sys.stdout.flush()
    return holds


def tell_both(name: str, unit: str, ours: Sequence[float], peer: Sequence[float], demand: Demand) -> bool:
    """The same for rounds taken in turns: the median of each side, and the median of the rounds' ratios."""
    ratio = statistics.median(a / b for a, b in zip(ours, peer, strict=True))
    return tell(name, unit, statistics.median(ours), statistics.median(peer), demand, ratio)


def seconds(work: Callable[[], object]) -> float:
    """How long something takes, in seconds of the wall's clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
