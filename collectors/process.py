"""A recorder that is a program of its own: the loop copies rows into shared memory, and that is all it does."""

# ruff: file-ignore[suspicious-subprocess-import, subprocess-without-shell-equals-true] - it starts this program's own other half
import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import numpy as np

from collectors.backlog import LINE, STREAMS, Backlog, takes
from collectors.recorder import RecordingFailed
from drivers import Rows
from storage import ImageCodec, Jpeg, Lossless, Sealed
from storage.layout import fields_of, pictures

SECONDS = 2.0
"""How much of everything may wait to be written, unless a station says otherwise."""

CAMERA, SENSOR = 30.0, 1000.0
"""The rates, in rows a second, that a camera and any other device are given room for."""

SPARE = 64 << 10
"""Bytes of the backlog that are kept free of rows, so that the end of a take can still be told."""

MESSAGE = 64 << 10
"""The longest answer of the recorder, in bytes."""

ROWS, BEGIN, END, LEAVE = 1, 2, 3, 4
"""What a message in the backlog is."""

log = logging.getLogger(__name__)


def room(streams: Mapping[str, np.dtype[np.void]], hz: float, seconds: float = SECONDS) -> int:
    """Return the bytes that ``seconds`` of these streams take, read ``hz`` times a second."""
    rates = {name: max(hz, CAMERA if pictures(dtype) else SENSOR) for name, dtype in streams.items()}
    rows = sum(rates[name] * seconds * takes(dtype.itemsize) for name, dtype in streams.items())
    return round(rows) + SPARE


class RecorderProcess:
    """Keeps takes in another program, which is started once.

    What `append` was given is safe from the end of this program; what `written` counts is safe from the end of the
    other one too, and a second later from a power cut. When the recorder dies, the take in hand ends, and the
    next one starts another recorder. When this program dies, the recorder writes what waits, leaves the take to
    `recover`, and ends.

    Args:
        size: the most bytes that may wait to be written; see `room`.
        patience: seconds that a take may need to begin or to be sealed.
    """

    def __init__(self, size: int, patience: float = 30.0) -> None:
        self._size = -(-max(size, 4 * SPARE) // LINE) * LINE
        self.patience = patience
        self._other: _Other | None = None
        self._streams: dict[str, tuple[int, np.dtype[np.void]]] = {}
        self._take: UUID | None = None
        self._failed: str | None = None
        self._asked = 0

    @property
    def pid(self) -> int | None:
        """The other program's; None when there is none."""
        return None if self._other is None else self._other.process.pid

    @property
    def written(self) -> dict[str, int]:
        """How many rows of each stream the recorder has written in this take, or the last one."""
        counts = [0] * STREAMS if self._other is None else self._other.backlog.written.tolist()
        return {name: counts[place] for name, (place, _) in self._streams.items()}

    def begin(
        self,
        root: Path,
        streams: Mapping[str, np.dtype[np.void]],
        attributes: Mapping[str, Any],
        images: ImageCodec | Mapping[str, ImageCodec],
        id: UUID | None = None,  # ruff: ignore[builtin-argument-shadowing] - it is the episode's id
    ) -> UUID:
        self.leave()
        self._revive()
        widest = max(takes(dtype.itemsize) for dtype in streams.values())
        if widest > self._size // 4 or len(streams) > STREAMS:
            raise RecordingFailed(
                f"{self._size / 1e6:.1f} MB may wait to be written, and rows of up to {widest / 1e6:.1f} MB need "
                f"4 times as much; {len(streams)} streams can be counted up to {STREAMS}"
            )
        take = id or uuid4()
        by_camera = images if isinstance(images, Mapping) else dict.fromkeys(streams, images)
        self._ask(
            BEGIN,
            {
                "root": str(root.absolute()),
                "streams": {name: fields_of(dtype) for name, dtype in streams.items()},
                "attributes": dict(attributes),
                "images": {name: _described(codec) for name, codec in by_camera.items()},
                "id": str(take),
            },
        )
        self._streams = {name: (place, dtype) for place, (name, dtype) in enumerate(streams.items())}
        self._take, self._failed = take, None
        return take

    def append(self, stream: str, rows: Rows) -> None:
        if self._take is None or self._other is None:
            raise ValueError("no take has begun")
        if stream not in self._streams:
            raise ValueError(f"this take has no stream {stream!r}; it has {sorted(self._streams)}")
        place, dtype = self._streams[stream]
        if rows.dtype != dtype:
            raise ValueError(f"stream {stream!r} has rows of {dtype}, not of {rows.dtype}")
        said = self._other.hear(0)
        if said is not None and said.get("take") == str(self._take):
            self._failed = said["failed"]
        if self._failed is not None:
            raise RecordingFailed(self._failed)
        flat = np.ascontiguousarray(rows).view("u1")
        step = max(1, self._size // 8 // dtype.itemsize) * dtype.itemsize
        for first in range(0, len(flat), step):
            if not self._other.backlog.put(ROWS, place, flat[first : first + step], SPARE):
                self._failed = (
                    f"{self._size / 1e6:.1f} MB wait to be written, and no more may: "
                    "the disk is too slow, or the recorder stands still"
                )
                raise RecordingFailed(self._failed)
        if self._other.backlog.crowded:
            self._other.nudge()

    def end(self, attributes: Mapping[str, Any]) -> Sealed:
        if self._take is None:
            raise ValueError("no take has begun")
        self._take = None
        said = self._ask(END, {"attributes": dict(attributes)})
        return Sealed(UUID(said["id"]), Path(said["path"]), said["digest"], said["seconds"])

    def leave(self) -> None:
        if self._take is not None:
            self._take = None
            try:
                self._ask(LEAVE, {})
            except RecordingFailed as error:
                log.warning("%s", error)

    def _ask(self, kind: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """Send a message and wait for the answer to it.

        Raises:
            RecordingFailed: the answer is no, or there is none.
        """
        if self._other is None:
            raise RecordingFailed("the recorder has not been started; use it as a context manager")
        self._asked += 1
        body = np.frombuffer(json.dumps(wanted | {"number": self._asked}).encode(), "u1")
        deadline = time.monotonic() + self.patience
        while not (told := self._other.backlog.put(kind, 0, body)) and time.monotonic() < deadline:
            self._other.hear(0.01)
        self._other.nudge()
        while told and (left := deadline - time.monotonic()) > 0:
            said = self._other.hear(left)
            if said is not None and said.get("number") == self._asked:
                if "failed" in said:
                    raise RecordingFailed(said["failed"])
                return said
        raise RecordingFailed(
            f"the recorder (process {self.pid}) has not answered for {self.patience:g} s; it may stand still. "
            "What it was given is kept when it goes on, or brought in at the next start"
        )

    def _revive(self) -> None:
        """Start another recorder if the one there was has died."""
        if self._other is not None and self._other.process.poll() is not None:
            log.warning("the recorder is gone (%s); starting another", self._other.end())
            self._other.close(0)
            self._other = _Other(self._size)

    def __enter__(self) -> Self:
        """Start the other program.

        Raises:
            RecordingFailed: there is no memory for what may wait to be written.
        """
        self._other = _Other(self._size)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        if self._other is not None:
            self._other.close(self.patience)
            self._other = None


class _Other:
    """The other program, and what leads to it and back.

    It is in a process group of its own, so that a Ctrl-C at the terminal is this program's affair.
    """

    def __init__(self, size: int) -> None:
        try:
            self.backlog = Backlog(size)
        except OSError as error:
            raise RecordingFailed(
                f"there is no memory for {size / 1e6:.0f} MB that may wait to be written ({error.strerror}); "
                "a station may ask for less, with backlog = MB"
            ) from error
        self._talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours = Path(__file__).parent.parent
        paths = os.pathsep.join(filter(None, (str(ours), os.environ.get("PYTHONPATH"))))
        files = (*self.backlog.files, theirs.fileno())
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "collectors.writing", *map(str, (*files, size, os.getpid()))],
                pass_fds=files,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": paths},
                process_group=0,
            )

    def hear(self, wait: float) -> dict[str, Any] | None:
        """What it says within ``wait`` seconds, if anything.

        Raises:
            RecordingFailed: it is gone.
        """
        self._talk.settimeout(wait)
        try:
            heard = self._talk.recv(MESSAGE)
        except (TimeoutError, BlockingIOError):
            return None
        except ConnectionError:
            heard = b""
        if not heard:
            raise RecordingFailed(
                f"the recorder is gone ({self.end()}); what it had written is brought in at the next start"
            )
        said: dict[str, Any] = json.loads(heard)
        return said

    def nudge(self) -> None:
        """Have it look at the backlog now: it waits a while for more when only rows have come."""
        with contextlib.suppress(OSError):  # it is awake already, or gone, which `hear` tells
            self._talk.send(b"!", socket.MSG_DONTWAIT)

    def end(self) -> str:
        """How it ended."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return "it has stopped listening"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"

    def close(self, patience: float) -> None:
        """Let it write what waits, and end."""
        self._talk.shutdown(socket.SHUT_RDWR)
        self._talk.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            log.warning("the recorder (process %d) stands still and is ended", self.process.pid)
            self.process.kill()
            self.process.wait()
        self.backlog.close()


def _described(codec: ImageCodec) -> list[Any]:
    """A codec, as JSON. It is one of storage's."""
    if not isinstance(codec, Jpeg | Lossless):
        raise ValueError(f"a recorder of its own keeps images as {Jpeg} or {Lossless}, not as {type(codec)}")
    return [type(codec).__name__, dataclasses.asdict(codec)]
