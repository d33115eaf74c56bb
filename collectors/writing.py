"""The program that writes: takes rows out of shared memory and keeps them. `RecorderProcess` starts it."""

import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from collectors.backlog import Backlog, Bytes
from collectors.process import BEGIN, END, ROWS
from storage import EpisodeWriter, ImageCodec, Jpeg, Lossless
from storage.layout import dtype_of

CODECS = {"Jpeg": Jpeg, "Lossless": Lossless}

SHARE = 8
"""At most one part in so many of the backlog is written before its room is free again."""


GATHER = 250
"""Milliseconds that rows wait for more of them: packing many at once takes less work than packing each as it comes."""

NUDGE = 1
"""Bytes of the word that calls for a look at the backlog without waiting."""


class Scribe:
    """Does as the messages say: begins a take, writes rows, seals it or leaves it.

    An error is told once, as soon as it happens, and again to whoever ends the take. Rows that come after it are
    dropped; what was written before stays in staging.
    """

    def __init__(self, backlog: Backlog, talk: socket.socket) -> None:
        self._backlog = backlog
        self._talk = talk
        self._writer: EpisodeWriter | None = None
        self._streams: list[tuple[str, np.dtype[np.void]]] = []
        self._failed: str | None = None

    def work(self) -> bool:
        """Do what is ready; tell whether anything was."""
        any_ready = False
        for kind, stream, body in self._backlog.take(self._backlog.size // SHARE):
            any_ready = True
            if kind == ROWS:
                self._write(stream, body)
            else:
                self._answer(kind, json.loads(bytes(body)))
        self._backlog.free()
        return any_ready

    def leave(self) -> None:
        """Write down what there is of the take, and leave it in staging."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.__exit__(None, None, None)

    def _write(self, stream: int, body: Bytes) -> None:
        """Write rows of one stream. In this thread alone: more of them take longer together, and waking them costs."""
        if self._writer is None or self._failed is not None:
            return
        name, dtype = self._streams[stream]
        rows = body.view(dtype)
        try:
            self._writer.append(name, rows)
        except Exception as error:  # ruff: ignore[blind-except] - told to the loop, which ends the take
            self._failed = str(error) or repr(error)
            self._say({"take": str(self._writer.id), "failed": self._failed})
        else:
            self._backlog.written[stream] += np.uint64(len(rows))

    def _answer(self, kind: int, asked: dict[str, Any]) -> None:
        """Begin a take, seal it, or leave it, and say how that went."""
        said: dict[str, Any] = {"number": asked["number"]}
        try:
            if kind == BEGIN:
                self._begin(asked)
            elif kind == END:
                said |= self._end(asked["attributes"])
        except Exception as error:  # ruff: ignore[blind-except] - told to whoever asked
            said["failed"] = f"{'the take cannot begin: ' if kind == BEGIN else ''}{error or repr(error)}"
        if kind != BEGIN:
            self.leave()
        self._say(said)

    def _begin(self, asked: dict[str, Any]) -> None:
        self.leave()
        images: dict[str, ImageCodec] = {
            name: CODECS[kind](**fields) for name, (kind, fields) in asked["images"].items()
        }
        streams = {name: dtype_of(fields) for name, fields in asked["streams"].items()}
        writer = EpisodeWriter(Path(asked["root"]), streams, asked["attributes"], images, UUID(asked["id"]))
        self._streams, self._failed = list(streams.items()), None
        self._backlog.written[:] = 0
        self._writer = writer.__enter__()

    def _end(self, attributes: dict[str, Any]) -> dict[str, Any]:
        if self._writer is None or self._failed is not None:
            raise OSError(self._failed or "no take has begun")
        sealed = self._writer.seal(attributes)
        return {"id": str(sealed.id), "path": str(sealed.path), "digest": sealed.digest, "seconds": sealed.seconds}

    def _say(self, said: dict[str, Any]) -> None:
        try:
            self._talk.send(json.dumps(said).encode(), socket.MSG_DONTWAIT)
        except OSError:
            """The other program is gone, and cares no more."""


def main(memory: int, ready: int, freed: int, talk: int, size: int, parent: int) -> None:
    """Write until the program that started this one is done with it, or dead; then write what waits, and end.

    Signals that are meant for that program are not for this one, which ends when it does.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # However often it wakes up, it never takes the processor from the loop, which wakes it.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with Backlog(size, (memory, ready, freed)) as backlog, socket.socket(fileno=talk) as line:
        scribe = Scribe(backlog, line)
        life = os.pidfd_open(os.getppid())
        rows, words = select.poll(), select.poll()
        for file in (ready, talk, life):
            rows.register(file, select.POLLIN)
        for file in (talk, life):
            words.register(file, select.POLLIN)
        over = os.getppid() != parent
        while scribe.work() or not over:
            if not backlog.waiting and not over:
                rows.poll()
                over = any(file == life or not line.recv(NUDGE) for file, _ in words.poll(GATHER))
        scribe.leave()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
