"""How a policy does when the scene is varied: its trials, counted apart for every axis."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ops import axes
from ops.rates import mcnemar, tell_p, tell_rate, wilson
from storage import Catalog, Outcome, Wanted

if TYPE_CHECKING:
    from ops.results import Taken

VALID = {Outcome.SUCCESS, Outcome.FAILURE}
"""What counts."""


@dataclass(frozen=True)
class OnAxis:
    """The trials of one policy that were varied along the same axis, or not at all."""

    axis: str
    """As ``ops.axes.name`` has it, e.g. ``lighting``, or ``orig``."""
    split: str
    """``seen`` if the policy, or one it came from, learned from what was varied so or if nothing was, else ``ood``."""
    trials: int
    """Valid ones."""
    successes: int
    invalid: int
    success_rate: float | None
    interval: tuple[float, float] | None
    """Wilson, 95 %."""
    pairs: int
    """How many of them have a valid trial as usual from the same start."""
    p: float | None
    """Exact McNemar test over these pairs; None without one."""

    @property
    def says(self) -> str:
        """The result in one line."""
        paired = f", against {axes.ORIG} {tell_p(self.p, self.pairs)}" if self.pairs else ""
        return tell_rate(self.successes, self.trials) + paired


def learned(catalog: Catalog, tried: Mapping[str, Collection[str]]) -> dict[UUID, set[str]]:
    """Return for each policy along which axes that, or one it came from, was shown its task.

    Args:
        catalog: where everything is.
        tried: for each task, the axes to ask for.
    """
    found: dict[UUID, set[str]] = {}
    for task, wanted in tried.items():
        there = catalog.find(Wanted(task=task, retired=None, purged=None)) if wanted else []
        for axis in wanted:
            for policy in catalog.learned_from(one.row.id for one in there if axis in one.row.condition).policies:
                found.setdefault(policy.id, set()).add(axis)
    return found


def by_axis(taken: Sequence["Taken"], known: Collection[str]) -> tuple[OnAxis, ...]:
    """Count one policy's trials for each axis: those as usual first, then as `ops.axes` has them.

    Args:
        taken: its trials.
        known: the axes along which it was shown its task.
    """
    groups: dict[str, list[Taken]] = {}
    for one in sorted(taken, key=lambda one: [axis in one.condition for axis in axes.AXES][::-1]):
        groups.setdefault(axes.name(one.condition), []).append(one)
    usual = _by_start(groups.get(axes.ORIG, []))
    return tuple(_on(axis, group, {} if axis == axes.ORIG else usual, known) for axis, group in groups.items())


def _on(axis: str, group: Sequence["Taken"], usual: Mapping[Any, bool], known: Collection[str]) -> OnAxis:
    here = _by_start(group)
    n, successes = len(here), sum(here.values())
    common = here.keys() & usual.keys()
    gained, lost = (sum(here[start] is way and usual[start] is not way for start in common) for way in (True, False))
    return OnAxis(
        axis=axis,
        split=axes.split(group[0].condition, known),
        trials=n,
        successes=successes,
        invalid=sum(one.outcome is Outcome.INVALID for one in group),
        success_rate=successes / n if n else None,
        interval=wilson(successes, n) if n else None,
        pairs=len(common),
        p=mcnemar(gained, lost) if common else None,
    )


def _by_start(taken: Iterable["Taken"]) -> dict[str, bool]:
    """Return for the start of each valid trial whether it succeeded: the start is what is left without axes."""
    return {axes.start(one.condition): one.outcome is Outcome.SUCCESS for one in taken if one.outcome in VALID}
