"""Two arms as one robot: their joints side by side, left then right."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from drivers.device import (
    DeviceError,
    DeviceLost,
    Kinematics,
    Overrun,
    Robot,
    Row,
    Rows,
    row_type,
    sensed,
    telling_last,
)

Floats = NDArray[np.float64]

HEAD = ("t", "received", "seq")
"""Fields of a row that a pair has once."""


@dataclass
class Dual:
    """Two arms of one kind, as one robot whose rows and targets hold both: ``q`` (12,) for two arms of 6 joints.

    Every field of theirs becomes twice as long, left before right: a number becomes two, seven become fourteen.
    There is a row for every row of the left arm, with the right arm's newest that is not after it, as soon as it is
    certain which that is: when the right arm has a row at that moment or later. ``age`` says by how many
    nanoseconds it is older. So whoever reads again reads the same, and sees the arms at most one row late.

    Losing one arm is losing both, and both hold: what one hand does alone while the other is gone is rarely what
    was meant. Leave it and enter it again.

    What it cannot do: it does not know where the arms stand towards each other, so each tool is given from its own
    arm's foot, and nothing keeps them from meeting.
    """

    name: str
    left: Robot
    right: Robot
    oldest: float = 0.1
    """How far one arm's rows may lag behind the other's, in seconds, before it counts as lost."""

    __pydantic_config__: ClassVar[Any] = {"arbitrary_types_allowed": True}

    _lost: DeviceLost | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not (hasattr(self.left, "action") and hasattr(self.right, "action")):
            raise ValueError(f"{self.name}: left and right are robots; one of them is a device that cannot move")
        if self.left.dtype != self.right.dtype or self.left.action != self.right.action:
            raise ValueError(f"{self.name}: two arms of one kind are needed, with rows and actions laid out alike")

    @property
    def arms(self) -> dict[str, Robot]:
        return {"left": self.left, "right": self.right}

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """Time, count and age of the pair, then the arms' fields, each twice as long."""
        return sensed(("age", "<i8"), *_doubled(self.left.dtype, HEAD))

    @cached_property
    def action(self) -> np.dtype[np.void]:
        return row_type(*_doubled(self.left.action, ("t",)))

    @cached_property
    def kinematics(self) -> Kinematics:
        return Chains((self.left.kinematics, self.right.kinematics))

    def read(self, since: int) -> Rows:
        """Return the rows stamped after ``since``.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: an arm is lost, or has been silent for too long. Both hold.
        """
        margin = round(self.oldest * 1e9)
        with telling_last(self._last, since), self._together():
            with _of("left"):
                left = self.left.read(since)
            with _of("right"):
                right = self.right.read(since - margin)
            if len(left) and len(right):
                lag = int(left["t"][-1] - right["t"][-1])
                if abs(lag) > margin:
                    behind = "right" if lag > 0 else "left"
                    raise DeviceLost(f"{behind}: its rows are {abs(lag) / 1e9:.2f} s behind the other arm's")
            return self._paired(left, right)

    def command(self, target: Row) -> None:
        """Give each arm its half.

        Raises:
            DeviceError: an arm refuses its half. Both hold.
            DeviceLost: an arm is lost. Both hold.
        """
        with self._together():
            for i, (side, arm) in enumerate(self.arms.items()):
                with _of(side):
                    arm.command(self._half(target, i))

    def hold(self) -> None:
        """Stop both arms and stay. What keeps one from it does not keep the other."""
        try:
            self.left.hold()
        finally:
            self.right.hold()

    def __enter__(self) -> Self:
        self.left.__enter__()
        try:
            self.right.__enter__()
        except BaseException as error:
            self.left.__exit__(type(error), error, error.__traceback__)
            raise
        self._lost = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lost = None
        try:
            self.right.__exit__(kind, error, trace)
        finally:
            self.left.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def _together(self) -> Generator[None]:
        """What one arm cannot do, neither does."""
        if self._lost is not None:
            raise DeviceLost(str(self._lost)) from self._lost
        try:
            yield
        except Overrun:
            raise
        except DeviceError as error:
            kind = DeviceLost if isinstance(error, DeviceLost) else DeviceError
            said = kind(f"{self.name}, {error}")
            self._lost = said if isinstance(said, DeviceLost) else None
            with contextlib.suppress(DeviceError):
                self.hold()
            raise said from error

    def _last(self, since: int) -> Rows:
        """The pair's rows as far as they go, though an arm is lost."""
        return self._paired(_rest(self.left, since), _rest(self.right, since - round(self.oldest * 1e9)))

    def _paired(self, left: Rows, right: Rows) -> Rows:
        """The left arm's rows whose partner is certain and known, with it."""
        newest = right["t"][-1] if len(right) else np.iinfo(np.int64).min
        left = left[left["t"] <= newest]
        partner = np.searchsorted(right["t"], left["t"], side="right") - 1
        left, partner = left[partner >= 0], partner[partner >= 0]
        right = right[partner]
        rows = np.zeros(len(left), self.dtype)
        rows["t"], rows["seq"], rows["age"] = left["t"], left["seq"], left["t"] - right["t"]
        rows["received"] = np.maximum(left["received"], right["received"])
        for name in self.left.dtype.names or ():
            if name not in HEAD:
                parts = [
                    rows_of[name] if rows_of[name].ndim > 1 else rows_of[name][:, None] for rows_of in (left, right)
                ]
                rows[name] = np.concatenate(parts, axis=1)
        return rows

    def _half(self, target: Row, i: int) -> Row:
        half = np.zeros(1, self.left.action)
        half["t"] = target["t"]
        for name in half.dtype.names or ():
            if name != "t":
                n = len(target[name]) // 2
                half[name] = target[name][i * n : (i + 1) * n].reshape(half.dtype[name].shape)
        return cast("Row", half[0])


@dataclass(frozen=True)
class Chains:
    """Two arms' kinematics side by side: joints (2 n,), tools (14,), each tool from its own arm's foot."""

    arms: tuple[Kinematics, Kinematics]

    def tool(self, q: Floats) -> Floats:
        return np.concatenate([arm.tool(half) for arm, half in zip(self.arms, np.split(q, 2), strict=True)])

    def joints(self, near: Floats, tool: Floats) -> Floats:
        halves = zip(self.arms, np.split(near, 2), np.split(tool, 2), strict=True)
        return np.concatenate([arm.joints(start, goal) for arm, start, goal in halves])


def _rest(arm: Robot, since: int) -> Rows:
    """An arm's rows, though it may be lost."""
    try:
        return arm.read(since)
    except DeviceLost as lost:
        return np.zeros(0, arm.dtype) if lost.last is None else lost.last


@contextlib.contextmanager
def _of(side: str) -> Generator[None]:
    """Say which arm it was."""
    try:
        yield
    except Overrun:
        raise
    except DeviceLost as error:
        raise DeviceLost(f"{side}: {error}") from error
    except DeviceError as error:
        raise DeviceError(f"{side}: {error}") from error


def _doubled(dtype: np.dtype[np.void], without: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """The fields of a row, each twice as long along its first axis."""
    fields = []
    for name in dtype.names or ():
        if name not in without:
            part = dtype[name]
            long, *rest = part.shape or (1,)
            fields.append((name, part.base, (2 * long, *rest)))
    return fields
