"""How losses went, of a job or of a training. Each is read on from where the reading stopped."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ops.journal import LOGS, Asked, further

LOSS = "loss"
"""The running loss; what else is tracked has its own name, e.g. ``held_out``."""


@dataclass(frozen=True)
class Point:
    """A loss at a step."""

    step: int
    name: str
    value: float


@dataclass
class OfJob:
    """The losses that a job tells."""

    home: Path
    job: str
    since: datetime
    """When it was asked for."""
    _read_to: dict[Path, int] = field(default_factory=dict)

    def more(self) -> Iterator[Point]:
        """Yield what came since the last call. A job that was begun again tells some steps twice."""
        for line in further(self.home / LOGS, Asked({"job": self.job}, since=self.since), self._read_to):
            step, loss = line.get("done"), line.get(LOSS)
            if line["job"] == self.job and isinstance(step, int) and isinstance(loss, int | float):
                yield Point(step, LOSS, float(loss))


@dataclass
class OfRun:
    """The losses that a training tracked in its folder, as TensorBoard reads them."""

    run: Path
    _read_to: dict[Path, int] = field(default_factory=dict)

    def more(self) -> Iterator[Point]:
        """Yield what came since the last call; a record that is half written comes with the next."""
        for path in sorted(self.run.rglob("events.out.tfevents.*")):
            with path.open("rb") as file:
                file.seek(self._read_to.get(path, 0))
                for record in _records(file.read()):
                    self._read_to[path] = self._read_to.get(path, 0) + len(record) + AROUND
                    yield from _points(record)


AROUND = 16
"""Bytes of length and checks around a record."""


def _records(raw: bytes) -> Iterator[bytes]:
    """The whole records of a file of TensorFlow's: 8 bytes length, 4 bytes check, the record, 4 bytes check."""
    at = 0
    while at + AROUND <= len(raw):
        (size,) = struct.unpack_from("<Q", raw, at)
        if at + AROUND + size > len(raw):
            return
        yield raw[at + 12 : at + 12 + size]
        at += AROUND + size


def _points(record: bytes) -> Iterator[Point]:
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]

    event = Event.FromString(record)
    for value in event.summary.value:
        if value.WhichOneof("value") == "simple_value":
            yield Point(int(event.step), str(value.tag), float(value.simple_value))
