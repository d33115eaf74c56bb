"""A RealSense for a station without one: the real driver and the vendor's library, before an emulated camera."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from drivers.device import Rows
from drivers.emulators.realsense import admin
from drivers.emulators.realsense.camera import EmulatedCamera, Picture
from drivers.realsense import RealSense

if TYPE_CHECKING:
    from drivers.emulators.realsense.twin import View


@dataclass
class Emulated:
    """A ``RealSense`` whose camera is emulated; its settings mean what they mean there.

    Entering it plugs the camera in. Another program has things go wrong with ``drivers.emulators.realsense.admin``.
    """

    name: str
    serial: str = "000000000001"
    rgb: tuple[int, int] = (480, 640)
    depth: bool = True
    hz: int = 30
    align: bool = True
    exposure: float | None = None
    gain: float | None = None
    white_balance: float | None = None
    depth_options: Mapping[str, float] = field(default_factory=dict)
    silence: float = 0.5
    reconnect: float = 1.0
    patience: float = 5.0
    record: str = ""
    stamps: Literal["hardware", "system", "global"] = "global"
    """Whose clock stamps its frames: its own, this machine's at arrival, or its own translated to this machine's."""

    picture: Picture | None = None
    """What it sees; else, without a ``table``, a pattern that moves."""

    table: str = ""
    """Host of an emulated Franka: the camera is then the one of its ``name``, ``front`` or ``wrist``, at its table."""

    __pydantic_config__: ClassVar[Any] = {"arbitrary_types_allowed": True}

    def __post_init__(self) -> None:
        self._entered: ExitStack | None = None
        self._device = RealSense(
            *(self.name, self.serial, self.rgb, self.depth, self.hz, self.align),
            *(self.exposure, self.gain, self.white_balance, self.depth_options),
            *(self.silence, self.reconnect, self.patience, self.record),
            context=lambda: self.camera.usb.context(),
        )

    @cached_property
    def camera(self) -> EmulatedCamera:
        """The camera, for a rehearsal to have things go wrong with."""
        return EmulatedCamera(self.serial, self._view or self.picture, self.rgb, self.hz, domain=self.stamps)

    @cached_property
    def _view(self) -> "View | None":
        if not self.table:
            return None
        from drivers.emulators.realsense.twin import View

        return View(self.name, self.rgb, self.table)

    @property
    def dtype(self) -> np.dtype[np.void]:
        return self._device.dtype

    @property
    def described(self) -> dict[str, Any]:
        """What an episode has to know of the camera.

        Raises:
            DeviceLost: it has not been entered.
        """
        return self._device.described

    @property
    def clock_offset(self) -> int:
        """From the camera's clock to the host's, in nanoseconds."""
        return self._device.clock_offset

    def read(self, since: int) -> Rows:
        """Return the rows after ``since``.

        Raises:
            Overrun: rows after ``since`` have already been overwritten.
            DeviceLost: no row has come for ``reconnect`` seconds.
        """
        return self._device.read(since)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._view is not None:
                stack.enter_context(self._view)
                self.camera.focal = self._view.focal
            stack.enter_context(self.camera)
            stack.enter_context(admin.listening(self.camera))
            stack.enter_context(self._device)
            self._entered = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered is not None:
            self._entered.close()
            self._entered = None
