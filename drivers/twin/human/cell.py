"""A person at the robot's own table: where the arm would be, before the camera that watches the arm.

Places are in the frame of the arm's base. The hand waits where the arm's would, and does with cubes and pads what the
arm is asked to do. Nobody stands there but a hand and its arm; the robot's is put away.
"""

import numpy as np
from numpy.typing import NDArray

from drivers.twin import scene
from drivers.twin.human.setting import LEFT, Setting, Thing, Unimaginable, asked, skin_of

Floats = NDArray[np.float64]

WAITS = ((0.36, 0.52), (-0.10, 0.10), (0.22, 0.38))
"""Where a hand is before and after: from and to along x, y and z, in metres."""

HEAD = ((0.10, 0.22), (-0.05, 0.05), (0.42, 0.58))
"""Where the head of who stands there is, in the same way; the shoulders hang from it."""


def draw(instruction: str, seed: int, as_asked: bool = False) -> Setting:
    """Draw everything from a seed: what the task names, or, unless ``as_asked``, any cube and any pad of the table.

    Raises:
        Unimaginable: the instruction cannot be shown, or names what is not on the robot's table.
    """
    colour, kind, on, goal = asked(instruction)
    random = np.random.default_rng([seed, 8])
    cubes, pads = ({name.partition("_")[0]: name for name in names} for names in (scene.CUBES, scene.PADS))
    if not as_asked:
        kind, goal, colour, on = "cube", "pad", str(random.choice([*cubes])), str(random.choice([*pads]))
    if kind != "cube" or goal != "pad" or colour not in cubes or on not in pads:
        raise Unimaginable(
            f"{instruction!r}: on the robot's table there are {', '.join(cubes)} cubes and {', '.join(pads)} pads"
        )
    places = scene.places({"seed": seed})
    pad, round_ = pads[on], (2 * scene.PAD, 2 * scene.PAD, 0.001)
    things = {name: _cube(name, places[name]) for name in scene.CUBES}
    thing = things.pop(cubes[colour])
    return Setting(
        seed=seed,
        thing=thing,
        goal=Thing("pad", on, scene.PADS[pad], round_, (*scene.PLACES[pad][:2], 0.0)),
        others=tuple(things.values()),
        skin=skin_of(random),
        room=None,
        eye=_within(random, HEAD),
        gaze=np.array([*thing.place[:2], 0.0]),
        fovy=45.0,
        pace=float(random.uniform(0.8, 1.35)),
        side="left" if random.random() < LEFT else "right",
        rest=_within(random, WAITS),
    )


def _cube(name: str, place: Floats) -> Thing:
    x, y, yaw = place.tolist()
    return Thing("cube", name.partition("_")[0], scene.CUBES[name], (scene.CUBE,) * 3, (x, y, yaw))


def _within(random: np.random.Generator, bounds: tuple[tuple[float, float], ...]) -> Floats:
    drawn: Floats = random.uniform(*np.array(bounds).T)
    return drawn
