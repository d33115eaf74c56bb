"""The connection to one camera: the thread that takes its frames, and opens it again when they stop."""

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.device import DeviceError, DeviceLost, Rows, telling_last
from drivers.realsense import sdk
from drivers.realsense.frames import Depths, picture, shot
from drivers.realsense.rows import Moments, Pairs, Shot, Track
from drivers.ring import Ring

if TYPE_CHECKING:
    from drivers.realsense.camera import RealSense

COLOUR, DEPTH = 0, 1

LOOK = 20
"""Milliseconds of waiting for a frame before looking whether to leave."""

AGAIN = 0.05
"""Seconds between two tries to open a camera that is gone."""

KEPT = 1.0
"""Seconds of rows that are kept for readers."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """A frame that is here, and its place."""

    frame: Any
    shot: Shot
    seq: int
    t: int


class Link:
    """A camera that is connected, or was and is looked for."""

    def __init__(self, settings: "RealSense") -> None:
        self.settings = settings
        self.described: dict[str, Any] = {}
        self._who = f"{settings.name} (serial {settings.serial})"
        self._ring = Ring(settings.dtype, max(4, round(KEPT * settings.hz)))
        self._moments = Moments()
        self._tracks = [Track(settings.hz, self._moments) for _ in range(2 if settings.depth else 1)]
        self._heard = [0] * len(self._tracks)
        self._pairs: Pairs[Taken] = Pairs(settings.hz)
        self._came = 0
        """When the last row came, or when the camera was entered."""
        self._openings = 0
        self._trouble = ""
        self._lost = False
        self._first, self._leaving = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def offset(self) -> int:
        return self._moments.offset

    def open(self) -> None:
        """Connect, and wait for the first row.

        Raises:
            DeviceError: the camera is not there, or does not do what is asked of it. The message says what to do.
        """
        self._rs = sdk.library(self.settings.name)
        self._known = self.settings.context()
        opened = self._open()
        try:
            self.described = {**opened.describe(), "aligned": bool(self.settings.align and self.settings.depth)}
        except RuntimeError as error:
            opened.close()
            raise DeviceError(f"{self._who} does not say what it is ({error}); is its USB cable in?") from error
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name=f"{self.settings.name} frames", daemon=True
        )
        self._came = time.monotonic_ns()
        self._thread.start()
        if not self._first.wait(self.settings.patience):
            reason = self._reason()
            self.close()
            raise DeviceError(f"{self._who} is connected, but gave no row within {self.settings.patience} s; {reason}")

    def read(self, since: int) -> Rows:
        """Return the rows after ``since``.

        Raises:
            Overrun: some of them are gone.
            DeviceLost: none has come for a while.
        """
        silent = (time.monotonic_ns() - self._came) / 1e9
        if silent > self.settings.reconnect:
            what = "picture" if not self._only_depth_stands() else "depth"
            with telling_last(self._ring.since, since):
                raise DeviceLost(f"{self._who}: no {what} for {silent:.1f} s; {self._reason()}")
        return self._ring.since(since)

    def close(self) -> None:
        """Let the camera go."""
        self._leaving.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, opened: sdk.Opened) -> None:
        try:
            tried = time.monotonic_ns()
            while not self._leaving.is_set():
                try:
                    self._wait(opened)
                except RuntimeError as error:  # all that the SDK raises
                    self._trouble = str(error)
                if time.monotonic_ns() - max(self._came, tried) > self.settings.silence * 1e9:
                    opened.close()
                    opened = self._open_again() or opened
                    tried = time.monotonic_ns()
        finally:
            opened.close()

    def _wait(self, opened: sdk.Opened) -> None:
        """Take the next frame, if one comes soon."""
        came, frame = opened.queue.try_wait_for_frame(LOOK)
        if not came:
            return
        stream = COLOUR if frame.get_profile().stream_type() == self._rs.stream.color else DEPTH
        seen = shot(self._rs, frame)
        track = self._tracks[stream]
        if not track.follow(seen):
            return
        self._heard[stream] = seen.arrived
        taken = Taken(frame, seen, track.seq, track.t)
        if len(self._tracks) == 1:
            self._push(taken)
        elif pair := self._pairs.match(stream, track.own, taken):
            self._push(pair[COLOUR], pair[DEPTH], opened.depths)

    def _push(self, colour: "Taken", depth: "Taken | None" = None, depths: Depths | None = None) -> None:
        """Make a row of it."""
        row = np.empty(1, self.settings.dtype)
        row["rgb"] = picture(colour.frame)
        shots = [colour.shot]
        if depth is not None and depths is not None:
            row["depth"] = depths.of(colour.frame, depth.frame)
            shots.append(depth.shot)
        row["device_t"], row["number"] = [[s.device_t for s in shots]], [[s.number for s in shots]]
        row["t"], row["seq"], row["domain"] = colour.t, colour.seq, colour.shot.domain
        row["received"] = time.monotonic_ns()
        self._ring.push(row)
        self._came = int(row["received"][0])
        self._trouble = ""
        self._first.set()
        if self._lost:
            self._lost = False
            log.warning("%s: pictures again", self._who)

    def _open(self) -> sdk.Opened:
        """Find the camera and start its streams, with the options that were asked for."""
        device = sdk.find(self.settings, self._known)
        self._openings += 1
        return sdk.Opened(self.settings, device, self._film())

    def _film(self) -> str:
        """The file to record to, if any; every opening begins another one: a.db3, a.2.db3, ..."""
        first = self.settings.record
        return first if self._openings == 1 or not first else first.removesuffix("db3") + f"{self._openings}.db3"

    def _open_again(self) -> sdk.Opened | None:
        """The frames have stopped: try to open it until that works, or until it is to be left."""
        if not self._lost:
            self._lost = True
            log.warning("%s: no new row for %.1f s; it is opened again", self._who, self.settings.silence)
        self._moments.restart()
        for track in self._tracks:
            track.restart()
        while not self._leaving.is_set():
            try:
                return self._open()
            except sdk.Absent:
                self._trouble = "is its USB cable in?"
            except (DeviceError, RuntimeError) as error:  # it may vanish while it is being opened
                self._trouble = str(error)
            self._leaving.wait(AGAIN)
        return None

    def _only_depth_stands(self) -> bool:
        return len(self._heard) > 1 and self._heard[COLOUR] - self._heard[DEPTH] > self.settings.silence * 1e9

    def _reason(self) -> str:
        """What may be the matter, and what to do."""
        if self._trouble:
            return self._trouble
        if self._only_depth_stands():
            return "colour comes: does another camera share its USB port's bandwidth? Plug it into another one"
        return "it is connected but sends nothing new; pull its USB cable and plug it in again"
