"""The Franka driver against an emulated robot, through the vendor's own client: what moves, and how well."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from drivers import DeviceLost, Overrun
from drivers.emulators.fci.admin import ask
from drivers.emulators.fci.table import emulate
from drivers.franka import Franka
from drivers.kinematics import Chain
from drivers.twin.scene import HOME
from tests.franka import MS, OTHER, after, alone, circle, healthy, lateness, newest, start_moving, target, tell, wait

pytest.importorskip("franky", reason="the extra [hardware] is not installed")


@pytest.fixture(scope="module")
def robot() -> Iterator[str]:
    """An emulated arm, for all tests of this file."""
    with alone() as host:
        yield host


@pytest.fixture
def home(robot: str) -> str:
    return healthy(robot)


@pytest.fixture
def arm(home: str) -> Iterator[Franka]:
    with Franka("arm", home, silence=5.0) as arm:
        yield arm


def test_its_rows_are_known_before_connecting_and_it_travels_to_another_process() -> None:
    arm = Franka("arm", "nowhere")
    names = arm.dtype.names or ()
    twin = ("t", "received", "seq", "q", "dq", "tau", "tool", "width", "q_target", "tool_target", "width_target")
    assert names == (*twin, "success_rate", "mode", "tau_ext", "force")
    assert ForkingPickler.loads(ForkingPickler.dumps(arm)) == arm
    with pytest.raises(DeviceLost, match="has not been entered"):
        arm.read(0)
    arm.hold()


def test_rows_come_in_order_never_from_the_future_and_say_the_robots_time(arm: Franka) -> None:
    rows = after(arm, 500)
    assert rows.dtype == arm.dtype
    assert (np.diff(rows["t"]) > 0).all()
    assert (np.diff(rows["seq"]) > 0).all()
    assert (rows["t"] <= rows["received"]).all()
    assert rows["received"][-1] <= time.monotonic_ns()
    assert len(rows) > 250, "more than half of the states were missed"
    offset = rows["t"] - rows["seq"] * MS
    assert abs(offset[-1] - arm.clock_offset) < 1000 * MS
    assert rows["mode"][-1] == 1
    assert rows["q"][-1] == pytest.approx(np.array(HOME), abs=1e-4)
    assert rows["tool"][-1] == pytest.approx(Chain().tool(rows["q"][-1]), abs=1e-4)
    assert rows["width"][-1] == pytest.approx(0.08, abs=1e-3)
    np.testing.assert_array_equal(arm.read(int(rows["t"][-20]))[:5], arm.read(int(rows["t"][-20]))[:5])


def test_a_reader_that_falls_behind_is_told(arm: Franka) -> None:
    first = newest(arm)
    with pytest.raises(Overrun):
        wait(lambda: len(arm.read(int(first["t"]))) > 2000)


def test_hold_works_twice_before_entering_and_after_leaving_and_leaving_works_twice(home: str) -> None:
    arm = Franka("arm", home)
    arm.hold()
    with arm:
        arm.hold()
        arm.hold()
        assert np.ptp(after(arm, 100)["q"], axis=0).max() < 1e-4
    arm.__exit__(None, None, None)
    arm.hold()


def test_an_arm_that_holds_stops_and_says_where_it_stays(arm: Franka) -> None:
    start_moving(arm)
    before = newest(arm)
    arm.hold()
    after(arm, 400)
    rest = after(arm, 300)
    assert np.ptp(rest["q"], axis=0).max() < 2e-3
    assert np.abs(rest["q"][-1] - before["q"]).max() < 0.08, "it went on"
    assert rest["q_target"][-1] == pytest.approx(rest["q"][-1], abs=5e-3)
    arm.hold()
    assert after(arm, 300)["q"][-1] == pytest.approx(rest["q"][-1], abs=2e-3), "a second hold moved it"


def test_leaving_while_it_moves_leaves_it_at_rest_and_idle(home: str) -> None:
    with Franka("arm", home) as arm:
        start_moving(arm)
    wait(lambda: not ask(home, "status")["connected"])
    state = ask(home, "status")
    assert (state["mode"], state["errors"]) == ("IDLE", [])
    then = ask(home, "trace", milliseconds=1)["clock"][-1]
    wait(lambda: ask(home, "trace", milliseconds=1)["clock"][-1] > then + 100)
    assert np.ptp(ask(home, "trace", milliseconds=50)["q"], axis=0).max() < 1e-3


def test_a_circle_streamed_at_50_hz_is_followed_within_millimetres(
    arm: Franka, record_property: Callable[[str, object], None]
) -> None:
    off = circle(arm, 0.012)
    record_property("circle_rms_mm", off * 1e3)
    tell(f"0.2 m/s circle at 50 Hz, in the robot's time: {off * 1e3:.1f} mm root mean square")
    assert off < 0.012


def test_an_arm_that_is_soft_at_its_tool_follows_as_well(home: str) -> None:
    with Franka("arm", home, soft="tool", silence=5.0) as arm:
        off = circle(arm, 0.02, 2.0)
    tell(f"soft at the tool: {off * 1e3:.1f} mm root mean square")
    assert off < 0.02


def test_a_target_moves_the_arm_within_some_milliseconds(arm: Franka) -> None:
    late = lateness(arm)
    tell(f"from a target to a motion of 0.5 mrad, in the robot's time: {late} ms")
    assert late < 120


def test_a_target_out_of_the_blue_is_reached_without_breaking_a_limit(arm: Franka) -> None:
    start = newest(arm)
    goal = start["q"] + [0.6, 0.3, -0.6, 0.3, 0.8, 0.5, 0.8]
    arm.command(target(goal))
    rows = [after(arm, 150) for _ in range(12)]
    moved = np.concatenate(rows)
    assert moved["q"][-1] == pytest.approx(goal, abs=0.01)
    assert (np.abs(moved["dq"]).max(axis=0) < np.array(arm.joint_velocity) * 1.2).all()
    assert moved["mode"][-1] == 2


def test_the_hand_goes_where_it_is_sent_and_the_newest_target_wins(arm: Franka) -> None:
    q = newest(arm)["q"].copy()
    arm.command(target(q, width=0.03))
    wait(lambda: newest(arm)["width"] == pytest.approx(0.03, abs=2e-3))
    arm.command(target(q, width=0.0))
    arm.command(target(q, width=0.08))
    wait(lambda: newest(arm)["width"] == pytest.approx(0.08, abs=2e-3))
    arm.command(target(q, width=0.0))
    start = wait(lambda: (row := newest(arm))["width"] < 0.06 and row)
    arm.command(target(q, width=0.08))
    wait(lambda: newest(arm)["width"] == pytest.approx(0.08, abs=2e-3))
    assert newest(arm)["width_target"] == pytest.approx(0.08)
    assert arm.read(int(start["t"]))["width"].min() > 0.01, "it closed first"


def test_a_guided_arm_follows_a_light_hand_and_stays_where_it_is_left(arm: Franka, home: str) -> None:
    before = newest(arm)["q"].copy()
    with arm.guiding():
        wait(lambda: newest(arm)["mode"] == 2)
        assert after(arm, 200)["q"][-1] == pytest.approx(before, abs=5e-3), "it drifts"
        ask(home, "push", wrench=[0, 5, 0, 0, 0, 0])
        after(arm, 250)
        ask(home, "push", wrench=[0] * 6)
        led = newest(arm)["q"].copy()
        assert np.abs(led - before).max() > 0.03, "it does not give way"
        arm.grip(0.02)
        wait(lambda: newest(arm)["width"] == pytest.approx(0.02, abs=2e-3))
        there = newest(arm)
        assert there["mode"] == 2, "its fingers are sent, and it is led"
        assert there["q_target"] == pytest.approx(there["q"], abs=1e-9)
        assert there["width_target"] == pytest.approx(0.02)
    after(arm, 500)
    left = newest(arm)
    assert left["q_target"] == pytest.approx(left["q"], abs=5e-3)
    ask(home, "push", wrench=[0, 5, 0, 0, 0, 0])
    after(arm, 300)
    assert newest(arm)["q"] == pytest.approx(left["q"], abs=0.03), "it still gives way"


def test_two_arms_at_two_addresses_do_not_know_each_other(home: str) -> None:
    other = emulate(OTHER, table=False)
    try:
        with Franka("left", home) as left, Franka("right", OTHER) as right:
            start_moving(left)
            assert newest(right)["q"] == pytest.approx(np.array(HOME), abs=1e-3)
            ask(home, "user_stop", pressed=True)
            wait(lambda: ask(home, "status")["mode"] == "USER_STOPPED")
            start_moving(right)
    finally:
        other.close()


def test_another_simulator_of_the_same_robot_is_driven_as_well() -> None:
    """Cross-check of the protocol: the same driver against franky-sim, written by others. It knows no errors.

    It brings half a gigabyte, so it is not installed beside this program, and this is for whoever has it on the PATH.
    """
    program = shutil.which("franky-sim")
    if program is None:
        pytest.skip("optional: there is no franky-sim on the PATH (pip install franky-sim mujoco, elsewhere)")
    with subprocess.Popen([program, "--simulator", "mujoco"], stdout=subprocess.PIPE, text=True) as simulator:
        try:
            lines: Iterable[str] = simulator.stdout or []
            host = next(found.group() for line in lines if (found := re.search(r"127(\.\d+){3}", line)))
            with Franka("arm", host, silence=5.0, patience=20.0) as arm:
                start = newest(arm)
                arm.command(target(start["q"] + 0.1, int(start["t"]) + 500 * MS, width=0.04))
                wait(lambda: np.abs(newest(arm)["q"] - start["q"] - 0.1).max() < 0.02)
                wait(lambda: newest(arm)["width"] == pytest.approx(0.04, abs=2e-3))
                arm.hold()
                assert np.abs(after(arm, 500)["dq"][-1]).max() < 0.02
        finally:
            simulator.terminate()
