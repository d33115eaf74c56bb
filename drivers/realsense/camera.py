"""A RealSense as a device: its settings, and what a caller may do with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from drivers.device import DeviceLost, Rows
from drivers.realsense import sdk
from drivers.realsense.link import Link
from drivers.realsense.rows import layout


@dataclass
class RealSense:
    """A RealSense camera: colour and, aligned to it, depth, known by its serial number.

    A row is one new picture and one new depth; neither is ever shown twice. ``t`` is the middle of the exposure as
    the camera stamps it, on the host's clock. A cable that is out for less than ``reconnect`` is a gap in the rows;
    for longer, ``read`` raises DeviceLost until it is back. Run it in a process of its own (a station does): the SDK
    holds Python's lock while it aligns, and may while it opens.

    Set it up once: install the udev rules of librealsense, plug the camera into a USB 3 port, and find its serial on
    its sticker or with ``rs-enumerate-devices -s``.

    What it cannot do: it does not synchronise two cameras' shutters. Where the kernel gives no frame metadata,
    ``t`` is late by the quickest frame's way to this machine.
    """

    name: str
    serial: str
    """What is on the camera's sticker, e.g. "943222071836"."""

    rgb: tuple[int, int] = (480, 640)
    """Height and width of the pictures, in pixels."""

    depth: bool | tuple[int, int] = True
    """Whether to take depth; or height and width of the depth sensor's own mode, where it is not that of ``rgb``."""

    hz: int = 30

    align: bool = True
    """Whether depth is brought to the view and size of the picture."""

    exposure: float | None = None
    """Of a picture, in seconds; None leaves it to the camera, and so do the others."""

    gain: float | None = None
    """Of a picture, in the camera's own units."""

    white_balance: float | None = None
    """In kelvin."""

    depth_options: Mapping[str, float] = field(default_factory=dict)
    """Options of the depth sensor by the SDK's names and in its units, e.g. ``{"laser_power": 150}``; set in order."""

    silence: float = 0.5
    """Seconds without a new frame of each stream after which the camera is opened again."""

    reconnect: float = 1.0
    """Seconds without a row after which the camera counts as lost."""

    patience: float = 5.0
    """Seconds to wait for the first row while connecting."""

    record: str = ""
    """A file, ``NAME.db3``, that keeps the camera's own frames besides; ``Recording`` plays it."""

    context: Callable[[], Any] = sdk.context
    """Gives the SDK's context, which knows the cameras; an emulated camera brings its own."""

    __pydantic_config__: ClassVar[Any] = {"arbitrary_types_allowed": True}

    def __post_init__(self) -> None:
        if not self.serial:
            raise ValueError("serial must name the camera, e.g. '943222071836'; `rs-enumerate-devices -s` lists them")
        if not 0 < self.hz <= 300:
            raise ValueError(f"hz must be more than 0 and at most 300, not {self.hz}")
        if not 0 < self.silence <= self.reconnect:
            raise ValueError(f"silence must be more than 0 and at most reconnect, {self.reconnect} s: {self.silence}")
        if self.depth_options and not self.depth:
            raise ValueError("depth_options need depth; without it nothing uses the depth sensor")
        if self.record and not self.record.endswith(".db3"):
            raise ValueError(f"record must be a file NAME.db3, which is what the SDK writes, not {self.record!r}")
        self._link: Link | None = None

    @property
    def dtype(self) -> np.dtype[np.void]:
        return layout(self.rgb, self.depth, self.align)

    @property
    def described(self) -> dict[str, Any]:
        """What an episode has to know of the camera: lenses, where they sit, options, firmware.

        Raises:
            DeviceLost: it has not been entered.
        """
        return self._entered().described

    @property
    def clock_offset(self) -> int:
        """From the camera's clock to the host's, in nanoseconds, as estimated from the latest pictures."""
        return self._entered().offset

    def read(self, since: int) -> Rows:
        """Return the rows after ``since``.

        Raises:
            Overrun: rows after ``since`` have already been overwritten.
            DeviceLost: no row has come for ``reconnect`` seconds. It may come back by itself, for a later take.
        """
        return self._entered().read(since)

    def __enter__(self) -> Self:
        link = Link(self)
        link.open()
        self._link = link
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _entered(self) -> Link:
        if self._link is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        return self._link
