"""A hand and its forearm: bones, joints and skin, as bodies of a MuJoCo scene.

A hand's frame lies in the wrist: x along the fingers, z out of the back, y to the right hand's thumb (away from the
left one's). Lengths are an adult's, in metres, and are scaled; they are plausible, of nobody in particular.
"""

from dataclasses import dataclass
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIDES = {"right": 1.0, "left": -1.0}
"""Hands, and on which side of y their thumb is."""

KNUCKLES = {
    "index": ((0.092, 0.028, 0.002), 0.05),
    "middle": ((0.095, 0.007, 0.004), 0.0),
    "ring": ((0.089, -0.013, 0.002), -0.05),
    "little": ((0.080, -0.031, -0.003), -0.12),
}
"""Where each finger begins, and by how much it spreads, in radians."""

BONES = {
    "thumb": ((0.044, 0.034, 0.026), (0.0135, 0.0110, 0.0098)),
    "index": ((0.044, 0.026, 0.020), (0.0098, 0.0086, 0.0076)),
    "middle": ((0.048, 0.030, 0.021), (0.0100, 0.0088, 0.0078)),
    "ring": ((0.044, 0.028, 0.021), (0.0094, 0.0082, 0.0073)),
    "little": ((0.034, 0.021, 0.018), (0.0084, 0.0073, 0.0066)),
}
"""Lengths and radii of each finger's bones, from the palm outwards."""

JOINTS = ("thumb_bend", "thumb_turn", "thumb1", "thumb2", *(f"{one}{k}" for one in KNUCKLES for k in range(3)))
"""A hand's joints in the order of its postures, all in radians; more bends further."""

_BEGINNINGS = [f"{finger}{k}" for finger in BONES for k in range(3)]

POINTS = ("wrist", *_BEGINNINGS, *(f"{finger}_tip" for finger in BONES))
"""What is known of a hand's place: the wrist, where each bone begins, and the finger tips."""

FOREARM = 0.27
"""From the wrist to the elbow."""

UPPER_ARM = 0.30
"""From the elbow to the shoulder."""

_THUMB, _THUMB_ACROSS = (0.024, 0.024, -0.010), (0.66, 0.60, -0.45)
"""Where the thumb begins, and where it points with all its joints at zero."""


@dataclass(frozen=True)
class Skin:
    """What a hand looks like."""

    scale: float = 1.0
    colour: tuple[float, float, float] = (0.80, 0.60, 0.49)
    sleeve: tuple[float, float, float] | None = None
    """None for a bare arm."""
    cuff: float = 0.09
    """From the wrist to where the sleeve begins, in metres."""

    @property
    def nails(self) -> tuple[float, float, float]:
        light = 0.72 * np.array(self.colour) + 0.28 * np.array([1.0, 0.86, 0.83])
        return float(light[0]), float(light[1]), float(light[2])


def name(side: str, part: str) -> str:
    """What a part of a hand is called in the scene."""
    return f"{side}_{part}"


def add(spec: Any, side: str, skin: Skin) -> None:
    """Hang a hand and its arm into the world, each part free to be anywhere."""
    hand = spec.worldbody.add_body(name=name(side, "wrist"))
    hand.add_freejoint(name=name(side, "wrist"))
    _palm(hand, SIDES[side], skin)
    for finger, (knuckle, spread) in KNUCKLES.items():
        begin = np.array(knuckle) * (1, SIDES[side], 1) * skin.scale
        turn = SIDES[side] * spread / 2
        body = hand.add_body(name=name(side, f"{finger}0"), pos=begin, quat=[np.cos(turn), 0.0, 0.0, np.sin(turn)])
        _bend(body, name(side, f"{finger}0"))
        _finger(body, side, finger, skin)
    thumb = hand.add_body(
        name=name(side, "thumb0"), pos=np.array(_THUMB) * (1, SIDES[side], 1) * skin.scale, quat=_opposed(SIDES[side])
    )
    _bend(thumb, name(side, "thumb_bend"))
    thumb.add_joint(name=name(side, "thumb_turn"), type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0.0, 0.0, SIDES[side]])
    _finger(thumb, side, "thumb", skin)
    _arm(spec, side, skin)


def _opposed(sign: float) -> Floats:
    """How the thumb's frame stands in the hand's: x along it, bending about y brings it before the palm."""
    along = np.array(_THUMB_ACROSS) / np.linalg.norm(_THUMB_ACROSS)
    axis = np.cross(along, np.array([0.35, -1.0, -0.25]))
    along, axis = along * (1, sign, 1), axis / np.linalg.norm(axis) * (sign, 1, sign)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.column_stack([along, axis, np.cross(along, axis)]).ravel())
    return quat


def _bend(body: Any, joint: str) -> None:
    body.add_joint(name=joint, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0.0, 1.0, 0.0])


def _finger(body: Any, side: str, finger: str, skin: Skin) -> None:
    """Three bones in a row, a nail on the last."""
    lengths, radii = BONES[finger]
    for k, (length, radius) in enumerate(zip(lengths, radii, strict=True)):
        end, thick = length * skin.scale, radius * skin.scale
        _capsule(body, (0, 0, 0), (end, 0, 0), thick, skin.colour)
        if k < 2:
            body = body.add_body(name=name(side, f"{finger}{k + 1}"), pos=[end, 0.0, 0.0])
            _bend(body, name(side, f"{finger}{k + 1}"))
        else:
            place = [end - 0.2 * thick, 0.0, 0.62 * thick]
            _ellipsoid(body, place, (0.85 * thick, 0.62 * thick, 0.42 * thick), skin.nails)
            body.add_site(name=name(side, f"{finger}_tip"), pos=[end, 0.0, 0.0], group=4)


def _palm(hand: Any, sign: float, skin: Skin) -> None:
    size = skin.scale
    for knuckle, _ in KNUCKLES.values():
        x, y, z = np.array(knuckle) * (1, sign, 1) * size
        _capsule(hand, (0.004 * size, 0.45 * y, 0.0), (x, y, z - 0.002 * size), 0.0128 * size, skin.colour)
    for place, radii in (
        ((0.050, 0.000, -0.004), (0.050, 0.038, 0.0150)),
        ((0.040, 0.021, -0.011), (0.033, 0.017, 0.0145)),
        ((0.038, -0.023, -0.009), (0.036, 0.015, 0.0140)),
        ((0.000, 0.000, 0.000), (0.028, 0.0265, 0.0185)),
    ):
        _ellipsoid(hand, np.array(place) * (1, sign, 1) * size, np.array(radii) * size, skin.colour)


def _arm(spec: Any, side: str, skin: Skin) -> None:
    """A forearm that ends in the wrist and an upper arm that ends in the elbow, with or without a sleeve."""
    size = skin.scale
    flesh = [(0.024, 0.014, 0.009), (0.012, 0.023, 0.0155), (-0.04, 0.0265, 0.0205), (-0.16, 0.041, 0.038)]
    above = [(0.03, 0.03, 0.03), (0.0, 0.044, 0.044), (-UPPER_ARM - 0.04, 0.056, 0.056)]
    worn = [(-skin.cuff, 0.044, 0.041), (-0.18, 0.050, 0.047), (-FOREARM, 0.050, 0.050), (-FOREARM - 0.02, 0.04, 0.04)]
    for part, rings in (("forearm", [*flesh, (-FOREARM, 0.044, 0.044)]), ("upper_arm", above)):
        body = spec.worldbody.add_body(name=name(side, part))
        body.add_freejoint(name=name(side, part))
        _limb(spec, body, name(side, part), np.array(rings) * size, skin.colour)
        if skin.sleeve is not None:
            cloth = np.array(worn if part == "forearm" else above) * size
            _limb(spec, body, name(side, f"{part}_sleeve"), cloth * (1, 1.03, 1.03), skin.sleeve)


def _limb(spec: Any, body: Any, label: str, rings: Floats, colour: tuple[float, float, float]) -> None:
    """A convex tube through ellipses (x, half width along y, half width along z)."""
    around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    vertices = np.concatenate(
        [np.column_stack([np.full(20, x), wide * np.cos(around), high * np.sin(around)]) for x, wide, high in rings]
    )
    spec.add_mesh(name=label, uservert=vertices.ravel())
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=label, rgba=[*colour, 1.0], contype=0, conaffinity=0)


def _capsule(body: Any, start: Any, end: Any, radius: float, colour: tuple[float, float, float]) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[*start, *end],
        size=[radius, 0.0, 0.0],
        rgba=[*colour, 1.0],
        contype=0,
        conaffinity=0,
    )


def _ellipsoid(body: Any, place: Any, radii: Any, colour: tuple[float, float, float]) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_ELLIPSOID,
        pos=place,
        size=radii,
        rgba=[*colour, 1.0],
        contype=0,
        conaffinity=0,
    )
