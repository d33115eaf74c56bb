"""Where the lines are drawn between what counts and what does not, at a table with cubes and pads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

VERSION = "table-rules/1.1"
"""Which rules were used. A changed threshold or definition is a new version."""


@dataclass(frozen=True)
class Rules:
    """Where the lines are drawn. Metres, seconds, radians per second."""

    tolerance: float = 0.05
    """A cube is on a pad when their centres are this near, horizontally."""
    coarse: float = 0.09
    """Further off than the tolerance but within this, the delivery was imprecise; beyond, it was off target."""
    rest: float = 0.02
    """Height of the centre of what lies on the table, ..."""
    slack: float = 0.01
    """... and how far from it that may be: things of 20 to 60 mm lie."""
    lies: float = 0.02
    """Height of the instructed cube's centre when it lies on the table."""
    still: float = 0.3
    """How long a delivered cube must have been untouched and unmoved."""
    motion: float = 0.002
    """A cube that moved less than this in that time was still."""
    near: float = 0.05
    """Fingers that close this near to a cube's centre tried to grasp it."""
    aimed: float = 0.15
    """Fingers that close on nothing, this near to the instructed cube, were meant for it and missed."""
    approach: float = 0.10
    """The tool has come to a cube when it is this near."""
    closed: float = 0.05
    """Fingers narrower than this are closing: 10 mm wider than the instructed cube."""
    reopened: float = 0.06
    """Fingers wider than this can close again: 20 mm wider than it."""
    thin: float = 0.035
    """Fingers narrower than this, 5 mm narrower than it, have nothing between them, and push what they touch."""
    flicker: float = 0.1
    """Contact that is interrupted for no longer than this is one contact."""
    brush: float = 0.2
    """An open hand that touches a cube for less than this, without closing, passes it."""
    knock: float = 0.02
    """Unless it moves the instructed cube this far."""
    answer: float = 0.5
    """How long after the fingers close a contact still counts as theirs."""
    lift: float = 0.02
    """A cube this far above where it lies is lifted."""
    hold: float = 0.5
    """A cube that stays lifted in the fingers for this long is acquired; so long held low, it was not lifted."""
    opened: float = 0.004
    """Fingers that widen by this while they lose a cube let it go; otherwise it slipped."""
    low: float = 0.03
    """A cube let go no higher than this above where it lies was put down, not dropped."""
    progress: float = 0.01
    """A tool that moves less than this in the last second has stopped."""
    pressed: float = 0.3
    """A collision is a cause when it lasts this long, or happens this shortly before a loss."""
    shaking: float = 0.2
    """A joint whose velocity changes sign between at least this much either way turned round, ..."""
    turns: int = 8
    """... and one that turns round so often within one second oscillates."""
    gap: float = 0.25
    """How long truth or arm may be silent before the record is incomplete."""

    def of(self, size: Sequence[float]) -> Self:
        """The same lines for an instructed cube of another width, depth and height."""
        wide, deep, high = size
        broad, slim = max(wide, deep), min(wide, deep)
        return replace(self, lies=high / 2, closed=broad + 0.01, reopened=broad + 0.02, thin=slim - 0.005)


RULES = Rules()
