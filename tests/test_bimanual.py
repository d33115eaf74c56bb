"""The operator with two hands: what it understands, when it is done, and the inverse that its hands rely on."""

import numpy as np
import pytest

from collectors import Unclear
from collectors.bimanual import asked, lasted
from drivers.dynamixel.kinematics import Chain
from drivers.dynamixel.layout import Calibration
from drivers.twin.aloha import AlohaTable
from tests.needs import needs_gym_aloha
from tests.test_aloha import solve

MS = 1_000_000


@pytest.mark.parametrize(
    ("instruction", "things", "task"),
    [
        ("hand the cube to the other arm", ["cube"], "transfer"),
        ("Pass the cube over, please.", ["cube"], "transfer"),
        ("put the peg into the socket", ["peg", "socket"], "insertion"),
    ],
)
def test_what_lies_there_and_what_is_said_make_the_task(instruction: str, things: list[str], task: str) -> None:
    assert asked(instruction, ["t", *things, "stage"]) == task


@pytest.mark.parametrize("instruction", ["", "put the red cube on the yellow pad", "put the peg into the socket"])
def test_what_cannot_be_done_here_is_answered_with_what_can(instruction: str) -> None:
    with pytest.raises(Unclear, match="transfer: cube, hand/pass/give/transfer"):
        asked(instruction, ["t", "cube", "stage"])


@pytest.mark.parametrize(
    ("stage", "is_done"),
    [
        ([4] * 30, True),
        ([0] * 8 + [4] * 22, True),
        ([0] * 15 + [4] * 15, False),
        ([4] * 20 + [0] * 4 + [4] * 6, True),
        ([4] * 15 + [0] * 9 + [4] * 6, False),
        ([4] * 20 + [0] * 10, False),
        ([4] * 10, False),
    ],
    ids=["always", "for long", "for too short", "flickers", "was lost between", "is lost", "nothing earlier is known"],
)
def test_the_last_stage_has_to_last(stage: list[int], is_done: bool) -> None:
    assert lasted(np.arange(len(stage)) * 20 * MS, np.array(stage, np.int32)) == is_done


def test_a_joint_at_its_limit_does_not_stop_the_others() -> None:
    """The forearm has turned as far as it goes, as on the way to the socket; the tool is still brought near."""
    limits = Calibration()
    chain = Chain(limits.low, limits.high)
    q = np.array([-0.0474, -0.2497, 0.6736, -3.1, -0.6241, 3.0676])
    for y, nearest in ((0.0, 0.01), (0.02, 0.025), (0.04, 0.04)):
        pose = np.array([0.369, y, 0.15, 0.866, 0.0, 0.5, 0.0])
        before = float(np.linalg.norm(chain.tool(q)[:3] - pose[:3]))
        q = chain.joints(q, pose)
        assert np.linalg.norm(chain.tool(q)[:3] - pose[:3]) < min(nearest, before)


@needs_gym_aloha
@pytest.mark.slow
@pytest.mark.parametrize("task", ["transfer", "insertion"])
def test_it_succeeds_19_times_in_20(task: str) -> None:
    with AlohaTable(task=task, image=(24, 32), camera_hz=1) as cell:  # type: ignore[arg-type]  # pytest gives any string
        assert sum(solve(cell, seed)[1] for seed in range(20)) >= 19
