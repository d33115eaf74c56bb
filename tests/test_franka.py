"""The Franka driver against an emulated robot, through the vendor's own client: what moves, and what the operator sees.

The emulator runs as a process of its own, in lockstep, and everything is timed by the robot's clock: a busy machine
stretches time, it does not change results.
"""

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, Guard, Limits, Overrun, Row, Rows
from drivers.emulators.fci.admin import ask
from drivers.emulators.fci.table import EmulatedTable, Process
from drivers.franka import Franka
from drivers.franka.reference import STOPPING, Reference
from drivers.franka.rows import Stamps, pose
from drivers.kinematics import HIGH, LOW, Chain
from drivers.twin.scene import HOME
from tests.loopback import address

pytest.importorskip("franky", reason="the extra [hardware] is not installed")

HOST, OTHER, NOBODY = address(0), address(1), address(2)
MS = 1_000_000
DEADLINE = 60.0
"""Seconds of the wall clock after which a wait is hopeless, however busy the machine."""


@pytest.fixture(scope="module")
def robot() -> Iterator[str]:
    """An emulated arm that stands alone, for all tests of this file."""
    process = Process(HOST, table=False)
    yield HOST
    process.close()


@pytest.fixture
def home(robot: str) -> str:
    """The same arm, healthy, at home and at rest, once nobody is connected."""
    wait(lambda: not ask(robot, "status")["connected"])
    ask(robot, "restart")
    return robot


@pytest.fixture
def arm(home: str) -> Iterator[Franka]:
    with Franka("arm", home, silence=5.0) as arm:
        yield arm


def wait(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.001)
    return pytest.fail(f"it did not happen within {DEADLINE} s")


def newest(arm: Franka) -> Row:
    return cast("Row", wait(lambda: list(arm.read(time.monotonic_ns() - 1900 * MS)[-1:]))[0])


def after(arm: Franka, milliseconds: int) -> Rows:
    """Let the robot's time pass, and return the rows of it."""
    start = newest(arm)
    wait(lambda: newest(arm)["seq"] >= start["seq"] + milliseconds)
    return arm.read(int(start["t"]))


def tell(measured: str) -> None:
    """Say a figure, for whoever runs with -s."""
    sys.stdout.write(measured + "\n")


def target(q: Any, t: int = 0, width: float = 0.08) -> Row:
    row = np.zeros(1, np.dtype([("t", "<i8"), ("q", "<f8", (7,)), ("width", "<f8")]))
    row["t"], row["q"], row["width"] = t, q, width
    return cast("Row", row[0])


def start_moving(arm: Franka) -> None:
    """Send the arm on a long way and wait until it is on it."""
    begin = newest(arm)
    arm.command(target(begin["q"] + 0.5, int(begin["t"]) + 2000 * MS))
    wait(lambda: np.abs(newest(arm)["dq"]).max() > 0.1)


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
    wait(lambda: newest(arm)["seq"] > first["seq"] + 4000)
    with pytest.raises(Overrun):
        arm.read(int(first["t"]))


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


def next_tick(arm: Franka, t: int) -> int:
    """Wait for the first row at ``t`` or later, and return its stamp."""
    return int(wait(lambda: (row := newest(arm))["t"] >= t and row)["t"])


def circle(arm: Franka, seconds: float = 3.0) -> float:
    """Stream a circle at 0.2 m/s and 50 Hz; return the root mean square distance from it, in metres."""
    chain, begin = Chain(), newest(arm)
    q, centre, radius = begin["q"].copy(), begin["tool"].copy(), 0.08
    first, last = int(begin["t"]), int(begin["t"])
    sent: list[tuple[int, Any]] = []
    while last - first < seconds * 1e9:
        now = next_tick(arm, last + 20 * MS)
        last, ahead = now, now + 40 * MS
        s = (ahead - first) / 1e9
        angle = 0.2 / radius * (s - 0.25 if s > 0.5 else s * s)
        goal = centre + np.array([radius * (np.cos(angle) - 1), radius * np.sin(angle), 0, 0, 0, 0, 0])
        q = chain.joints(q, goal)
        arm.command(target(q, ahead))
        sent.append((ahead, goal[:3]))
    rows = arm.read(last - 1500 * MS)
    stamps, goals = np.array([t for t, _ in sent]), np.array([goal for _, goal in sent])
    rows = rows[(rows["t"] > stamps[0]) & (rows["t"] < stamps[-1])]
    wanted = np.column_stack([np.interp(rows["t"], stamps, goals[:, axis]) for axis in range(3)])
    return float(np.sqrt((np.linalg.norm(rows["tool"][:, :3] - wanted, axis=1) ** 2).mean()))


def test_a_circle_streamed_at_50_hz_is_followed_within_millimetres(
    arm: Franka, record_property: Callable[[str, object], None]
) -> None:
    off = circle(arm)
    record_property("circle_rms_mm", off * 1e3)
    tell(f"0.2 m/s circle at 50 Hz, in the robot's time: {off * 1e3:.1f} mm root mean square")
    assert off < 0.012


def test_an_arm_that_is_soft_at_its_tool_follows_as_well(home: str) -> None:
    with Franka("arm", home, soft="tool", silence=5.0) as arm:
        off = circle(arm, 2.0)
    tell(f"soft at the tool: {off * 1e3:.1f} mm root mean square")
    assert off < 0.02


def test_a_target_moves_the_arm_within_some_milliseconds(arm: Franka) -> None:
    hold = newest(arm)["q"].copy()
    for _ in range(10):
        arm.command(target(hold, int(newest(arm)["t"]) + 20 * MS))
        after(arm, 20)
    start = newest(arm)
    arm.command(target(hold + 0.05, int(start["t"]) + 20 * MS))

    def moved() -> list[int]:
        rows = arm.read(int(start["t"]))
        return list(rows["seq"][np.abs(rows["q"] - start["q"]).max(axis=1) > 5e-4])

    late = wait(moved)[0] - int(start["seq"])
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
    after(arm, 500)
    left = newest(arm)
    assert left["q_target"] == pytest.approx(left["q"], abs=5e-3)
    ask(home, "push", wrench=[0, 5, 0, 0, 0, 0])
    after(arm, 300)
    assert newest(arm)["q"] == pytest.approx(left["q"], abs=0.03), "it still gives way"


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "reflex": ({"error": "cartesian_reflex"}, "felt a collision and braked .*look what it touched.*then recover"),
    "limit": ({"error": "joint_position_limits_violation"}, "pushed beyond its limit.*lead it back by hand"),
    "user_stop": ({"pressed": True}, "user stop is pressed, and the arm holds: release it.*then recover"),
    "guide": ({"pressed": True}, "a person leads the arm by hand: let go"),
    "lose": ({"commands": 60}, "too many commands in a row came too late, and the arm braked"),
    "silence": ({"milliseconds": 2500}, "no word from 127[.0-9]+ any more.*check the cable"),
    "hang_up": ({}, "no word from 127[.0-9]+ any more.*check the cable"),
    "push": ({"wrench": [0, 80, 0, 0, 0, 0]}, "felt a collision and braked"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_the_operator_reads_what_to_do_and_nothing_moves_until_asked(home: str, fault: str) -> None:
    values, sentence = FAULTS[fault]
    with Franka("arm", home) as arm:
        start_moving(arm)
        happened = ask(home, "status")["clock"]
        ask(home, "reflex" if fault == "limit" else fault, **values)

        def lost() -> str:
            try:
                newest(arm)
            except DeviceLost as error:
                return str(error)
            return ""

        said = wait(lost)
        assert said.startswith("arm: ")
        with pytest.raises(DeviceLost, match=sentence):
            arm.read(time.monotonic_ns())
        ask(home, "push", wrench=[0] * 6)
        with pytest.raises(DeviceLost, match=sentence):
            arm.command(target(HOME))
        arm.hold()
        wait(lambda: ask(home, "status")["clock"] > happened + 500)
        at_rest(home, happened)

        for undo in ("user_stop", "guide"):
            if fault == undo:
                with pytest.raises(DeviceLost, match=r"pressed|by hand"):
                    arm.recover()
                ask(home, undo, pressed=False)
        wait(lambda: ask(home, "status")["clock"] > happened + 2600 or fault != "silence")
        arm.recover()
        recovered = newest(arm)
        assert after(arm, 200)["q"][-1] == pytest.approx(recovered["q"], abs=2e-3), "recovering moved it"
        assert ask(home, "status")["mode"] == "IDLE"
        arm.command(target(recovered["q"] + 0.05, int(recovered["t"]) + 200 * MS))
        wait(lambda: np.abs(newest(arm)["q"] - recovered["q"]).max() > 0.03)


def test_a_robot_that_falls_silent_is_missed_as_soon_as_was_asked_for(home: str) -> None:
    """The vendor's client takes two seconds to notice."""
    with Franka("arm", home, silence=0.5) as arm:
        start_moving(arm)
        ask(home, "hang_up")
        with pytest.raises(DeviceLost, match=r"no word .* \(silent\)"):
            wait(lambda: newest(arm)["seq"] < 0)


def at_rest(host: str, happened: int) -> int:
    """Check that the arm came to rest soon after the robot's millisecond ``happened``, and stayed; say how soon."""
    trace = ask(host, "trace", milliseconds=10_000)
    later = trace[trace["clock"] > happened]
    if (later["mode"] == 3).any():  # a person leads it, and may
        return 0
    moving = later["clock"][np.abs(later["dq"]).max(axis=1) > 0.02]
    stopped = int(moving[-1] - happened) if len(moving) else 0
    assert stopped < 300, f"it still moved after {stopped} ms"
    assert np.ptp(later["q"][stopped + 50 :], axis=0).max() < 2e-3
    return stopped


def test_a_process_killed_while_the_arm_moves_leaves_it_at_rest_within_100_ms(home: str) -> None:
    fresh = multiprocessing.get_context("spawn")
    here, there = fresh.Pipe()
    process = fresh.Process(target=_move_for_ever, args=(home, there), daemon=True)
    process.start()
    assert here.recv() == "moving"
    wait(lambda: np.abs(ask(home, "trace", milliseconds=1)["dq"]).max() > 0.3)
    os.kill(cast("int", process.pid), signal.SIGKILL)
    process.join()
    wait(lambda: ask(home, "status")["mode"] == "REFLEX")
    braked = ask(home, "status")["clock"]
    wait(lambda: ask(home, "status")["clock"] > braked + 300)
    trace = ask(home, "trace", milliseconds=2000)
    last = int(trace["clock"][(trace["mode"] == 2) & (trace["lost"] == 0)][-1])
    stopped = at_rest(home, last)
    tell(f"killed while moving: at rest {stopped} ms after its last command, in the robot's time")
    assert stopped < 100
    assert ask(home, "status")["errors"] == ["communication_constraints_violation"]


def _move_for_ever(host: str, line: Connection) -> None:
    with Franka("arm", host, silence=60.0) as arm:
        begin = newest(arm)
        line.send("moving")
        while True:
            now = int(newest(arm)["t"])
            swing = 0.4 * np.sin((now - int(begin["t"])) / 1e9 * 1.5)
            arm.command(target(begin["q"] + [swing, 0, 0, 0, swing, 0, swing], now + 40 * MS))
            time.sleep(0.01)


def test_nobody_there_another_version_and_another_program_are_told_apart(home: str) -> None:
    with pytest.raises(DeviceLost, match=r"nobody answers at 127[.0-9]+: switch the controller on"):
        Franka("arm", NOBODY).__enter__()
    ask(home, "version", robot=9)
    with pytest.raises(DeviceLost, match=r"speaks another version of its interface .*install the franky-control"):
        Franka("arm", home).__enter__()
    ask(home, "restart")
    with Franka("arm", home), pytest.raises(DeviceLost, match="no other program is connected"):
        Franka("arm", home).__enter__()


def test_a_robot_that_is_stopped_when_we_come_says_so_and_obeys_once_recovered(home: str) -> None:
    ask(home, "reflex", error="joint_reflex")
    with Franka("arm", home) as arm:
        with pytest.raises(DeviceLost, match="felt a collision"):
            wait(lambda: len(arm.read(time.monotonic_ns())) < 0)
        arm.recover()
        start_moving(arm)


def test_settings_that_franky_does_not_take_are_refused_before_anything_moves(home: str) -> None:
    with pytest.raises(DeviceLost, match="cannot be greater than"):
        Franka("arm", home, joint_acceleration=(99.0,) * 7).__enter__()
    with pytest.raises(ValueError, match="tick_hz must be between 20 and 1000"):
        Franka("arm", home, tick_hz=5.0)


def test_two_arms_at_two_addresses_do_not_know_each_other(home: str) -> None:
    other = Process(OTHER, table=False)
    try:
        with Franka("left", home) as left, Franka("right", OTHER) as right:
            start_moving(left)
            assert newest(right)["q"] == pytest.approx(np.array(HOME), abs=1e-3)
            ask(home, "user_stop", pressed=True)
            wait(lambda: ask(home, "status")["mode"] == "USER_STOPPED")
            start_moving(right)
    finally:
        other.close()


def test_an_uneven_stream_of_targets_makes_an_even_motion() -> None:
    """Ticks that come up to 40 ms late, and then two at once, do not show in the speed."""
    reference = Reference(np.full(7, 2.0), np.full(7, 7.0))
    reference.begin(np.zeros(7), 0)
    random = np.random.default_rng(1)
    ticks = np.arange(1, 60) * 50 * MS + random.integers(0, 40 * MS, 59)
    speeds, due = [], list(ticks)
    for now in range(0, 3000 * MS, 5 * MS):
        while due and due[0] <= now:
            t = int(due.pop(0))
            reference.aim(t, np.full(7, 0.4 * t / 1e9), now)
        _, dq = reference.step(now)
        speeds.append(dq[0])
    settled = np.array(speeds[120:580])
    assert np.abs(settled - 0.4).mean() < 0.02
    assert settled.min() > 0.2
    assert settled.max() < 0.6


def test_a_target_in_the_future_is_reached_on_time() -> None:
    reference = Reference(np.full(7, 2.0), np.full(7, 7.0))
    reference.begin(np.zeros(7), 0)
    reference.aim(500 * MS, np.full(7, 0.3), 0)
    way = [reference.step(now)[0][0] for now in range(0, 560 * MS, 5 * MS)]
    assert way[-1] == pytest.approx(0.3, abs=0.01)
    assert max(way) < 0.303, "it went too far"


def test_a_reference_keeps_its_limits_whatever_it_is_told() -> None:
    reference = Reference(np.full(7, 1.0), np.full(7, 5.0))
    reference.begin(np.zeros(7), 0)
    random = np.random.default_rng(2)
    before: Any = np.zeros(7)
    for i in range(1000):
        if i % 97 == 0:
            reference.aim(i * 5 * MS, random.uniform(-2, 2, 7), i * 5 * MS)
        if i % 231 == 230:
            reference.stop(reference.q, 0.05)
        _, dq = reference.step(i * 5 * MS)
        assert np.abs(dq).max() <= 1.0
        assert np.abs(dq - before).max() <= STOPPING * 0.005 + 1e-9
        before = dq


def test_a_reference_that_stops_is_not_far_ahead_of_joints_that_were_held_back() -> None:
    reference = Reference(np.full(7, 1.0), np.full(7, 5.0))
    reference.begin(np.zeros(7), 0)
    reference.aim(1000 * MS, np.full(7, 0.5), 0)
    for now in range(0, 900 * MS, 5 * MS):
        reference.step(now)
    reference.stop(np.full(7, 0.1), 0.05)
    for now in range(900 * MS, 2000 * MS, 5 * MS):
        q, dq = reference.step(now)
    assert np.abs(q - 0.1).max() < 0.07
    assert np.abs(dq).max() == pytest.approx(0, abs=1e-3)


def test_stamps_never_run_backwards_or_ahead_and_follow_a_clock_that_stood_still() -> None:
    stamps, random, last = Stamps(), np.random.default_rng(3), -1
    for i in range(2000):
        stood = 300 * MS if i >= 1000 else 0
        received = 7_000 * MS + i * MS + stood + int(random.exponential(2 * MS))
        t = stamps.stamp(i, received)
        assert last < t <= max(received, last + 1)
        last = t
    assert stamps.offset == pytest.approx(7_300 * MS, abs=MS // 2)


def test_a_matrix_becomes_the_twins_pose() -> None:
    chain = Chain()
    for q in np.random.default_rng(4).uniform(LOW, HIGH, (50, 7)):
        x = chain.tool(q)
        w, i, j, k = x[3:]
        turn = np.array(
            [
                [1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
                [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
                [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)],
            ]
        )
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turn, x[:3]
        assert pose(matrix) == pytest.approx(x, abs=1e-6)


@pytest.mark.slow
def test_the_twins_task_is_solved_through_the_wire() -> None:
    """The scripted hand puts a cube on a pad; the real client moves the emulated arm; cameras and truth watch."""
    scripted = pytest.importorskip("collectors.scripted")
    loops = pytest.importorskip("collectors.loop")

    class Kept:
        def __init__(self) -> None:
            self.rows: dict[str, list[Rows]] = {}

        def append(self, stream: str, rows: Rows) -> None:
            self.rows.setdefault(stream, []).append(rows.copy())

    cell = EmulatedTable()
    guard = Guard(cell.robot, Limits(LOW, HIGH, (1.3, 1.3, 1.3, 1.3, 2.6, 2.0, 2.6)), cell.clock)
    with ExitStack() as stack:
        for device in (guard, *cell.watching):
            stack.enter_context(device)
        cell.arrange({"seed": 3})
        agent = scripted.Scripted(guard.kinematics, guard.action, 3, pace=0.5)
        kept = Kept()
        loop = loops.Loop(guard, cell.watching, cell.clock, 20)
        ended = loop.run(agent, "put the red cube on the yellow pad", kept, limit=90, done=agent.done)
    assert ended == "done"
    assert agent.succeeded
    assert len(np.concatenate(kept.rows["front"])) > 50


def test_a_condition_that_the_scene_cannot_have_is_refused() -> None:
    with pytest.raises(DeviceError, match="has no"):
        EmulatedTable().arrange({"purple_cube": [0, 0, 0]})


def test_another_simulator_of_the_same_robot_is_driven_as_well() -> None:
    """Cross-check of the protocol: the same driver against franky-sim, written by others. It knows no errors."""
    pytest.importorskip("franky_sim", reason="franky-sim is not installed")
    program = shutil.which("franky-sim", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    with subprocess.Popen([program or "franky-sim"], stdout=subprocess.PIPE, text=True) as simulator:
        try:
            lines: Iterable[str] = simulator.stdout or []
            host = next(found.group() for line in lines if (found := re.search(r"127(\.\d+){3}", line)))
            with Franka("arm", host, silence=5.0, patience=20.0) as arm:
                start = newest(arm)
                arm.command(target(start["q"] + 0.1, int(start["t"]) + 500 * MS))
                wait(lambda: np.abs(newest(arm)["q"] - start["q"] - 0.1).max() < 0.02)
                arm.hold()
        finally:
            simulator.terminate()
