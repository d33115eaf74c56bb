"""The functions of OpenXR for actions: what the controllers' parts are bound to, and what they say."""

import ctypes
import time
from collections.abc import Callable
from typing import Any

from drivers.emulators.openxr.controllers import NEEDS, PROFILES, Kind, value, whole
from drivers.emulators.openxr.state import Action, Fail, Pulse, R, State, Value, give, number, raw
from drivers.openxr.sdk import xr

KINDS: dict[Any, Kind] = {
    xr.ActionType.BOOLEAN_INPUT: "bool",
    xr.ActionType.FLOAT_INPUT: "float",
    xr.ActionType.VECTOR2F_INPUT: "vec2",
    xr.ActionType.POSE_INPUT: "pose",
    xr.ActionType.VIBRATION_OUTPUT: "haptic",
}
OFF = Value(active=False, value=(0.0, 0.0), changed=False, t=0)


class Actions:
    """Action functions on a state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "xrCreateActionSet": self.create_set,
            "xrDestroyActionSet": self.destroy_set,
            "xrCreateAction": self.create,
            "xrDestroyAction": self.destroy,
            "xrSuggestInteractionProfileBindings": self.suggest,
            "xrAttachSessionActionSets": self.attach,
            "xrGetCurrentInteractionProfile": self.profile,
            "xrSyncActions": self.sync,
            "xrGetActionStateBoolean": self.boolean,
            "xrGetActionStateFloat": self.number,
            "xrGetActionStateVector2f": self.stick,
            "xrGetActionStatePose": self.pose,
            "xrApplyHapticFeedback": self.shake,
            "xrStopHapticFeedback": self.be_still,
        }

    def create_set(self, instance: Any, info: Any, out: Any) -> Any:
        handle = self._state.handle()
        self._state.client.sets.add(handle)
        give(out, handle)
        return R.SUCCESS

    def destroy_set(self, handle: Any) -> Any:
        self._state.client.sets.discard(number(handle))
        return R.SUCCESS

    def create(self, action_set: Any, info: Any, out: Any) -> Any:
        client, asked, owner = self._state.client, info.contents, number(action_set)
        if client.attached and owner in client.attached:
            return R.ERROR_ACTIONSETS_ALREADY_ATTACHED
        if owner not in client.sets:
            return R.ERROR_HANDLE_INVALID
        handle = self._state.handle()
        sub = [raw(asked, "subaction_paths")[index] for index in range(asked.count_subaction_paths)]
        client.actions[handle] = Action(owner, KINDS[xr.ActionType(raw(asked, "action_type"))], sub)
        give(out, handle)
        return R.SUCCESS

    def destroy(self, action: Any) -> Any:
        self._state.client.actions.pop(number(action), None)
        return R.SUCCESS

    def suggest(self, instance: Any, info: Any) -> Any:
        client, asked = self._state.client, info.contents
        if client.attached is not None:
            return R.ERROR_ACTIONSETS_ALREADY_ATTACHED
        profile = client.paths[asked.interaction_profile]
        if profile not in PROFILES or (profile in NEEDS and NEEDS[profile] not in client.enabled):
            return R.ERROR_PATH_UNSUPPORTED
        found = []
        for index in range(asked.count_suggested_bindings):
            binding = raw(asked, "suggested_bindings")[index]
            _, user, hand, side, part = client.paths[binding.binding].split("/", 4)
            if (user, hand) != ("user", "hand") or side not in {"left", "right"}:
                return R.ERROR_PATH_UNSUPPORTED
            place = ("left", "right").index(side)
            known = whole(PROFILES[profile][place], part)
            if known is None:
                return R.ERROR_PATH_UNSUPPORTED
            found.append((number(binding.action), place, known))
        client.bindings[profile] = found
        return R.SUCCESS

    def attach(self, session: Any, info: Any) -> Any:
        self._state.check(session)
        client, asked = self._state.client, info.contents
        if client.attached is not None:
            return R.ERROR_ACTIONSETS_ALREADY_ATTACHED
        client.attached = {number(raw(asked, "action_sets")[index]) for index in range(asked.count_action_sets)}
        self._state.say(xr.EventDataInteractionProfileChanged(session=self._state.session()))
        return R.SUCCESS

    def profile(self, session: Any, user: int, out: Any) -> Any:
        self._attached(session)
        client, profile = self._state.client, self._state.profile
        hand = ("left", "right").index(client.paths[user].rsplit("/", 1)[-1])
        known = profile in client.bindings and hand not in self._state.off
        out.contents.interaction_profile = client.paths.index(profile) if known else 0
        return R.SUCCESS

    def sync(self, session: Any, info: Any) -> Any:
        attached, client, asked = self._attached(session), self._state.client, info.contents
        active = {
            number(raw(asked, "active_action_sets")[index].action_set)
            for index in range(asked.count_active_action_sets)
        }
        if not active <= attached:
            return R.ERROR_ACTIONSET_NOT_ATTACHED
        now = time.monotonic_ns()
        for handle, action in client.actions.items():
            if action.set in active and action.kind not in {"pose", "haptic"}:
                for sub in (0, *action.sub):
                    self._take(handle, sub, now)
        return R.SUCCESS if self._state.focused() else R.SESSION_NOT_FOCUSED

    def _take(self, handle: int, sub: int, now: int) -> None:
        """Take one action's newest input; of several parts the one that is moved most counts."""
        values, person = self._state.client.values, self._state.person(now)
        before = values.get((handle, sub), OFF)
        found = [value(person.hands[hand], part) for hand, part in self._state.bound(handle, sub)]
        active = bool(found) and self._state.focused()
        most = max(found, key=lambda pair: pair[0] ** 2 + pair[1] ** 2) if active else (0.0, 0.0)
        if self._state.client.actions[handle].kind == "bool":
            most = (float(most[0] > 0.5), 0.0)
        changed = before.active and active and before.value != most
        values[handle, sub] = Value(active, most, changed, now if changed else before.t)

    def _attached(self, session: Any) -> set[int]:
        self._state.check(session)
        if self._state.client.attached is None:
            raise Fail(R.ERROR_ACTIONSET_NOT_ATTACHED)
        return self._state.client.attached

    def _asked(self, session: Any, get: Any, kind: Kind) -> tuple[int, int]:
        """The action and the subaction path that a client asks for.

        Raises:
            Fail: it may not.
        """
        attached, handle, sub = self._attached(session), number(get.contents.action), get.contents.subaction_path
        action = self._state.client.actions.get(handle)
        if action is None:
            raise Fail(R.ERROR_HANDLE_INVALID)
        if action.set not in attached:
            raise Fail(R.ERROR_ACTIONSET_NOT_ATTACHED)
        if action.kind != kind:
            raise Fail(R.ERROR_ACTION_TYPE_MISMATCH)
        if sub and sub not in action.sub:
            raise Fail(R.ERROR_PATH_UNSUPPORTED)
        return handle, sub

    def _fill(self, session: Any, get: Any, out: Any, kind: Kind) -> tuple[float, float]:
        known = self._state.client.values.get(self._asked(session, get, kind), OFF)
        out.contents.is_active = int(known.active)
        out.contents.changed_since_last_sync = int(known.changed)
        out.contents.last_change_time = known.t
        return known.value

    def boolean(self, session: Any, get: Any, out: Any) -> Any:
        out.contents.current_state = int(self._fill(session, get, out, "bool")[0])
        return R.SUCCESS

    def number(self, session: Any, get: Any, out: Any) -> Any:
        out.contents.current_state = self._fill(session, get, out, "float")[0]
        return R.SUCCESS

    def stick(self, session: Any, get: Any, out: Any) -> Any:
        state = out.contents.current_state
        state.x, state.y = self._fill(session, get, out, "vec2")
        return R.SUCCESS

    def pose(self, session: Any, get: Any, out: Any) -> Any:
        bound = self._state.bound(*self._asked(session, get, "pose"))
        out.contents.is_active = int(bool(bound) and self._state.focused())
        return R.SUCCESS

    def shake(self, session: Any, info: Any, haptic: Any) -> Any:
        vibration = ctypes.cast(haptic, ctypes.POINTER(xr.HapticVibration)).contents
        return self._pulse(session, info, vibration.duration / 1e9, vibration.amplitude)

    def be_still(self, session: Any, info: Any) -> Any:
        return self._pulse(session, info, 0.0, 0.0)

    def _pulse(self, session: Any, info: Any, seconds: float, amplitude: float) -> Any:
        bound = self._state.bound(*self._asked(session, info, "haptic"))
        if not self._state.focused():
            return R.SESSION_NOT_FOCUSED
        self._state.pulses += [Pulse(time.monotonic_ns(), hand, seconds, amplitude) for hand, _ in bound]
        return R.SUCCESS
