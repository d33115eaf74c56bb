"""A take that ended in a fault is nobody's failure, unless whoever drove caused it."""

from pathlib import Path

import numpy as np
import pytest

from drivers import Rows
from drivers.franka.rows import ACTION, ARM
from ops.failures import judge
from ops.judging.judgement import Judgement
from ops.judging.stops import REFLEX, VERSION
from storage import Episode, EpisodeWriter, Outcome
from tests.takes import TASK, TRUTH, Take

FAULT: dict[str, object] = {"ended_by": "fault"}


def franka(take: Take, braked: int = 0, pressed: float = 0.0, in_time: float = 1.0) -> Rows:
    """The take's rows as a Franka's: the last ``braked`` ones in a reflex, the first of them pressing (Nm)."""
    plain = take.arm()
    rows = np.zeros(len(plain), ARM)
    for field in plain.dtype.names or ():
        rows[field] = plain[field]
    rows["mode"], rows["success_rate"] = 2, in_time
    rows["tau_ext"][max(len(rows) - max(braked, 1), 0), 1] = pressed
    if braked:
        rows["mode"][-braked:], rows["success_rate"][-braked:] = REFLEX, 0.0
    return rows


def told(arm: Rows, until: float = 0.0) -> Rows:
    """What the arm was told at each of its rows, but for the last ``until`` seconds."""
    t = arm["t"][arm["t"] <= arm["t"][-1] - round(until * 1e9)]
    rows = np.zeros(len(t), ACTION)
    rows["t"] = t
    return rows


def judged(folder: Path, take: Take, arm: Rows, action: Rows, said: dict[str, object] = FAULT) -> Judgement:
    with EpisodeWriter(folder, {"truth": TRUTH, "arm": ARM, "action": ACTION}, {}) as writer:
        writer.append("truth", take.truth())
        writer.append("arm", arm)
        writer.append("action", action)
        path = writer.seal(said).path
    return judge(Episode(path), TASK)


@pytest.mark.parametrize(("braked", "pressed"), [(3, 0.0), (1, 11.5)])
def test_an_arm_that_was_driven_into_something_is_the_drivers_failure(
    tmp_path: Path, braked: int, pressed: float
) -> None:
    """The arm says that it braked; the torque that it felt then is evidence, and decides nothing."""
    take = Take().to("red_cube", z=0.08).wait(1)
    arm = franka(take, braked, pressed)
    judgement = judged(tmp_path, take, arm, told(arm))
    assert (judgement.outcome, judgement.code, judgement.stage) == (Outcome.FAILURE, "KIN", "S1")
    assert judgement.evidence["instead_of"] == "SEM-IDLE"
    assert judgement.evidence["tau_ext"] == pressed
    assert "braked by itself" in judgement.evidence["why"]
    assert judgement.evidence["stopped"] == VERSION


@pytest.mark.parametrize(
    ("arm", "until"),
    [
        pytest.param({}, 0.0, id="a cable is pulled"),
        pytest.param({"pressed": 15.0}, 0.0, id="a cable is pulled as it presses against something"),
        pytest.param({"braked": 3, "in_time": 0.8}, 0.0, id="commands come too late"),
        pytest.param({"braked": 3}, 0.5, id="nobody commands it"),
        pytest.param({"braked": 1000}, 0.0, id="it had braked before"),
    ],
)
def test_what_nobody_drove_it_to_is_nobodys_failure(tmp_path: Path, arm: dict[str, float], until: float) -> None:
    take = Take().to("red_cube", z=0.08).wait(1)
    rows = franka(take, **arm)  # type: ignore[arg-type]  # whole numbers where they have to be
    judgement = judged(tmp_path, take, rows, told(rows, until))
    assert (judgement.outcome, judgement.code) == (Outcome.INVALID, "ENV")


def test_a_program_that_died_says_nothing_of_its_policy(tmp_path: Path) -> None:
    take = Take().wait(1)
    arm = franka(take, pressed=20.0)
    assert judged(tmp_path, take, arm, told(arm), FAULT | {"recovered": True}).code == "ENV"


def test_a_command_that_is_no_number_is_the_drivers_failure(tmp_path: Path) -> None:
    take = Take().wait(1)
    action = told(franka(take))
    action["q"][-1, 3] = np.nan
    judgement = judged(tmp_path, take, franka(take), action)
    assert (judgement.outcome, judgement.code) == (Outcome.FAILURE, "KIN")
    assert judgement.evidence["why"] == "it was told a q that is no number"


def test_what_went_wrong_before_the_brake_stays_the_failure(tmp_path: Path) -> None:
    take = Take().to("green_cube").close("green_cube").wait(1)
    arm = franka(take, braked=3)
    judgement = judged(tmp_path, take, arm, told(arm))
    assert (judgement.code, judgement.secondary) == ("SEM-OBJ", ("KIN",))


def test_a_brake_after_the_delivery_is_a_failure_to_finish(tmp_path: Path) -> None:
    take = Take().carry("red_cube", "yellow_pad").wait(0.5)
    arm = franka(take, braked=3)
    judgement = judged(tmp_path, take, arm, told(arm))
    assert (judgement.outcome, judgement.code, judgement.stage) == (Outcome.FAILURE, "KIN", "S5")
    assert judgement.evidence["instead_of"] == "success"


def test_a_brake_without_truth_tells_nothing(tmp_path: Path) -> None:
    take = Take().wait(1)
    arm = franka(take, braked=3)
    with EpisodeWriter(tmp_path, {"arm": ARM, "action": ACTION}, {}) as writer:
        writer.append("arm", arm)
        writer.append("action", told(arm))
        path = writer.seal(FAULT).path
    assert judge(Episode(path), TASK).code == "ENV"
