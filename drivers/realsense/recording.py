"""A film of a RealSense, played as if the camera were there."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from drivers.device import DeviceError, DeviceLost, Rows
from drivers.realsense import sdk
from drivers.realsense.camera import RealSense
from drivers.realsense.rows import layout


@dataclass
class Recording:
    """What ``RealSense.record`` kept, or the vendor's viewer: every frame bit for bit, at the pace it was filmed at.

    Entering it begins at the beginning; when it ends, that is DeviceLost, unless ``again``. Stamps are those of now:
    ``t`` is when a camera would have seen this, had it been here. Like a camera's, its frames do not wait for a machine
    that is too busy; what is lost leaves a gap in ``seq``. Run it in a program of its own, as a station does: once in
    several hundred times the SDK (2.59) damages its memory when a film is left before its end.
    """

    name: str
    file: str
    """``NAME.db3``; older ``.bag`` files can be converted with the vendor's tools."""

    rgb: tuple[int, int] = (480, 640)
    """Height and width of its pictures, in pixels."""

    depth: bool | tuple[int, int] = True
    """Whether to show its depth; or height and width of that, where it is not that of ``rgb``."""

    hz: int = 30
    align: bool = True
    """Whether depth is brought to the view and size of the picture."""

    again: bool = False
    """Whether to begin anew at its end, half a second later."""

    def __post_init__(self) -> None:
        self._camera: RealSense | None = None

    @property
    def dtype(self) -> np.dtype[np.void]:
        return layout(self.rgb, self.depth, self.align)

    @property
    def described(self) -> dict[str, Any]:
        """What an episode has to know of the camera that filmed it, and the file.

        Raises:
            DeviceLost: it has not been entered.
        """
        return {**self._entered().described, "file": Path(self.file).name}

    def read(self, since: int) -> Rows:
        """Return the rows after ``since``.

        Raises:
            Overrun: rows after ``since`` have already been overwritten.
            DeviceLost: the film is over.
        """
        try:
            return self._entered().read(since)
        except DeviceLost as error:
            if self._camera is None:
                raise
            raise DeviceLost(f"{self.name}: the film {self.file} is over") from error

    def __enter__(self) -> Self:
        film = _Film(self)
        camera = RealSense(
            *(self.name, film.serial, self.rgb, self.depth, self.hz, self.align),
            context=lambda: film,
        )
        self._camera = camera.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.__exit__(kind, error, trace)

    def _entered(self) -> RealSense:
        if self._camera is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        return self._camera


class _Film:
    """The context of a film: its camera is there once, or whenever it is looked for.

    Raises:
        DeviceError: the file is no film.
    """

    def __init__(self, recording: Recording) -> None:
        self._again, self._shown = recording.again, False
        self._context = sdk.context()
        if not Path(recording.file).is_file():
            raise DeviceError(f"{recording.name}: there is no file {recording.file}")
        try:
            self._film = self._context.load_device(recording.file)  # the SDK forgets it when nobody keeps it
        except RuntimeError as error:
            raise DeviceError(f"{recording.name}: {recording.file} is no film of a RealSense: {error}") from error
        self.serial = next(iter(sdk.connected(self._context)))

    def query_devices(self) -> list[Any]:
        if self._shown and not self._again:
            return []
        self._shown = True
        return list(self._context.query_devices())
