"""What the doctor sees through the cameras, and how many pixels a view has moved."""

from pathlib import Path

import cv2
import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.doctor import views
from appliance.doctor.finding import Level
from drivers.twin import scene
from drivers.twin.picture import Painter
from ops.drift import Picture, drift
from tests.doctored import STATION, picture

SIZE = (240, 320)
HEIGHT, WIDTH = SIZE
Floats = NDArray[np.float64]


def shown(turn: Floats, cubes: tuple[float, float] = (0.5, 0.0), joints: float = 0.0) -> Picture:
    """What the twin's front camera sees once it is turned by a rotation vector (rad), in its own frame."""
    model = scene.build(SIZE)
    data = mujoco.MjData(model)
    data.qpos[:7] = np.array(scene.HOME) + joints
    for k, cube in enumerate(scene.CUBES):
        data.joint(cube).qpos[:3] = (cubes[0] + 0.05 * k, cubes[1] + 0.09 * k, 0.02)
    turned = np.zeros(4)
    camera = model.camera("front")
    mujoco.mju_mulQuat(turned, camera.quat, _quaternion(turn))
    camera.quat[:] = turned
    painter = Painter(model, SIZE)
    try:
        found: Picture = painter.draw("front", data.qpos[None])[0]
        return found
    finally:
        painter.close()


def _quaternion(turn: Floats) -> Floats:
    angle = float(np.linalg.norm(turn))
    found = np.array([1.0, 0.0, 0.0, 0.0])
    if angle:
        mujoco.mju_axisAngle2Quat(found, turn / angle, angle)
    return found


def went(turn: Floats) -> float:
    """How many pixels a turned camera's picture moves, on average over the picture: from geometry alone."""
    focus = HEIGHT / 2 / np.tan(np.radians(float(scene.build(SIZE).camera("front").fovy[0])) / 2)
    right, down = np.meshgrid(np.linspace(0, WIDTH - 1, 5), np.linspace(0, HEIGHT - 1, 5))
    middle = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    rays = np.stack([(right.ravel() - middle[0]) / focus, (middle[1] - down.ravel()) / focus, -np.ones(25)])
    seen = cv2.Rodrigues(turn)[0].T @ rays
    there = np.stack([middle[0] - seen[0] / seen[2] * focus, middle[1] + seen[1] / seen[2] * focus])
    return float(np.linalg.norm(there - np.stack([right.ravel(), down.ravel()]), axis=0).mean())


def pixels(number: float, axis: tuple[float, float, float]) -> Floats:
    """A turn about an axis of the camera that moves the picture's middle, or its sides, by about so many pixels."""
    return np.array(axis) * number / (WIDTH / 2 if axis[2] else WIDTH)


def dim(seen: Picture) -> Picture:
    """The same by another light: darker to one side, warmer, and grainy."""
    light = np.linspace(0.5, 1.1, seen.shape[1])[None, :, None] * np.array([1.1, 0.9, 0.7])
    grain = np.random.default_rng(1).normal(0, 4, seen.shape)
    return np.asarray((seen * light + grain).clip(0, 255), np.uint8)


@pytest.mark.parametrize("axis", [(0, 1, 0), (1, 0, 0), (0, 0, 1)])
def test_a_turned_camera_is_told_to_a_fraction_of_a_pixel(axis: tuple[float, float, float]) -> None:
    """Measured: to 0.45 px up to 3 px; beyond, 7 % in the median: a turned view's edges move more than its middle."""
    before = shown(np.zeros(3))
    for number in (0.0, 0.5, 2.0, 5.0):
        turn = pixels(number, axis)
        found = drift(before, shown(turn))
        assert found is not None
        assert found.pixels == pytest.approx(went(turn), rel=0.15, abs=0.25)


def test_neither_light_nor_moving_things_are_taken_for_a_moved_camera() -> None:
    turn = pixels(2.0, (0, 1, 0))
    before = shown(np.zeros(3))
    still = drift(before, dim(shown(np.zeros(3), cubes=(0.42, -0.12), joints=0.2)))
    moved = drift(before, dim(shown(turn, cubes=(0.42, -0.12), joints=0.2)))
    assert still is not None
    assert moved is not None
    assert still.pixels < 0.3
    assert moved.pixels == pytest.approx(went(turn), rel=0.1, abs=0.3)


def test_another_scene_is_not_taken_for_a_moved_one() -> None:
    noise = np.random.default_rng(2).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    assert drift(shown(np.zeros(3)), noise) is None
    assert drift(shown(np.zeros(3)), np.zeros((*SIZE, 3), np.uint8)) is None


def test_a_view_that_moved_far_is_followed() -> None:
    found = drift(picture(), picture(40, -15))
    assert found is not None
    assert (found.right, found.down) == pytest.approx((-40, 15), abs=0.2)


@pytest.mark.parametrize(("moved", "level"), [(0, Level.OK), (2, Level.WARN), (5, Level.BAD)])
def test_a_drift_matters_by_its_share_of_the_picture(moved: int, level: Level) -> None:
    found = views.judged("front", picture(moved), picture(), "table")
    assert found.level is level
    assert f"{moved:.1f} px from its reference" in found.what
    assert not moved or f"{moved:.1f} px to the left" in found.what
    assert not moved or found.fix.endswith("appliance doctor --station table --reference")


def test_a_reference_of_another_size_or_scene_is_told() -> None:
    assert views.judged("front", picture(), picture()[:60], "table").level is Level.WARN
    assert "moved far" in views.judged("front", picture()[:, ::-1].copy(), picture(), "table").what


def station(folder: Path, settings: str = "") -> str:
    """A table with an arm that nobody may enter, and a camera with these settings; or with more cameras than one."""
    file = folder / "table.toml"
    file.write_text(STATION.replace("hosted = false", f"hosted = false\n{settings}"))
    return str(file)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a station file and for data; other programs find our toy devices."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    return tmp_path


@pytest.mark.slow
def test_a_camera_is_compared_with_what_it_saw_when_the_reference_was_kept(table: Path) -> None:
    """On a real table only the cameras are entered: the arm would refuse, loudly."""
    sees, unknown = views.compare(station(table), "table", ["front"], table, simulated=False)
    assert (sees.what, unknown.level) == ("sees 160 x 120", Level.WARN)
    assert unknown.fix.endswith(f"appliance doctor --station {table}/table.toml --reference")
    (kept,) = views.keep(station(table), "table", ["front"], table)
    assert kept == views.reference(table, "table", "front")
    _, knocked = views.compare(station(table, "corner = [3, 4]"), "table", ["front"], table, simulated=False)
    assert knocked.level is Level.BAD
    assert "5.0 px" in knocked.what


def test_one_camera_in_trouble_does_not_hide_what_the_others_see(table: Path) -> None:
    side, top = (f'[device.{name}]\ndriver = "tests.doctored:Eye"\nhosted = false' for name in ("side", "top"))
    three = station(table, f'trouble = "no cable"\n{side}\nsilent = true\n{top}')
    lost, silent, seen, _ = views.compare(three, "table", ["front", "side", "top"], table, simulated=True)
    assert (lost.about, lost.level, lost.what) == ("camera front", Level.BAD, "front: no cable")
    assert (silent.about, silent.level) == ("camera side", Level.BAD)
    assert "sent no picture" in silent.what
    assert (seen.about, seen.level) == ("camera top", Level.OK)


def test_a_covered_camera_makes_no_reference(table: Path) -> None:
    with pytest.raises(views.NoPicture, match="front: sees only darkness"):
        views.keep(station(table, "light = 0.01"), "table", ["front"], table)
    assert views.reference(table, "table", "front") is None


def test_a_cell_that_cannot_be_entered_is_one_finding(table: Path) -> None:
    (found,) = views.compare(str(table / "none.toml"), "table", ["front", "side"], table, simulated=True)
    assert (found.about, found.level) == ("cameras", Level.BAD)
    assert "there is no station" in found.what
