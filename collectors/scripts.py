"""Who can show what without a person's hands, where it is known where things are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from collectors import bimanual, kitchen
from collectors.agents import Agent
from collectors.bimanual import Bimanual
from collectors.kitchen import KitchenHand
from collectors.scripted import Scripted, asked
from collectors.ways import Lacking, Place
from drivers import Robot
from storage import Observation

TRUTH = "truth"
"""The device that knows where things are."""


class Demonstrator(Agent, Protocol):
    """Shows a task without a person, and says when it is done."""

    def done(self, seen: Observation, /) -> bool: ...


@dataclass(frozen=True)
class Script:
    """A demonstrator, and what it can show."""

    sees: frozenset[str]
    """What it has to know of the table: fields of ``truth``."""
    asked: Callable[[str, Sequence[str]], object]
    """Reads an instruction, given the fields of ``truth``; raises Unclear when it is not for this demonstrator."""
    make: Callable[[Robot, int], Demonstrator]
    """For a robot and the seed of a start."""


SCRIPTS = (
    Script(
        frozenset({"red_cube", "yellow_pad", "held"}),
        asked,
        lambda robot, seed: Scripted(robot.kinematics, robot.action, seed=seed),
    ),
    *(
        Script(frozenset({*things, "stage"}), bimanual.asked, lambda robot, _: Bimanual(robot.kinematics, robot.action))
        for things in bimanual.ON.values()
    ),
    *(
        Script(
            frozenset({element, "off"}),
            kitchen.shown,
            lambda robot, seed: KitchenHand(robot.kinematics, robot.action, seed),
        )
        for element in kitchen.HANDLES
    ),
)
"""Who shows what, where nobody's hands are needed."""


def script(names: Sequence[str], station: str) -> Script:
    """Who can show tasks at a station, given the fields of its ``truth``.

    Raises:
        Lacking: nobody can.
    """
    if not names:
        raise Lacking(f"a script needs to know where things are, and {station} has no device {TRUTH!r}")
    for one in SCRIPTS:
        if one.sees <= {*names}:
            return one
    raise Lacking(f"no script knows what to do with the things at {station}: {', '.join(names)}")


def agent(place: Place) -> Demonstrator:
    """Shows tasks at a place alone, while a person looks on.

    Raises:
        Lacking: nobody knows how to.
    """
    names = place.devices[TRUTH].dtype.names if TRUTH in place.devices else ()
    return script(names or (), "this station").make(place.robot, 0)
