"""A device in a program of its own: it behaves as if it were here, and whatever dies, the robot holds."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, Overrun, Row, Rows, sensed
from drivers.hosted import Hosted
from drivers.settings import Unfit
from tests.hosts import WIRED, FarEnd, ended, lost, target, until
from tests.toy import Wired


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd() as end:
        yield end


@pytest.fixture
def arm(far: FarEnd) -> Hosted:
    return Hosted("arm", WIRED, {"far": far.address}, silence=1.0)


def test_what_a_device_is_can_be_known_before_it_is_connected() -> None:
    hosted, here = Hosted("arm", WIRED, {"serial": "W7"}), Wired("arm")
    assert (hosted.dtype, hosted.action, hosted.serial) == (here.dtype, here.action, "W7")
    assert hosted.kinematics.tool(np.ones(7))[0] == 1
    assert hosted.pid is None
    camera = Hosted("front", "tests.toy:Eye", {"size": [6, 8]})
    assert camera.dtype["rgb"].shape == (6, 8, 3)
    assert not hasattr(camera, "action")
    assert not hasattr(camera, "described")


def test_every_row_arrives_once_in_order_and_is_the_devices_own(arm: Hosted) -> None:
    with arm:
        start = time.monotonic_ns()
        rows: Rows = np.zeros(0, arm.dtype)
        while len(rows) < 60:
            fresh = arm.read(int(rows["t"][-1]) if len(rows) else start)
            rows = np.concatenate([rows, fresh])
        assert (np.diff(rows["seq"]) == 1).all()
        assert (np.diff(rows["t"]) > 0).all()
        assert rows["t"][0] > start
        assert arm.described == {"pid": arm.pid, "name": "arm"}
        assert arm.pid != os.getpid()


def test_commands_arrive_in_order_and_come_back_as_rows(arm: Hosted, far: FarEnd) -> None:
    with arm:
        for k in range(5):
            arm.command(target(arm, float(k)))
        until(lambda: (rows := arm.read(time.monotonic_ns() - 50_000_000)).size and rows["q_target"][-1] == 4)
        arm.hold()
        far.hear("hold")
    assert [said for said in far.heard() if said[0] == "command"] == []


def test_what_was_commanded_before_a_hold_is_not_done_after_it(arm: Hosted, far: FarEnd) -> None:
    with arm:
        assert arm.pid is not None
        os.kill(arm.pid, signal.SIGSTOP)
        for k in range(5):
            arm.command(target(arm, float(k)))
        arm.hold()
        os.kill(arm.pid, signal.SIGCONT)
        far.hear("hold")
        until(lambda: arm.ask("mend"))
        assert not [said for said in far.heard() if said[0] == "command"]
        until(lambda: _commanded(arm))
        far.hear("command", 5.0)


def _commanded(arm: Hosted) -> bool:
    try:
        arm.command(target(arm, 5.0))
    except DeviceLost:  # it stood still a moment ago
        return False
    return True


def test_hold_is_allowed_before_twice_and_after_and_when_nobody_is_there(arm: Hosted, far: FarEnd) -> None:
    arm.hold()
    with arm:
        arm.hold()
        arm.hold()
        far.hear("hold")
        assert arm.pid is not None
        os.kill(arm.pid, signal.SIGKILL)
        lost(arm)
        arm.hold()
    arm.hold()


def test_hold_is_allowed_while_another_thread_leaves_it() -> None:
    class Leaving(Hosted):
        """One that is left right after its program was looked for."""

        _found: Any

        @property
        def _program(self) -> Any:
            found, self._found = self._found, None
            return found

        @_program.setter
        def _program(self, program: Any) -> None:
            self._found = program

    arm = Leaving("arm", WIRED)
    with Hosted("arm", WIRED) as other:
        arm._found = other._program
        arm.hold()
        arm._found = other._program
        assert arm.pid == other.pid


def test_a_robot_that_is_no_longer_commanded_holds(arm: Hosted, far: FarEnd, caplog: pytest.LogCaptureFixture) -> None:
    with arm:
        arm.command(target(arm, 1.0))
        commanded = far.hear("command", 1.0)
        held = far.hear("hold")
        until(lambda: "no command for 0.25 s" in caplog.text)
    assert 0.25 <= (held - commanded) / 1e9 < 0.4


def test_a_robot_that_rests_is_not_told_to_hold_again_and_again(arm: Hosted, far: FarEnd) -> None:
    with arm:
        arm.command(target(arm, 1.0))
        far.hear("hold")
        first = time.monotonic_ns()
        until(lambda: time.monotonic_ns() - first > 400_000_000)
        assert far.heard() == []


def test_leaving_holds_and_leaves_the_device_as_it_leaves_itself(arm: Hosted, far: FarEnd) -> None:
    with arm:
        pid = arm.pid
        arm.command(target(arm, 1.0))
        far.hear("command", 1.0)
    assert pid is not None
    assert far.heard() == [["hold"], ["left"]]
    assert ended(pid)
    assert arm.pid is None
    with pytest.raises(DeviceLost, match="arm has not been entered"):
        arm.read(0)


def test_a_device_that_cannot_be_left_safely_says_so() -> None:
    with pytest.raises(DeviceError, match="arm: servo 3 keeps its torque"), Hosted("arm", "tests.toy:Stuck"):
        pass


def test_it_says_so_as_well_when_something_else_went_wrong_before(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError, match="the take"), Hosted("arm", "tests.toy:Stuck"):
        raise RuntimeError("the take went wrong")
    assert "arm: servo 3 keeps its torque" in caplog.text


def test_a_device_that_cannot_be_connected_says_why_in_its_own_words() -> None:
    arm = Hosted("arm", WIRED, {"trouble": "nobody answers at 172.16.0.2: switch it on"})
    with pytest.raises(DeviceError, match=r"^arm: nobody answers at 172\.16\.0\.2: switch it on$"), arm:
        pass
    assert arm.pid is None


def test_a_device_that_takes_too_long_is_given_up() -> None:
    arm = Hosted("arm", WIRED, {"slow": 2.0}, patience=0.5)
    with pytest.raises(DeviceError, match=r"arm has not been connected for 0\.5 s"), arm:
        pass
    assert arm.pid is None


def test_a_driver_that_is_not_there_or_takes_other_settings_is_refused_at_once() -> None:
    with pytest.raises(Unfit, match="needs driver = 'module:Class'; got"):
        Hosted("arm", "tests.toy:Wierd")
    with pytest.raises(Unfit, match=r"has no \['farr'\]; it takes \['name', 'far'"):
        Hosted("arm", WIRED, {"farr": "x"})
    with pytest.raises(Unfit, match="hz: Input should be a valid number"):
        Hosted("arm", WIRED, {"hz": "fast"})


def test_it_cannot_be_entered_twice_at_once(arm: Hosted) -> None:
    with arm:
        with pytest.raises(DeviceError, match="arm has been entered already"):
            arm.__enter__()
        assert arm.ask("mend") == 7


def test_a_device_is_asked_by_name_and_answers_in_its_own_words(arm: Hosted) -> None:
    with arm:
        assert arm.ask("mend") == 7
        assert arm.ask("serial") == "W1"
        with pytest.raises(DeviceError, match=r"^arm: not now$"):
            arm.ask("refuse")
        with pytest.raises(DeviceError, match="no attribute 'dance'"):
            arm.ask("dance")


def test_hold_does_not_wait_for_an_answer_that_takes_long(arm: Hosted, far: FarEnd) -> None:
    with arm:
        asked = time.monotonic_ns()
        with pytest.raises(DeviceLost, match=r"arm has not answered to 'wait' for 0\.1 s"):
            arm.ask("wait", 0.1)
        arm.hold()
        assert (far.hear("hold") - asked) / 1e9 < 0.9


def test_a_refused_command_is_told_by_the_next_call_and_holds(arm: Hosted, far: FarEnd) -> None:
    arm.watchdog = 30.0
    with arm:
        arm.command(target(arm, 10.0))
        far.hear("hold")

        def refused() -> str:
            try:
                arm.read(time.monotonic_ns())
            except DeviceError as error:
                return str(error)
            return ""

        assert until(refused) == "arm: 9 is the most"
        arm.read(time.monotonic_ns())
        other = np.zeros(1, sensed())[0]
        with pytest.raises(DeviceError, match="arm: a target must be laid out as"):
            arm.command(cast("Row", other))


def test_losing_the_device_is_told_in_its_own_words_and_it_comes_back(arm: Hosted) -> None:
    with arm:
        arm.ask("lose")
        assert lost(arm) == "arm: its cable is out; put it in"
        with pytest.raises(DeviceLost, match="its cable is out"):
            arm.command(target(arm, 1.0))
        arm.ask("mend")
        until(lambda: len(_rows(arm)))


def _rows(arm: Hosted) -> Rows:
    try:
        return arm.read(time.monotonic_ns() - 100_000_000)
    except DeviceLost:
        return np.zeros(0, arm.dtype)


def test_rows_that_the_other_program_missed_are_an_overrun_here(arm: Hosted) -> None:
    with arm:
        until(lambda: len(arm.read(time.monotonic_ns() - 100_000_000)))
        before = time.monotonic_ns()
        arm.ask("leave_gap")

        def missed() -> str:
            try:
                arm.read(before)
            except Overrun as error:
                return str(error)
            return ""

        assert "are gone" in until(missed, within=1.0)


def test_a_mistake_in_a_driver_is_told_and_the_robot_left_safe(
    arm: Hosted, far: FarEnd, capfd: pytest.CaptureFixture[str]
) -> None:
    with arm:
        arm.command(target(arm, 1.0))
        arm.ask("misread")
        assert lost(arm) == "arm: its driver failed: ValueError: no such register"
        far.hear("hold")
        far.hear("left")
    assert "misread" not in capfd.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root may prefer its programs for certain")
def test_its_program_goes_before_others_where_that_is_allowed(arm: Hosted) -> None:
    with arm:
        assert arm.pid is not None
        assert os.getpriority(os.PRIO_PROCESS, arm.pid) < os.getpriority(os.PRIO_PROCESS, 0)
