"""A picture in a terminal: two pixels to a letter, upper and lower half; only lines that changed are sent."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import starmap

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

HALF = "▀"

PER_COLOUR = 45
"""Bytes that a terminal is sent for each stretch of one colour, at most."""

GREYS, STEP = 5, 51
"""The coarse colours of a slow link: 6 levels of each, as in the 216 colours that every terminal has."""

type Pixels = NDArray[np.uint8]


def fitted(frame: Pixels, columns: int, rows: int, ghost: Pixels | None = None) -> Pixels:
    """A frame as large as fits into so many letters, two pixels each; with ``ghost`` half as visible over it."""
    height, width = frame.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    size = max(1, round(width * scale)), max(2, round(height * scale) // 2 * 2)
    small = Image.fromarray(frame).resize(size, Image.Resampling.BOX)
    if ghost is not None:
        small = Image.blend(small, Image.fromarray(ghost).resize(size, Image.Resampling.BOX), 0.5)
    return np.asarray(small)


def strips(pixels: Pixels, coarse: bool = False) -> list[Strip]:
    """Lines of letters that show pixels. ``coarse`` colours make long stretches of one colour, and few bytes."""
    if coarse:
        pixels = ((pixels.astype(np.uint16) + STEP // 2) // STEP * STEP).astype(np.uint8)
    return [*starmap(_line, zip(pixels[0::2], pixels[1::2], strict=True))]


def _line(upper: Pixels, lower: Pixels) -> Strip:
    both = np.concatenate([upper, lower], axis=1)
    begins = np.flatnonzero(np.any(both[1:] != both[:-1], axis=1)) + 1
    edges = [0, *begins.tolist(), len(both)]
    colours = both[edges[:-1]].tolist()
    found = [Segment(HALF * (b - a), _style(*of)) for a, b, of in zip(edges, edges[1:], colours, strict=False)]
    return Strip(found, len(both))


@lru_cache(1 << 14)
def _style(r: int, g: int, b: int, under_r: int, under_g: int, under_b: int) -> Style:
    return Style.parse(f"#{r:02x}{g:02x}{b:02x} on #{under_r:02x}{under_g:02x}{under_b:02x}")


def cost(before: Sequence[Strip], after: Sequence[Strip]) -> int:
    """About how many bytes a terminal is sent that shows one and is to show the other."""
    old = [*before, *(Strip.blank(0) for _ in range(len(after) - len(before)))]
    return sum(PER_COLOUR * len([*new]) for was, new in zip(old, after, strict=False) if was != new)


class Blocks(Widget):
    """Shows lines that somebody has drawn, in its middle."""

    DEFAULT_CSS = "Blocks { width: 1fr; height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[Strip] = []

    def show(self, drawn: list[Strip]) -> None:
        """Show these from now on."""
        before, self.drawn = self.drawn, drawn
        if len(before) != len(drawn):
            self.refresh()
            return
        for line, (was, new) in enumerate(zip(before, drawn, strict=True)):
            if was != new:
                self.refresh(Region(0, line, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """One line."""
        width = self.size.width
        if y >= len(self.drawn):
            return Strip.blank(width, self.rich_style)
        return self.drawn[y].adjust_cell_length(width, self.rich_style)
