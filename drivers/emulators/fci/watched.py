"""Cameras and the truth of an emulated robot's table, from another process.

Pictures are drawn where they are read, from the scene as it was at their moment.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from drivers.device import Rows, sensed, telling_last
from drivers.emulators.fci.shown import SCENES, address
from drivers.shared import Watcher
from drivers.twin.picture import Painter
from drivers.twin.scene import build
from drivers.twin.world import TRUTH


def truth(host: str) -> Watcher:
    """Where every object of the emulated robot's table is, and what touches what, as a device."""
    return Watcher("truth", address(host, "truth"), TRUTH)


@dataclass
class Camera:
    """A camera at the emulated robot's table, ``front`` or ``wrist``. A frame is drawn when somebody reads it."""

    name: str
    host: str
    image: tuple[int, int] = (96, 96)
    """Height and width of the pictures, in pixels."""

    hz: float = 10.0
    """Frames per second: 100, or 100 divided by a whole number, whichever is nearest."""

    def __post_init__(self) -> None:
        if not 0 < self.hz <= 1000 / SCENES:
            raise ValueError(f"hz must be more than 0 and at most {1000 / SCENES:.0f}, not {self.hz}")
        self._every = round(1000 / SCENES / self.hz)
        self._scenes = Watcher(self.name, address(self.host, "scene"))

    @property
    def dtype(self) -> np.dtype[np.void]:
        return sensed(("rgb", "u1", (*self.image, 3)))

    def read(self, since: int) -> Rows:
        """Return the frames after ``since``.

        Raises:
            Overrun: frames after ``since`` have already been overwritten.
            DeviceLost: the emulated robot is gone, or this machine cannot draw.
        """
        with telling_last(lambda t: self._drawn(self._scenes.kept(t)), since):
            scenes = self._scenes.read(since)
        return self._drawn(scenes)

    def _drawn(self, scenes: Rows) -> Rows:
        scenes = scenes[scenes["seq"] % self._every == 0]
        rows = np.zeros(len(scenes), self.dtype)
        if len(scenes):
            rows["t"], rows["received"], rows["seq"] = scenes["t"], scenes["received"], scenes["seq"] // self._every
            rows["rgb"] = self._painter.draw(self.name, scenes["qpos"])
        return rows

    def __enter__(self) -> Self:
        model = build(self.image)
        self._painter = Painter(model, self.image)
        # Opening a drawing context takes a third of a second; real time does not wait for it.
        self._painter.draw(self.name, np.empty((0, model.nq)))
        try:
            self._scenes.__enter__()
        except BaseException:
            self._painter.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scenes.__exit__(kind, error, trace)
        self._painter.close()
