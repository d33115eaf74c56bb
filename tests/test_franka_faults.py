"""Whatever goes wrong with a Franka: what the operator reads, and that nothing moves unguarded."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost
from drivers.emulators.fci.admin import ask
from drivers.franka import Franka
from drivers.twin.scene import HOME
from ops.judging.stops import REFLEX
from tests.franka import (
    DEADLINE,
    MS,
    NOBODY,
    after,
    alone,
    at_rest,
    healthy,
    newest,
    recorded_brake,
    start_moving,
    target,
    wait,
)

ROOT = Path(__file__).parent.parent

pytest.importorskip("franky", reason="the extra [hardware] is not installed")


@pytest.fixture(scope="module")
def robot() -> Iterator[str]:
    """An emulated arm, for all tests of this file."""
    with alone() as host:
        yield host


@pytest.fixture
def home(robot: str) -> str:
    return healthy(robot)


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


def test_the_row_that_tells_of_the_brake_is_in_the_record(home: str) -> None:
    with Franka("arm", home) as arm:
        rows = recorded_brake(arm, home)
    assert rows["mode"][-1] == REFLEX
    assert (np.diff(rows["seq"]) > 0).all()


def test_a_robot_that_falls_silent_is_missed_as_soon_as_was_asked_for(home: str) -> None:
    """The vendor's client takes two seconds to notice."""
    with Franka("arm", home, silence=0.5) as arm:
        start_moving(arm)
        ask(home, "hang_up")
        with pytest.raises(DeviceLost, match=r"no word .* \(silent\)"):
            wait(lambda: newest(arm)["seq"] < 0)


class Faulty(Franka):
    """One with a mistake in the driver."""

    def aim(self, *_: Any) -> None:
        raise TypeError("no such target")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_in_the_driver_loses_the_arm_and_it_stops(home: str) -> None:
    with Faulty("arm", home) as arm:
        begin, happened = newest(arm), ask(home, "status")["clock"]
        arm.command(target(begin["q"] + 0.5, int(begin["t"]) + 2000 * MS))
        with pytest.raises(DeviceLost, match="the thread that moves the arm has failed"):
            wait(lambda: newest(arm)["seq"] < 0)
        wait(lambda: ask(home, "status")["clock"] > happened + 500)
        at_rest(home, happened)
        assert ask(home, "status")["mode"] == "IDLE"


class Stuck(Franka):
    """One whose SDK keeps the thread that moves the arm, until it is set free."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kept, self.free = threading.Event(), threading.Event()

    def aim(self, *_: Any) -> None:
        self.kept.set()
        self.free.wait(DEADLINE)


def test_an_arm_that_cannot_be_left_or_brought_to_rest_says_so(home: str, caplog: pytest.LogCaptureFixture) -> None:
    arm = Stuck("arm", home, hand=False).__enter__()
    arm.patience = 0.5
    try:
        arm.command(target(newest(arm)["q"]))
        wait(arm.kept.is_set)
        with pytest.raises(DeviceLost, match=r"arm: nothing came of coming to rest in 0.5 s. Look at it"):
            arm.rest()
        with pytest.raises(DeviceError, match=r"not left within 0.5 s \(arm control still runs\): .*user stop"):
            arm.__exit__(None, None, None)
        assert "not left within 0.5 s" in caplog.text
    finally:
        arm.free.set()
        wait(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("arm ")])


PRIORITY = """
import logging, os, sys
import numpy as np, franky
from drivers.franka import Franka
logging.basicConfig(level=logging.WARNING, format="%(message)s")
arm = Franka("arm", sys.argv[1], hand=False)
arm.kinematics.tool(np.zeros(7))
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
with arm:
    pass
"""


@pytest.mark.skipif(os.getuid() != 0, reason="it takes away rights, and has none to take")
def test_a_system_that_allows_no_real_time_priority_is_told_how_to(home: str) -> None:
    program = [sys.executable, "-c", PRIORITY, home]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert "arm: this system allows no real-time priority" in said
    assert "'* - rtprio 99' into /etc/security/limits.conf" in said


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
