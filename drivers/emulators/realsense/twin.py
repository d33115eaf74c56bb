"""What a camera at an emulated Franka's table sees, in colour and depth."""

import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from drivers.device import DeviceError
from drivers.emulators.fci.shown import address
from drivers.shared import Watcher
from drivers.twin.picture import Painter
from drivers.twin.scene import build
from drivers.twin.world import CAMERAS

BEFORE = 300_000_000
"""How far back the newest scene is looked for, in nanoseconds; one is published every ten milliseconds."""


class View:
    """The newest picture of the scene that the emulated robot at ``host`` publishes; see ``EmulatedCamera.picture``.

    When the robot has gone, or stands still, the view stays as it was: a camera does not mind.
    """

    def __init__(self, camera: str, image: tuple[int, int], host: str) -> None:
        if camera not in CAMERAS:
            raise DeviceError(f"the twin's table has the cameras {', '.join(CAMERAS)}, not {camera!r}")
        self._camera, self._image = camera, image
        self._scene = Watcher(f"{camera} scene", address(host, "scene"))
        self._seen: NDArray[np.float64] | None = None
        self.focal = 0.0
        """Focal length in pixels, once it is entered."""

    def __call__(self) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        with suppress(DeviceError):
            rows = self._scene.read(time.monotonic_ns() - BEFORE)
            self._seen = rows["qpos"][-1] if len(rows) else self._seen
        if self._seen is None:
            return np.zeros((*self._image, 3), np.uint8), np.zeros(self._image, np.uint16)
        picture, far = self._painter.look(self._camera, self._seen)
        return picture, np.minimum(np.rint(far * 1e3), 65535).astype(np.uint16)

    def __enter__(self) -> Self:
        model = build(self._image)
        self.focal = float(self._image[0] / 2 / np.tan(np.radians(model.camera(self._camera).fovy[0]) / 2))
        self._painter = Painter(model, self._image)
        self._painter.draw(self._camera, np.empty((0, model.nq)))  # opening the drawing context takes its time
        try:
            self._scene.__enter__()
        except BaseException:
            self._painter.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scene.__exit__(kind, error, trace)
        self._painter.close()
