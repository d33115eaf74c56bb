"""How a hand's joints bend to hold something of a given width between thumb and fingers."""

import functools
from dataclasses import dataclass

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares  # type: ignore[import-untyped]  # SciPy ships no type information
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]  # SciPy ships no type information

from drivers.twin.human.anatomy import BONES, JOINTS, Skin, add, name

Floats = NDArray[np.float64]

PITCH = np.radians(44)
"""By how much a hand that grasps points down."""

ACROSS = np.radians(32)
"""By how much the line from the thumb to the fingers is turned against the hand, clockwise from above."""

APART = 0.011
"""Index and middle finger touch this far to either side of the line, in metres."""

WIDTHS = np.linspace(0.005, 0.105, 11)
"""Widths for which postures are worked out; those between are mixed."""

RELAXED = np.array([0.25, 0.0, 0.25, 0.25, 0.45, 0.50, 0.30, 0.50, 0.55, 0.33, 0.58, 0.60, 0.36, 0.65, 0.62, 0.38])
"""The joints of a hand that does nothing."""

_ABOUT = np.array([-0.055, -0.025, 0.110])
"""Roughly where the wrist is, seen from between the finger tips."""

_EASY = np.array([0.45, 0.1, 0.35, 0.35, 0.65, 0.60, 0.70, 0.65])
"""What the bent joints like best: the thumb's four, then knuckle and middle joint of index and middle finger."""

_LOW = np.array([-0.6, -0.7, -0.1, -0.1, -0.2, 0.05, -0.2, 0.05])
_HIGH = np.array([1.3, 0.9, 1.1, 1.2, 1.5, 1.8, 1.5, 1.8])
_LAST = 0.6
"""The last joint of a finger bends by this share of the one before."""


@dataclass(frozen=True)
class Grip:
    """Postures of a hand of scale 1, right or left."""

    wrist: Floats
    """From between the finger tips to the wrist of a right hand that points along x, in metres."""
    postures: Floats
    """A row of joint angles for each of `WIDTHS`."""

    def posture(self, width: Floats | float) -> Floats:
        """Joint angles (..., 16) for fingers this far apart, in metres of a hand of scale 1."""
        within = np.clip(width, WIDTHS[0], WIDTHS[-1])
        return np.stack([np.interp(within, WIDTHS, joint) for joint in self.postures.T], axis=-1)


@functools.cache
def grip() -> Grip:
    """Work the postures out, so that finger tips touch what they should and no joint bends more than it likes to."""
    spec = mujoco.MjSpec()
    add(spec, "right", Skin())
    model = spec.compile()
    data = mujoco.MjData(model)
    places = [model.joint(name("right", joint)).qposadr[0] for joint in JOINTS]
    tips = [model.site(name("right", f"{finger}_tip")).id for finger in ("thumb", "index", "middle")]
    data.qpos[3:7] = Rotation.from_euler("y", PITCH).as_quat(scalar_first=True)
    line = np.array([np.cos(ACROSS), -np.sin(ACROSS), 0.0])
    beside = APART * np.array([np.sin(ACROSS), np.cos(ACROSS), 0.0])
    inside = np.array([0.6 * BONES[finger][1][2] for finger in ("thumb", "index", "middle")])

    def miss(bent: Floats, width: float, wrist: Floats) -> Floats:
        """How far the finger tips are off, in 2 mm, and the joints from what they like, in 0.4 rad."""
        data.qpos[:3] = wrist
        data.qpos[places] = _whole(bent)
        mujoco.mj_kinematics(model, data)
        half = width / 2 + inside
        wanted = np.stack([-half[0] * line, half[1] * line + beside, half[2] * line - beside])
        return np.concatenate([(data.site_xpos[tips] - wanted).ravel() / 0.002, (bent - _EASY) / 0.4])

    def both(given: Floats) -> Floats:
        return np.concatenate([miss(given[:8], 0.05, _ABOUT + given[8:]), given[8:] / 0.012])

    rough = {"xtol": 1e-4, "ftol": 1e-4}
    first = least_squares(both, np.append(_EASY, np.zeros(3)), **rough).x
    wrist, bent, postures = _ABOUT + first[8:], np.clip(first[:8], _LOW + 0.01, _HIGH - 0.01), []
    for width in WIDTHS:
        bent = least_squares(
            miss, np.clip(bent, _LOW + 0.01, _HIGH - 0.01), "2-point", (_LOW, _HIGH), args=(width, wrist), **rough
        ).x
        postures.append(_whole(bent))
    return Grip(wrist, np.array(postures))


def _whole(bent: Floats) -> Floats:
    """All joints: last ones bend with those before, ring and little finger with the middle one, a little more."""
    index, middle = (np.array([first, second, _LAST * second]) for first, second in (bent[4:6], bent[6:8]))
    more = np.array([0.08, 0.12, 0.07])
    return np.concatenate([bent[:4], index, middle, middle + more, middle + 2 * more])
