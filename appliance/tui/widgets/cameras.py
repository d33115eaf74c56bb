"""What the cameras see at the moment, as far as a terminal can show it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Static

from appliance.tui.widgets.blocks import Blocks, Pixels, cost, fitted, strips
from appliance.tui.widgets.pace import LINK, OFTEN, Pace, remote

if TYPE_CHECKING:
    from appliance.tui.table import Table


class Camera(Vertical):
    """One camera's picture, and its name."""

    DEFAULT_CSS = "Camera { width: 1fr; height: 1fr; } Camera Static { height: 1; }"

    def __init__(self, of: str) -> None:
        super().__init__()
        self.of = of

    def compose(self) -> ComposeResult:
        yield Static(self.of)
        yield Blocks()


class Cameras(Horizontal):
    """Pictures of all cameras side by side, a few a second, as whoever reads the cameras has left them.

    They are drawn in a thread, and only while they are shown. Over a link they are coarse, and come as it carries them.
    """

    DEFAULT_CSS = "Cameras { height: 1fr; min-height: 4; }"

    @dataclass
    class Drawn(Message):
        """Pictures are drawn, by camera."""

        pictures: Mapping[str, list[Strip]]

    def __init__(self, table: "Table") -> None:
        super().__init__()
        self._table = table
        self.slow = remote(os.environ)
        self._pace = Pace(LINK if self.slow else None, time.monotonic)
        self.ghost: Mapping[str, Pixels] = {}
        """By camera, what it is to see before a take begins; laid half over what it sees."""
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static("no picture yet", id="nothing")

    def on_mount(self) -> None:
        self.set_interval(1 / OFTEN, self.look)

    def look(self) -> None:
        """Have pictures drawn, if there are any, and newer ones than are shown."""
        if not self.is_on_screen or self.app.screen is not self.screen:
            return
        sitting = self._table.sitting
        seen = [] if sitting is None else [one for one in sitting.session.glance.looks() if one.picture is not None]
        frames = {one.name: one.picture for one in seen if one.picture is not None} or dict(self.ghost)
        mine = {camera.of: camera for camera in self.query(Camera)}
        if frames.keys() != mine.keys() and frames:
            self._lay_out([*frames])
            return
        sizes = {name: camera.query_one(Blocks).size for name, camera in mine.items()}
        shown = (*(one.t for one in seen), *sizes.values(), id(self.ghost))
        if frames and shown != self._shown:
            self._shown = shown
            before = {name: camera.query_one(Blocks).drawn for name, camera in mine.items()}
            self._draw(frames, {name: (size.width, size.height) for name, size in sizes.items()}, before)

    def _lay_out(self, names: list[str]) -> None:
        self.query("Camera, #nothing").remove()
        self.mount_all(Camera(name) for name in names)

    @work(thread=True, exclusive=True, group="draw")
    def _draw(
        self,
        frames: Mapping[str, Pixels],
        sizes: Mapping[str, tuple[int, int]],
        before: Mapping[str, list[Strip]],
    ) -> None:
        drawn = {}
        for name, frame in frames.items():
            columns, rows = sizes[name]
            if columns and rows:
                ghost = self.ghost.get(name)
                drawn[name] = strips(fitted(frame, columns, rows, None if ghost is frame else ghost), self.slow)
        if self._pace.may(sum(cost(before[name], drawn[name]) for name in drawn)):
            self.post_message(self.Drawn(drawn))

    @on(Drawn)
    def _show(self, message: Drawn) -> None:
        message.stop()
        for camera in self.query(Camera):
            if camera.of in message.pictures:
                camera.query_one(Blocks).show(message.pictures[camera.of])
