"""The papers' suites as cells: what an environment says and takes, told as a robot's rows."""

import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
import pytest

from collectors.bimanual import Bimanual, lasted
from collectors.kitchen import HANDLES, KitchenHand, asked, shown
from collectors.loop import Ended
from collectors.scripted import Unclear
from drivers import DeviceError, DeviceLost, Row, Rows
from drivers.gymnasium import libero
from drivers.gymnasium.aloha import GymAloha
from drivers.gymnasium.cell import Gym
from drivers.gymnasium.kitchen import GymKitchen
from drivers.gymnasium.libero import REACH, GymLibero, Libero, Upright
from drivers.twin.scene import WrongCondition
from tests.needs import needs_gym_aloha
from tests.suites import HOME, StandIn, Standing, drive, stand_in

IMAGE = (24, 32)
MS = 1_000_000


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Iterator[GymLibero]:
    """LIBERO's cell, with a stand-in for LIBERO."""
    monkeypatch.setattr(Libero, "make", Standing.make)
    with GymLibero(image=IMAGE, camera_hz=20, steps=60) as cell:
        yield cell


def target(cell: Gym, q: Any, width: Any) -> Row:
    row = np.zeros(1, cell.robot.action)
    row["q"], row["width"] = q, width
    return cast("Row", row[0])


def newest(cell: Gym, ticks: int = 1) -> dict[str, Rows]:
    """Let steps pass, and return every device's last row."""
    cell.clock.sleep_until(cell.clock.now() + ticks * round(1e9 / cell.suite.hz))
    return {device.name: device.read(cell.clock.now() - 1000 * MS)[-1:] for device in (cell.robot, *cell.watching)}


@needs_gym_aloha
@pytest.mark.parametrize("task", ["transfer", "insertion"])
def test_the_twins_operator_does_the_suites_task_within_the_suites_own_300_steps(task: str) -> None:
    with GymAloha(task=task, image=IMAGE, camera_hz=1) as cell:  # type: ignore[arg-type]  # pytest gives any string
        ended, rows = drive(cell, Bimanual(cell.robot.kinematics, cell.robot.action), "", 8.0, seed=1)
    assert ended is Ended.DONE
    first = int(rows["truth"]["success"].argmax())
    assert rows["truth"]["success"].any()
    assert first < 300
    assert rows["truth"]["stage"][first] == rows["truth"]["reward"][first] == 4
    assert lasted(rows["truth"]["t"], rows["truth"]["stage"])
    assert not rows["truth"]["over"].any()


@needs_gym_aloha
def test_numbers_are_gym_alohas_own_whatever_is_drawn() -> None:
    """Its own environment, blinded, and ours, from the same seed with the same actions."""
    with GymAloha(image=IMAGE, camera_hz=1) as cell:
        from gym_aloha.env import AlohaEnv  # type: ignore[import-untyped]  # imported once drawing is kept out

        theirs = AlohaEnv("transfer_cube", obs_type="pixels_agent_pos")
        theirs._env.physics.render = lambda **_size: np.zeros((1, 1, 3), np.uint8)
        said, _ = theirs.reset(seed=5)
        cell.arrange({"seed": 5})
        posture = newest(cell)["arm"]
        for _ in range(15):
            q = posture["q"][0] + 0.02
            cell.robot.command(target(cell, q, [0.03, 0.05]))
            action = np.concatenate([q[:6], [0.03 / 0.07912], q[6:], [0.05 / 0.07912]])
            said, reward, *_ = theirs.step(action)
            rows = newest(cell)
            posture = rows["arm"]
            np.testing.assert_allclose(posture["q"][0], np.delete(said["agent_pos"], [6, 13]), atol=1e-12)
            np.testing.assert_allclose(posture["width"][0], said["agent_pos"][[6, 13]] * 0.07912, atol=1e-12)
            assert rows["truth"]["reward"][0] == reward
            np.testing.assert_array_equal(rows["truth"]["cube"][0], theirs._env.physics.data.qpos[16:])


@needs_gym_aloha
def test_the_same_seed_and_commands_give_the_same_rows_and_pictures() -> None:
    with GymAloha(image=IMAGE, camera_hz=10) as cell:
        once: list[dict[str, Rows]] = []
        again: list[dict[str, Rows]] = []
        for found in (once, again):
            cell.arrange({"seed": 3})
            cell.robot.command(target(cell, newest(cell)["arm"]["q"][0] + 0.1, [0.02, 0.02]))
            found.append(newest(cell, 30))
    for name, rows in once[0].items():
        np.testing.assert_array_equal(rows, again[0][name])


@needs_gym_aloha
@pytest.mark.parametrize("said", [None, "egl"])
def test_what_the_machine_is_told_to_draw_with_stays_as_it_was(
    said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    if said is not None:
        monkeypatch.setenv("MUJOCO_GL", said)
    with GymAloha(image=IMAGE):
        assert os.environ.get("MUJOCO_GL") == said


@needs_gym_aloha
def test_a_camera_sees_the_cube_where_it_lies_and_only_as_often_as_asked() -> None:
    with GymAloha(image=(240, 320), camera_hz=10) as cell:
        top = next(device for device in cell.watching if device.name == "top")
        middles, places = [], []
        for seed in range(5):
            cell.arrange({"seed": seed})
            places.append(newest(cell, 12)["truth"]["cube"][0, 0])
            rows = top.read(0)
            assert rows["t"].tolist() == [20 * MS, 120 * MS, 220 * MS]
            picture = rows["rgb"][-1].astype(int)
            red = (picture[..., 0] > 120) & (picture[..., 1] < 90)
            middles.append(np.argwhere(red).mean(axis=0)[1])
    assert np.corrcoef(middles, places)[0, 1] > 0.9
    assert np.ptp(middles) > 5, "pixels"


def test_an_agent_sees_the_start_first_and_then_one_step_for_every_tick(standing: GymLibero) -> None:
    standing.arrange({"seed": 3})
    environment: Any = standing.world._environment
    first = newest(standing)
    assert environment._environment.taken == []
    assert first["arm"]["q"][0, 0] == pytest.approx(0.03)
    for ticks in range(1, 4):
        newest(standing)
        assert len(environment._environment.taken) == ticks
    assert newest(standing)["arm"]["seq"] == 4


def test_a_suite_counts_its_steps_and_says_when_it_is_over(standing: GymLibero) -> None:
    standing.arrange({})
    newest(standing)
    truth = newest(standing, 30)["truth"]
    assert (truth["over"][0], truth["success"][0]) == (False, False)
    assert not newest(standing, 29)["truth"]["over"][0]
    assert newest(standing)["truth"]["over"][0]
    assert standing.lasts == pytest.approx(62 / 20)


def test_the_hand_goes_where_joint_angles_would_bring_it(standing: GymLibero) -> None:
    """LIBERO takes steps of the hand; our robots are told joint angles."""
    chain = standing.suite.kinematics
    standing.arrange({})
    start = newest(standing)["arm"]
    goal = chain.tool(start["q"][0])
    goal[:3] += [0.08, -0.12, 0.05]
    wanted = chain.joints(start["q"][0], goal)
    for _ in range(6):
        standing.robot.command(target(standing, wanted, 0.02))
        rows = newest(standing)
    assert rows["arm"]["tool"][0, :3] == pytest.approx(goal[:3], abs=2e-3)
    assert rows["arm"]["width"][0] == pytest.approx(0.02, abs=0.01)
    taken = standing.world._environment._environment.taken  # type: ignore[union-attr]  # the stand-in
    assert taken[0][:3] == pytest.approx([1, -1, 1]), "as far as the controller goes in a step"
    assert taken[0][6] == 1, "fingers close"


def test_libero_turns_the_hand_as_joint_angles_would() -> None:
    suite, said = Libero("libero_spatial", 0), stand_in().reset(seed=0)[0]
    row = np.zeros(1, [("t", "<i8"), ("q", "<f8", (7,)), ("width", "<f8")])
    row["q"], row["width"] = HOME, 0.079
    row["q"][0, 6] += 0.2
    action = suite.action(cast("Row", row[0]), said)
    tool = suite.kinematics.tool(HOME)
    axis = 2 * np.array([tool[4] * tool[6] + tool[3] * tool[5], tool[5] * tool[6] - tool[3] * tool[4], 0.0])
    axis[2] = 1 - 2 * (tool[4] ** 2 + tool[5] ** 2)
    assert action[3:6] * REACH[3:] == pytest.approx(0.2 * axis, abs=1e-6)
    assert action[:3] == pytest.approx(np.zeros(3), abs=1e-6)
    assert action[6] == 0, "fingers that are where they should be are left alone"


def test_liberos_pictures_stand_upright_and_a_seed_is_a_start(standing: GymLibero) -> None:
    standing.arrange({"seed": 7})
    picture = newest(standing)["front"]["rgb"][0]
    assert (picture[-1, -1] == 255).all()
    assert picture[0, 0].max() == 0
    environment: Any = standing.world._environment
    assert environment._environment.begun == [0, 7]
    said = next(device for device in standing.watching if device.name == "truth")
    assert cast("Any", said).described == {
        "suite": "libero_spatial/0",
        "steps": 60,
        "instruction": "raise the hand",
    }


def test_without_libero_one_line_says_what_to_fetch_and_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path))
    with pytest.raises(DeviceError) as absent, GymLibero():
        pass
    line = str(absent.value)
    assert line.startswith("LIBERO is not installed: ")
    for part in ("lerobot[libero]", "lerobot/libero-assets", str(tmp_path / "config.yaml")):
        assert part in line
    assert "\n" not in line


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """A LIBERO that is installed, but for what LeRobot's environment of it does."""
    top, inner, theirs = ModuleType("libero"), ModuleType("libero.libero"), ModuleType("lerobot.envs.libero")
    fake: Any = inner
    fake.get_libero_path = lambda what: str(tmp_path / what)
    fake.benchmark = ModuleType("benchmark")
    fake.benchmark.get_benchmark_dict = lambda: {"libero_spatial": lambda: "the suite"}
    asked_for: list[Any] = []

    def make(*what: Any, **how: Any) -> StandIn:
        asked_for.append((what, how))
        return StandIn()

    cast("Any", theirs).LiberoEnv = make
    for name, module in (("libero", top), ("libero.libero", inner), ("lerobot.envs.libero", theirs)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: "found")
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path))
    return asked_for


def test_libero_without_its_scenes_says_so_and_with_them_is_lerobots_own(installed: Any, tmp_path: Any) -> None:
    assert "LIBERO is not set up" in str(libero.missing())
    (tmp_path / "config.yaml").touch()
    said = str(libero.missing())
    assert "LIBERO is without scenes" in said
    assert str(tmp_path / "assets") in said
    (tmp_path / "assets" / "scenes").mkdir(parents=True)
    assert libero.missing() is None
    with GymLibero(image=IMAGE) as cell:
        assert isinstance(cell.world._environment, Upright)
    [(what, how)] = installed
    assert what == ("the suite", 0, "libero_spatial")
    assert how == {"obs_type": "pixels_agent_pos", "observation_height": 24, "observation_width": 32}


@pytest.mark.parametrize("condition", [{"cube": [0, 0]}, {"seed": -1}, {"seed": 0.5}, {"seed": True}])
def test_a_suite_draws_its_starts_from_a_seed_alone(standing: GymLibero, condition: dict[str, Any]) -> None:
    with pytest.raises(WrongCondition, match="seed"):
        standing.arrange(condition)


def test_a_target_that_is_no_number_is_refused_and_a_hold_stays(standing: GymLibero) -> None:
    standing.arrange({})
    start = newest(standing)["arm"]
    with pytest.raises(DeviceError, match="finite"):
        standing.robot.command(target(standing, np.nan, 0.0))
    standing.robot.command(target(standing, start["q"][0] + 0.5, 0.0))
    standing.robot.hold()
    standing.robot.hold()
    first, later = (newest(standing, 10)["arm"] for _ in range(2))
    assert np.abs(later["tool"] - first["tool"]).max() < 0.01, "it stands"
    assert np.abs(later["q"] - start["q"]).max() < 0.2, "it was on its way to 0.5"
    assert later["width"][0] < 0.01, "fingers finish their move"


def test_a_suite_that_was_not_entered_or_fell_silent_says_so(standing: GymLibero) -> None:
    GymLibero().robot.hold()
    with pytest.raises(DeviceLost, match="has not been entered"):
        GymLibero().robot.read(0)
    for device in (standing.robot, *standing.watching):
        standing.arrange({})
        standing.clock.sleep_until(100 * MS)
        standing.fail(device.name)
        for other in (standing.robot, *standing.watching):
            if other is device:
                with pytest.raises(DeviceLost, match=device.name):
                    other.read(0)
            else:
                assert len(other.read(0)) == 2
        standing.mend()
        assert len(device.read(0)) == 2


def test_what_was_entered_is_closed_once_all_have_left(monkeypatch: pytest.MonkeyPatch) -> None:
    made = stand_in()
    monkeypatch.setattr(Libero, "make", lambda _self, _image: made)
    with GymLibero() as cell, cell.robot:
        pass
    assert made._environment.closed


@pytest.mark.parametrize("element", ["microwave", "slide cabinet"])
def test_the_operator_opens_what_has_a_handle(element: str) -> None:
    with GymKitchen(element=element, image=IMAGE, camera_hz=0.1) as cell:  # type: ignore[arg-type]
        agent = KitchenHand(cell.robot.kinematics, cell.robot.action, seed=3)
        ended, rows = drive(cell, agent, f"open the {element}", 20.0, seed=3)
    truth = rows["truth"]
    assert ended is Ended.DONE
    assert not truth["success"][0]
    assert truth["success"][-1]
    assert (truth["success"] == (truth["off"] < 0.3)).all(), "the suite's own measure"


def test_the_kitchens_arm_is_told_in_frankas_own_angles_and_goes_where_it_is_told() -> None:
    with GymKitchen(image=IMAGE, camera_hz=0.1, spread=0.0) as cell:
        cell.arrange({"seed": 0})
        rows = newest(cell)["arm"]
        environment: Any = cell.world._environment
        site, foot = environment._kitchen.data.site("end_effector"), environment._foot
        at = foot.xmat.reshape(3, 3).T @ (site.xpos - foot.xpos)
        assert rows["tool"][0, :3] == pytest.approx(at, abs=2e-3)
        turn = np.empty(4)
        mujoco.mju_mat2Quat(turn, (foot.xmat.reshape(3, 3).T @ site.xmat.reshape(3, 3)).ravel())
        assert abs(rows["tool"][0, 3:] @ turn) == pytest.approx(1, abs=1e-5)
        wanted = rows["q"][0] + np.array([0.0, 0.0, -0.2, 0.3, 0.2, 0.2, -0.3])
        for _ in range(25):
            cell.robot.command(target(cell, wanted, 0.02))
            rows = newest(cell)["arm"]
    assert rows["q"][0] == pytest.approx(wanted, abs=0.1), "it hangs a little"
    assert rows["width"][0] == pytest.approx(0.02, abs=0.005)


def test_kitchens_starts_differ_by_their_seed() -> None:
    with GymKitchen(image=IMAGE, camera_hz=0.1) as cell:
        starts = []
        for seed in (0, 1, 0):
            cell.arrange({"seed": seed})
            starts.append(newest(cell)["arm"]["q"][0])
    assert np.abs(starts[0] - starts[1]).max() > 0.01
    np.testing.assert_array_equal(starts[0], starts[2])


def test_kitchens_cameras_see_the_handle_from_two_sides() -> None:
    with GymKitchen(image=(48, 64)) as cell:
        cell.arrange({})
        rows = newest(cell)
        environment: Any = cell.world._environment
        sides = []
        for name in ("left_cap", "right_cap"):
            camera = environment._kitchen.data.camera(name)
            ahead, way = -camera.xmat.reshape(3, 3)[:, 2], environment._handle.xpos - camera.xpos
            assert ahead @ way / np.linalg.norm(way) > np.cos(np.radians(22)), "it is in view"
            sides.append(camera.xpos[0])
    assert sides[0] < environment._handle.xpos[0] < sides[1]
    assert np.abs(rows["left"]["rgb"][0].astype(int) - rows["right"]["rgb"][0]).mean() > 20


def test_an_operator_shows_what_it_can_and_says_what_it_cannot() -> None:
    assert asked("slide the cabinet open", ["slide_cabinet", "off"]) == "slide_cabinet"
    with pytest.raises(Unclear, match="microwave"):
        asked("open the door", ["microwave", "off"])
    with pytest.raises(Unclear, match=f"it can do {', '.join(HANDLES)}"):
        shown("move the kettle", ["kettle", "off"])


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"camera_hz": 0.0}, {"image": (0, 32)}])
def test_a_suite_of_no_steps_or_pictures_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="have to be more than 0"):
        GymLibero(**wrong)


@pytest.mark.parametrize(("cell", "says"), [(GymAloha(), "gym-aloha"), (GymKitchen(), "gymnasium-robotics")])
def test_a_suite_that_is_not_installed_says_what_to_install(
    cell: Gym, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DeviceError, match=rf"{says}.*install the extra \[twin\]"), cell:
        pass
