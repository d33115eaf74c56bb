"""What happened on the table: recorded truth and arm rows on one time axis, as plain arrays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage import Stale, latest

Rows = NDArray[np.void]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Shaking = Callable[[NDArray[np.int64], Floats], Flags]


NS = 1_000_000_000


class Incomplete(Exception):
    """The record does not hold what a judgement needs. The message says what is missing."""


@dataclass(frozen=True)
class Run:
    """Rows ``first`` to ``last``, both included, during which something was so."""

    first: int
    last: int


@dataclass(frozen=True)
class Scene:
    """One take on the table: ``n`` moments, ``c`` cubes. Metres, in the base frame of the arm."""

    t: NDArray[np.int64]
    """(n,) nanoseconds."""
    names: tuple[str, ...]
    """The c cubes, in the order of ``touched`` and ``held``."""
    cubes: Floats
    """(n, c, 3) centres."""
    pads: dict[str, Floats]
    """(3,) centres; pads do not move."""
    touched: Flags
    """(n, c): a finger touches the cube."""
    held: Flags
    """(n, c): both fingers touch the cube."""
    collided: Flags
    """(n,): the arm touches something it should not."""
    tool: Floats
    """(n, 3) point between the finger tips."""
    width: Floats
    """(n,) finger opening."""
    shaken: tuple[Run, ...]
    """When the arm oscillated."""

    @property
    def last(self) -> int:
        """The last row."""
        return len(self.t) - 1

    def seconds(self, row: int) -> float:
        """Return the time of a row, from the first one."""
        return float(self.t[row] - self.t[0]) / 1e9

    def length(self, run: Run) -> float:
        """Return how long a run lasted, in seconds."""
        return float(self.t[run.last] - self.t[run.first]) / 1e9

    def shift(self, row: int, seconds: float) -> int:
        """Return the last row not later than ``seconds`` after (or before) ``row``, kept inside the take."""
        at = np.searchsorted(self.t, self.t[row] + round(seconds * 1e9), side="right") - 1
        return int(np.clip(at, 0, self.last))

    def runs(self, flags: Flags, gap: float = 0.0) -> list[Run]:
        """Return when ``flags`` (n,) were set. Interruptions of up to ``gap`` seconds are overlooked."""
        return runs(self.t, flags, gap)

    def reach(self, cube: int) -> Floats:
        """Return the distance (n,) from the point between the finger tips to a cube's centre."""
        return np.asarray(np.linalg.norm(self.cubes[:, cube] - self.tool, axis=1))

    def off(self, row: int, cube: int, pad: str) -> float:
        """Return the horizontal distance from a cube's centre to a pad's centre."""
        return float(np.linalg.norm(self.cubes[row, cube, :2] - self.pads[pad][:2]))


def runs(t: NDArray[np.int64], flags: Flags, gap: float = 0.0) -> list[Run]:
    """Return when ``flags`` were set, overlooking interruptions of up to ``gap`` seconds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    found: list[Run] = []
    for first, after in edges.reshape(-1, 2).tolist():
        if found and (t[first] - t[found[-1].last]) / 1e9 <= gap:
            found[-1] = Run(found[-1].first, after - 1)
        else:
            found.append(Run(first, after - 1))
    return found


def scene_of(truth: Rows, arm: Rows, end: int | None, gap: float, shaking: Shaking) -> Scene:
    """Put truth and arm on the time axis of truth.

    Args:
        truth: what stood where and touched what.
        arm: what the arm reported.
        end: when the take ended, in nanoseconds; None when only its rows tell.
        gap: the longest time, in seconds, for which either may be silent.
        shaking: tells from the arm's stamps and joint velocities (m, 7) when it oscillates (m,).

    Raises:
        Incomplete: rows are missing, interrupted or not a number.
    """
    truth, at = together(truth, arm, end, gap)
    fields = truth.dtype.names or ()
    names = tuple(name for name in fields if name.endswith("_cube"))
    scene = Scene(
        t=truth["t"],
        names=names,
        cubes=np.stack([truth[name][:, :3] for name in names], axis=1),
        pads={name: truth[name][0] for name in fields if name.endswith("_pad")},
        touched=truth["touched"],
        held=truth["held"],
        collided=truth["collided"],
        tool=arm["tool"][at, :3],
        width=arm["width"][at],
        shaken=tuple(runs(truth["t"], shaking(arm["t"], arm["dq"])[at], gap)),
    )
    require_numbers("truth", scene.cubes)
    require_numbers("arm", scene.tool)
    return scene


def together(truth: Rows, arm: Rows, end: int | None, gap: float) -> tuple[Rows, NDArray[np.intp]]:
    """The rows of truth while the arm was on, and for each the arm's newest row that is not after it.

    Raises:
        Incomplete: rows are missing or interrupted.
    """
    if not len(truth) or not len(arm):
        raise Incomplete(f"{'arm' if len(truth) else 'truth'} has no rows")
    truth = truth[truth["t"] >= arm["t"][0]]
    if len(truth) < 2:
        raise Incomplete("truth has no rows while the arm was on")
    _require_no_gap(truth["t"], gap, end)
    try:
        return truth, latest(arm["t"], truth["t"], round(gap * 1e9))
    except Stale as stale:
        raise Incomplete(f"arm: {stale}") from stale


def shaking(t: NDArray[np.int64], dq: Floats, least: float, most: int) -> Flags:
    """Tell at each stamp whether, within the second before, some joint (m, joints) turned round ``most`` times.

    A joint turns round between at least ``least`` rad/s either way.
    """
    found = np.zeros(len(t), np.bool_)
    for speed in dq.T:
        fast = np.flatnonzero(np.abs(speed) >= least)
        turned = t[fast[1:][np.diff(np.sign(speed[fast])) != 0]]
        turns = np.searchsorted(turned, t, side="right") - np.searchsorted(turned, t - NS, side="right")
        found |= turns >= most
    return found


def require_numbers(what: str, values: Floats) -> None:
    """Refuse a record (n, ...) with a gap that is filled with something else than numbers.

    Raises:
        Incomplete: there is one.
    """
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if bad.any():
        raise Incomplete(f"{what} is not a number at row {int(bad.argmax())}")


def _require_no_gap(t: NDArray[np.int64], gap: float, end: int | None) -> None:
    stamps = t if end is None else np.append(t, max(end, int(t[-1])))
    silent = np.diff(stamps) / 1e9
    if silent.max(initial=0.0) > gap:
        row = int(silent.argmax())
        raise Incomplete(f"truth is silent for {silent[row]:.2f} s after row {row}; at most {gap} s are allowed")
