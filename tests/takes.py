"""Takes made by hand: say what the arm does, in order, and get the rows that a table would have recorded."""

from pathlib import Path
from typing import Self

import numpy as np

from drivers import Rows, row_type
from storage import EpisodeWriter, Observation, Sealed

CUBES = {"red_cube": (0.45, 0.10), "green_cube": (0.45, -0.10), "blue_cube": (0.60, 0.0)}
PADS = {"yellow_pad": (0.60, 0.25), "purple_pad": (0.60, -0.25)}
TASK = "put the red cube on the yellow pad"
HZ = 50

ARM = row_type(
    *((name, "<f8", (7,)) for name in ("q", "dq", "tau", "tool")),
    ("width", "<f8"),
    *((name, "<f8", (7,)) for name in ("q_target", "tool_target")),
    ("width_target", "<f8"),
)
TRUTH = row_type(
    *((name, "<f8", (7,)) for name in CUBES),
    *((name, "<f8", (3,)) for name in PADS),
    ("touched", "?", (3,)),
    ("held", "?", (3,)),
    ("collided", "?"),
)
TICKS = row_type(("late", "<i8"))
FRONT = row_type(("rgb", "u1", (48, 64, 3)))


class Take:
    """One take on the table, 50 rows a second. Every move returns the take, so that they read as a sentence."""

    def __init__(self, cubes: dict[str, tuple[float, float]] | None = None) -> None:
        self.at = {name: np.array([*xy, 0.02]) for name, xy in (CUBES | (cubes or {})).items()}
        self.tool = np.array([0.35, 0.0, 0.30])
        self.width = 0.08
        self.gripped: str | None = None
        self.touching: set[str] = set()
        self.pressing = False
        self.speed = 0.0
        self._truth: list[tuple[object, ...]] = []
        self._arm: list[tuple[object, ...]] = []
        self._row()

    def go(self, x: float, y: float, z: float, seconds: float = 1.0) -> Self:
        """Move the tool in a straight line, with whatever it grips."""
        for step in np.linspace(self.tool, (x, y, z), round(seconds * HZ) + 1)[1:]:
            if self.gripped:
                self.at[self.gripped] += step - self.tool
            self.tool = step
            self._row()
        return self

    def to(self, name: str, dx: float = 0.0, z: float = 0.02) -> Self:
        """Move the tool to a cube or a pad, or ``dx`` beside it."""
        x, y = self.at[name][:2] if name in self.at else PADS[name]
        return self.go(x + dx, y, z)

    def close(self, on: str | None = None, grip: bool = True) -> Self:
        """Close the fingers: on a cube, which they then grip unless told otherwise, or on nothing."""
        for width in np.linspace(self.width, 0.04 if on else 0.0, 11)[1:]:
            self.width = float(width)
            self._row()
        if on and grip:
            self.gripped = on
        elif on:
            self.touch(on, 0.1).close()
        return self.wait(0.1)

    def open(self) -> Self:
        """Let go. What was gripped falls where it is."""
        dropped, self.gripped = self.gripped, None
        for width in np.linspace(self.width, 0.08, 11)[1:]:
            self.width = float(width)
            if dropped:
                self.at[dropped][2] = max(0.02, self.at[dropped][2] - 0.05)
            self._row()
        return self

    def slip(self) -> Self:
        """Lose what was gripped: the fingers close, it falls."""
        if self.gripped is None:
            raise ValueError("nothing is gripped")
        self.at[self.gripped][2] = 0.02
        self.gripped = None
        return self.close()

    def carry(self, name: str, to: str, dx: float = 0.0) -> Self:
        """Pick a cube up, take it somewhere and put it down."""
        self.to(name).close(name).lift()
        return self.to(to, dx, z=0.15).to(to, dx).open().lift()

    def lift(self) -> Self:
        """Move straight up."""
        return self.go(float(self.tool[0]), float(self.tool[1]), 0.15)

    def touch(self, name: str, seconds: float, push: float = 0.0) -> Self:
        """Touch a cube, and push it along x."""
        self.touching = {name}
        steps = round(seconds * HZ)
        for _ in range(steps):
            self.at[name][0] += push / steps
            self._row()
        self.touching = set()
        self._row()
        return self

    def press(self, seconds: float) -> Self:
        """Press against something that is not to be touched."""
        self.pressing = True
        self.wait(seconds)
        self.pressing = False
        return self

    def shake(self, seconds: float) -> Self:
        """Let a joint swing to and fro, 5 times a second."""
        for row in range(round(seconds * HZ)):
            self.speed = 0.5 if row % 10 < 5 else -0.5
            self._row()
        self.speed = 0.0
        return self

    def wait(self, seconds: float) -> Self:
        """Stay."""
        for _ in range(round(seconds * HZ)):
            self._row()
        return self

    def truth(self) -> Rows:
        return np.array(self._truth, TRUTH)

    def arm(self) -> Rows:
        return np.array(self._arm, ARM)

    def seen(self, memory: int = 64) -> Observation:
        """What an agent is shown at the end."""
        truth, arm = self.truth(), self.arm()
        return Observation(int(truth["t"][-1]), {"truth": truth[-memory:], "arm": arm[-memory:]})

    def record(self, root: Path, ended_by: str = "timeout", camera: bool = False) -> Sealed:
        """Write the take as a sealed episode."""
        truth, arm = self.truth(), self.arm()
        streams = {"truth": TRUTH, "arm": ARM, "ticks": TICKS} | ({"front": FRONT} if camera else {})
        with EpisodeWriter(root, streams, {"task": "sort", "instruction": TASK}) as writer:
            writer.append("truth", truth)
            writer.append("arm", arm)
            ticks = np.zeros(len(truth), TICKS)
            ticks["t"] = truth["t"]
            writer.append("ticks", ticks)
            if camera:
                frames = np.zeros(len(truth[::10]), FRONT)
                frames["t"], frames["rgb"] = truth["t"][::10], _pictures(truth[::10])
                writer.append("front", frames)
            return writer.seal({"ended_by": ended_by})

    def _row(self) -> None:
        t = 1_000_000_000 + len(self._truth) * 1_000_000_000 // HZ
        held = [name == self.gripped for name in self.at]
        touched = [name == self.gripped or name in self.touching for name in self.at]
        poses = [(*where, 1.0, 0.0, 0.0, 0.0) for where in self.at.values()]
        pads = [(*xy, 0.0) for xy in PADS.values()]
        self._truth.append((t, *poses, *pads, touched, held, self.pressing))
        dq, still, tool = (self.speed, *(0.0,) * 6), (0.0,) * 7, (*self.tool, 0.0, 1.0, 0.0, 0.0)
        self._arm.append((t, still, dq, still, tool, self.width, still, tool, self.width))


def _pictures(truth: Rows) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw the table from above, coarsely: (n, 48, 64, 3)."""
    colours = {"red_cube": (220, 50, 47), "green_cube": (80, 160, 70), "blue_cube": (38, 110, 200)}
    colours |= {"yellow_pad": (235, 200, 60), "purple_pad": (150, 90, 180)}
    frames = np.full((len(truth), 48, 64, 3), (196, 188, 176), np.uint8)
    for name, size in {**dict.fromkeys(PADS, 6), **dict.fromkeys(CUBES, 3)}.items():
        for frame, (x, y) in zip(frames, truth[name][:, :2], strict=True):
            row, column = round(60 - x * 70), round(32 - y * 90)
            frame[max(0, row - size) : row + size, max(0, column - size) : column + size] = colours[name]
    return frames
