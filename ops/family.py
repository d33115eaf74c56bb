"""A tree of where something comes from, as a picture: boxes from left to right, one line of text after the other."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ops.lineage import Branch

COLOURS = {
    "policy": "#d0ebff",
    "snapshot": "#d3f9d8",
    "source": "#fff3bf",
    "trials": "#e5dbff",
    "promotion": "#ffe3e3",
    "episode": "#c5f6fa",
}
"""Of a box, by what it is of."""

WIDE = 44
"""Letters in a line."""

STEP, BOX = 4.0, 3.6
"""Inches from one column to the next, and how wide a box is."""

LINE, GAP = 0.17, 0.16
"""Inches that a line of text takes, and between two boxes."""


@dataclass(frozen=True)
class _Box:
    branch: Branch
    lines: tuple[str, ...]
    column: int
    top: float
    """Inches from the top of the picture."""
    parent: "_Box | None"

    @property
    def middle(self) -> float:
        return self.top + _height(self.lines) / 2


def draw(tree: Branch, file: Path) -> None:
    """Draw a tree into a file; its suffix says how, e.g. ``.svg`` or ``.png``.

    Raises:
        ValueError: there is no such kind of picture.
    """
    boxes, bottom = _placed(tree, 0, GAP, None)
    width = STEP * (max(box.column for box in boxes) + 1)
    figure = Figure(figsize=(width, bottom), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(bottom, 0)
    for box in boxes:
        left, high = box.column * STEP + 0.1, _height(box.lines)
        if box.parent is not None:
            begin = (box.column - 1) * STEP + 0.1 + BOX
            half = (begin + left) / 2
            corners = [begin, half, half, left], [box.parent.middle, box.parent.middle, box.middle, box.middle]
            axes.plot(*corners, color="#868e96", linewidth=1)
        colour = COLOURS[box.branch.kind]
        style = "round,pad=0,rounding_size=0.06"
        axes.add_patch(FancyBboxPatch((left, box.top), BOX, high, style, facecolor=colour, edgecolor="#868e96"))
        axes.text(left + 0.1, box.middle, "\n".join(box.lines), fontsize=8, va="center", color="#24292f")
    figure.savefig(file, facecolor="white")


def _placed(branch: Branch, column: int, top: float, parent: _Box | None) -> tuple[list[_Box], float]:
    """The boxes of a branch and of all behind it, and how far down they reach."""
    lines = tuple(textwrap.wrap(branch.says, WIDE))
    box = _Box(branch, lines, column, top, parent)
    found, below = [box], top
    for one in branch.branches:
        some, below = _placed(one, column + 1, below, box)
        found += some
    return found, max(below, top + _height(lines) + GAP)


def _height(lines: tuple[str, ...]) -> float:
    return LINE * len(lines) + 0.12
