"""A camera's picture in the terminal: as pixels where it can, else as coloured half blocks, else as shades.

What the terminal can do is asked when this module is imported, which has to be before the app runs: then the app hears
everything that the terminal says.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from textual.app import ComposeResult
from textual.containers import Container
from textual_image import renderable
from textual_image.widget import AutoImage, HalfcellImage, SixelImage, UnicodeImage
from textual_image.widget import Image as TerminalImage

type Pixels = NDArray[np.uint8]

type Drawn = AutoImage | SixelImage | HalfcellImage | UnicodeImage

LARGEST = 320
"""Columns of pixels that a picture needs at most: a terminal shows no more of it."""


class Picture(Container):
    """A place for a picture, as large as the layout makes it; it takes none while there is no picture."""

    DEFAULT_CSS = """
    Picture { display: none; }
    Picture.there { display: block; }
    Picture > Image { width: auto; height: 100%; }
    """

    def compose(self) -> ComposeResult:
        self._drawn = kind(self.app.no_color)()
        yield self._drawn

    def show(self, pixels: Pixels | None) -> None:
        """Show these (height, width, 3) bytes, or nothing."""
        self.set_class(pixels is not None, "there")
        self._drawn.image = None if pixels is None else Pillow.fromarray(pixels)


def kind(monochrome: bool) -> type[Drawn]:
    """What draws pictures here."""
    if monochrome:
        return UnicodeImage
    return HalfcellImage if renderable.Image is renderable.UnicodeImage else TerminalImage


def smaller(pixels: Pixels, widest: int = LARGEST) -> Pixels:
    """A picture that is no wider than a terminal can show, made so before it is handed over."""
    step = -(-pixels.shape[1] // widest)
    return pixels if step < 2 else np.ascontiguousarray(pixels[::step, ::step])
