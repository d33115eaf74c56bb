"""Lines over time, drawn with plotext in a thread, so that a large plot holds up nobody's keys."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from textual import on, work
from textual.message import Message
from textual.widgets import Static
from textual_plotext.plot import Plot

COLOURS = ("cyan", "orange", "green", "magenta", "red", "blue")
MARKERS = ("braille", "dot", "x", "+", "*", "o")
"""Lines differ in both, so that one colour is enough."""

HUGE = 1e100
"""Numbers beyond it are not drawn."""

LEAST = (16, 4)
"""Columns and rows below which there is no plot, only the last number."""


type Numbers = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Curve:
    """One line. Textual writes out what a worker is given: all the numbers of a line would take it long."""

    name: str
    x: Numbers
    y: Numbers


class Graph(Static):
    """A plot as large as the layout makes it."""

    class Drawn(Message):
        """The plot is ready."""

        def __init__(self, text: Text) -> None:
            super().__init__()
            self.text = text

    _asked: tuple[tuple[Curve, ...], str] = ((), "")

    def show(self, curves: Sequence[Curve], under: str = "") -> None:
        """Draw these lines; ``under`` says what lies along x."""
        self._asked = tuple(curves), under
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        curves, under = self._asked
        if self.is_mounted and self.size.area:
            self._in_thread(curves, under, self.content_size.width, self.content_size.height)

    @work(thread=True, exclusive=True)
    def _in_thread(self, curves: Sequence[Curve], under: str, width: int, height: int) -> None:
        self.post_message(self.Drawn(drawn(curves, under, width, height)))

    @on(Drawn)
    def put(self, message: Drawn) -> None:
        message.stop()
        self.update(message.text)


def drawn(curves: Sequence[Curve], under: str, width: int, height: int) -> Text:
    """Return the plot of these sizes as text."""
    full = [known for curve in curves if len((known := _finite(curve)).x)]
    if not full:
        return Text("nothing to draw yet", style="dim")
    if width < LEAST[0] or height < LEAST[1]:
        return Text(", ".join(f"{curve.name} {curve.y[-1]:.4g}" for curve in full))
    plot = Plot()
    plot.theme("clear")
    plot.plotsize(width, height)
    for curve, colour, marker in zip(full, COLOURS * len(full), MARKERS * len(full), strict=False):
        x, y = thinned(curve, 4 * width)
        plot.plot(x, y, label=curve.name, marker=marker, color=colour)
    if under:
        plot.xlabel(under)
    return Text.from_ansi(plot.build())


def _finite(curve: Curve) -> Curve:
    """A line without what cannot be drawn: the loss of a training that broke is no number, or beyond any."""
    x, y = np.asarray(curve.x, float), np.asarray(curve.y, float)
    there = np.isfinite(x) & (np.abs(y) < HUGE)
    return Curve(curve.name, x[there], y[there])


def thinned(curve: Curve, most: int) -> tuple[list[float], list[float]]:
    """Return so many points of a line as can be seen, the last among them."""
    step = max(1, -(-len(curve.x) // most))
    last = len(curve.x) - 1
    kept = [*range(last % step, last + 1, step)]
    return [float(curve.x[k]) for k in kept], [float(curve.y[k]) for k in kept]
