"""The hands of whoever opens our page in a headset's browser, as a device."""

import asyncio
import errno
import logging
import ssl
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from drivers.device import DeviceError, DeviceLost, Row, Rows
from drivers.openxr.rows import HANDS, UNKNOWN, unseen
from drivers.ring import Ring
from drivers.webxr import keys
from drivers.webxr.frames import nanoseconds, row

if TYPE_CHECKING:
    from drivers.webxr.clock import Offset
    from drivers.webxr.server import Door

KEPT = 2.0
"""Seconds of rows that are kept for readers."""

LEAVING = 5.0
"""Seconds that the server may take to open and to close."""

log = logging.getLogger(__name__)


@dataclass
class WebHands:
    """A headset and its two controllers, through a page in the headset's own browser: no runtime on this machine.

    Its rows are those of ``drivers.openxr.Headset``, and so is ``pulse``. Set it up once: ``python -m drivers.webxr``
    prints what to open. Over a USB cable (``adb reverse tcp:8442 tcp:8442``) the browser finds this machine at its own
    ``localhost``, and nothing leaves the cable. Over the network, ``host`` is this machine's address there and ``tls``
    is true: browsers know no WebXR on other pages. The certificate is made here on first use, so that the browser
    warns once; compare the fingerprint that is printed. The page asks for a code, once; it is in the file ``code`` in
    ``folder``, and a wrong one is answered after a second.

    A row comes with every frame of the headset; ``t`` is when the page looked, never taken for younger than it was. A
    frame that took longer than ``gap`` is left out, as a gap in ``seq``; when none has come for that long, rows,
    ``hz`` of them a second, say of the moment ``gap`` ago that nothing is known, until one comes. A headset whose page
    says nothing for longer than ``patience`` is lost until it does; another that knows the code takes over, and its
    space is another.

    What it cannot do: it shows nothing in the headset, it tracks no bare hands, and it has no menu button: the
    headset's browser keeps that. ``tracked`` is what the browser tells, which is less than a runtime does.
    """

    name: str
    host: str = "127.0.0.1"
    """This machine's address or name, as the headset's browser is to open it."""
    port: int = 8442
    tls: bool = False
    folder: Path = Path("~/.config/appliance/webxr")
    """Where the code and the certificate are."""
    hz: float = 90.0
    """Frames that the headset shows in a second."""
    gap: float = 0.08
    """Seconds after which a frame is too old, and after which the hands are not known any more."""
    silence: float = 0.5
    """Seconds without a row after which the server counts as hung."""
    patience: float = 5.0
    """Seconds that the headset's page may say nothing."""

    dtype: ClassVar[np.dtype[np.void]] = HANDS

    def __post_init__(self) -> None:
        if not 60 <= self.hz <= 500:
            raise ValueError(f"hz must be between 60 and 500, not {self.hz}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be between 0 and 65535, not {self.port}")
        if not self.tls and not _here(self.host):
            raise ValueError(f"browsers know no WebXR on http://{self.host}: set tls = true, or host to 127.0.0.1")
        if self.host in {"", "0.0.0.0", "::"}:  # ruff: ignore[hardcoded-bind-all-interfaces] - it is refused
            raise ValueError("host must be the one address that the headset opens, such as 192.168.1.20")
        self._thread: threading.Thread | None = None
        self._reset()

    def _reset(self) -> None:
        """Forget everything of an earlier use."""
        self._ring = Ring(HANDS, max(2, round(2 * KEPT * self.hz)))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Event | None = None
        self._door: Door | None = None
        self._opened = self._kept = self._fresh = time.monotonic_ns()
        self._last = self._taken = self._moved = 0
        self._port = self.port
        self._space: tuple[Offset, float] | None = None

    @property
    def address(self) -> str:
        """What the headset's browser opens; the code comes after a #."""
        return f"{self._origin(self.host)}/"

    @property
    def described(self) -> dict[str, Any]:
        """The headset's browser, and how many seconds it takes to it and back, as now connected."""
        door = self._door
        return {} if door is None else {"headset": door.headset, "tls": self.tls, "round_trip": door.round_trip}

    def read(self, since: int) -> Rows:
        """Return the rows stamped after ``since``.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: the headset's page has said nothing for longer than ``patience``, or the server hangs.
        """
        if self._door is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        now = time.monotonic_ns()
        if now - self._kept > self.silence * 1e9:
            raise DeviceLost(f"{self.name}: no row for {(now - self._kept) / 1e9:.1f} s: its server hangs")
        if self._silent(now) > self.patience:
            happened = "does not answer" if self._door.headset else "is not connected"
            raise DeviceLost(
                f"{self.name}: the headset's browser {happened}: put the headset on and open {self.address} in it; "
                f"its code is in {self._home / 'code'}"
            )
        return self._ring.since(since)

    def _silent(self, now: int) -> float:
        """Seconds that the headset's page has said nothing."""
        return (now - max(self._opened, self._door.heard if self._door else 0)) / 1e9

    def pulse(self, hand: Literal[0, 1], seconds: float, amplitude: float) -> None:
        """Let the left (0) or right (1) controller shake; returns at once, and without focus nobody feels it.

        Raises:
            ValueError: there is no such hand, or no such pulse.
        """
        if hand not in {0, 1} or not 0 < seconds <= 10 or not 0 <= amplitude <= 1:
            raise ValueError(
                f"a pulse is for hand 0 or 1, at most 10 s, amplitude 0 to 1; not {hand}, {seconds}, {amplitude}"
            )
        if self._door is not None and self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._door.pulse(hand, seconds, amplitude), self._loop)

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise DeviceError(f"{self.name} is in use already")
        self._reset()
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=self.name, daemon=True)
        self._thread.start()
        try:
            ready.result(LEAVING)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        log.info("%s: open %s in the headset's browser; its code is in %s/code", self.name, self.address, self._home)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread, self._thread, self._door = self._thread, None, None
        if thread is None:
            return
        if self._loop is not None and self._leaving is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._leaving.set)
        thread.join(LEAVING)

    @property
    def _home(self) -> Path:
        return self.folder.expanduser()

    def _run(self, ready: "Future[None]") -> None:
        try:
            asyncio.run(self._serve(ready))
        except (DeviceError, ImportError, OSError) as error:
            if ready.done():
                raise
            ready.set_exception(DeviceError(f"{self.name}: {self._explained(error)}"))

    async def _serve(self, ready: "Future[None]") -> None:
        """Own the server: whatever the headset says is heard here, and silence is told here."""
        from drivers.webxr.server import Door

        self._loop, self._leaving = asyncio.get_running_loop(), asyncio.Event()
        code, tls = keys.code(self._home), self._context() if self.tls else None
        door = Door(self.name, code, self._hear)
        async with await door.open(self.host, self.port, tls) as server:
            self._port = server.sockets[0].getsockname()[1]
            door.origins = {self._origin(name) for name in _names(self.host)}
            self._door = door
            ready.set_result(None)
            while not self._leaving.is_set():
                self._look()
                await asyncio.sleep(1 / self.hz)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys.certificate(self._home, self.host))
        return context

    def _hear(self, read: Row, clock: "Offset") -> None:
        """Keep what a frame says, unless it is old."""
        now, stamp = time.monotonic_ns(), clock.stamp(nanoseconds(read["at"]))
        if stamp is None:
            return  # the page has not told its clock yet
        if not self._last < stamp or now - stamp > self.gap * 1e9:
            self._taken += 1
            return
        here = (clock, float(read["space"]))
        self._moved += self._space not in {None, here}
        self._space, self._fresh = here, now
        said = row(read)
        said["t"] = min(stamp, now)
        said["age"] = now - said["t"]
        self._keep(said)

    def _look(self) -> None:
        """Say that nothing is known, when nothing has been heard.

        It is said of the newest moment that no frame can be of any more: a row of now would be newer than every frame
        that is on its way.
        """
        now, gap = time.monotonic_ns(), round(self.gap * 1e9)
        if self._silent(now) > self.patience:
            self._kept = now  # a lost device has no rows, and whoever reads on misses none
        elif now - self._fresh > gap:
            said = unseen()
            said["t"], said["age"] = now - gap, UNKNOWN
            self._keep(said)

    def _keep(self, said: Row) -> None:
        now = time.monotonic_ns()
        said["seq"], said["received"], said["space"] = self._taken, now, self._moved
        self._last, self._kept = int(said["t"]), now
        self._taken += 1
        self._ring.push(np.array([said], HANDS))

    def _origin(self, host: str) -> str:
        """What a browser says a page is from, which it had of ``host``."""
        scheme, usual = ("https", 443) if self.tls else ("http", 80)
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}" + (f":{self._port}" if self._port != usual else "")

    def _explained(self, error: Exception) -> str:
        if isinstance(error, ImportError):
            return f"{error}: install the extra [hardware]"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return f"port {self.port} is taken by another program; choose another"
        if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
            return f"this machine has no address {self.host}; `ip addr` lists those that it has"
        return str(error)


def _here(host: str) -> bool:
    """Whether that is this machine only."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _names(host: str) -> tuple[str, ...]:
    """What the headset's browser may call that."""
    return (host, "localhost") if _here(host) else (host,)
