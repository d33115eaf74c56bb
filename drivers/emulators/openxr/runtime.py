"""An OpenXR runtime without a headset, in the program that uses it, and everything that can be done to it."""

import ctypes
import json
import os
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from drivers.emulators.openxr.actions import Actions
from drivers.emulators.openxr.controllers import PROFILES
from drivers.emulators.openxr.instance import Instance
from drivers.emulators.openxr.person import Person, Pose, Script, changed, circles
from drivers.emulators.openxr.session import Session
from drivers.emulators.openxr.state import ALL, Fail, Pulse, R, State, States
from drivers.openxr.sdk import xr

OFFERED = (
    *("XR_MND_headless", "XR_KHR_convert_timespec_time", "XR_KHR_opengl_enable", "XR_MNDX_egl_enable"),
    *("XR_KHR_generic_controller", "XR_BD_controller_interaction"),
)
"""What the emulated runtime can do beyond OpenXR itself, unless it is told to be poorer."""

OF_EXTENSIONS = {
    "xrConvertTimespecTimeToTimeKHR": "XR_KHR_convert_timespec_time",
    "xrConvertTimeToTimespecTimeKHR": "XR_KHR_convert_timespec_time",
    "xrConvertWin32PerformanceCounterToTimeKHR": "XR_KHR_win32_convert_performance_counter_time",
    "xrGetOpenGLGraphicsRequirementsKHR": "XR_KHR_opengl_enable",
}

LIVE = {
    *("xrDestroyInstance", "xrPollEvent", "xrDestroySession", "xrGetInstanceProcAddr", "xrResultToString"),
    *("xrEnumerateInstanceExtensionProperties", "xrCreateInstance", "negotiate"),
}
"""What can still be called when the instance is lost."""

SEEN = {"well": ALL, "guessed": 7, "turned": 5, "not": 0}
"""Location flags: measured; a place that is guessed; only the turn is known; nothing is."""

RUNTIME_KEY = b"\x03"
"""A request for a runtime begins with this structure type, so read as text it is this."""


class Request(ctypes.Structure):
    """What the loader wants of a runtime: the XrNegotiateRuntimeRequest of the loader's specification."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("version", ctypes.c_uint32),
        ("size", ctypes.c_size_t),
        ("runtime_interface_version", ctypes.c_uint32),
        ("runtime_api_version", ctypes.c_uint64),
        ("get_instance_proc_addr", xr.PFN_xrGetInstanceProcAddr),
    )


class Runtime:
    """An emulated headset with two controllers, and the OpenXR runtime it is connected to.

    ``with runtime.installed():`` makes it the active runtime of this program. The person does what ``script`` says;
    faults can be called from any thread, and over the admin line from any program of this machine.
    """

    def __init__(
        self,
        script: Script = circles,
        extensions: Sequence[str] = OFFERED,
        profile: str = "/interaction_profiles/oculus/touch_controller",
        name: str = "Emulated OpenXR runtime",
    ) -> None:
        if profile not in PROFILES:
            raise ValueError(f"there is no kind of controller {profile!r}; there are {', '.join(PROFILES)}")
        self.state = State(list(extensions), profile, name, script)
        self._session = Session(self.state)
        parts = (Instance(self.state), self._session, Actions(self.state))
        self._functions: dict[str, Any] = {}  # they must outlive the loader's use of them
        for name_, function in {name_: call for part in parts for name_, call in part.functions().items()}.items():
            kind = getattr(xr, f"PFN_{name_}", None) or ctypes.CFUNCTYPE(
                ctypes.c_int, xr.Instance, ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_int64)
            )
            self._functions[name_] = kind(self._guarded(name_, function))
        self._find = xr.PFN_xrGetInstanceProcAddr(self._guarded("xrGetInstanceProcAddr", self._function))
        self._refuse = ctypes.CFUNCTYPE(ctypes.c_int)(
            self._guarded("unsupported", lambda: R.ERROR_FUNCTION_UNSUPPORTED)
        )
        self._negotiate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Request))(
            self._guarded("negotiate", self._negotiated)
        )

    @contextmanager
    def installed(self) -> Generator[None]:
        """Be the active runtime of this program; it has to be left after the last client.

        The loader finds a runtime by a file that names a library. The file is in memory, and the library is the one in
        which pyopenxr's own layers written in Python enter the loader: it asks a table for the function to call.
        """
        from xr.api_layer.layer_path import py_layer_library_path

        library = py_layer_library_path()
        table = ctypes.CDLL(library)
        table.insertXrApiLayer.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
        table.insertXrApiLayer.restype = None
        table.insertXrApiLayer(RUNTIME_KEY, len(RUNTIME_KEY), ctypes.cast(self._negotiate, ctypes.c_void_p))
        entry = {"xrNegotiateLoaderRuntimeInterface": "xrNegotiateLoaderApiLayerInterface"}
        runtime = {"name": self.state.name, "library_path": library, "functions": entry}
        before = os.environ.get("XR_RUNTIME_JSON")
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))  # C may call its functions until the program ends
        file = os.memfd_create("openxr_runtime.json")
        try:
            os.write(file, json.dumps({"file_format_version": "1.0.0", "runtime": runtime}).encode())
            os.environ["XR_RUNTIME_JSON"] = f"/proc/self/fd/{file}"
            yield
        finally:
            self._let_go()
            os.close(file)
            os.environ.pop("XR_RUNTIME_JSON", None)
            if before is not None:
                os.environ["XR_RUNTIME_JSON"] = before

    def _let_go(self) -> None:
        """Have the loader forget this runtime, which it does when an instance ends, and not when none was made."""
        self.mend()
        with suppress(xr.XrException):
            xr.destroy_instance(xr.create_instance(xr.InstanceCreateInfo()))

    def play(self, script: Script) -> None:
        """Let the person do what ``script`` says from now on."""
        with self.state.lock:
            self.state.began = time.monotonic_ns()
            self.state.script = script

    def move(self, **parts: Any) -> None:
        """Let the person stand still from now on, like this: ``move(right={"squeeze": 1.0})``.

        Raises:
            ValueError: a person cannot.
        """
        with self.state.lock:
            person = changed(self.state.person(time.monotonic_ns()), parts)
            self.state.script = lambda _seconds: person

    def person(self) -> Person:
        """Where the person is now."""
        return self.state.person(time.monotonic_ns())

    def see(self, hand: int, how: str = "well") -> None:
        """See a controller ``well``, as ``guessed``, as ``turned`` (its place is not known), or ``not``.

        Raises:
            ValueError: there is no such hand, or no such way to see it.
        """
        if hand not in {0, 1} or how not in SEEN:
            raise ValueError(f"one can see hand 0 or 1, {', '.join(SEEN)}; not hand {hand} {how!r}")
        with self.state.lock:
            self.state.flags[hand] = SEEN[how]

    def switch(self, hand: int, on: bool) -> None:
        """Switch a controller on or off."""
        with self.state.lock:
            (self.state.off.discard if on else self.state.off.add)(hand)
            self.state.say(xr.EventDataInteractionProfileChanged(session=self.state.session()))

    def focus(self, on: bool) -> None:
        """Take the input from the client, as the headset's own menu does, or give it back."""
        with self.state.lock:
            self.state.become(States.FOCUSED if on else States.VISIBLE)

    def recenter(self, origin: list[float], later: float = 0.0) -> None:
        """Move LOCAL to ``origin`` in STAGE (x y z qx qy qz qw), ``later`` seconds from now as the client is told."""
        x, y, z, *turn = origin
        with self.state.lock:
            self.state.origin = Pose((x, y, z), (turn[0], turn[1], turn[2], turn[3]))
            self.state.say(
                xr.EventDataReferenceSpaceChangePending(
                    session=self.state.session(),
                    reference_space_type=xr.ReferenceSpaceType.LOCAL,
                    change_time=time.monotonic_ns() + round(later * 1e9),
                    pose_valid=False,
                )
            )

    def quit(self) -> None:
        """Close the client from within the headset."""
        with self.state.lock:
            self._session.stop()

    def lose_session(self) -> None:
        """Lose the session, as when the headset's connection breaks. A new one can be had."""
        with self.state.lock:
            self.state.become(States.LOSS_PENDING)
            self.state.client.session_lost = True

    def lose_instance(self) -> None:
        """Restart the runtime: everything the client has is void."""
        with self.state.lock:
            self.state.say(xr.EventDataInstanceLossPending(loss_time=time.monotonic_ns()))
            self.state.lost = True

    def plug(self, headset: bool) -> None:
        """Connect a headset, or take it away, which ends the session."""
        with self.state.lock:
            self.state.headset = headset
            if not headset:
                self.lose_session()

    def be(self, up: bool) -> None:
        """Stop the runtime, or start it anew."""
        with self.state.lock:
            self.state.up = up
            if not up:
                self.lose_instance()

    def offer(self, extensions: Sequence[str]) -> None:
        """Offer only these extensions, to clients that come from now on."""
        with self.state.lock:
            self.state.extensions[:] = extensions

    def stall(self, seconds: float) -> None:
        """Let no call return for so long."""
        self.state.stalled = time.monotonic() + seconds

    def fail(self, function: str, result: str = "ERROR_RUNTIME_FAILURE") -> None:
        """Let the next call of ``function``, e.g. ``xrSyncActions``, fail with ``result``, a name or a bare number.

        Raises:
            ValueError: there is no such function, or no such result.
        """
        if function not in self._functions:
            raise ValueError(f"there is no function {function!r}; there are {', '.join(self._functions)}")
        if not result.lstrip("-").isdigit() and result not in R.__members__:
            raise ValueError(f"OpenXR has no result {result!r}")
        with self.state.lock:
            self.state.failing[function] = R[result] if result in R.__members__ else int(result)

    def mend(self) -> None:
        """Take every fault away."""
        with self.state.lock:
            self.state.flags[:] = [ALL, ALL]
            self.state.off.clear()
            self.state.failing.clear()
            self.state.extensions[:] = OFFERED
            self.state.stalled, self.state.headset, self.state.up = 0.0, True, True
            if self.state.client.running and not self.state.focused():
                self.state.become(States.FOCUSED)

    @property
    def pulses(self) -> list[Pulse]:
        """What the controllers were told to do to the hands."""
        with self.state.lock:
            return list(self.state.pulses)

    def status(self) -> dict[str, Any]:
        """What the runtime is doing."""
        with self.state.lock:
            client = self.state.client
            return {
                "connected": bool(client.session),
                "state": States(client.state).name,
                "headset": self.state.headset,
                "up": self.state.up,
                "off": sorted(self.state.off),
                "pulses": [[pulse.hand, pulse.seconds, pulse.amplitude] for pulse in self.state.pulses],
                "errors": list(self.state.errors),
            }

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., int]:
        """Return what the loader may call: it answers with a result, whatever happens in ``function``."""

        def call(*arguments: Any) -> int:
            try:
                while (left := self.state.stalled - time.monotonic()) > 0:
                    time.sleep(min(left, 0.01))
                with self.state.lock:
                    self.state.calls[name] = self.state.calls.get(name, 0) + 1
                    if name in self.state.failing:
                        return int(self.state.failing.pop(name))
                    if self.state.lost and name not in LIVE:
                        return int(R.ERROR_INSTANCE_LOST)
                    if name == "xrWaitFrame":  # it sleeps, and nobody should wait for it
                        self.state.lock.release()
                        try:
                            return int(function(*arguments))
                        finally:
                            self.state.lock.acquire()
                    return int(function(*arguments))
            except Fail as failure:
                return int(failure.result)
            except Exception:  # ruff: ignore[blind-except]  # nothing may pass into the loader, which is C
                self.state.errors.append(traceback.format_exc())
                return int(R.ERROR_RUNTIME_FAILURE)

        return call

    def _negotiated(self, _loader: Any, request: Any) -> Any:
        if not self.state.up:
            return R.ERROR_INITIALIZATION_FAILED
        request.contents.runtime_interface_version = 1
        request.contents.runtime_api_version = (1 << 48) | 34
        request.contents.get_instance_proc_addr = self._find
        return R.SUCCESS

    def _function(self, instance: Any, name: bytes, out: Any) -> Any:
        """Give the loader a function; it calls those of OpenXR itself without asking whether there is one."""
        text, place = name.decode(), ctypes.cast(out, ctypes.POINTER(ctypes.c_void_p))
        extension = OF_EXTENSIONS.get(text)
        if text in self._functions and (extension is None or extension in self.state.client.enabled):
            place[0] = ctypes.cast(self._functions[text], ctypes.c_void_p).value
            return R.SUCCESS
        if extension is None and hasattr(xr.raw_functions, text):
            place[0] = ctypes.cast(self._refuse, ctypes.c_void_p).value
            return R.SUCCESS
        place[0] = None
        return R.ERROR_FUNCTION_UNSUPPORTED
