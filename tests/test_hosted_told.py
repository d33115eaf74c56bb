"""A hosted device is told things that nobody waits for: a controller that shall shake, a gripper that shall close."""

import os
import signal
from collections.abc import Iterator

import pytest

from drivers import DeviceError, DeviceLost
from drivers.hosted import Hosted
from tests.hosts import WIRED, FarEnd, until


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd() as end:
        yield end


@pytest.fixture
def arm(far: FarEnd) -> Hosted:
    return Hosted("arm", WIRED, {"far": far.address}, silence=1.0)


def test_what_it_is_told_is_done_in_order_with_the_values_given(arm: Hosted, far: FarEnd) -> None:
    with arm:
        arm.tell("pulse", hand=1, seconds=0.5)
        arm.tell("pulse", hand=0, seconds=0.1, amplitude=0.2)
        arm.ask("mend")
    assert [said for said in far.heard() if said[0] == "pulse"] == [["pulse", 1, 0.5, 1.0], ["pulse", 0, 0.1, 0.2]]


def test_what_the_device_refuses_is_logged_and_harms_nothing(
    arm: Hosted, far: FarEnd, caplog: pytest.LogCaptureFixture
) -> None:
    with arm:
        arm.tell("pulse", hand=1, seconds=0)
        arm.tell("pulse", strength=3)
        assert arm.ask("mend") == 7
        until(lambda: "a pulse takes time" in caplog.text and "unexpected keyword argument" in caplog.text)


def test_what_no_such_device_can_do_is_refused_before_it_is_sent(arm: Hosted) -> None:
    with pytest.raises(AttributeError, match="a Wired has no method dance"):
        arm.tell("dance")
    with pytest.raises(DeviceLost, match="has not been entered"):
        arm.tell("pulse", hand=1, seconds=0.5)


def test_what_is_too_long_for_a_message_is_answered_with_that(arm: Hosted, caplog: pytest.LogCaptureFixture) -> None:
    with arm:
        with pytest.raises(DeviceError, match=r"this answer cannot be told: 1600.. bytes are more than the 131072"):
            arm.ask("recite")
        with pytest.raises(DeviceError, match=r"arm: enough!+\.\.\. \(1500.. bytes are more"):
            arm.ask("rant")
        assert arm.ask("mend") == 7
    assert "muchmu... (1600" in caplog.text


def test_what_it_was_told_before_a_hold_does_not_undo_the_hold(arm: Hosted, far: FarEnd) -> None:
    """Guiding makes an arm limp; an arm that was told to hold since must not be limp afterwards."""
    with arm:
        assert arm.pid is not None
        os.kill(arm.pid, signal.SIGSTOP)
        arm.tell("pulse", hand=1, seconds=0.5)
        arm.hold()
        os.kill(arm.pid, signal.SIGCONT)
        far.hear("pulse", 1, 0.5, 1.0)
        far.hear("hold")
