"""Whatever dies or stands still, here or there: the robot holds, the operator is told, and nothing is left behind."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, Rows
from drivers.hosted import Hosted
from drivers.shared import published
from tests.hosts import WIRED, FarEnd, Running, ended, lost, shares, target, until

MS = 1_000_000


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd() as end:
        yield end


@pytest.fixture
def arm(far: FarEnd) -> Hosted:
    return Hosted("arm", WIRED, {"far": far.address})


@pytest.mark.parametrize(
    ("number", "told"),
    [(signal.SIGKILL, "arm: the program that ran it was killed by SIGKILL"), (None, "killed by SIGSEGV")],
)
def test_a_program_that_dies_while_the_robot_moves_is_told_with_how(
    arm: Hosted, far: FarEnd, caplog: pytest.LogCaptureFixture, number: int | None, told: str
) -> None:
    with arm:
        arm.command(target(arm, 1.0))
        far.hear("command", 1.0)
        assert arm.pid is not None
        if number is None:
            with pytest.raises(DeviceLost, match=told):
                arm.ask("crash")
        else:
            os.kill(arm.pid, number)
        assert told in lost(arm)
        with pytest.raises(DeviceLost, match=told):
            arm.command(target(arm, 2.0))
        with pytest.raises(DeviceLost, match=told):
            arm.ask("mend")
        until(lambda: told in caplog.text)
    assert caplog.text.count(told) == 1


@pytest.mark.parametrize("how", ["brake", "kill"])
def test_the_rows_before_a_loss_come_with_it(arm: Hosted, how: str) -> None:
    """As far as the other program had them, and nothing twice: they go on where the rows that were read end."""
    with arm:
        start = time.monotonic_ns()
        until(lambda: len(arm.read(start)) > 10)
        rows = arm.read(start)
        if how == "brake":
            arm.tell("brake")
        else:
            assert arm.pid is not None
            os.kill(arm.pid, signal.SIGKILL)
        since = int(rows["t"][-1])

        def gone() -> Rows | None:
            try:
                arm.read(since)
            except DeviceLost as error:
                return error.last
            return None

        last = until(lambda: [found] if (found := gone()) is not None else [])[0]
        if how == "brake":
            assert last["q"][-1] == pytest.approx(99.0)
        assert (np.diff(np.append(rows["seq"], last["seq"])) == 1).all()


def test_a_message_too_long_is_refused_and_the_device_goes_on(arm: Hosted) -> None:
    with arm:
        with pytest.raises(
            DeviceError, match=r"arm: .* too long: 200\d\d\d bytes are more than the 131072 that a message may have"
        ):
            arm.tell("pulse", hand=0, seconds="x" * 200_000)
        assert arm.ask("mend") == 7
    too_much = Hosted("arm", WIRED, {"serial": "x" * 200_000})
    with pytest.raises(DeviceError, match="bytes are more than"):
        too_much.__enter__()


def test_whoever_had_a_device_mended_finds_it_well(arm: Hosted) -> None:
    """At once, and not only when its rows are next looked for."""
    with arm:
        for _ in range(30):
            arm.tell("lose")
            assert "cable is out" in lost(arm)
            arm.ask("mend")
            arm.read(time.monotonic_ns())


def test_it_is_entered_again_when_its_program_has_died(arm: Hosted, far: FarEnd) -> None:
    with arm:
        before = arm.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        lost(arm)
        with arm:
            assert arm.pid != before
            arm.command(target(arm, 1.0))
            far.hear("command", 1.0)


def test_a_program_that_stands_still_is_told_within_half_a_second_and_may_go_on(arm: Hosted, far: FarEnd) -> None:
    with arm:
        assert arm.pid is not None
        arm.command(target(arm, 1.0))
        far.hear("command", 1.0)
        until(lambda: len(arm.read(time.monotonic_ns() - 50 * MS)))
        os.kill(arm.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        assert "arm: the program that runs it has stood still for 0." in lost(arm)
        assert 0.4 < time.monotonic() - stopped < 0.75
        with pytest.raises(DeviceLost, match="has stood still"):
            arm.command(target(arm, 2.0))
        arm.hold()
        os.kill(arm.pid, signal.SIGCONT)
        far.hear("hold")
        until(lambda: well(arm))
        assert ["command", 2.0] not in far.heard()


def well(arm: Hosted) -> bool:
    try:
        return len(arm.read(time.monotonic_ns() - 50 * MS)) > 0
    except DeviceLost:
        return False


def test_a_driver_that_keeps_the_lock_freezes_its_own_program_only(arm: Hosted) -> None:
    with arm:
        with pytest.raises(DeviceLost, match="has not answered"):
            arm.ask("freeze", 0.05)
        slowest, told = 0.0, ""
        while not told:
            before = time.thread_time()
            try:
                arm.read(time.monotonic_ns())
            except DeviceLost as error:
                told = str(error)
            slowest = max(slowest, time.thread_time() - before)
        assert "has stood still" in told
        assert slowest < 0.05
        until(lambda: well(arm))


def test_a_command_that_never_ends_is_noticed_though_rows_still_come(arm: Hosted) -> None:
    with arm:
        arm.command(target(arm, -9.0))
        assert "has stood still" in lost(arm, within=1.0)
        until(lambda: well(arm))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_robot_holds_at_once_when_the_program_that_moves_it_is_killed(far: FarEnd, number: int) -> None:
    with Running(far) as station:
        far.hear("command", 1.0)
        assert shares(station.hosting) == shares(station.program.pid) == set()
        killed = time.monotonic_ns()
        station.program.send_signal(number)
        held = far.hear("hold")
        assert held - killed < 100 * MS
        far.hear("left")
        until(lambda: ended(station.hosting))
        until(lambda: station.address not in [one.address for one in published()])


def test_a_child_of_that_program_does_not_keep_the_robot_moving(far: FarEnd) -> None:
    """A program that was forked off has a copy of everything, the line to the robot too."""
    with Running(far, forked=True) as station:
        far.hear("command", 1.0)
        killed = time.monotonic_ns()
        station.program.kill()
        assert far.hear("hold") - killed < 100 * MS
        far.hear("left")
        until(lambda: ended(station.hosting))


def test_a_program_that_cannot_be_started_is_told_and_leaves_nothing_open(
    arm: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(DeviceError, match=r"arm: the program that runs it cannot be started: .*/nowhere/python"):
        arm.__enter__()
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_nothing_is_left_when_both_programs_are_killed(far: FarEnd) -> None:
    with Running(far) as station:
        far.hear("command", 1.0)
        assert shares(station.hosting) == shares(station.program.pid) == set()
        os.kill(station.hosting, signal.SIGSTOP)
        station.program.kill()
        os.kill(station.hosting, signal.SIGKILL)
        until(lambda: ended(station.hosting))
        until(lambda: station.address not in [one.address for one in published()])


def test_a_robot_holds_when_the_program_that_moves_it_stands_still(far: FarEnd) -> None:
    with Running(far) as station:
        far.hear("command", 1.0)
        stopped = time.monotonic_ns()
        station.program.send_signal(signal.SIGSTOP)
        held = far.hear("hold")
        assert 150 * MS < held - stopped < 400 * MS
        assert not ended(station.hosting)
        station.program.send_signal(signal.SIGCONT)
        far.hear("command", 1.0)


def test_a_device_is_left_even_if_nobody_is_there_any_more_once_it_is_connected(far: FarEnd) -> None:
    with Running(far, slow=0.3) as station:
        far.hear("connecting")
        station.program.kill()
        far.hear("hold")
        far.hear("left")


def test_what_is_typed_at_the_terminal_does_not_stop_the_robots_program(arm: Hosted, far: FarEnd) -> None:
    with arm:
        assert arm.pid is not None
        assert os.getpgid(arm.pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(arm.pid, number)
        assert arm.ask("mend") == 7
