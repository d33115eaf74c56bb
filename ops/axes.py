"""What a trial may vary beside where things stand: axes, their numbered variants, and what of them a policy has seen.

A condition names an axis with the number of a variant, e.g. ``{"seed": 1000007, "lighting": 3}``; what it does not name
is as usual. Demonstrations are shown in other variants than those in which policies are tried.
"""

import json
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np

ORIG = "orig"
"""What a condition is called that names no axis."""

ALL = "all"
"""In place of axes: all that there are."""

WORDS = "instruction_paraphrase"
"""The axis that changes nothing on the table: the policy is told the same in other words."""

AXES = {
    "background": "lay another cloth on the table",
    "lighting": "change the light: darker or brighter, warmer or cooler, or from elsewhere",
    "camera": "move the front camera by up to 5 cm, and turn it by up to 4 degrees",
    "distractor": "put one to three other things on the table, out of the way",
    "novel_instance": "take another object that is called the same",
    "size_shift": "take the same object in another size",
    "start_shift": "begin elsewhere: the arm, the objects, or both",
    WORDS: "nothing on the table changes; the robot is told the same in other words",
}
"""Every axis, and how a person sets it."""

VARIANTS = 100
"""Trials are in the variants 1 to this, demonstrations in as many above."""

type Condition = Mapping[str, Any]


class NoSuchAxis(ValueError):
    """A condition cannot be varied so. The message names the axes along which it can."""


def chosen(wanted: Sequence[str], there: Collection[str], where: str) -> tuple[str, ...]:
    """Return these axes, or for ``all`` every one that a place can vary; words can be changed anywhere.

    Raises:
        NoSuchAxis: it cannot vary one of them, or one came twice.
    """
    can = [axis for axis in AXES if axis in there or axis == WORDS]
    if [*wanted] == [ALL]:
        return tuple(can)
    if missing := [axis for axis in wanted if axis not in can]:
        raise NoSuchAxis(f"{where} cannot vary {', '.join(missing)}; it can vary {', '.join(can)}")
    if twice := sorted({axis for axis in wanted if wanted.count(axis) > 1}):
        raise NoSuchAxis(f"each axis is varied alone, but {', '.join(twice)} came more than once")
    return tuple(wanted)


def varied(condition: Condition) -> tuple[str, ...]:
    """Return the axes that a condition names."""
    return tuple(axis for axis in AXES if axis in condition)


def name(condition: Condition) -> str:
    """Return what trials from such a condition are counted under, e.g. ``lighting``, or ``orig``."""
    return "+".join(varied(condition)) or ORIG


def conditions(axes: Sequence[str], seed: int, n: int) -> dict[str, list[dict[str, int]]]:
    """Return what each of ``n`` starts has beside its seed: nothing as ``orig``, then a variant of each axis.

    Which variants are drawn follows from the seed. None comes twice before all have come.
    """
    found: dict[str, list[dict[str, int]]] = {ORIG: [{} for _ in range(n)]}
    for axis in axes:
        drawn = np.random.default_rng([seed, zlib.crc32(axis.encode())]).permutation(VARIANTS)
        found[axis] = [{axis: int(drawn[k % VARIANTS]) + 1} for k in range(n)]
    return found


def shown(axes: Sequence[str], start: int) -> dict[str, int]:
    """Return what the demonstration from a start has beside its seed: the axes take turns, and so do their variants."""
    if not axes:
        return {}
    turn, axis = divmod(start, len(axes))
    return {axes[axis]: VARIANTS + 1 + turn % VARIANTS}


def split(condition: Condition, learned: Collection[str]) -> Literal["seen", "ood"]:
    """Say whether what a condition varies was varied in what a policy learned from, given the axes that were."""
    return "seen" if {*varied(condition)} <= {*learned} else "ood"


def of_scene(condition: Condition) -> dict[str, Any]:
    """Return what of a condition is to be set on the table."""
    return {key: value for key, value in condition.items() if key != WORDS}


def start(condition: Condition) -> str:
    """Return what is left of a condition without axes, as a key: the start that it varies."""
    return json.dumps({key: value for key, value in condition.items() if key not in AXES}, sort_keys=True)


def to_set(condition: Condition) -> str:
    """Say how a person sets a scene, e.g. ``red_cube left, background 3 (lay another cloth on the table)``."""
    return ", ".join(f"{key} {value}" + (f" ({AXES[key]})" if key in AXES else "") for key, value in condition.items())


def told(instruction: str, condition: Condition) -> str:
    """Return the words in which a policy is told what to do: its task's, or what the condition makes of them."""
    return paraphrase(instruction, int(condition[WORDS])) if WORDS in condition else instruction


def paraphrase(instruction: str, number: int) -> str:
    """Say the same in other words. Demonstrations and trials, whose numbers differ, share no way to say it.

    An instruction of another form than ``put the ... on the ...`` is only addressed otherwise.

    >>> paraphrase("put the red cube on the yellow pad", 1)
    'place the red cube on the yellow pad'
    >>> paraphrase("hand the cube to the other arm", 3)
    'hand the cube to the other arm, please'

    Raises:
        ValueError: the number is none of a variant.
    """
    if number < 1:
        raise ValueError(f"{WORDS} must be the number of a variant, 1 or more, not {number}")
    rest, nth = divmod(number - 1, 10)
    around, shows = rest % 10, rest // 10 % 2
    said = re.fullmatch(r"put (?P<thing>the .+?) (?P<where>on|onto|in|into) (?P<goal>the .+?)\.?", instruction.lower())
    if said is None:
        return ADDRESSES[1 + (number - 1) % (len(ADDRESSES) - 1)].format(instruction)
    return ADDRESSES[around].format((SHOWN if shows else TRIED)[nth].format(**said.groupdict()))


TRIED = (
    "place {thing} {where} {goal}",
    "move {thing} to {goal}",
    "pick up {thing} and lay it {where} {goal}",
    "{goal} is where {thing} belongs",
    "grab {thing}, then carry it over to {goal}",
    "{thing} should end up {where} {goal}",
    "bring {thing} to {goal}",
    "i want {thing} {where} {goal}",
    "look for {thing}, take it, and leave it {where} {goal}",
    "get {thing} {where} {goal}",
)
"""How trials are told of what is to be put somewhere."""

SHOWN = (
    "set {thing} down {where} {goal}",
    "take {thing} and put it {where} {goal}",
    "transfer {thing} to {goal}",
    "{thing} goes {where} {goal}",
    "lift {thing} and set it down {where} {goal}",
    "find {thing} and deliver it to {goal}",
    "have {thing} lie {where} {goal}",
    "with the gripper, put {thing} {where} {goal}",
    "{goal} needs {thing} {where} it",
    "drop {thing} off {where} {goal}",
)
"""How demonstrations are."""

ADDRESSES = (
    "{}",
    "please {}",
    "your job: {}",
    "{}, please",
    "now {}",
    "robot, {}",
    "the next task: {}",
    "{}, thank you",
    "here is what to do: {}",
    "ok, {}",
)
"""What is said around it."""
