"""A picture in a terminal: two pixels to a letter, upper and lower half; only lines that changed are sent.

What takes long is done where it is drawn, beside the event loop: there only lines that are ready are put together.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

HALF = "▀"

PER_COLOUR = 42
"""Bytes that a terminal is sent for each stretch of one colour, at most, beside its letters."""

COARSE, FINE = 51, 8
"""Steps between levels of each colour: over a slow link 6 levels, as in the 216 colours that every terminal has; else
32, so that noise in a picture makes no new colours, of which each takes far longer than drawing it again."""

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


class Line(Strip):
    """One that knows itself as its only part: Textual's remembers that, and is garbage to be collected ever after."""

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        """Cut into parts."""
        places = list(cuts)
        return [self] if places == [self.cell_length] else super().divide(places)


def strips(pixels: Pixels, coarse: bool = False, width: int = 0, beside: Style | None = None) -> list[Strip]:
    """Lines of letters that show pixels, at least so wide, with ``beside`` where they would be narrower.

    ``coarse`` colours make long stretches of one colour, and few bytes.
    """
    step = COARSE if coarse else FINE
    pixels = np.minimum((pixels.astype(np.uint16) + step // 2) // step * step, 255).astype(np.uint8)
    room = width - pixels.shape[1]
    rest = [Segment(" " * room, beside)] if room > 0 else []
    return [_line(upper, lower, rest) for upper, lower in zip(pixels[0::2], pixels[1::2], strict=True)]


def _line(upper: Pixels, lower: Pixels, rest: list[Segment]) -> Strip:
    both = np.concatenate([upper, lower], axis=1)
    begins = np.flatnonzero(np.any(both[1:] != both[:-1], axis=1)) + 1
    edges = [0, *begins.tolist(), len(both)]
    colours = both[edges[:-1]].tolist()
    found = [Segment(HALF * (b - a), _style(*of)) for a, b, of in zip(edges, edges[1:], colours, strict=False)]
    return Line([*found, *rest], len(both) + sum(len(one.text) for one in rest))


@lru_cache(1 << 16)
def _style(r: int, g: int, b: int, under_r: int, under_g: int, under_b: int) -> Style:
    return Style(color=Color.from_rgb(r, g, b), bgcolor=Color.from_rgb(under_r, under_g, under_b))


def cost(before: Sequence[Strip], after: Sequence[Strip]) -> int:
    """About how many bytes a terminal is sent that shows one and is to show the other."""
    old = [*before, *(Strip.blank(0) for _ in range(len(after) - len(before)))]
    changed = [new for was, new in zip(old, after, strict=False) if was != new]
    return sum(PER_COLOUR * len([*line]) + len(line.text.encode()) for line in changed)


class Blocks(Widget):
    """Shows lines that somebody has drawn."""

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

    def render_lines(self, crop: Region) -> list[Strip]:
        """Lines as they were drawn: nothing of Textual's styles applies to them but having no colours."""
        if self.app.no_color:
            return super().render_lines(crop)
        found = [self.render_line(y) for y in crop.line_range]
        return found if crop.column_span == (0, self.size.width) else [one.crop(*crop.column_span) for one in found]

    def render_line(self, y: int) -> Strip:
        """One line."""
        width = self.size.width
        if y >= len(self.drawn):
            return Strip.blank(width, self.rich_style)
        if self.drawn[y].cell_length == width:
            return self.drawn[y]
        return self.drawn[y].adjust_cell_length(width, self.rich_style)
