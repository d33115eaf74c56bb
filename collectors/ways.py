"""The ways to show a robot what to do: who drives, what that takes, and where in the code they are."""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collectors.agents import Agent
from collectors.buttons import HELP, Buttons, Closing, Grasped
from collectors.events import Event, Events, Source
from drivers import Device, Robot
from drivers.hosted import Hosted
from storage import Episode

type Pulse = Callable[[int, float, float], None]
"""Shakes what the left (0) or right (1) hand holds for so many seconds, with an amplitude of 0 to 1."""


class Lacking(ValueError):
    """A station has not what a way needs. The message says what would add it."""


@dataclass(frozen=True)
class Place:
    """What whoever drives is given: a station's robot and devices, and what the person beside it presses."""

    robot: Robot
    """Guarded. What it is to do beside moving, e.g. ``guide``, is in ``devices``."""
    devices: Mapping[str, Device]
    """All, by name, the robot's own driver among them; a hosted one has ``ask`` and ``tell``."""
    hz: float
    """How often the agent is asked."""
    events: Events = field(default_factory=Events)
    """An agent takes what concerns it, e.g. ``events.take(*GRIPS)``, and nothing else."""
    pulse: Pulse = lambda _hand, _seconds, _amplitude: None
    repeats: Episode | None = None
    """What was recorded, for a way that repeats it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the station file says under ``[by.WAY]``."""

    def with_rows(self, *names: str) -> list[str]:
        """The devices that measure all of these, by name, the robot left out."""
        found = (one for one in self.devices.values() if one.name != self.robot.name)
        return [one.name for one in found if {*names} <= {*(one.dtype.names or ())}]


@dataclass(frozen=True)
class Way:
    """One way."""

    agent: str
    """``module:function``; the function takes a `Place` and returns an `Agent`, or raises `Lacking`."""
    sources: Callable[[Place], Sequence[Source]] = lambda _place: ()
    """What the devices it uses say of what a person presses."""
    lacks: Callable[[Place], str] = lambda _place: ""
    """What the place has to have and has not, and the lines of a station file that would add it; else empty."""
    report: str = ""
    """``module:function``; the function takes an `Episode` and says in a few words what is particular of this way."""
    helps: str = ""
    """What the person's hands can say, in words, beside the keys."""


HANDS = ("grip", "aim", "buttons", "focused", "space")
"""Fields of the rows of a headset, or of whatever is in its place."""

LEADER = ("q", "width", "positions")
"""Fields of the rows of an arm that a hand moves."""


def _no_hands(place: Place) -> str:
    if place.with_rows(*HANDS):
        return ""
    return (
        'a headset; add\n[device.hands]\ndriver = "drivers.openxr:Headset"\n'
        "or, for one that has no more than a browser (python -m drivers.webxr says what to open in it),\n"
        '[device.hands]\ndriver = "drivers.webxr:WebHands"'
    )


def _no_leaders(place: Place) -> str:
    sides = ["left", "right"] if _arms(place) == 2 else ["left"]
    missing = sides[len(place.with_rows(*LEADER)) :]
    lines = [
        f'[device.{side}_leader]\ndriver = "drivers.dynamixel:Leader"\nport = "/dev/ttyDXL_leader_{side}"'
        for side in missing
    ]
    return "\n".join([f"{len(sides)} leader arm{'s' * (len(sides) > 1)}; add", *lines]) if missing else ""


def _unguided(place: Place) -> str:
    if can(place.devices[place.robot.name], "guide"):
        return ""
    return 'a robot that a hand can guide; as [device.arm] use\ndriver = "drivers.franka:Franka"'


def _nothing_to_repeat(place: Place) -> str:
    return "" if place.repeats is not None else "an episode to repeat; give it, e.g. --of ID"


def _no_truth(place: Place) -> str:
    return "" if "truth" in place.devices else "to know where things are; no real table tells"


def _arms(place: Place) -> int:
    action = place.robot.action
    return int(np.prod(action["width"].shape)) if "width" in (action.names or ()) else 1


def _buttons(place: Place) -> list[Source]:
    """Of the headset that the station file names, if there are several: another may lie somewhere on its buttons."""
    named = place.settings.get("device", "")
    return [Buttons(name) for name in place.with_rows(*HANDS) if named in {"", name}]


def _grippers(place: Place) -> list[Source]:
    widest = max((getattr(place.devices[name], "widest", WIDEST) for name in place.with_rows(*LEADER)), default=WIDEST)
    return [*Closing(place.with_rows(*LEADER), widest).fingers()]


def _guiding(place: Place) -> list[Source]:
    return [Grasped(place.robot.name, released=(Event.SUCCESS,))] if "mode" in (place.robot.dtype.names or ()) else []


WIDEST = 0.079
"""How far a leader's open gripper opens the follower's, in metres, unless its driver says otherwise."""

WAYS: Mapping[str, Way] = {
    "vr": Way("collectors.vr:agent", _buttons, _no_hands, "collectors.latency:report", HELP),
    "kinesthetic": Way("collectors.kinesthetic:agent", _guiding, _unguided),
    "leader": Way("collectors.leader:agent", _grippers, _no_leaders, "collectors.leader:report"),
    "replay": Way("collectors.replay:agent", lambda _place: (), _nothing_to_repeat),
    "scripted": Way("collectors.scripts:agent", lambda _place: (), _no_truth),
}
"""By the name that ``--by`` and the catalog give them."""


def agent(way: str, place: Place) -> Agent:
    """Make whoever drives.

    Raises:
        Lacking: the place has not what that takes.
    """
    if lacks := WAYS[way].lacks(place):
        raise Lacking(f"--by {way} needs {lacks}")
    made: Agent = pkgutil.resolve_name(WAYS[way].agent)(place)
    return made


def report(way: str, episode: Episode) -> str:
    """What there is to say of an episode that only this way has, e.g. how far commands were behind the hand."""
    where = WAYS[way].report if way in WAYS else ""
    return str(pkgutil.resolve_name(where)(episode)) if where else ""


def can(device: Any, what: str) -> bool:
    """Whether a device, here or hosted, has a method of that name."""
    return device.can(what) if isinstance(device, Hosted) else callable(getattr(device, what, None))


def do(device: Any, what: str, **values: float) -> None:
    """Have a device, here or hosted, do something, and do not wait for it."""
    if isinstance(device, Hosted):
        device.tell(what, **values)
    else:
        getattr(device, what)(**values)


def have(device: Any, what: str) -> None:
    """Have a device, here or hosted, do something, and wait until it is done."""
    if isinstance(device, Hosted):
        device.ask(what)
    else:
        getattr(device, what)()
