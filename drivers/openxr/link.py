"""One session with an OpenXR runtime, from opening to its end. Everything here belongs to the thread that opened it."""

import ctypes
import logging
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal

from drivers.device import DeviceError, Row
from drivers.openxr import graphics, words
from drivers.openxr.actions import Actions
from drivers.openxr.bindings import PROFILES
from drivers.openxr.rows import UNKNOWN
from drivers.openxr.sdk import xr
from drivers.openxr.times import CLOCKS, Clock

HEADLESS = "XR_MND_headless"
VALID, ALL = 3, 15
"""Location flags: orientation and position may be used; and both are measured."""

log = logging.getLogger(__name__)


class Gone(Exception):
    """The session, or the whole runtime, ended. The message says how."""


class NoHeadset(DeviceError):
    """The runtime runs, but has no headset. One may come."""


class Link:
    """A running session, or one that waits for the runtime to let it run.

    Raises:
        NoHeadset: no headset is connected yet.
        DeviceError: there is no runtime, or none that can be used.
    """

    def __init__(self, application: str, headless: Literal["auto", "yes", "no"]) -> None:
        self.moved = 0
        """How often LOCAL has moved."""
        self._state = xr.SessionState.UNKNOWN
        self._running = False
        self._moves: list[int] = []
        with ExitStack() as opened:
            self._open(application, headless, opened)
            self._opened = opened.pop_all()

    def _open(self, application: str, headless: str, opened: ExitStack) -> None:
        with _explained():
            offered = _offered()
            enabled = [HEADLESS] if HEADLESS in offered and headless != "no" else []
            self.headless = bool(enabled)
            if not enabled:
                enabled = graphics.extensions(offered) if headless != "yes" else []
            if not enabled:
                raise DeviceError(words.no_session(headless, offered))
            wanted = {*CLOCKS, *(profile.extension for profile in PROFILES)}
            enabled += sorted(wanted & offered)
            self._instance = xr.create_instance(
                xr.InstanceCreateInfo(
                    enabled_extension_names=enabled,
                    application_info=xr.ApplicationInfo(application_name=application, api_version=xr.Version(1, 0, 34)),
                )
            )
            opened.callback(_quietly, xr.destroy_instance, self._instance)
            self.runtime = xr.get_instance_properties(self._instance).runtime_name.decode()
            system = self._system()
            self.headset = xr.get_system_properties(self._instance, system).system_name.decode()
            self.clock = next((extension for extension in CLOCKS if extension in enabled), "")
            self._now: Clock | None = CLOCKS[self.clock](self._instance) if self.clock else None
            self._actions = Actions(self._instance, enabled)
            self._session = self._begin(system, enabled, opened)
            self._spaces = self._actions.attach(self._session)
            self._local, self._view = (
                xr.create_reference_space(self._session, xr.ReferenceSpaceCreateInfo(reference_space_type=kind))
                for kind in (xr.ReferenceSpaceType.LOCAL, xr.ReferenceSpaceType.VIEW)
            )
            modes = xr.enumerate_environment_blend_modes(
                self._instance, system, xr.ViewConfigurationType.PRIMARY_STEREO
            )
            self._blend = modes[0]

    def _system(self) -> Any:
        try:
            return xr.get_system(self._instance, xr.SystemGetInfo(xr.FormFactor.HEAD_MOUNTED_DISPLAY))
        except xr.FormFactorUnavailableError as error:
            raise NoHeadset(words.no_headset(self.runtime)) from error

    def _begin(self, system: Any, enabled: list[str], opened: ExitStack) -> Any:
        binding = None
        if graphics.OPENGL in enabled:
            graphics.ask_requirements(self._instance, system)
            context = graphics.context()
            opened.callback(context.close)
            binding = ctypes.cast(ctypes.pointer(context.binding), ctypes.c_void_p)
        session = xr.create_session(self._instance, xr.SessionCreateInfo(system_id=system, next=binding))
        opened.callback(_quietly, xr.destroy_session, session)
        return session

    @property
    def described(self) -> dict[str, Any]:
        """What an episode should say of it."""
        return {
            "runtime": self.runtime,
            "headset": self.headset,
            "headless": self.headless,
            "clock": self.clock or "predicted display time",
        }

    def close(self) -> None:
        """End it, whatever has become of the runtime."""
        self._opened.close()

    @property
    def paces(self) -> bool:
        """Whether ``sample`` itself waits for the next frame."""
        return self._running and (self._now is None or not self.headless)

    def sample(self, row: Row) -> None:
        """Write into ``row`` what is known now; leave alone what is not.

        Raises:
            Gone: the runtime ended the session.
        """
        with _or_gone():
            self._hear()
            row["t"], row["age"] = time.monotonic_ns(), UNKNOWN
            try:
                if self._running:
                    self._look(row)
            except xr.TimeInvalidError:
                log.debug("the runtime did not take the time it was asked for; it does so at the start")

    def pulse(self, hand: int, seconds: float, amplitude: float) -> None:
        """Let a controller shake; without focus, nobody feels it.

        Raises:
            Gone: the runtime ended the session.
        """
        with _or_gone(), suppress(xr.SessionNotFocused):
            self._actions.pulse(self._session, hand, seconds, amplitude)

    def _look(self, row: Row) -> None:
        at = self._frame() if self.paces else 0
        if self._now is not None:
            row["t"], at = self._now()
        while self._moves and self._moves[0] <= at:
            self._moves.pop(0)
            self.moved += 1
        self._pose(row["head"], self._view, at)
        row["focused"] = self._actions.sync(self._session)
        for hand in (0, 1) if row["focused"] else ():
            if self._actions.active(self._session, hand):
                row["active"][hand] = True
                flags = self._pose(row["grip"][hand], self._spaces["grip", hand], at)
                self._pose(row["aim"][hand], self._spaces["aim", hand], at)
                row["valid"][hand] = flags & VALID == VALID
                row["tracked"][hand] = flags & ALL == ALL
                self._actions.fill(self._session, hand, row)
        if self._now is not None:
            row["age"] = time.monotonic_ns() - row["t"]

    def _pose(self, out: Any, space: Any, at: int) -> int:
        """Write where a space is in LOCAL, if that is known; return the runtime's flags."""
        location = xr.locate_space(space, self._local, at)
        flags = int(location.location_flags)
        if flags & VALID == VALID:
            p, q = location.pose.position, location.pose.orientation
            out[:] = p.x, p.y, p.z, q.x, q.y, q.z, q.w
        return flags

    def _frame(self) -> int:
        """Show an empty frame, and return the moment it is for."""
        moment = xr.wait_frame(self._session).predicted_display_time
        xr.begin_frame(self._session)
        shown = xr.FrameEndInfo(display_time=moment, environment_blend_mode=self._blend, layers=[])
        xr.end_frame(self._session, shown)
        return int(moment)

    def _hear(self) -> None:
        """Do what the runtime asks for.

        Raises:
            Gone: it ends the session.
        """
        for kind, event in self._events():
            match kind:
                case xr.StructureType.EVENT_DATA_SESSION_STATE_CHANGED:
                    self._follow(xr.SessionState(_as(xr.EventDataSessionStateChanged, event).state))
                case xr.StructureType.EVENT_DATA_REFERENCE_SPACE_CHANGE_PENDING:
                    change = _as(xr.EventDataReferenceSpaceChangePending, event)
                    if xr.ReferenceSpaceType(change.reference_space_type) == xr.ReferenceSpaceType.LOCAL:
                        self._moves.append(change.change_time)
                case xr.StructureType.EVENT_DATA_INSTANCE_LOSS_PENDING:
                    raise Gone("the runtime is going to stop")
                case _:
                    pass

    def _events(self) -> Iterator[tuple[Any, Any]]:
        while True:
            try:
                event = xr.poll_event(self._instance)
            except xr.EventUnavailable:
                return
            yield xr.StructureType(event.type), event

    def _follow(self, state: Any) -> None:
        self._state = state
        if state == xr.SessionState.READY:
            xr.begin_session(self._session, xr.SessionBeginInfo(xr.ViewConfigurationType.PRIMARY_STEREO))
            self._running = True
        elif state == xr.SessionState.STOPPING:
            self._running = False
            xr.end_session(self._session)
        elif state == xr.SessionState.EXITING:
            raise Gone("it was closed in the headset")
        elif state == xr.SessionState.LOSS_PENDING:
            raise Gone("the runtime is losing the headset")


def _as(kind: Any, event: Any) -> Any:
    return ctypes.cast(ctypes.byref(event), ctypes.POINTER(kind)).contents


def _quietly(end: Any, handle: Any) -> None:
    """End something that the runtime may have ended before."""
    try:
        end(handle)
    except (xr.XrException, ValueError) as error:
        log.debug("ending a session: %s", error)


def _offered() -> set[str]:
    """The extensions of the active runtime."""
    found = (extension.extension_name for extension in xr.enumerate_instance_extension_properties())
    return {name.decode() if isinstance(name, bytes) else str(name) for name in found}


@contextmanager
def _or_gone() -> Generator[None]:
    """Whatever a call ends with, the way out is a new session. A code that pyopenxr does not know is a ValueError."""
    try:
        yield
    except (xr.XrException, ValueError) as error:
        raise Gone(f"{type(error).__name__}: {error}") from error


@contextmanager
def _explained() -> Generator[None]:
    try:
        yield
    except xr.RuntimeUnavailableError as error:
        raise DeviceError(words.no_runtime()) from error
    except xr.LimitReachedError as error:
        raise DeviceError("another headset is in use in this program; a program can have one") from error
    except (xr.XrException, ValueError) as error:
        raise DeviceError(f"the OpenXR runtime does not open a session: {type(error).__name__}: {error}") from error
