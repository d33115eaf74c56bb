"""A headset's page for tests, without a browser: it knows the code, says frames, and answers what is asked."""

import json
import secrets
import ssl
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from drivers import Device, Row
from drivers.openxr.rows import HANDS
from drivers.webxr import WebHands, keys
from drivers.webxr.frames import FRAME

Floats = NDArray[np.float64]

BEGAN = time.monotonic_ns() - 5_000_000_000
"""When the page's clock was at zero, on the host's."""

POSE = (0.1, 1.2, -0.3, 0.0, 0.0, 0.6, 0.8)


class Visitor:
    """What page.js is to the server. ``heard`` holds what it was told beside questions; ``closed`` why it was left."""

    def __init__(
        self, device: WebHands, code: str | None = None, origin: str | None = "", answers: bool = True
    ) -> None:
        self._device, self._shown = device, secrets.randbelow(1 << 20)
        given = keys.code(device.folder) if code is None else code
        offered = [Subprotocol(one) for one in ("appliance", given) if one]
        scheme, _, rest = device.address.partition("://")
        trusted = ssl.create_default_context(cafile=device.folder / f"{device.host}.pem") if scheme == "https" else None
        self._opened = ExitStack()
        self._socket = self._opened.enter_context(
            connect(
                f"{'wss' if trusted else 'ws'}://{rest}hands",
                ssl=trusted,
                origin=Origin(device.address.rstrip("/") if origin == "" else origin) if origin is not None else None,
                subprotocols=offered,
                compression=None,
                close_timeout=1,
            )
        )
        self.heard: list[dict[str, Any]] = []
        self.closed: int | None = None
        self._answers = answers
        self.told = threading.Event()
        """Whether a question was answered, so that the server knows our clock."""
        self._ears = threading.Thread(target=self._listen, daemon=True)
        self._ears.start()

    def say(self, message: bytes | str) -> None:
        self._socket.send(message)

    def frame(self, late: float = 0.0, **fields: Any) -> None:
        """Say a frame as of ``late`` seconds ago: all well, but for these fields."""
        self.say(frame(late, **fields).tobytes())

    def shows(self, device: Device | None = None, **fields: Any) -> Row:
        """Say such frames, as a headset does one after the other, and return the first row that became of one."""
        self._shown += 1
        mark = np.float32(self._shown / (1 << 21))
        since, end = time.monotonic_ns() - 100_000_000, time.monotonic() + 30
        while time.monotonic() < end:
            self.frame(stick=mark, **fields)
            for row in (device or self._device).read(since):
                if row["stick"][1][1] == mark:
                    return cast("Row", row)
            time.sleep(0.005)
        raise TimeoutError(f"no row came of {fields}")

    def _listen(self) -> None:
        with suppress(ConnectionClosed):
            for message in self._socket:
                said = json.loads(message)
                if "ask" not in said:
                    self.heard.append(said)
                elif self._answers:
                    self.say(np.array([said["ask"], clock()], "<f8").tobytes())
                    self.told.set()
        self.closed = self._socket.protocol.close_code

    def __enter__(self) -> Self:
        if self._answers:
            assert self.told.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
        self._ears.join(5)


class Worn:
    """A headset whose page tells, 90 times a second of the host's clock, where a test has put its hands."""

    def __init__(self, device: WebHands) -> None:
        self._visitor = Visitor(device)
        self._now: dict[str, Any] = {}
        self._off = threading.Event()
        self._beat = threading.Thread(target=self._tell, daemon=True)
        self.put([np.array(POSE)] * 2, 0.0, [0.0, 0.0], 0)

    def put(self, hands: Sequence[Floats], squeeze: float, triggers: Sequence[float], buttons: int) -> None:
        """Be there from now on: a ``Move`` of a ``Wearer``."""
        self._now = {"grip": hands, "aim": hands, "squeeze": squeeze, "trigger": triggers, "buttons": (0, buttons)}

    @property
    def felt(self) -> list[dict[str, Any]]:
        """The pulses so far."""
        return list(self._visitor.heard)

    def _tell(self) -> None:
        with suppress(ConnectionClosed):
            while not self._off.wait(1 / 90):
                self._visitor.frame(**self._now)

    def __enter__(self) -> Self:
        self._visitor.__enter__()
        self._beat.start()
        return self

    def __exit__(self, *left: Any) -> None:
        self._off.set()
        self._beat.join()
        self._visitor.__exit__(*left)


def clock() -> float:
    """The page's, in milliseconds."""
    return (time.monotonic_ns() - BEGAN) / 1e6


def frame(late: float = 0.0, **fields: Any) -> Row:
    """A frame as of ``late`` seconds ago: all well, but for these fields."""
    made = np.zeros(1, FRAME)
    made["at"], made["focused"] = clock() - 1e3 * late, 1
    for name in ("active", "tracked"):
        made[name] = 1
    for name in ("head", "grip", "aim"):
        made[name] = POSE
    for name, value in fields.items():
        made[name] = value
    return cast("Row", made[0])


@contextmanager
def served(folder: Path, **settings: Any) -> Generator[WebHands]:
    """A device that serves its page on a port that is free."""
    given: dict[str, Any] = {"port": 0, "silence": 5.0} | settings
    with WebHands("hands", folder=folder, **given) as device:
        yield device


def says_nothing(row: Row) -> bool:
    """Whether a row gives no pose, no controller and no focus."""
    assert row.dtype == HANDS
    silent = all(np.isnan(row[name]).all() for name in ("grip", "aim", "head", "trigger", "squeeze", "stick"))
    return silent and not any(row[name].any() for name in ("valid", "tracked", "active", "buttons", "focused"))
