"""The kinds of controllers an emulated headset can have, by the names OpenXR gives their parts."""

from typing import Literal

from drivers.emulators.openxr.person import Hand

Kind = Literal["bool", "float", "vec2", "pose", "haptic"]
Parts = dict[str, Kind]

_COMMON: Parts = {"input/grip/pose": "pose", "input/aim/pose": "pose", "output/haptic": "haptic"}
_STICK: Parts = {
    "input/thumbstick": "vec2",
    "input/thumbstick/x": "float",
    "input/thumbstick/y": "float",
    "input/thumbstick/click": "bool",
}
_VALUES: Parts = {"input/trigger/value": "float", "input/squeeze/value": "float"}
_SIMPLE: Parts = {**_COMMON, "input/select/click": "bool", "input/menu/click": "bool"}
_AB: Parts = {"input/a/click": "bool", "input/b/click": "bool"}
_XY: Parts = {"input/x/click": "bool", "input/y/click": "bool"}
_MENU: Parts = {"input/menu/click": "bool"}
_HANDLE: Parts = {**_COMMON, **_STICK, **_VALUES}
_FACES: Parts = {"input/primary/click": "bool", "input/secondary/click": "bool"}

PROFILES: dict[str, tuple[Parts, Parts]] = {
    "/interaction_profiles/khr/simple_controller": (_SIMPLE, _SIMPLE),
    "/interaction_profiles/oculus/touch_controller": (_HANDLE | _XY | _MENU, _HANDLE | _AB),
    "/interaction_profiles/valve/index_controller": (_HANDLE | _AB, _HANDLE | _AB),
    "/interaction_profiles/khr/generic_controller": (_HANDLE | _FACES, _HANDLE | _FACES),
    "/interaction_profiles/bytedance/pico_neo3_controller": (_HANDLE | _XY | _MENU, _HANDLE | _AB),
    "/interaction_profiles/bytedance/pico4_controller": (_HANDLE | _XY | _MENU, _HANDLE | _AB),
}
"""Of each kind, the parts of the left and of the right one."""

NEEDS = {
    "/interaction_profiles/khr/generic_controller": "XR_KHR_generic_controller",
    "/interaction_profiles/bytedance/pico_neo3_controller": "XR_BD_controller_interaction",
    "/interaction_profiles/bytedance/pico4_controller": "XR_BD_controller_interaction",
}
"""The extension without which the name does not exist."""

_BITS = {
    **dict.fromkeys(("input/x/click", "input/a/click", "input/primary/click"), 1),
    **dict.fromkeys(("input/y/click", "input/b/click", "input/secondary/click"), 2),
    "input/thumbstick/click": 4,
    "input/menu/click": 8,
}


def whole(parts: Parts, name: str) -> str | None:
    """Return the part that a name stands for, which may leave the last word away, or None."""
    candidates = (name, f"{name}/value", f"{name}/click", f"{name}/pose")
    return next((candidate for candidate in candidates if candidate in parts), None)


def value(hand: Hand, part: str) -> tuple[float, float]:
    """Return what a part says: a number and a zero, or a stick's two."""
    if part == "input/thumbstick":
        return hand.stick
    numbers = {
        "input/trigger/value": hand.trigger,
        "input/select/click": hand.trigger,
        "input/squeeze/value": hand.squeeze,
        "input/thumbstick/x": hand.stick[0],
        "input/thumbstick/y": hand.stick[1],
    }
    return (numbers[part] if part in numbers else float(bool(hand.buttons & _BITS[part]))), 0.0
