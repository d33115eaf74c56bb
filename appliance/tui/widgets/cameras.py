"""What the cameras see at the moment, as far as a terminal can show it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from rich.style import Style
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Static
from textual_image import renderable

from appliance.tui.picture import Picture
from appliance.tui.widgets.blocks import Blocks, Pixels, cost, fitted, strips
from appliance.tui.widgets.pace import HERE, LINK, OFTEN, Pace, remote

if TYPE_CHECKING:
    from appliance.tui.table import Table


type Drawn = list[Strip] | Pixels
"""A picture as letters, or as it is where the terminal draws it."""

OLD = 1.0
"""Seconds after which a picture is no live one any more."""

GRAPHIC = 60
"""Columns and half rows of letters, four pixels each, that a terminal which draws pictures is given."""


LARGEST = (72, 27)
"""Columns and rows of letters beyond which a picture is not made larger: it would come more seldom."""


def graphic() -> bool:
    """Whether the terminal draws pictures, and they are made for it fast enough to be live: sixels are not."""
    return renderable.Image is renderable.TGPImage


class Camera(Vertical):
    """One camera's picture, and its name."""

    DEFAULT_CSS = "Camera { width: 1fr; height: 1fr; } Camera Static { height: 1; }"

    def __init__(self, of: str, graphic: bool) -> None:
        super().__init__()
        self.of = self._said = of
        self._label = Static(of)
        self.picture = Picture() if graphic else Blocks()

    def compose(self) -> ComposeResult:
        yield self._label
        yield self.picture

    def age(self, seconds: float) -> None:
        """Say how old the picture is, if it is."""
        said = self.of if seconds < OLD else f"{self.of}   OLD: {seconds:.0f} s"
        if said != self._said:
            self._said = said
            self._label.update(said)

    @property
    def drawn(self) -> list[Strip]:
        """What is shown, of letters; nothing where the terminal has the picture itself."""
        return self.picture.drawn if isinstance(self.picture, Blocks) else []

    def show(self, drawn: "Drawn") -> None:
        """Show that from now on."""
        if isinstance(self.picture, Blocks):
            self.picture.show([] if isinstance(drawn, np.ndarray) else drawn)
        elif isinstance(drawn, np.ndarray):
            self.picture.show(drawn)


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn, by camera."""

    frames: Mapping[str, Pixels]
    sizes: Mapping[str, Size]
    before: Mapping[str, list[Strip]]
    """What is shown until then."""
    beside: Style
    """Of what a picture leaves empty."""


class Cameras(Horizontal):
    """Pictures of all cameras side by side, a few a second, as whoever reads the cameras has left them.

    They are drawn in a thread, and only while they are shown. Over a link they are coarse, and come as it carries them.
    """

    DEFAULT_CSS = "Cameras { height: 1fr; min-height: 4; }"

    @dataclass
    class Ready(Message):
        """Pictures are drawn, by camera."""

        pictures: Mapping[str, Drawn]

    def __init__(self, table: "Table") -> None:
        super().__init__()
        self._table = table
        self.slow = remote(os.environ)
        self._graphic = graphic() and not self.slow
        self._pace = Pace(LINK if self.slow else HERE, time.monotonic)
        self.ghost: Mapping[str, Pixels] = {}
        """By camera, what it is to see before a take begins; laid half over what it sees."""
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static("no picture yet", id="nothing")

    def on_mount(self) -> None:
        self.set_interval(1 / OFTEN, self.look)

    def look(self) -> None:
        """Have pictures drawn, if there are any, and newer ones than are shown."""
        if not self.is_on_screen or not self.screen.is_active:
            return
        sitting = self._table.sitting
        seen = [] if sitting is None else [one for one in sitting.session.glance.looks() if one.picture is not None]
        frames = {one.name: one.picture for one in seen if one.picture is not None} or dict(self.ghost)
        mine = {camera.of: camera for camera in self.query(Camera)}
        if frames.keys() != mine.keys():
            self._lay_out([*frames])
            return
        now = 0 if sitting is None else sitting.session.loop.clock.now()
        for one in seen:
            mine[one.name].age((now - one.t) / 1e9)
        sizes = {name: camera.picture.size for name, camera in mine.items()}
        shown = (*(one.t for one in seen), *sizes.values(), id(self.ghost))
        if frames and shown != self._shown and self._pace.ready:
            self._shown = shown
            before = {name: camera.drawn for name, camera in mine.items()}
            self._drawing = Drawing(frames, sizes, before, self.rich_style)
            self._draw()

    def _lay_out(self, names: list[str]) -> None:
        self.query("Camera, #nothing").remove()
        self.mount_all([Camera(name, self._graphic) for name in names] or [Static("no picture yet", id="nothing")])
        self._shown = ()

    @work(thread=True, exclusive=True, group="draw")
    def _draw(self) -> None:
        # Not handed over: Textual writes out what a worker is given, and keeps it until garbage is collected.
        drawing = self._drawing
        frames, sizes, before = drawing.frames, drawing.sizes, drawing.before
        ghosts = {name: None if ghost is frames.get(name) else ghost for name, ghost in self.ghost.items()}
        if self._graphic:
            large = {name: fitted(frame, 4 * GRAPHIC, 2 * GRAPHIC, ghosts.get(name)) for name, frame in frames.items()}
            self.post_message(self.Ready(large))
            return
        drawn = {}
        for name, (width, height) in sizes.items():
            if width and height:
                pixels = fitted(frames[name], min(width, LARGEST[0]), min(height, LARGEST[1]), ghosts.get(name))
                drawn[name] = strips(pixels, self.slow, width, drawing.beside)
        for line in chain.from_iterable(drawn.values()):
            line.render(self.app.console)  # which it remembers: on the event loop it would take long
        self._pace.sent(sum(cost(before[name], drawn[name]) for name in drawn))
        self.post_message(self.Ready(drawn))

    @on(Ready)
    def _show(self, message: Ready) -> None:
        message.stop()
        for camera in self.query(Camera):
            if camera.of in message.pictures:
                camera.show(message.pictures[camera.of])
