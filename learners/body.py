"""What a robot is made of, read off the layout of its rows: everything a policy needs to know of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Body:
    """Arms of one kind, whose numbers stand side by side, left before right."""

    joints: int = 7
    """Of all arms together, without the fingers."""
    arms: int = 1

    @classmethod
    def of(cls, rows: np.dtype[np.void]) -> Self:
        """The robot whose rows are laid out so.

        Raises:
            ValueError: no policy can be told what these rows say.
        """
        names = rows.names or ()
        if missing := sorted({"q", "tool", "width"} - set(names)):
            raise ValueError(f"a policy needs to feel a robot's q, tool and width; its rows lack {missing}")
        q, tool, width = (rows[name].shape for name in ("q", "tool", "width"))
        arms = width[0] if width else 1
        alike = len(q) == 1 and len(width) == (arms > 1) and q[0] % arms == 0 and tool == (7 * arms,)
        if not alike:
            raise ValueError(
                f"a robot's rows have q (n,), tool (7,) and width (), a pair's q (2 n,), tool (14,) and width (2,); "
                f"not q {q}, tool {tool} and width {width}"
            )
        return cls(q[0], arms)

    @classmethod
    def said(cls, facts: Mapping[str, Any]) -> Self:
        """The robot that a policy's facts tell of; those of a policy that says nothing are one arm of 7 joints."""
        body = facts.get("body", asdict(cls()))
        return cls(int(body["joints"]), int(body["arms"]))

    @property
    def facts(self) -> dict[str, Any]:
        """How a policy keeps it, as JSON has it; `said` reads it back."""
        return {"body": asdict(self)}

    @property
    def width(self) -> int:
        """Numbers per state, of each arm: its joints, tool position, tool axes, opening."""
        return self.joints + self.arms * (3 + 6 + 1)

    @property
    def tools(self) -> list[int]:
        """Where in a state the tools' positions (m) stand, three for each arm."""
        return self._places(range(3))

    @property
    def axes(self) -> list[int]:
        """Where the first two columns of the tools' rotation matrices stand, six for each arm."""
        return self._places(range(3, 9))

    @property
    def hands(self) -> list[int]:
        """Where it stands how far each hand is open."""
        return self._places(range(9, 10))

    def _places(self, after_joints: range) -> list[int]:
        own, first = self.width // self.arms, self.joints // self.arms
        return [arm * own + first + each for arm in range(self.arms) for each in after_joints]

    def __str__(self) -> str:
        each = self.joints // self.arms
        return f"one arm of {each} joints" if self.arms == 1 else f"{self.arms} arms of {each} joints each"


ONE_ARM = Body()


def by_arm(numbers: NDArray[Any], arms: int) -> NDArray[Any]:
    """Numbers (..., arms * n) that stand side by side, apart: (..., arms, n)."""
    *before, every = numbers.shape
    return numbers.reshape(*before, arms, every // arms)


def side_by_side(numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers of each arm (..., arms, n) as they stand in a row: (..., arms * n)."""
    *before, arms, each = numbers.shape
    return numbers.reshape(*before, arms * each)


def openings(width: NDArray[Any], arms: int) -> NDArray[Any]:
    """How far each hand is open, (..., arms, 1): one arm's rows have a number (...), a pair's have two (..., 2)."""
    return width[..., None, None] if arms == 1 else width[..., None]


def widths(openings: NDArray[Any]) -> NDArray[Any]:
    """The same (..., arms, 1) as a robot's rows have it."""
    return openings[..., 0, 0] if openings.shape[-2] == 1 else openings[..., 0]
