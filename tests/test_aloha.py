"""An ALOHA pair in the twin, and the same pair behind the vendor's SDK on emulated buses."""

from typing import Self

import numpy as np
import pytest

from collectors.bimanual import Bimanual
from collectors.loop import Ended, Loop
from drivers import DeviceError, DeviceLost, Overrun, Rows, StepClock
from drivers.dynamixel import registers as at
from drivers.emulators.dynamixel.table import AlohaBench
from drivers.twin.aloha import AlohaTable, scene
from drivers.twin.parts import Part
from drivers.twin.scene import WrongCondition
from storage import Observation
from tests.dynamixel import MS, torque
from tests.needs import needs_gym_aloha

pytestmark = needs_gym_aloha

type Kind = type[AlohaTable | AlohaBench]
KINDS: list[Kind] = [AlohaTable, AlohaBench]
IMAGE = (24, 32)


class Kept:
    """A sink that keeps rows in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Rows]] = {}

    def append(self, stream: str, rows: Rows) -> None:
        self.rows.setdefault(stream, []).append(rows)


def solve(cell: AlohaTable | AlohaBench, seed: int, limit: float = 12.0) -> tuple[Ended, bool, dict[str, Rows]]:
    """Let the operator do the task once; cameras are not looked at."""
    cell.arrange({"seed": seed})
    truth = [device for device in cell.watching if device.name == "truth"]
    agent, kept, well = Bimanual(cell.robot.kinematics, cell.robot.action), Kept(), False

    def done(seen: Observation) -> bool:
        nonlocal well
        well = agent.succeeded(seen)
        return agent.done(seen)

    ended = Loop(cell.robot, truth, cell.clock, 50).run(agent, "", kept, limit, done)
    return ended, well, {name: np.concatenate(rows) for name, rows in kept.rows.items()}


@pytest.mark.parametrize(
    ("kind", "task"), [(AlohaTable, "transfer"), (AlohaTable, "insertion"), (AlohaBench, "transfer")]
)
def test_the_operator_solves_the_task(kind: Kind, task: str) -> None:
    """The very same operator, on the twin and through the SDK."""
    with kind(task, IMAGE, camera_hz=1) as cell:  # type: ignore[arg-type]  # pytest gives any string
        ended, well, rows = solve(cell, 1)
    assert (ended, well) == (Ended.DONE, True)
    assert rows["truth"]["stage"].max() == 4
    assert (np.diff(rows["arm"]["seq"]) == 1).all()
    if kind is AlohaBench:
        assert not rows["arm"]["retries"].any()
        assert not rows["arm"]["age"].any()


def test_the_same_seed_and_commands_give_the_same_rows() -> None:
    for kind in KINDS:
        with kind("transfer", IMAGE, camera_hz=1) as cell:
            once, again = (solve(cell, 3, limit=1.0)[2] for _ in range(2))
        for name in ("arm", "truth"):
            np.testing.assert_array_equal(once[name], again[name])


def test_cameras_see_the_cube_where_it_lies() -> None:
    with AlohaTable("transfer", (96, 128)) as cell:
        top = next(device for device in cell.watching if device.name == "top")
        middles = []
        for x in (0.02, 0.18):
            cell.arrange({"cube": [x, 0.55]})
            cell.clock.sleep_until(150 * MS)
            picture = top.read(0)["rgb"][-1].astype(int)
            red = (picture[..., 0] > 120) & (picture[..., 1] < 90)
            assert red.any()
            middles.append(np.argwhere(red).mean(axis=0)[1])
        assert middles[1] - middles[0] > 8, "pixels to the right"
        assert {device.name for device in cell.watching} == {*scene.CAMERAS, "truth"}


def test_wrist_cameras_move_with_their_arms() -> None:
    with AlohaTable("transfer", IMAGE) as cell:
        cell.arrange({"seed": 0})
        wrists = {device.name: device for device in cell.watching if device.name.endswith("wrist")}
        cell.clock.sleep_until(200 * MS)
        before = {name: device.read(0)["rgb"][-1] for name, device in wrists.items()}
        row = np.zeros(1, cell.robot.action)
        row["q"] = cell.robot.read(0)["q_target"][-1]
        row["q"][0, 0] += 0.5
        for _ in range(50):
            cell.robot.command(row[0])
            cell.clock.sleep_until(cell.clock.now() + 20 * MS)
        after = {name: device.read(cell.clock.now() - 150 * MS)["rgb"][-1] for name, device in wrists.items()}
    changed = {name: np.abs(after[name].astype(int) - before[name]).mean() for name in wrists}
    assert changed["left_wrist"] > 5
    assert changed["right_wrist"] < changed["left_wrist"]


def test_places_are_drawn_from_the_seed_and_inside_their_corners() -> None:
    for task in scene.TASKS.values():
        drawn = [scene.places(task, {"seed": seed}) for seed in range(50)]
        for name, (low, high) in task.objects.items():
            spots = np.array([one[name] for one in drawn])
            assert ((low <= spots) & (spots <= high)).all()
            assert np.ptp(spots, axis=0).min() > 0.08
        np.testing.assert_equal(scene.places(task, {"seed": 7}), drawn[7])


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"red_cube": [0, 0]}, "takes .*cube"),
        ({"seed": -1}, "seed must be"),
        ({"cube": [0.9, 0.5]}, "x 0.0 to 0.2"),
        ({"cube": "left"}, "cube must be"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(condition: dict[str, object], reason: str) -> None:
    with pytest.raises(WrongCondition, match=reason):
        scene.places(scene.TASKS["transfer"], condition)


@pytest.mark.parametrize("kind", KINDS)
def test_a_robot_that_holds_stops_and_keeps_what_it_grips(kind: Kind) -> None:
    with kind("transfer", IMAGE, camera_hz=1) as cell:
        cell.arrange({"seed": 0})
        cell.clock.sleep_until(100 * MS)
        row = np.zeros(1, cell.robot.action)
        start = cell.robot.read(0)["q_target"][-1]
        for tick in range(1, 31):
            row["q"] = start + np.where(np.arange(12) % 6 == 0, 0.02 * tick, 0.0)
            row["width"] = 0.05
            cell.robot.command(row[0])
            cell.clock.sleep_until(cell.clock.now() + 20 * MS)
        row["q"] += 1.0
        cell.robot.command(row[0])
        cell.robot.hold()
        cell.clock.sleep_until(cell.clock.now() + 500 * MS)
        first = cell.robot.read(cell.clock.now() - 15 * MS)[-1]
        cell.clock.sleep_until(cell.clock.now() + 500 * MS)
        last = cell.robot.read(cell.clock.now() - 15 * MS)[-1]
    assert last["q"] == pytest.approx(first["q"], abs=2e-3)
    assert (last["q"] - start)[[0, 6]] == pytest.approx([0.6, 0.6], abs=0.06)
    assert last["width"] == pytest.approx([0.05, 0.05], abs=4e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_falls_behind_is_told(kind: Kind) -> None:
    with kind("transfer", IMAGE, camera_hz=1) as cell:
        cell.arrange({"seed": 0})
        cell.clock.sleep_until(3000 * MS)
        with pytest.raises(Overrun):
            cell.robot.read(0)


def test_a_twin_that_falls_silent_is_an_error_until_it_is_mended() -> None:
    cell = AlohaTable("transfer", IMAGE)
    with pytest.raises(DeviceLost, match="has not been entered"):
        cell.robot.read(0)
    with cell:
        cell.clock.sleep_until(200 * MS)
        for device in (cell.robot, *cell.watching):
            cell.fail(device.name)
            with pytest.raises(DeviceLost, match=device.name):
                device.read(0)
            cell.mend()
            assert len(device.read(0))


def test_a_target_that_is_no_number_is_refused() -> None:
    with AlohaTable("transfer", IMAGE) as cell:
        row = np.zeros(1, cell.robot.action)
        row["q"] = np.nan
        with pytest.raises(DeviceError, match="finite"):
            cell.robot.command(row[0])


def test_a_servo_that_dies_ends_the_episode_as_a_fault_and_both_arms_hold() -> None:
    with AlohaBench("transfer", IMAGE, camera_hz=1) as cell:
        cell.arrange({"seed": 1})
        agent = Bimanual(cell.robot.kinematics, cell.robot.action)
        truth = [device for device in cell.watching if device.name == "truth"]

        def done(seen: Observation) -> bool:
            if seen.t > 1500 * MS:
                cell.buses["left"].servos[4].dead = True
            return agent.done(seen)

        assert Loop(cell.robot, truth, cell.clock, 50).run(agent, "", Kept(), 12, done) is Ended.FAULT
        stopped = cell.clock.now()
        assert stopped < 1600 * MS
        cell.clock.sleep_until(stopped + 300 * MS)
        stood = _stand(cell)
        cell.clock.sleep_until(stopped + 1300 * MS)
        assert _stand(cell) == pytest.approx(stood, abs=0.01), "it went on"
        with pytest.raises(DeviceLost, match="arm, left: left: servo 5 no longer answers"):
            cell.robot.read(stopped)
    assert {id_ for id_, on in torque(cell.buses["left"]).items() if on} == {5}
    assert not any(torque(cell.buses["right"]).values())


def _stand(cell: AlohaBench) -> list[float]:
    found = []
    for bus in cell.buses.values():
        bus.pass_time()
        found += [bus[id_].get(at.PRESENT_POSITION) / at.TURN * 2 * np.pi for id_ in (1, 2, 4, 6, 7, 8)]
    return found


class Broken(Part):
    """What watches a cell, and fails when it is entered or when it is left."""

    def __init__(self, cell: AlohaTable | AlohaBench, way: str) -> None:
        super().__init__(cell.world, "truth")
        self._cell, self._way = cell, way

    def __enter__(self) -> Self:
        if self._way == "in":
            raise DeviceError("it cannot be entered")
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__(None, None, None)
        assert not _holding(self._cell), "the robot is left first"
        raise DeviceError("it cannot be left")


@pytest.mark.parametrize("way", ["in", "out"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_device_that_fails_keeps_none_of_the_others_entered(kind: Kind, way: str) -> None:
    cell = kind("transfer", IMAGE)
    cell.watching = (*cell.watching, Broken(cell, way))
    with pytest.raises(DeviceError, match="it cannot be"), cell:
        pass
    for device in cell.watching:
        with pytest.raises(DeviceLost, match="has not been entered"):
            device.read(0)
    assert not _holding(cell)


def _holding(cell: AlohaTable | AlohaBench) -> bool:
    """Whether any servo has torque."""
    return isinstance(cell, AlohaBench) and any(any(torque(bus).values()) for bus in cell.buses.values())


def test_both_cells_give_what_learners_need_under_the_same_names() -> None:
    twin, bench = AlohaTable("transfer", IMAGE), AlohaBench("transfer", IMAGE)
    assert twin.robot.action == bench.robot.action
    names = ("q", "dq", "tool", "width", "q_target", "tool_target", "width_target")
    assert [twin.robot.dtype[name] for name in names] == [bench.robot.dtype[name] for name in names]
    assert twin.robot.name == bench.robot.name == "arm"
    assert [device.name for device in twin.watching] == [device.name for device in bench.watching]
    assert isinstance(bench.clock, StepClock)
