"""What the controllers' buttons, sticks and triggers are, asked of the runtime."""

import ctypes
from typing import Any

import numpy as np

from drivers.device import Row
from drivers.openxr.bindings import HANDS, PROFILES
from drivers.openxr.rows import LOWER, MENU, STICK, UPPER
from drivers.openxr.sdk import xr

KINDS = {
    "grip": xr.ActionType.POSE_INPUT,
    "aim": xr.ActionType.POSE_INPUT,
    "trigger": xr.ActionType.FLOAT_INPUT,
    "squeeze": xr.ActionType.FLOAT_INPUT,
    "stick": xr.ActionType.VECTOR2F_INPUT,
    "lower": xr.ActionType.BOOLEAN_INPUT,
    "upper": xr.ActionType.BOOLEAN_INPUT,
    "push": xr.ActionType.BOOLEAN_INPUT,
    "menu": xr.ActionType.BOOLEAN_INPUT,
    "pulse": xr.ActionType.VIBRATION_OUTPUT,
}
BITS = {"lower": LOWER, "upper": UPPER, "push": STICK, "menu": MENU}


class Actions:
    """Our actions in one instance, suggested to every kind of controller that its extensions know."""

    def __init__(self, instance: Any, enabled: list[str]) -> None:
        self._instance = instance
        self._hands = [xr.string_to_path(instance, f"/user/hand/{hand}") for hand in HANDS]
        self._set = xr.create_action_set(instance, xr.ActionSetCreateInfo("hands", "Hands", 0))
        paths = (xr.Path * 2)(*self._hands)
        self._actions = {
            name: xr.create_action(self._set, xr.ActionCreateInfo(name, kind, 2, paths, name.capitalize()))
            for name, kind in KINDS.items()
        }
        for profile in PROFILES:
            if not profile.extension or profile.extension in enabled:
                self._suggest(profile.path, list(profile.bindings()))
        self._sync = xr.ActionsSyncInfo(active_action_sets=[xr.ActiveActionSet(self._set, xr.NULL_PATH)])
        self._asked = {
            (name, hand): xr.ActionStateGetInfo(action=action, subaction_path=path)
            for name, action in self._actions.items()
            for hand, path in enumerate(self._hands)
        }

    def _suggest(self, profile: str, bindings: list[tuple[str, str]]) -> None:
        suggested = [
            xr.ActionSuggestedBinding(self._actions[name], xr.string_to_path(self._instance, path))
            for name, path in bindings
        ]
        xr.suggest_interaction_profile_bindings(
            self._instance,
            xr.InteractionProfileSuggestedBinding(
                interaction_profile=xr.string_to_path(self._instance, profile),
                count_suggested_bindings=len(suggested),
                suggested_bindings=(xr.ActionSuggestedBinding * len(suggested))(*suggested),
            ),
        )

    def attach(self, session: Any) -> dict[tuple[str, int], Any]:
        """Use the actions in ``session``; return a space for each pose, by its name and hand."""
        xr.attach_session_action_sets(session, xr.SessionActionSetsAttachInfo(action_sets=[self._set]))
        return {
            (name, hand): xr.create_action_space(
                session, xr.ActionSpaceCreateInfo(action=self._actions[name], subaction_path=path)
            )
            for name in ("grip", "aim")
            for hand, path in enumerate(self._hands)
        }

    def sync(self, session: Any) -> bool:
        """Take the newest input; return whether it is ours to take."""
        try:
            xr.sync_actions(session, self._sync)
        except xr.SessionNotFocused:
            return False
        return True

    def active(self, session: Any, hand: int) -> bool:
        """Whether that hand's controller is on."""
        return bool(xr.get_action_state_pose(session, self._asked["grip", hand]).is_active)

    def fill(self, session: Any, hand: int, row: Row) -> None:
        """Write one hand's trigger, squeeze, stick and buttons into the row."""
        row["trigger"][hand] = self._number(session, "trigger", hand)
        row["squeeze"][hand] = self._number(session, "squeeze", hand)
        stick = xr.get_action_state_vector2f(session, self._asked["stick", hand])
        if stick.is_active:
            row["stick"][hand] = stick.current_state.x, stick.current_state.y
        row["buttons"][hand] = sum(
            bit
            for name, bit in BITS.items()
            if xr.get_action_state_boolean(session, self._asked[name, hand]).current_state
        )

    def _number(self, session: Any, name: str, hand: int) -> float:
        state = xr.get_action_state_float(session, self._asked[name, hand])
        return float(state.current_state) if state.is_active else np.nan

    def pulse(self, session: Any, hand: int, seconds: float, amplitude: float) -> None:
        """Let one controller shake."""
        vibration = xr.HapticVibration(duration=round(seconds * 1e9), frequency=0.0, amplitude=amplitude)
        xr.apply_haptic_feedback(
            session,
            xr.HapticActionInfo(action=self._actions["pulse"], subaction_path=self._hands[hand]),
            ctypes.cast(ctypes.byref(vibration), ctypes.POINTER(xr.HapticBaseHeader)).contents,
        )
