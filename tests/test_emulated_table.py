"""The cell of a rehearsal: the twin's table behind a real Franka's wire, each part in a program of its own.

What is timed is timed by the robot's clock: a busy machine stretches time, it does not change results.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, Guard, Limits, Rows
from drivers.emulators.fci.admin import ask
from drivers.emulators.fci.table import Arm, EmulatedTable
from drivers.hosted import Hosted
from drivers.kinematics import HIGH, LOW
from ops.judging.stops import REFLEX
from tests.franka import (
    MS,
    after,
    alone,
    at_rest,
    circle,
    healthy,
    lateness,
    newest,
    recorded_brake,
    start_moving,
    target,
    tell,
    wait,
)

pytest.importorskip("franky", reason="the extra [hardware] is not installed")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def robot() -> Iterator[str]:
    """An emulated arm, for all tests of this file."""
    with alone() as host:
        yield host


@pytest.fixture
def arm(robot: str) -> Iterator[Hosted]:
    """The same arm, healthy, at home and at rest, driven from a program of its own."""
    with Hosted(
        "arm", "drivers.franka:Franka", {"host": healthy(robot), "silence": 5.0}, watchdog=5.0, silence=5.0
    ) as arm:
        yield arm


def test_through_a_program_of_its_own_an_arm_follows_as_well(arm: Hosted) -> None:
    off = circle(arm, 0.012)
    tell(f"hosted, 0.2 m/s circle at 50 Hz, in the robot's time: {off * 1e3:.1f} mm root mean square")
    assert off < 0.012
    arm.hold()
    late = lateness(arm)
    tell(f"hosted, from a target to a motion of 0.5 mrad, in the robot's time: {late} ms")
    assert late < 120
    rows = arm.read(time.monotonic_ns() - 300 * MS)
    assert abs(int(rows["t"][-1] - rows["seq"][-1] * MS) - arm.clock_offset) < 1000 * MS


def test_a_person_leads_an_arm_that_is_driven_from_a_program_of_its_own(arm: Hosted, robot: str) -> None:
    before = newest(arm)["q"].copy()
    arm.ask("guide")
    wait(lambda: newest(arm)["mode"] == 2)
    ask(robot, "push", wrench=[0, 5, 0, 0, 0, 0])
    wait(lambda: np.abs(newest(arm)["q"] - before).max() > 0.03)
    ask(robot, "push", wrench=[0] * 6)
    arm.hold()
    after(arm, 500)
    assert newest(arm)["q_target"] == pytest.approx(newest(arm)["q"], abs=5e-3)


def test_a_reflex_is_read_and_recovered_through_a_program_of_its_own(arm: Hosted, robot: str) -> None:
    start_moving(arm)
    ask(robot, "reflex", error="joint_reflex")
    with pytest.raises(DeviceLost, match=r"arm: the arm felt a collision and braked .*then recover"):
        wait(lambda: newest(arm)["seq"] < 0)
    with pytest.raises(DeviceLost, match="felt a collision"):
        arm.command(target(np.zeros(7)))
    arm.ask("recover")
    before = wait(lambda: newest(arm))["q"].copy()
    assert after(arm, 200)["q"][-1] == pytest.approx(before, abs=2e-3)
    start_moving(arm)


def test_the_row_that_tells_of_the_brake_crosses_to_the_record(arm: Hosted, robot: str) -> None:
    rows = recorded_brake(arm, robot)
    assert rows["mode"][-1] == REFLEX
    assert (np.diff(rows["seq"]) > 0).all()


def test_killing_the_program_that_drives_the_arm_leaves_it_at_rest_within_100_ms(arm: Hosted, robot: str) -> None:
    start_moving(arm)
    happened = ask(robot, "status")["clock"]
    assert arm.pid is not None
    os.kill(arm.pid, signal.SIGKILL)
    wait(lambda: ask(robot, "status")["clock"] > happened + 400)
    stopped = at_rest(robot, happened)
    tell(f"its program killed while moving: at rest {stopped} ms later, in the robot's time")
    assert stopped < 100
    with pytest.raises(DeviceLost, match="arm: the program that ran it was killed by SIGKILL"):
        arm.read(time.monotonic_ns())
    with pytest.raises(DeviceLost, match="killed by SIGKILL"):
        arm.command(target(np.zeros(7)))
    arm.hold()
    with arm, pytest.raises(DeviceLost, match="came too late, and the arm braked"):
        wait(lambda: newest(arm)["seq"] < 0)


MOVING = """
import sys, time
import numpy as np
from drivers.hosted import Hosted
with Hosted("arm", "drivers.franka:Franka", {"host": sys.argv[1], "silence": 60.0}, silence=60.0) as arm:
    target, begin = np.zeros(1, arm.action), None
    while True:
        rows = arm.read(time.monotonic_ns() - 1_000_000_000)
        if len(rows):
            begin = rows[-1] if begin is None else begin
            swing = 0.4 * np.sin((rows["t"][-1] - begin["t"]) / 1e9 * 1.5)
            target["q"], target["t"] = begin["q"] + swing * np.array([1, 0, 0, 0, 1, 0, 1]), rows["t"][-1] + 40_000_000
            arm.command(target[0])
        time.sleep(0.01)
"""


def test_killing_the_program_that_commands_leaves_the_arm_at_rest_within_100_ms(robot: str) -> None:
    """The one that drives the arm notices, holds, and lets go of it."""
    host = healthy(robot)
    with subprocess.Popen([sys.executable, "-c", MOVING, host], cwd=ROOT) as program:
        wait(lambda: np.abs(ask(host, "trace", milliseconds=1)["dq"]).max() > 0.3)
        program.kill()
        program.wait()  # which the system takes some 20 ms for
        happened = ask(host, "status")["clock"]
    wait(lambda: ask(host, "status")["clock"] > happened + 400)
    stopped = at_rest(host, happened)
    tell(f"the program that commands killed while moving: at rest {stopped} ms later, in the robot's time")
    assert stopped < 100
    wait(lambda: not ask(host, "status")["connected"])
    assert ask(host, "status")["mode"] == "IDLE"


@pytest.mark.slow
def test_an_emulator_that_ends_is_told_and_started_anew() -> None:
    cell = EmulatedTable()
    with cell.robot:
        emulator = cell.robot.emulator
        assert emulator is not None
        os.kill(emulator.pid, signal.SIGKILL)
        with pytest.raises(DeviceLost, match=r"no word from 127[.0-9]+ any more"):
            wait(lambda: newest(cell.robot)["seq"] < 0)
    with cell.robot, cell.watching[-1] as truth:
        cell.arrange({"red_cube": [0.5, 0.1, 0.0]})
        then = time.monotonic_ns()
        seen = wait(lambda: list(truth.read(then)["red_cube"]))
        assert seen[-1][:2] == pytest.approx([0.5, 0.1], abs=0.01)


def test_an_emulator_that_cannot_start_says_why(robot: str) -> None:
    with pytest.raises(DeviceError, match=rf"the emulated Franka at {robot}: .*Address already in use"):
        Arm(robot, started=False).__enter__()


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
