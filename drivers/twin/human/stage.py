"""The scene of an imagined demonstration: a room, a table, things, a hand and a head that sees them.

Or the robot's own table, with a hand where the arm would be, before the camera that watches the arm.
"""

from dataclasses import replace
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.twin import scene
from drivers.twin.human.anatomy import add
from drivers.twin.human.motion import Motion
from drivers.twin.human.setting import Colour, Room, Setting, Thing

Floats = NDArray[np.float64]

_HEAD, _THING, _FRONT = "head", "thing", "front"
"""The camera of a head, the body that carries it, what is moved before it, and the camera that watches the robot."""

_GRAIN = 256
"""Edge of a pattern, in pixels."""

_BOX, _ROUND, _BALL = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_ELLIPSOID


def build(setting: Setting, image: tuple[int, int]) -> Any:
    """Compile the scene into a MuJoCo model that renders pictures up to ``image`` (height, width). Nothing falls."""
    spec = mujoco.MjSpec()
    if setting.room is None:
        scene.surround(spec, image)
    else:
        _surround(spec, setting, setting.room, image)
    add(spec, setting.side, setting.skin)
    model = spec.compile()
    if setting.room is None:
        for other in setting.others:
            address = model.joint(other.name).qposadr[0]
            model.qpos0[address : address + 7] = [*_standing(other), *_turned(other)]
    return model


def camera_of(setting: Setting) -> str:
    """The camera that sees it."""
    return _FRONT if setting.room is None else _HEAD


def moved(setting: Setting, model: Any, motion: Motion) -> tuple[Motion, dict[str, Floats]]:
    """The motion as its camera sees it, and what moves beside the hand: poses (n, 7) by free joint."""
    if setting.room is not None:
        return motion, {_HEAD: motion.head, _THING: motion.thing}
    fixed = model.camera(_FRONT)
    still = np.tile([*fixed.pos, *fixed.quat], (len(motion.t), 1))
    return replace(motion, head=still), {setting.thing.name: motion.thing}


def _surround(spec: Any, setting: Setting, room: Room, image: tuple[int, int]) -> None:
    """A room, a table with things, and a head."""
    spec.visual.global_.offheight, spec.visual.global_.offwidth = image
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 4
    spec.visual.map.znear, spec.visual.map.zfar = 0.01, 12.0
    spec.stat.extent, spec.stat.center = 1.0, [0.35, 0.0, 0.1]
    _light(spec, room)
    _room(spec, setting.seed, room)
    _rest(spec.worldbody.add_body(pos=[*setting.goal.place[:2], 0.0], quat=_turned(setting.goal)), setting.goal)
    for other in setting.others:
        _solid(spec.worldbody.add_body(pos=_standing(other), quat=_turned(other)), other)
    thing = spec.worldbody.add_body(name=_THING)
    thing.add_freejoint(name=_THING)
    _solid(thing, setting.thing)
    head = spec.worldbody.add_body(name=_HEAD, mass=1.0, inertia=[0.01] * 3, explicitinertial=True)
    head.add_freejoint(name=_HEAD)
    head.add_camera(name=_HEAD, fovy=setting.fovy)


def _light(spec: Any, room: Room) -> None:
    tint = np.array([1 + 0.08 * room.warm, 1.0, 1 - 0.10 * room.warm]) * room.bright
    spec.visual.headlight.ambient = 0.40 * tint
    spec.visual.headlight.diffuse = 0.12 * tint
    spec.visual.headlight.specular = [0.0] * 3
    aim = np.array([0.35, 0.0, 0.0]) - room.light
    spec.worldbody.add_light(
        pos=room.light,
        dir=aim / np.linalg.norm(aim),
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        castshadow=True,
        diffuse=0.62 * tint,
        specular=[0.12] * 3,
    )


def _room(spec: Any, seed: int, room: Room) -> None:
    random = np.random.default_rng([seed, 6])
    floor, wall, clutter = room.colours
    world = spec.worldbody
    _material(spec, "table", _cloth(random, room.cloth, *room.table), 1.0)
    _material(spec, "floor", _cloth(random, "checks", floor, _shade(floor, 0.85)), 6.0)
    _material(spec, "wall", _cloth(random, "speckles", wall, _shade(wall, 0.93)), 1.0)
    wide, deep = random.uniform(0.45, 0.9), random.uniform(0.65, 0.95)
    near = random.uniform(-0.05, 0.12)
    _geom(world, _BOX, (deep / 2, wide, 0.015), (near + deep / 2, 0.0, -0.015), None, "table")
    _geom(world, _BOX, (4.0, 4.0, 0.01), (0.0, 0.0, -0.74), None, "floor")
    away = near + deep + random.uniform(0.3, 1.5)
    _geom(world, _BOX, (0.02, 4.0, 1.5), (away, 0.0, 0.7), None, "wall")
    for _ in range(int(random.integers(2, 7))):
        size = random.uniform([0.05, 0.08, 0.1], [0.15, 0.4, 0.6])
        place = (away - 0.02 - size[0], random.uniform(-1.5, 1.5), random.uniform(-0.7, 0.5))
        _geom(world, _BOX, size, place, _shade(clutter, random.uniform(0.5, 1.3)))


def _solid(body: Any, thing: Thing) -> None:
    """Something to hold, about its middle."""
    long, wide, high = (edge / 2 for edge in thing.size)
    dark, light = _shade(thing.rgb, 0.7), _shade(thing.rgb, 1.25)
    match thing.kind:
        case "can":
            _geom(body, _ROUND, (wide, high, 0), (0, 0, 0), thing.rgb)
            _geom(body, _ROUND, (0.92 * wide, high + 0.001, 0), (0, 0, 0), (0.72, 0.72, 0.74))
            _geom(body, _ROUND, (1.005 * wide, 0.25 * high, 0), (0, 0, 0), light)
        case "bottle":
            _geom(body, _ROUND, (wide, 0.68 * high, 0), (0, 0, -0.32 * high), thing.rgb)
            _geom(body, _BALL, (wide, wide, 0.32 * high), (0, 0, 0.36 * high), thing.rgb)
            _geom(body, _ROUND, (0.38 * wide, 0.20 * high, 0), (0, 0, 0.80 * high), dark)
        case "ball":
            _geom(body, _BALL, (wide, wide, wide), (0, 0, 0), thing.rgb)
        case _:
            _geom(body, _BOX, (long, wide, high), (0, 0, 0), thing.rgb)


def _rest(body: Any, goal: Thing) -> None:
    """Something to put things on, from the table upwards."""
    long, wide, high = (edge / 2 for edge in goal.size)
    rim = _shade(goal.rgb, 0.8)
    match goal.kind:
        case "pad":
            _geom(body, _ROUND, (long, high, 0), (0, 0, high), goal.rgb)
        case "plate":
            _geom(body, _ROUND, (0.6 * long, high, 0), (0, 0, high), _shade(goal.rgb, 1.1))
            _geom(body, _ROUND, (long, 0.4 * high, 0), (0, 0, 1.4 * high), goal.rgb)
        case _:
            _geom(body, _BOX, (long, wide, high), (0, 0, high), goal.rgb)
    if goal.kind == "tray":
        for side in (-1, 1):
            _geom(body, _BOX, (long, 0.004, 0.009), (0, side * wide, 0.009), rim)
            _geom(body, _BOX, (0.004, wide, 0.009), (side * long, 0, 0.009), rim)


def _geom(body: Any, kind: Any, size: Any, place: Any, colour: Colour | None, material: str = "") -> None:
    painted = {"material": material} if colour is None else {"rgba": [*colour, 1.0]}
    body.add_geom(type=kind, size=size, pos=place, contype=0, conaffinity=0, **painted)


def _standing(thing: Thing) -> tuple[float, float, float]:
    return (*thing.place[:2], thing.size[2] / 2)


def _turned(thing: Thing) -> list[float]:
    return [float(np.cos(thing.place[2] / 2)), 0.0, 0.0, float(np.sin(thing.place[2] / 2))]


def _shade(colour: Colour, share: float) -> Colour:
    r, g, b = np.clip(np.array(colour) * share, 0, 1).tolist()
    return r, g, b


def _material(spec: Any, name: str, pattern: NDArray[np.uint8], repeated: float) -> None:
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=_GRAIN, height=_GRAIN, nchannel=3)
    texture.data = pattern.tobytes()
    material = spec.add_material(name=name, texrepeat=[repeated, repeated], specular=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _cloth(random: np.random.Generator, kind: str, one: Colour, other: Colour) -> NDArray[np.uint8]:
    """A pattern (256, 256, 3) of two colours."""
    y, x = np.mgrid[:_GRAIN, :_GRAIN] / _GRAIN
    match kind:
        case "wood":
            rings = _noise(random, (3, 24)) * 2.2 + y * random.uniform(4, 9)
            share = 0.5 + 0.5 * np.sin(2 * np.pi * rings)
            share, other = 0.75 * share + 0.25 * _noise(random, (4, 128)), _shade(one, 0.72)
        case "checks":
            count = int(random.integers(4, 13))
            share = ((x * count).astype(int) + (y * count).astype(int)) % 2 * 1.0
        case "stripes":
            share = 1.0 * (np.sin(2 * np.pi * x * int(random.integers(5, 30))) > random.uniform(-0.6, 0.8))
        case "speckles":
            share = 0.6 * _noise(random, (64, 64)) + 0.4 * _noise(random, (8, 8))
        case _:
            share, other = _noise(random, (6, 6)), _shade(one, 0.9)
    mixed = share[..., None] * np.array(one) + (1 - share[..., None]) * np.array(other)
    mixed += random.normal(0, 0.012, (_GRAIN, _GRAIN, 1))
    pattern: NDArray[np.uint8] = np.rint(255 * np.clip(mixed, 0, 1)).astype(np.uint8)
    return pattern


def _noise(random: np.random.Generator, cells: tuple[int, int]) -> Floats:
    """Smooth noise from 0 to 1, with so many bumps along x and y."""
    across, down = cells
    values = random.uniform(0, 1, (down + 1, across + 1))
    at = [np.linspace(0, count, _GRAIN, endpoint=False) for count in (down, across)]
    rows, columns = (where.astype(int) for where in at)
    up, along = (3 * (where % 1) ** 2 - 2 * (where % 1) ** 3 for where in at)
    top = values[rows][:, columns] * (1 - along) + values[rows][:, columns + 1] * along
    low = values[rows + 1][:, columns] * (1 - along) + values[rows + 1][:, columns + 1] * along
    mixed: Floats = top * (1 - up[:, None]) + low * up[:, None]
    return mixed
