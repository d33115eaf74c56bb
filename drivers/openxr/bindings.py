"""What our actions are called on each kind of controller."""

from collections.abc import Iterator
from dataclasses import dataclass

HANDS = ("left", "right")

Parts = dict[str, str]
"""Which part of a controller does what: action to component."""

ALWAYS: Parts = {"grip": "input/grip/pose", "aim": "input/aim/pose", "pulse": "output/haptic"}
ANALOGUE: Parts = ALWAYS | {
    "trigger": "input/trigger/value",
    "squeeze": "input/squeeze/value",
    "stick": "input/thumbstick",
    "push": "input/thumbstick/click",
}
AB: Parts = {"lower": "input/a/click", "upper": "input/b/click"}
XY: Parts = {"lower": "input/x/click", "upper": "input/y/click"}
MENU: Parts = {"menu": "input/menu/click"}


@dataclass(frozen=True)
class Profile:
    """One kind of controller, as the runtime names it, and what each hand's has."""

    path: str
    left: Parts
    right: Parts
    extension: str = ""
    """Without which a runtime does not know the path."""

    def bindings(self) -> Iterator[tuple[str, str]]:
        """Yield (action, path of the part) for both hands."""
        for hand, parts in zip(HANDS, (self.left, self.right), strict=True):
            for action, part in parts.items():
                yield action, f"/user/hand/{hand}/{part}"


PICO = "XR_BD_controller_interaction"
GENERIC = "XR_KHR_generic_controller"
FACES: Parts = {"lower": "input/primary/click", "upper": "input/secondary/click"}

PROFILES = (
    Profile("/interaction_profiles/oculus/touch_controller", ANALOGUE | XY | MENU, ANALOGUE | AB),
    Profile("/interaction_profiles/bytedance/pico_neo3_controller", ANALOGUE | XY | MENU, ANALOGUE | AB, PICO),
    Profile("/interaction_profiles/bytedance/pico4_controller", ANALOGUE | XY | MENU, ANALOGUE | AB, PICO),
    Profile("/interaction_profiles/valve/index_controller", ANALOGUE | AB, ANALOGUE | AB),
    Profile("/interaction_profiles/khr/generic_controller", ANALOGUE | FACES, ANALOGUE | FACES, GENERIC),
    Profile(
        "/interaction_profiles/khr/simple_controller",
        ALWAYS | MENU | {"trigger": "input/select/click"},
        ALWAYS | MENU | {"trigger": "input/select/click"},
    ),
)
"""From the interaction profiles of the OpenXR specification. A runtime maps a controller it knows to the nearest of
these; SteamVR maps none to the simple one unless it is named, so all are."""
