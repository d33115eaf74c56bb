"""How a hand puts a thing somewhere, moment by moment, and how the head moves meanwhile."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]  # SciPy ships no type information

from drivers.twin.human.anatomy import FOREARM, UPPER_ARM
from drivers.twin.human.grasp import ACROSS, PITCH, grip
from drivers.twin.human.setting import Setting

Floats = NDArray[np.float64]

SHOULDER = np.array([-0.06, -0.19, -0.20])
"""The right shoulder, seen from the head, in metres."""

ROOM = 0.035
"""Fingers that come to grasp are further apart than the thing is wide by this, in metres."""

OVERLAP = 0.28
"""A reach begins this share of its time before the one before has ended, if nothing has to stand still."""


@dataclass(frozen=True)
class Motion:
    """What moves, for n moments; poses are x y z qw qx qy qz."""

    t: Floats
    """Seconds, (n,)."""
    head: Floats
    """The camera, (n, 7): it looks along -z, and y is up."""
    wrist: Floats
    """(n, 7)."""
    forearm: Floats
    """From the wrist, (n, 7)."""
    upper_arm: Floats
    """From the elbow, (n, 7)."""
    joints: Floats
    """(n, 16)."""
    width: Floats
    """How far finger tips and thumb are apart, in metres, (n,)."""
    thing: Floats
    """(n, 7)."""
    held: NDArray[np.bool_]
    """Whether the thing moves with the hand, (n,)."""
    goal: Floats
    """The middle of the goal's top: x y z."""


@dataclass(frozen=True)
class _Reach:
    """One of the hand's moves."""

    to: Floats
    """Between the finger tips, at its end: x y z and the hand's yaw."""
    begin: float
    seconds: float


def plan(setting: Setting, hz: float) -> Motion:
    """Work out a whole demonstration, at so many moments a second."""
    random = np.random.default_rng([setting.seed, 7])
    if setting.side == "right":
        return _plan(random, setting, hz)
    motion = _plan(random, setting.mirrored(), hz)
    across = np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0])
    moved = {part: getattr(motion, part) * across for part in ("wrist", "forearm", "upper_arm", "thing")}
    # A camera has its own x mirrored too: it stays upright, and its picture is the mirror's. Of a quaternion that is:
    head = np.column_stack([motion.head[:, :3] * across[:3], motion.head[:, :2:-1]])
    return replace(motion, head=head, goal=motion.goal * across[:3], **moved)


def _plan(random: np.random.Generator, setting: Setting, hz: float) -> Motion:
    """The same, of a right hand."""
    thing, size = setting.thing, setting.skin.scale
    grasped = _grasp(random, setting)
    goal = np.array([*setting.goal.place[:2], setting.goal.top])
    about = goal[:2] + np.clip(random.normal(0, 0.008, 2), -0.015, 0.015)
    turn = float(np.clip(random.normal(0, 0.25), -0.4, 0.4))
    put = np.array([*about, goal[2] + grasped[2], grasped[3] + turn])
    beside = np.array([random.uniform(0.02, 0.10), random.uniform(-0.30, -0.20), random.uniform(0.03, 0.08)])
    rest = np.append(beside if setting.rest is None else setting.rest, 0.2)
    high = random.uniform(0.07, 0.15)
    ways = [
        (grasped + _aside(random, 0.010) + _off(z=random.uniform(0.04, 0.08)), 0.85, True),
        (grasped, 0.50, False),
        (grasped + _off(z=high, yaw=0.3 * turn), 0.55, True),
        (put + _aside(random, 0.008) + _off(z=random.uniform(0.03, 0.07)), 0.80, True),
        (put, 0.55, False),
        (put + _off(-0.02, -0.01, random.uniform(0.06, 0.10)), 0.45, True),
        (rest, 0.85, False),
    ]
    reaches, now = list[_Reach](), random.uniform(0.3, 0.8)
    stands, still = list[float](), 0.24 * setting.pace
    for to, usual, flows in ways:
        took = usual * setting.pace * float(random.uniform(0.88, 1.15))
        reaches.append(_Reach(to, now, took))
        now += took * (1 - OVERLAP) if flows else took
        if not flows:
            stands.append(now)
            now += still
    t = np.arange(int((now + random.uniform(0.1, 0.5)) * hz)) / hz
    way = _way(rest, reaches, t)
    touched, freed = stands[0] + 0.8 * still, stands[1] + 0.2 * still
    loose = np.clip(np.minimum(abs(t - touched), abs(t - freed)) / 0.4 - 0.4, 0, 1)
    way[:, :3] += 0.0016 * loose[:, None] * _sway(random, t, 3, 1.5, 5.0)
    width = _width(t, thing.size[1], reaches[0], stands, still)
    held = (t >= touched) & (t < freed)
    moved = _carried(thing.place, thing.size[2] / 2, way, held)
    wrist, forearm, upper_arm = _arm(setting, way)
    joints = grip().posture(width / size) + 0.03 * loose[:, None] * _sway(random, t, 16, 0.2, 0.9)
    head = _head(random, setting, way, t)
    return Motion(t, head, wrist, forearm, upper_arm, joints, width, moved, held, goal)


def _off(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Floats:
    return np.array([x, y, z, yaw])


def _aside(random: np.random.Generator, size: float) -> Floats:
    """Aim is never exact: about so far to some side, in metres."""
    return np.append(random.normal(0, size, 2), [0.0, 0.0])


def _grasp(random: np.random.Generator, setting: Setting) -> Floats:
    """Where the hand takes the thing, and its yaw: thumb and fingers on faces that the arm reaches with ease."""
    thing = setting.thing
    x, y, yaw = thing.place
    shoulder = setting.eye + SHOULDER
    easy = np.arctan2(y - shoulder[1], x - shoulder[0]) * 0.6 + 0.15
    if thing.kind in {"can", "bottle", "ball"}:
        chosen = float(easy + random.normal(0, 0.15))
    else:
        faces = yaw + ACROSS + np.pi / 2 * (np.arange(-4, 5) if thing.kind == "cube" else 2 * np.arange(-4, 5) + 1)
        chosen = float(faces[np.argmin(abs(faces - easy))])
    height = thing.size[2] / 2 if thing.kind != "bottle" else 0.45 * thing.size[2]
    return np.array([x, y, max(height, thing.size[2] - 0.04), chosen])


def _way(start: Floats, reaches: list[_Reach], t: Floats) -> Floats:
    """Between the finger tips, and the hand's yaw, (n, 4): reaches that overlap add up, each without a jolt."""
    way = np.tile(start, (len(t), 1))
    before = start
    for reach in reaches:
        share = np.clip((t - reach.begin) / reach.seconds, 0, 1)
        way += _smooth(share)[:, None] * (reach.to - before)
        before = reach.to
    return way


def _smooth(share: Floats) -> Floats:
    """Minimum jerk: from 0 to 1, starting and stopping without a jolt."""
    smooth: Floats = share**3 * (10 - 15 * share + 6 * share**2)
    return smooth


def _turned(angles: Floats) -> Any:
    """About z, by each of the angles (n,)."""
    return Rotation.from_rotvec(angles[:, None] * [0.0, 0.0, 1.0])


def _sway(random: np.random.Generator, t: Floats, count: int, slow: float, fast: float) -> Floats:
    """Unrest of about size 1, of frequencies between two bounds in Hz, (n, count)."""
    hz, phase = random.uniform(slow, fast, (4, count)), random.uniform(0, 2 * np.pi, (4, count))
    swaying: Floats = np.sin(2 * np.pi * hz * t[:, None, None] + phase).sum(axis=1) / 2
    return swaying


def _width(t: Floats, thing: float, reach: _Reach, stands: list[float], still: float) -> Floats:
    """How far thumb and fingers are apart: they open on the way, close on the thing, let it go, and relax."""
    idle, wide = 0.045, min(thing + ROOM, 0.1)
    changes = (
        (reach.begin, 0.8 * reach.seconds, wide - idle),
        (stands[0], 0.8 * still, thing - wide),
        (stands[1] + 0.2 * still, 0.9 * still, wide - thing),
        (stands[1] + 2.5 * still, 3 * still, idle - wide),
    )
    return idle + sum(
        (step * _smooth(np.clip((t - begin) / took, 0, 1)) for begin, took, step in changes), np.zeros(len(t))
    )


def _carried(place: tuple[float, float, float], height: float, way: Floats, held: NDArray[np.bool_]) -> Floats:
    """Where the thing is, (n, 7): where it stood, with the hand, and where it was left. It stays upright."""
    first, last = np.flatnonzero(held)[[0, -1]]
    now = np.clip(np.arange(len(way)), first, last)
    turned = way[now, 3] - way[first, 3]
    off = np.array([*place[:2], height]) - way[first, :3]
    at = way[now, :3] + _turned(turned).apply(off)
    return _poses(at, _turned(turned + place[2]))


def _arm(setting: Setting, way: Floats) -> tuple[Floats, Floats, Floats]:
    """Wrist, forearm and upper arm, each (n, 7), of a hand whose finger tips go that way."""
    turn = _turned(way[:, 3])
    wrist = way[:, :3] + turn.apply(grip().wrist * setting.skin.scale)
    hand = turn * Rotation.from_euler("y", PITCH)
    shoulder, elbow = _bent(setting, wrist)
    return _poses(wrist, hand), _poses(wrist, _along(wrist - elbow)), _poses(elbow, _along(elbow - shoulder))


def _poses(at: Floats, turned: Any) -> Floats:
    """As x y z qw qx qy qz, (n, 7)."""
    return np.column_stack([at, turned.as_quat(scalar_first=True)])


def _bent(setting: Setting, wrist: Floats) -> tuple[Floats, Floats]:
    """Where shoulder and elbow are, (n, 3) each. The elbow hangs outwards; who cannot reach leans forward."""
    upper, fore = UPPER_ARM * setting.skin.scale, FOREARM * setting.skin.scale
    shoulder = setting.eye + SHOULDER
    reach = wrist - shoulder
    far = np.linalg.norm(reach, axis=1, keepdims=True)
    ahead = reach / far
    there = np.minimum(far, 0.97 * (upper + fore))
    out = np.array([-0.2, -1.0, -0.5]) - ahead * (ahead @ [-0.2, -1.0, -0.5])[:, None]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    along = (upper**2 - fore**2 + there**2) / (2 * there)
    leaning = wrist - there * ahead
    return leaning, leaning + along * ahead + np.sqrt(np.maximum(upper**2 - along**2, 0)) * out


def _along(direction: Floats) -> Any:
    """Frames whose x points there, with y level."""
    along = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    across = np.cross([0.0, 0.0, 1.0], along)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return Rotation.from_matrix(np.stack([along, across, np.cross(along, across)], axis=2))


def _head(random: np.random.Generator, setting: Setting, way: Floats, t: Floats) -> Floats:
    """A head that sways, and looks a little after the hand, (n, 7)."""
    eye = setting.eye + 0.007 * _sway(random, t, 3, 0.08, 0.5) + 0.0012 * _sway(random, t, 3, 1.0, 3.0)
    followed = _behind(way[:, :3], 1 - np.exp(-1 / (0.45 * len(t) / (t[-1] + 1e-9))))
    share = random.uniform(0.15, 0.5)
    at = setting.gaze + share * (followed - setting.gaze) * [0.6, 0.8, 0.3] + 0.006 * _sway(random, t, 3, 0.1, 0.6)
    back = eye - at
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    straight = Rotation.from_matrix(np.stack([right, np.cross(back, right), back], axis=2))
    tilted = random.normal(0, 0.03) + 0.015 * _sway(random, t, 1, 0.1, 0.5)[:, 0]
    return _poses(eye, straight * _turned(tilted))


def _behind(way: Floats, share: float) -> Floats:
    """The same way, late and smooth."""
    late = way.copy()
    for k in range(1, len(way)):
        late[k] = late[k - 1] + share * (way[k] - late[k - 1])
    return late
