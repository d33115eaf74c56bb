"""Pictures of a demonstration that nobody gave, and the truth about them."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
from numpy.typing import NDArray

from drivers.device import Rows, sensed
from drivers.twin.human import cell, stage
from drivers.twin.human.anatomy import JOINTS, POINTS, name
from drivers.twin.human.motion import Motion, plan
from drivers.twin.human.setting import Setting, draw
from drivers.twin.picture import Painter

TRUTH = sensed(
    ("thing", "<f8", (7,)),
    ("goal", "<f8", (3,)),
    ("camera", "<f8", (7,)),
    ("wrist", "<f8", (7,)),
    ("joints", "<f8", (len(JOINTS),)),
    ("points", "<f8", (len(POINTS), 3)),
    ("width", "<f8"),
    ("held", "?"),
)
"""What no film tells. Poses are x y z qw qx qy qz in metres: x ahead of the person, z up from the table. ``goal`` is
the middle of its top; ``joints`` are radians, ``points`` metres, as `JOINTS` and `POINTS` list them; ``width`` is how
far thumb and fingers are apart."""

CHUNK = 16
"""Pictures drawn at once."""


@dataclass(frozen=True)
class Imagined:
    """One demonstration, ready to be looked at."""

    words: str
    """What is done."""
    arms: tuple[bool, bool]
    """Whether the left hand does something, and the right one."""
    setting: Mapping[str, Any]
    """What it looks like, as JSON."""
    truth: Rows
    """A row of `TRUTH` for every picture."""
    pictures: Iterator[NDArray[np.uint8]]
    """The pictures (height, width, 3), drawn one after the other."""


@dataclass(frozen=True)
class Imagination:
    """Makes demonstrations up. No two seeds look alike, and each looks the same every time."""

    height: int = 240
    width: int = 426
    """Of the pictures, in pixels."""
    hz: float = 30.0
    """Pictures a second."""
    view: Literal["head", "cell"] = "head"
    """From a head, with other things in other rooms, or as the robot's own camera sees a hand at the robot's table."""

    @contextmanager
    def show(self, instruction: str, seed: int, as_asked: bool = False) -> Generator[Imagined]:
        """Make one up.

        Args:
            instruction: what is done, e.g. ``put the red cube on the yellow pad``.
            seed: decides everything that the instruction leaves open.
            as_asked: use the things that it names; otherwise other things, of other colours, do as well.

        Raises:
            Unimaginable: a hand cannot show that.
            DeviceLost: this machine lacks the libraries to draw with.
        """
        image = self.height, self.width
        setting = (cell.draw if self.view == "cell" else draw)(instruction, seed, as_asked)
        model = stage.build(setting, image)
        motion, moved = stage.moved(setting, model, plan(setting, self.hz))
        scenes = _scenes(model, setting.side, motion, moved)
        painter = Painter(model, image, shadows=self.view == "head")
        try:
            arms = setting.side == "left", setting.side == "right"
            truth = _truth(model, setting, motion, scenes)
            yield Imagined(
                setting.words, arms, _said(setting), truth, _drawn(painter, stage.camera_of(setting), scenes)
            )
        finally:
            painter.close()


def _scenes(model: Any, side: str, motion: Motion, moved: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Everything's place at every moment, (n, nq)."""
    scenes = np.tile(model.qpos0, (len(motion.t), 1))
    free = moved | {
        name(side, "wrist"): motion.wrist,
        name(side, "forearm"): motion.forearm,
        name(side, "upper_arm"): motion.upper_arm,
    }
    for joint, poses in free.items():
        address = model.joint(joint).qposadr[0]
        scenes[:, address : address + 7] = poses
    scenes[:, [model.joint(name(side, joint)).qposadr[0] for joint in JOINTS]] = motion.joints
    return scenes


def _drawn(painter: Painter, camera: str, scenes: NDArray[np.float64]) -> Iterator[NDArray[np.uint8]]:
    for begin in range(0, len(scenes), CHUNK):
        yield from painter.draw(camera, scenes[begin : begin + CHUNK])


def _truth(model: Any, setting: Setting, motion: Motion, scenes: NDArray[np.float64]) -> Rows:
    rows: Rows = np.zeros(len(motion.t), TRUTH)
    rows["t"] = rows["received"] = np.rint(motion.t * 1e9)
    rows["seq"] = np.arange(len(rows))
    rows["goal"] = motion.goal
    rows["points"] = _points(model, setting.side, scenes)
    rows["thing"], rows["camera"], rows["wrist"] = motion.thing, motion.head, motion.wrist
    rows["joints"], rows["width"], rows["held"] = motion.joints, motion.width, motion.held
    return rows


def _points(model: Any, side: str, scenes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the hand's points are, (n, 21, 3)."""
    data = mujoco.MjData(model)
    called = [name(side, point) for point in POINTS]
    bodies = [model.body(point).id for point in called if not point.endswith("_tip")]
    tips = [model.site(point).id for point in called if point.endswith("_tip")]
    points = np.empty((len(scenes), len(POINTS), 3))
    for row, scene in zip(points, scenes, strict=True):
        data.qpos[:] = scene
        mujoco.mj_kinematics(model, data)
        row[: len(bodies)], row[len(bodies) :] = data.xpos[bodies], data.site_xpos[tips]
    return points


def _said(setting: Setting) -> dict[str, Any]:
    """What is worth knowing of how it looks."""
    said = asdict(setting)
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in said.items()}
