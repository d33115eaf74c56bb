"""What an emulated runtime remembers between two calls."""

import ctypes
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from drivers.emulators.openxr.controllers import Kind
from drivers.emulators.openxr.person import Person, Pose, Script, circles
from drivers.openxr.sdk import xr

R = xr.Result
States = xr.SessionState

ALL = 15
"""Of location flags: orientation and position, both valid and tracked."""


class Fail(Exception):
    """A call ends with this result."""

    def __init__(self, result: Any) -> None:
        super().__init__(result)
        self.result = result


@dataclass(frozen=True)
class Pulse:
    """What a controller was told to do to its hand."""

    t: int
    hand: int
    seconds: float
    amplitude: float


@dataclass
class Action:
    """An action of the client."""

    set: int
    kind: Kind
    sub: list[int]


@dataclass
class Value:
    """An action's input as of the last sync."""

    active: bool
    value: tuple[float, float]
    changed: bool
    t: int


@dataclass
class Client:
    """Everything that belongs to one instance, and ends with it."""

    instance: int = 0
    enabled: set[str] = field(default_factory=set)
    paths: list[str] = field(default_factory=lambda: [""])
    events: deque[bytes] = field(default_factory=deque)
    session: int = 0
    session_lost: bool = False
    state: Any = States.UNKNOWN
    running: bool = False
    headless: bool = False
    graphics_asked: bool = False
    frame: bool = False
    """Whether a frame was begun and not yet ended."""
    attached: set[int] | None = None
    sets: set[int] = field(default_factory=set)
    actions: dict[int, Action] = field(default_factory=dict)
    spaces: dict[int, dict[str, Any]] = field(default_factory=dict)
    bindings: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    """By kind of controller: action, hand, part."""
    values: dict[tuple[int, int], Value] = field(default_factory=dict)
    """By action and subaction path."""


@dataclass
class State:
    """The emulated headset, its controllers, its person and its client."""

    extensions: list[str]
    profile: str
    name: str
    script: Script = circles
    headset: bool = True
    """Whether one is connected."""
    up: bool = True
    """Whether the runtime can be reached at all."""
    lost: bool = False
    """Whether the instance is lost."""
    origin: Pose = field(default_factory=lambda: Pose((0.0, 1.6, 0.0)))
    """LOCAL in STAGE; a recenter moves it."""
    off: set[int] = field(default_factory=set)
    """Hands whose controller is switched off."""
    flags: list[int] = field(default_factory=lambda: [ALL, ALL])
    """How well each hand is seen."""
    pulses: list[Pulse] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    """How often each function was called."""
    errors: list[str] = field(default_factory=list)
    """Tracebacks of mistakes of our own."""
    failing: dict[str, Any] = field(default_factory=dict)
    """The result that a function returns the next time, instead of doing anything."""
    stalled: float = 0.0
    """The moment until which calls do not return, on the host's clock in seconds."""
    client: Client = field(default_factory=Client)
    lock: threading.RLock = field(default_factory=threading.RLock)
    began: int = field(default_factory=time.monotonic_ns)
    _handles: int = 0x1000

    def person(self, t: int) -> Person:
        """Where the person is at an XrTime, which is the host's monotonic clock here."""
        return self.script((t - self.began) / 1e9)

    def handle(self) -> int:
        """Return a new handle."""
        self._handles += 0x10
        return self._handles

    def say(self, event: Any) -> None:
        """Queue an event for the client."""
        self.client.events.append(bytes(event))

    def session(self) -> Any:
        """The session's handle as the events carry it."""
        return ctypes.cast(ctypes.c_void_p(self.client.session), xr.Session)

    def become(self, *states: Any) -> None:
        """Go through session states, and tell the client of each."""
        for state in states:
            self.client.state = state
            self.say(xr.EventDataSessionStateChanged(session=self.session(), state=state, time=time.monotonic_ns()))

    def focused(self) -> bool:
        """Whether the client may have the input."""
        return self.client.running and self.client.state == States.FOCUSED

    def check(self, session: Any) -> None:
        """Refuse a session that is not, or not any more.

        Raises:
            Fail: it is so.
        """
        if not self.client.session or number(session) != self.client.session:
            raise Fail(R.ERROR_HANDLE_INVALID)
        if self.client.session_lost:
            raise Fail(R.ERROR_SESSION_LOST)

    def bound(self, action: int, sub: int) -> list[tuple[int, str]]:
        """The hands and parts an action is bound to on the current controllers, of one subaction path or of all."""
        want = self.client.paths[sub].rsplit("/", 1)[-1] if sub else None
        return [
            (hand, part)
            for one, hand, part in self.client.bindings.get(self.profile, [])
            if one == action and hand not in self.off and want in {None, ("left", "right")[hand]}
        ]


def number(handle: Any) -> int:
    """Return a handle as a number."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def raw(struct: Any, field: str) -> Any:
    """Return a field as it lies in memory; by its public name pyopenxr would make new objects of it."""
    return getattr(struct, f"_{field}")


def give(out: Any, handle: int) -> None:
    """Write a handle to where the client wants it."""
    ctypes.cast(out, ctypes.POINTER(ctypes.c_void_p))[0] = handle
