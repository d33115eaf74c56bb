"""The headset as a device: its settings, its thread, and what a caller may do with it."""

import logging
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from drivers.device import DeviceError, DeviceLost, Row, Rows
from drivers.openxr.rows import HANDS, UNKNOWN, unseen
from drivers.ring import Ring

if TYPE_CHECKING:
    from drivers.openxr.link import Link

KEPT = 2.0
"""Seconds of rows that are kept for readers."""

AGAIN = 0.25
"""Seconds between two attempts to reach the runtime."""

log = logging.getLogger(__name__)


@dataclass
class Headset:
    """A headset and its two controllers, through whatever OpenXR runtime is active on this machine.

    Set it up once: install WiVRn, or SteamVR with ALVR for a Quest, or Monado, and make it the active runtime (it
    offers to); on Windows SteamVR, Virtual Desktop or Quest Link. Then connect the headset, put it on, and start.
    Nothing is drawn: where the runtime can, there is no picture session at all ("headless"); else the headset stays
    black.

    Rows come at ``hz`` (at the headset's rate where the runtime sets the pace) whether or not anybody wears it, and
    say what is known: not focused, not active, not valid are fields. A lost session, a headset that is unplugged and a
    runtime that is started anew are joined again by themselves; if that takes longer than ``patience``, reading is
    DeviceLost until it has come about.

    What it cannot do: it shows nothing in the headset, it tracks no bare hands, a program can have one only, and the
    pulses of ``pulse`` are as long and strong as the controller makes them.
    """

    name: str
    hz: float = 90.0
    """Rows per second."""
    application: str = "appliance"
    """What the headset's menus call this program."""
    headless: Literal["auto", "yes", "no"] = "auto"
    """Whether to do without pictures: where it is possible, always, or never."""
    silence: float = 0.5
    """Seconds without a row after which the runtime counts as hung."""
    patience: float = 5.0
    """Seconds to wait for a headset while connecting, and for a lost one to come back."""

    dtype: ClassVar[np.dtype[np.void]] = HANDS

    def __post_init__(self) -> None:
        if not 10 <= self.hz <= 500:
            raise ValueError(f"hz must be between 10 and 500, not {self.hz}")
        if not 0 < len(self.application.encode()) < 128:
            raise ValueError(f"application must be 1 to 127 bytes long, not {len(self.application.encode())}")
        self._thread: threading.Thread | None = None
        self._hung: threading.Thread | None = None
        """One that could not be ended, and would go on in the next use of this."""
        self._reset()

    def _reset(self) -> None:
        """Forget everything of an earlier use."""
        self._ring = Ring(HANDS, max(2, round(KEPT * self.hz)))
        self._pulses: deque[tuple[int, float, float]] = deque(maxlen=8)
        self._leaving = threading.Event()
        self._link: Link | None = None
        self._described: dict[str, Any] = {}
        self._gone: tuple[int, str] | None = None
        """Since when there is no session, and how the last one ended."""
        self._why = ""
        """Why the last attempt to open a new one failed."""
        self._attempt = 0.0
        self._heard = time.monotonic_ns()
        self._last = self._taken = self._moved = 0

    @property
    def described(self) -> dict[str, Any]:
        """The runtime, the headset and the kind of session, as they were when last connected."""
        return dict(self._described) if self._thread is not None else {}

    def read(self, since: int) -> Rows:
        """Return the rows stamped after ``since``.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: the headset has been gone for longer than ``patience``, or the runtime hangs.
        """
        if self._thread is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        now, gone = time.monotonic_ns(), self._gone
        if gone is not None and now - gone[0] > self.patience * 1e9:
            raise DeviceLost(f"{self.name}: {gone[1]}, and no new session came in {self.patience} s: {self._why}")
        if gone is None and now - self._heard > self.silence * 1e9:
            raise DeviceLost(
                f"{self.name}: no row for {(now - self._heard) / 1e9:.1f} s: the OpenXR runtime hangs; start it anew"
            )
        return self._ring.since(since)

    def pulse(self, hand: Literal[0, 1], seconds: float, amplitude: float) -> None:
        """Let the left (0) or right (1) controller shake; returns at once, and without focus nobody feels it.

        Raises:
            ValueError: there is no such hand, or no such pulse.
        """
        if hand not in {0, 1} or not 0 < seconds <= 10 or not 0 <= amplitude <= 1:
            raise ValueError(
                f"a pulse is for hand 0 or 1, at most 10 s, amplitude 0 to 1; not {hand}, {seconds}, {amplitude}"
            )
        if self._thread is not None:
            self._pulses.append((hand, seconds, amplitude))

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise DeviceError(f"{self.name} is in use already")
        if self._hung is not None and self._hung.is_alive():
            raise DeviceError(f"{self.name}: the OpenXR runtime hangs and keeps its session; end this program")
        self._load()
        self._reset()
        connected: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(connected,), name=self.name, daemon=True)
        self._thread.start()
        try:
            connected.result(2 * self.patience + 5.0)
        except BaseException as error:
            self.__exit__(None, None, None)
            if isinstance(error, TimeoutError):
                raise DeviceError(f"{self.name}: the OpenXR runtime does not answer; start it anew") from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._leaving.set()
        thread.join(self.patience)
        if thread.is_alive():
            self._hung = thread
            log.error("%s: the OpenXR runtime hangs and keeps its session; end this program", self.name)

    def _load(self) -> None:
        os.environ.setdefault("XR_LOADER_DEBUG", "none")  # its lines would cross the screen; ours say more
        try:
            import drivers.openxr.link  # ruff: ignore[unused-import]  # slow, so here and not in the thread
        except (ImportError, NotImplementedError, OSError) as error:
            raise DeviceError(
                f"{self.name}: pyopenxr cannot be used ({error}): install the extra [hardware]"
            ) from error

    def _run(self, connected: "Future[None]") -> None:
        """Own the session: everything that speaks to the runtime happens here."""
        try:
            self._link = self._first()
        except DeviceError as error:
            connected.set_exception(DeviceError(f"{self.name}: {error}"))
            return
        except Exception as error:
            connected.set_exception(DeviceError(f"{self.name}: its driver failed: {type(error).__name__}: {error}"))
            log.exception("%s: its driver failed", self.name)
            return
        connected.set_result(None)
        beat, due = round(1e9 / self.hz), time.monotonic_ns()
        try:
            while not self._leaving.is_set():
                self._keep(self._look())
                if self._link is None or not self._link.paces:
                    due = max(due + beat, time.monotonic_ns())
                    self._leaving.wait((due - time.monotonic_ns()) / 1e9)
        finally:
            if self._link is not None:
                self._link.close()

    def _first(self) -> "Link":
        """Open the first session; a headset may still be waking up."""
        from drivers.openxr.link import Link, NoHeadset

        end = time.monotonic() + self.patience
        while True:
            try:
                link = Link(self.application, self.headless)
            except NoHeadset:
                if time.monotonic() > end or self._leaving.wait(AGAIN):
                    raise
            else:
                self._described = link.described
                log.info("%s: %s", self.name, link.described)
                return link

    def _look(self) -> Row:
        """Return what is known now; when that is nothing, see to it that it will be something again."""
        from drivers.openxr.link import Gone

        if self._link is None:
            self._again()
        row = unseen()
        if self._link is not None:
            try:
                while self._pulses:
                    self._link.pulse(*self._pulses.popleft())
                self._link.sample(row)
            except Gone as why:
                self._lose(str(why))
                row = unseen()
        if self._link is None:
            row["t"], row["age"], row["space"] = time.monotonic_ns(), UNKNOWN, self._moved
        else:
            row["space"] = self._moved + self._link.moved
        return row

    def _lose(self, why: str) -> None:
        if self._link is not None:
            self._moved += self._link.moved + 1  # a new session's LOCAL is a new one
            self._link.close()
        self._link, self._gone, self._attempt = None, (time.monotonic_ns(), why), 0.0
        log.warning("%s: the session ended: %s", self.name, why)

    def _again(self) -> None:
        """Try to open a new session, now and then."""
        from drivers.openxr.link import Link

        self._pulses.clear()
        if time.monotonic() < self._attempt:
            return
        self._attempt = time.monotonic() + AGAIN
        try:
            self._link = Link(self.application, self.headless)
        except DeviceError as error:
            self._why = str(error)
        else:
            self._gone, self._described = None, self._link.described
            log.info("%s: a new session: %s", self.name, self._described)

    def _keep(self, row: Row) -> None:
        self._last = max(int(row["t"]), self._last + 1)
        row["t"], row["seq"], row["received"] = self._last, self._taken, max(time.monotonic_ns(), self._last)
        self._ring.push(np.array([row], HANDS))
        self._taken, self._heard = self._taken + 1, time.monotonic_ns()
