"""What the emulated robot's surroundings let one see: the truth about its scene, and what cameras would see of it.

A real cell has no truth, and its cameras have wires of their own. The rows come over the admin channel, stamped on
the host's clock, which both processes share; pictures are drawn here, from the scene as it was at their moment.
"""

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from drivers.device import DeviceLost, Rows, sensed
from drivers.emulators.fci.admin import Unwilling, watch
from drivers.ring import Ring
from drivers.twin.picture import Painter
from drivers.twin.scene import build
from drivers.twin.world import TRUTH

KEPT = 2.0
"""Seconds of rows that are kept for readers."""


class _Stream:
    """Rows of one stream of the emulated robot, kept as they come."""

    def __init__(self, name: str, host: str, stream: str, hz: float) -> None:
        self._name, self._host, self._stream, self._hz = name, host, stream, hz
        self._ring: Ring | None = None
        self._trouble = ""
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name} watch", daemon=True)
        self._thread.start()

    def read(self, since: int) -> Rows | None:
        """Return the rows after ``since``; None while there has been none at all."""
        if self._trouble:
            raise DeviceLost(f"{self._name}: {self._trouble}")
        ring = self._ring
        return None if ring is None else ring.since(since)

    def close(self) -> None:
        self._leaving.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for rows in watch(self._host, self._stream, self._hz):
                if self._ring is None:
                    self._ring = Ring(rows.dtype, max(2, round(KEPT * self._hz)))
                rows = rows.copy()
                rows["received"] = np.maximum(rows["t"], rows["received"])
                self._ring.push(rows)
                if self._leaving.is_set():
                    return
        except Unwilling as error:
            self._trouble = str(error)


class _Watched:
    """A device that is one stream. Entering it begins to watch."""

    name: str
    host: str

    def _begin(self, stream: str, hz: float) -> None:
        self._stream: _Stream | None = _Stream(self.name, self.host, stream, hz)

    def _rows(self, since: int) -> Rows | None:
        stream = getattr(self, "_stream", None)
        if stream is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        rows: Rows | None = stream.read(since)
        return rows

    def _end(self) -> None:
        stream, self._stream = getattr(self, "_stream", None), None
        if stream is not None:
            stream.close()


@dataclass
class Truth(_Watched):
    """Where every object of the emulated robot's table is, and what touches what."""

    name: str
    host: str
    hz: float = 50.0

    @property
    def dtype(self) -> np.dtype[np.void]:
        return TRUTH

    def read(self, since: int) -> Rows:
        """Return the rows after ``since``.

        Raises:
            Overrun: rows after ``since`` have already been overwritten.
            DeviceLost: the emulated robot is gone.
        """
        rows = self._rows(since)
        return np.zeros(0, TRUTH) if rows is None else rows

    def __enter__(self) -> Self:
        self._begin("truth", self.hz)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


@dataclass
class Camera(_Watched):
    """A camera at the emulated robot's table, ``front`` or ``wrist``. A frame is drawn when somebody reads it."""

    name: str
    host: str
    image: tuple[int, int] = (96, 96)
    """Height and width of the pictures, in pixels."""

    hz: float = 10.0

    @property
    def dtype(self) -> np.dtype[np.void]:
        return sensed(("rgb", "u1", (*self.image, 3)))

    def read(self, since: int) -> Rows:
        """Return the frames after ``since``.

        Raises:
            Overrun: frames after ``since`` have already been overwritten.
            DeviceLost: the emulated robot is gone, or this machine cannot draw.
        """
        exposed = self._rows(since)
        rows = np.zeros(0 if exposed is None else len(exposed), self.dtype)
        if exposed is not None and len(exposed):
            for field in ("t", "received", "seq"):
                rows[field] = exposed[field]
            rows["rgb"] = self._painter.draw(self.name, exposed["qpos"])
        return rows

    def __enter__(self) -> Self:
        self._model = build(self.image)
        self._painter = Painter(self._model, self.image)
        # Opening a drawing context takes a third of a second; real time does not wait for it.
        self._painter.draw(self.name, np.empty((0, self._model.nq)))
        self._begin("scene", self.hz)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if getattr(self, "_stream", None) is not None:
            self._end()
            self._painter.close()
