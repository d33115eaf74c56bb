"""What stands on the twin's table: an arm, three cubes, two pads, two cameras; and what else a condition asks for."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.device import DeviceError
from drivers.kinematics import description
from drivers.twin.scenery import AXES, Area, Light, Pattern, Scenery, Solid, vary
from drivers.twin.simulation import TIMESTEP

CUBES = {"red_cube": (0.85, 0.08, 0.08), "green_cube": (0.08, 0.65, 0.15), "blue_cube": (0.10, 0.25, 0.90)}
"""Every cube and its colour."""

PADS = {"yellow_pad": (0.95, 0.80, 0.05), "purple_pad": (0.50, 0.10, 0.65)}
"""Every pad and its colour."""

PLACES = {"yellow_pad": (0.52, -0.25, 0.0), "purple_pad": (0.52, 0.25, 0.0)}
"""Where the pads lie, in metres. They are glued down."""

CUBE = 0.04
"""Edge of a cube, in metres."""

PAD = 0.06
"""Radius of a pad, in metres."""

AREA = ((0.40, 0.64), (-0.14, 0.14))
"""Where cubes are put: from and to along x and y, in metres."""

APART = 0.09
"""The least distance between the centres of two cubes, in metres, so that fingers fit between any two."""

YAW = np.pi / 4
"""Cubes are turned by at most this much, in radians."""

HOME = (0.0, -0.3534, 0.0, -2.5212, 0.0, 2.1677, 0.7854)
"""Joint angles the arm starts from, in radians."""

USUAL = Scenery(
    table=(0.72, 0.68, 0.62),
    floor=(0.30, 0.33, 0.36),
    pattern="plain",
    light=Light((0.45,) * 3, (0.35,) * 3, (0.45,) * 3, (-0.3, 0.4, -1.0)),
    eye=(1.08, 0.0, 0.60),
    gaze=(0.46, 0.0, 0.09),
    cubes=tuple((name, Solid("box", (CUBE,) * 3, colour)) for name, colour in CUBES.items()),
    others=(),
    start=HOME,
    area=AREA,
)
"""The table as it is when no condition says otherwise."""

TABLE = ((0.30, 0.74), (-0.36, 0.36))
"""Where other things are put: from and to along x and y, in metres."""

ASIDE = 0.12
"""The least distance of another thing from a cube, or from a pad's centre, in metres, so that a hand fits between."""


class WrongCondition(DeviceError):
    """The scene cannot be arranged like that. The message says what would have been right."""


def build(image: tuple[int, int], scenery: Scenery = USUAL) -> Any:
    """Compile the whole scene into a MuJoCo model that renders pictures up to ``image`` (height, width).

    Raises:
        DeviceError: the package that brings the drawings of Franka's links is not installed.
    """
    spec = mujoco.MjSpec.from_string(description())
    spec.option.timestep = TIMESTEP / 1e9
    _dress(spec)
    surround(spec, image, scenery)
    _ride(spec)
    return spec.compile()


def surround(spec: Any, image: tuple[int, int], scenery: Scenery = USUAL) -> None:
    """Put everything into a scene but the arm: table, cubes, pads, light, and the camera ``front`` that sees them."""
    visual = spec.visual
    visual.global_.offheight, visual.global_.offwidth = image
    visual.quality.shadowsize = visual.quality.offsamples = 0
    visual.headlight.ambient, visual.headlight.diffuse = scenery.light.ambient, scenery.light.head
    visual.headlight.specular = [0.0] * 3
    visual.map.znear, visual.map.zfar = 0.01, 10.0
    spec.stat.extent, spec.stat.center = 1.0, [0.5, 0.0, 0.1]
    _furnish(spec, scenery)
    eye, at = np.array(scenery.eye), np.array(scenery.gaze)
    spec.worldbody.add_camera(name="front", pos=eye, quat=_facing(at - eye, np.array([0.0, 0.0, 1.0])), fovy=45)


def _dress(spec: Any) -> None:
    """Hang drawings of Franka's links on the arm's bodies; their frames are the bodies' own."""
    found = importlib.util.find_spec("gymnasium_robotics")
    if found is None or found.origin is None:
        raise DeviceError("the twin draws its arm with meshes from gymnasium-robotics: install the extra [twin]")
    folder = Path(found.origin).parent / "envs/assets/kitchen_franka/franka_assets/meshes/collision"
    light, dark = [0.90, 0.90, 0.90, 1.0], [0.30, 0.30, 0.33, 1.0]
    for body in [*(f"link{i}" for i in range(8)), "hand"]:
        spec.add_mesh(name=body, file=str(folder / f"{body}.stl"))
        spec.body(body).add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=body,
            rgba=dark if body == "hand" else light,
            contype=0,
            conaffinity=0,
            group=1,
            mass=0,
        )


def _furnish(spec: Any, scenery: Scenery) -> None:
    """A lamp, a floor, a table whose top is z = 0, pads, cubes and other things."""
    world = spec.worldbody
    world.add_light(
        pos=[0.8, -0.6, 1.6],
        dir=scenery.light.towards,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        castshadow=False,
        diffuse=scenery.light.lamp,
        specular=[0.0] * 3,
    )
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[8.0, 8.0, 0.01],
        pos=[0.0, 0.0, -0.5],
        rgba=[*scenery.floor, 1.0],
        contype=0,
        conaffinity=0,
    )
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.50, 0.60, 0.02],
        pos=[0.35, 0.0, -0.02],
        rgba=[*scenery.table, 1.0],
        **_cover(spec, scenery.pattern),
        **SOLID,
    )
    for pad, colour in PADS.items():
        world.add_geom(
            name=pad,
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[PAD, 0.0005, 0.0],
            pos=[*PLACES[pad][:2], 0.0005],
            rgba=[*colour, 1.0],
            contype=0,
            conaffinity=0,
        )
    for name, solid in (*scenery.cubes, *others(scenery)):
        body = world.add_body(name=name, pos=[0.0, 0.0, solid.size[2] / 2])
        body.add_freejoint(name=name)
        body.add_geom(
            name=name,
            rgba=[*solid.colour, 1.0],
            mass=0.06,
            condim=4,
            solref=[0.01, 1.0],
            **_shape(spec, name, solid),
            **SOLID,
        )


SOLID = {"contype": 2, "conaffinity": 3, "friction": [1.0, 0.05, 0.001]}
"""What can be touched."""


def others(scenery: Scenery) -> tuple[tuple[str, Solid], ...]:
    """What stands on the table to no purpose, each by its name."""
    return tuple((f"other_{number}", solid) for number, solid in enumerate(scenery.others, start=1))


def _shape(spec: Any, name: str, solid: Solid) -> dict[str, Any]:
    """How a solid is made, its centre at half its height."""
    half = np.array(solid.size) / 2
    if solid.shape == "box":
        return {"type": mujoco.mjtGeom.mjGEOM_BOX, "size": half}
    if solid.shape == "cylinder":
        return {"type": mujoco.mjtGeom.mjGEOM_CYLINDER, "size": [half[0], half[2], 0.0]}
    if solid.shape == "octagon":
        round_ = np.radians(np.arange(22.5, 360, 45))
        ring, narrower = np.stack([np.cos(round_), np.sin(round_)], axis=1) / np.cos(np.radians(22.5)), 1.0
    else:
        ring, narrower = np.array([(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)]), 0.9
    corners = [(x * share, y * share, z) for z, share in ((-1.0, 1.0), (1.0, narrower)) for x, y in ring]
    spec.add_mesh(name=name, uservert=(np.array(corners) * half).ravel())
    return {"type": mujoco.mjtGeom.mjGEOM_MESH, "meshname": name}


def _cover(spec: Any, pattern: Pattern) -> dict[str, Any]:
    """What a table is covered with: a pattern that darkens its colour in places, six times a metre."""
    if pattern == "plain":
        return {}
    across, along = np.meshgrid(np.arange(32), np.arange(32))
    dark = {
        "checks": (across // 16 + along // 16) % 2 == 0,
        "stripes": across // 8 % 2 == 0,
        "speckles": np.random.default_rng(0).random((32, 32)) < 0.15,
    }[pattern]
    texture = spec.add_texture(name="cover", type=mujoco.mjtTexture.mjTEXTURE_2D, width=32, height=32, nchannel=3)
    texture.data = np.repeat(np.where(dark, 150, 255).astype(np.uint8), 3).tobytes()
    cover = spec.add_material(name="cover", texrepeat=[6.0, 6.0], texuniform=True, specular=0.0, reflectance=0.0)
    cover.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "cover"
    return {"material": "cover"}


def _ride(spec: Any) -> None:
    """A camera rides on the hand and sees the finger tips and ahead."""
    tilt = np.radians(14)
    ahead = np.array([-np.sin(tilt), 0.0, np.cos(tilt)])
    spec.body("hand").add_camera(
        name="wrist", pos=[0.07, 0.0, 0.035], quat=_facing(ahead, np.array([1.0, 0.0, 0.0])), fovy=80
    )


def _facing(direction: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orientation (qw qx qy qz) of a camera that looks along ``direction``; MuJoCo's look along their -z."""
    z = -direction / np.linalg.norm(direction)
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.column_stack([x, np.cross(z, x), z]).ravel())
    return quat


def scenery(condition: Mapping[str, Any]) -> Scenery:
    """Return the table that a condition asks for, varied along each axis that it names.

    Raises:
        WrongCondition: a variant's number is none.
    """
    numbers = {axis: condition[axis] for axis in AXES if axis in condition}
    for axis, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise WrongCondition(f"{axis} must be the number of a variant, 1 or more, not {number!r}")
    return vary(USUAL, numbers)


def places(condition: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return where everything goes, as x y yaw: drawn from ``seed``, unless the condition says of a cube itself.

    Cubes stand where they would if the condition named no axis, but for the axis ``start_shift``.

    Raises:
        WrongCondition: a key or a value that the scene cannot have.
    """
    if unknown := condition.keys() - {"seed", *CUBES, *AXES}:
        raise WrongCondition(
            f"a condition of this table has no {sorted(unknown)}; it takes {['seed', *CUBES]} "
            f"and the number of a variant of {[*AXES]}"
        )
    here = scenery(condition)
    seed = condition.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise WrongCondition(f"seed must be a whole number, 0 or more, not {seed!r}")
    given = {cube: _given(cube, condition[cube]) for cube in CUBES if cube in condition}
    if reason := _clash(given, set(given)):
        raise WrongCondition(f"the cubes do not fit: {reason}")
    random = np.random.default_rng(seed)
    for _ in range(10_000):
        drawn = {cube: np.array([*_spot(random, here.area, here.spared), random.uniform(-YAW, YAW)]) for cube in CUBES}
        scene = {cube: given.get(cube, drawn[cube]) for cube in CUBES}
        if not (reason := _clash(scene, set(given))):
            return scene | _aside(here, scene, seed)
    raise WrongCondition(f"the cubes do not fit: {reason}")


def _spot(random: np.random.Generator, area: Area, spared: Area | None = None) -> NDArray[np.float64]:
    """Draw a place, x y, within an area and outside another."""
    low, high = np.array([*zip(*area, strict=True)])
    while True:
        spot = random.uniform(low, high)
        if spared is None or any(not a <= at <= b for at, (a, b) in zip(spot, spared, strict=True)):
            return np.asarray(spot)


def _aside(here: Scenery, cubes: Mapping[str, NDArray[np.float64]], seed: int) -> dict[str, NDArray[np.float64]]:
    """Where other things stand: clear of cubes, pads and each other.

    Raises:
        WrongCondition: there is no room.
    """
    random, found = np.random.default_rng([seed, 1]), dict[str, NDArray[np.float64]]()
    kept = np.array([*(place[:2] for place in cubes.values()), *(place[:2] for place in PLACES.values())])
    for name, _ in others(here):
        for _try in range(10_000):
            spot = _spot(random, TABLE)
            if np.linalg.norm(kept - spot, axis=1).min() >= ASIDE:
                break
        else:
            raise WrongCondition(f"there is no room for {name} on the table")
        found[name], kept = np.array([*spot, random.uniform(-np.pi, np.pi)]), np.array([*kept, spot])
    return found


def _given(cube: str, value: Any) -> NDArray[np.float64]:
    try:
        place = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise WrongCondition(f"{cube} must be [x, y, yaw] in metres and radians, not {value!r}") from error
    if place.shape != (3,) or not np.isfinite(place).all():
        raise WrongCondition(f"{cube} must be [x, y, yaw] in metres and radians, not {value!r}")
    if not (0.28 <= place[0] <= 0.78 and abs(place[1]) <= 0.42):
        raise WrongCondition(f"{cube} must be within reach, x 0.28 to 0.78 and y -0.42 to 0.42, not {value!r}")
    return place


def _clash(scene: Mapping[str, NDArray[np.float64]], given: set[str]) -> str:
    """Why the cubes cannot stand like that, or nothing. Cubes that are both given may stand closer, even on pads."""
    cubes = list(scene)
    for i, one in enumerate(cubes):
        for other in cubes[:i]:
            least = CUBE * np.sqrt(2) if {one, other} <= given else APART
            if (apart := float(np.linalg.norm(scene[one][:2] - scene[other][:2]))) < least:
                return f"{one} and {other} would be {apart:.3f} m apart, and need {least:.3f} m"
        for pad, place in PLACES.items():
            if one not in given and np.linalg.norm(scene[one][:2] - place[:2]) < PAD + CUBE:
                return f"{one} would stand on {pad}"
    return ""
