"""The functions of OpenXR that a session has: its life, its frames, its spaces."""

import ctypes
import time
from collections.abc import Callable
from typing import Any

from drivers.emulators.openxr.person import Person, Pose
from drivers.emulators.openxr.state import ALL, Fail, R, State, States, give, number, raw
from drivers.openxr.sdk import xr

PERIOD = 1_000_000_000 // 72
"""Nanoseconds of a frame of the emulated headset."""

AHEAD = 20_000_000
"""How long before it is seen a frame has to be made, in nanoseconds."""

BINDINGS = {
    int(getattr(xr.StructureType, name)): extension
    for name, extension in (
        ("GRAPHICS_BINDING_EGL_MNDX", "XR_MNDX_egl_enable"),
        ("GRAPHICS_BINDING_OPENGL_XLIB_KHR", "XR_KHR_opengl_enable"),
        ("GRAPHICS_BINDING_OPENGL_WIN32_KHR", "XR_KHR_opengl_enable"),
    )
}


class Session:
    """Session functions on a state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "xrCreateSession": self.create,
            "xrDestroySession": self.destroy,
            "xrBeginSession": self.begin,
            "xrRequestExitSession": self.request_exit,
            "xrEndSession": self.end,
            "xrWaitFrame": self.wait_frame,
            "xrBeginFrame": self.begin_frame,
            "xrEndFrame": self.end_frame,
            "xrEnumerateReferenceSpaces": self.reference_spaces,
            "xrCreateReferenceSpace": self.reference_space,
            "xrCreateActionSpace": self.action_space,
            "xrDestroySpace": self.destroy_space,
            "xrLocateSpace": self.locate,
        }

    def create(self, instance: Any, info: Any, out: Any) -> Any:
        client = self._state.client
        if client.session:
            return R.ERROR_LIMIT_REACHED
        binding = info.contents.next
        client.headless = not binding
        if client.headless:
            if "XR_MND_headless" not in client.enabled:
                return R.ERROR_GRAPHICS_DEVICE_INVALID
        else:
            kind = ctypes.cast(binding, ctypes.POINTER(ctypes.c_int))[0]
            if BINDINGS.get(kind) not in client.enabled:
                return R.ERROR_GRAPHICS_DEVICE_INVALID
            if not client.graphics_asked:
                return R.ERROR_GRAPHICS_REQUIREMENTS_CALL_MISSING
        client.session, client.session_lost, client.running, client.attached = self._state.handle(), False, False, None
        give(out, client.session)
        self._state.become(States.IDLE, States.READY)
        return R.SUCCESS

    def destroy(self, session: Any) -> Any:
        client = self._state.client
        if number(session) != client.session:
            return R.ERROR_HANDLE_INVALID
        client.session, client.running, client.attached = 0, False, None
        client.spaces.clear()
        client.state = States.UNKNOWN
        return R.SUCCESS

    def begin(self, session: Any, info: Any) -> Any:
        self._state.check(session)
        client = self._state.client
        if client.running:
            return R.ERROR_SESSION_RUNNING
        if client.state != States.READY:
            return R.ERROR_SESSION_NOT_READY
        client.running = True
        if client.headless:
            self._state.become(States.SYNCHRONIZED, States.VISIBLE, States.FOCUSED)
        return R.SUCCESS

    def request_exit(self, session: Any) -> Any:
        self._running(session)
        self.stop()
        return R.SUCCESS

    def stop(self) -> None:
        """Go from wherever the session is to STOPPING."""
        way = [States.FOCUSED, States.VISIBLE, States.SYNCHRONIZED, States.STOPPING]
        state = self._state.client.state
        self._state.become(*(way[way.index(state) + 1 :] if state in way else way[-1:]))

    def end(self, session: Any) -> Any:
        self._state.check(session)
        if self._state.client.state != States.STOPPING:
            return R.ERROR_SESSION_NOT_STOPPING
        self._state.client.running = False
        self._state.become(States.IDLE, States.EXITING)
        return R.SUCCESS

    def wait_frame(self, session: Any, info: Any, out: Any) -> Any:
        self._running(session)
        now = time.monotonic_ns()
        time.sleep((PERIOD - now % PERIOD) / 1e9)
        out.contents.predicted_display_time = time.monotonic_ns() + AHEAD
        out.contents.predicted_display_period = PERIOD
        out.contents.should_render = 0
        return R.SUCCESS

    def begin_frame(self, session: Any, info: Any) -> Any:
        self._running(session)
        self._state.client.frame = True
        return R.SUCCESS

    def end_frame(self, session: Any, info: Any) -> Any:
        self._running(session)
        if not self._state.client.frame:
            return R.ERROR_CALL_ORDER_INVALID
        self._state.client.frame = False
        if self._state.client.state == States.READY:
            self._state.become(States.SYNCHRONIZED, States.VISIBLE, States.FOCUSED)
        return R.SUCCESS

    def _running(self, session: Any) -> None:
        self._state.check(session)
        if not self._state.client.running:
            raise Fail(R.ERROR_SESSION_NOT_RUNNING)

    def reference_spaces(self, session: Any, capacity: int, count: Any, out: Any) -> Any:
        kinds = (xr.ReferenceSpaceType.VIEW, xr.ReferenceSpaceType.LOCAL, xr.ReferenceSpaceType.STAGE)
        count[0] = len(kinds)
        for index, kind in enumerate(kinds) if capacity else ():
            out[index] = int(kind)
        return R.SUCCESS

    def reference_space(self, session: Any, info: Any, out: Any) -> Any:
        kind = xr.ReferenceSpaceType(raw(info.contents, "reference_space_type"))
        return self._space(session, {"kind": kind}, info.contents.pose_in_reference_space, out)

    def action_space(self, session: Any, info: Any, out: Any) -> Any:
        action = number(info.contents.action)
        known = self._state.client.actions.get(action)
        if known is None or known.kind != "pose":
            return R.ERROR_ACTION_TYPE_MISMATCH
        space = {"action": action, "sub": info.contents.subaction_path}
        return self._space(session, space, info.contents.pose_in_action_space, out)

    def _space(self, session: Any, space: dict[str, Any], offset: Any, out: Any) -> Any:
        self._state.check(session)
        place, turn = offset.position, offset.orientation
        try:
            pose = Pose((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))
        except ValueError:
            return R.ERROR_POSE_INVALID
        handle = self._state.handle()
        self._state.client.spaces[handle] = space | {"offset": pose}
        give(out, handle)
        return R.SUCCESS

    def destroy_space(self, space: Any) -> Any:
        known = self._state.client.spaces.pop(number(space), None)
        return R.ERROR_HANDLE_INVALID if known is None else R.SUCCESS

    def locate(self, space: Any, base: Any, t: int, out: Any) -> Any:
        client = self._state.client
        if client.session_lost:
            return R.ERROR_SESSION_LOST
        if t <= 0:
            return R.ERROR_TIME_INVALID
        one, other = (client.spaces.get(number(handle)) for handle in (space, base))
        if one is None or other is None:
            return R.ERROR_HANDLE_INVALID
        person = self._state.person(t)
        (pose, flags), (origin, seen) = self._where(one, person), self._where(other, person)
        location = out.contents
        location.location_flags = xr.SpaceLocationFlags(flags & seen)
        if flags & seen & 3:
            found = origin.inverse() @ pose
            place, turn = location.pose.position, location.pose.orientation
            place.x, place.y, place.z = found.p
            turn.x, turn.y, turn.z, turn.w = found.q
        return R.SUCCESS

    def _where(self, space: dict[str, Any], person: Person) -> tuple[Pose, int]:
        """Return a space's pose in STAGE, and how well it is seen."""
        if "kind" in space:
            spaces = {
                xr.ReferenceSpaceType.STAGE: Pose(),
                xr.ReferenceSpaceType.LOCAL: self._state.origin,
                xr.ReferenceSpaceType.VIEW: person.head,
            }
            return spaces[space["kind"]] @ space["offset"], ALL
        bound = self._state.bound(space["action"], space["sub"])
        if not bound or not self._state.focused():
            return Pose(), 0
        index, part = bound[0]
        hand = person.hands[index]
        pose = (hand.aim or hand.grip) if "aim" in part else hand.grip
        return pose @ space["offset"], self._state.flags[index]
