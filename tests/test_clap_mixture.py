"""Lessons: robot windows and film mixed by weight, each with its own tokens, arms and name."""

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
import torch

from learners.body import Body
from learners.clap.mixture import Mixture
from learners.clap.ntp import Ntp, NtpNet
from learners.data import NoData, Windows
from learners.footage import Footage
from storage.pictures import Unpacked
from tests.lessons import squares

torch.set_num_threads(1)

CODES, ENTRIES = 4, 16
FILMS, MOMENTS = 3, 10


def film(said: str = "somebody picks it up", image: int = 32, arms: tuple[bool, bool] = (True, True)) -> Footage:
    """Every moment has a colour and a code of its own; the last moment of each film shows no whole motion."""
    count = FILMS * MOMENTS
    frames = np.zeros((count, image, image, 3), "u1")
    frames[:] = (100 + np.arange(count))[:, None, None, None]
    return Footage(
        frames=Unpacked(frames),
        frame=np.arange(count),
        later=np.minimum(np.arange(count) + 1, count - 1),
        past_end=np.arange(count) % MOMENTS == MOMENTS - 1,
        moment=np.arange(count) * 100_000_000,
        episode=np.repeat(np.arange(FILMS), MOMENTS),
        ids=tuple(UUID(int=number) for number in range(FILMS)),
        instructions=("pick it up",) * FILMS,
        subtasks=(said,) * FILMS,
        arms=np.tile(np.array(arms), (FILMS, 1)),
        hz=10.0,
        ahead=1.0,
        codes=np.tile((np.arange(count) % ENTRIES)[:, None, None], (1, 2, CODES)).astype(np.uint16),
    )


def codes(data: Windows) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.random.default_rng(0).integers(0, ENTRIES, (len(data), 2, CODES)).astype(np.uint16)


@pytest.fixture(scope="module")
def robot() -> Windows:
    return squares(episodes=5, each=8)


def mixed(robot: Windows, share: float = 0.5) -> Mixture:
    return Mixture(robot, codes(robot), film(), share)


def test_every_row_is_told_as_what_it_is(robot: Windows) -> None:
    """Asked for in any order: film, robot, film, robot."""
    both = mixed(robot)
    first = len(robot)
    lesson = both.batch(np.array([first + 12, 3, first, 7]))
    assert lesson.of_robot.tolist() == [False, True, False, True]
    assert lesson.categories == ["human", "single right arm", "human", "single right arm"]
    assert lesson.arms.tolist() == [[True, True], [False, True], [True, True], [False, True]]
    assert lesson.instructions == ["pick it up", robot.instructions[0], "pick it up", robot.instructions[0]]
    assert lesson.subtasks == ["somebody picks it up", robot.instructions[0]] * 2
    assert lesson.codes[[0, 2]].tolist() == [[[12] * CODES] * 2, [[0] * CODES] * 2]
    assert lesson.codes[[1, 3]].tolist() == codes(robot)[[3, 7]].tolist()
    assert [int(each) for each in lesson.images[[0, 2], 0, 0, 0, 0]] == [112, 100]
    assert lesson.robot is not None
    torch.testing.assert_close(lesson.images[[1, 3]], lesson.robot.images)
    torch.testing.assert_close(lesson.robot.plan, torch.from_numpy(robot.plan[np.array([3, 7])]))


def test_a_batch_may_be_of_one_kind(robot: Windows) -> None:
    both = mixed(robot)
    assert both.batch(np.arange(4)).of_robot.all()
    people = both.batch(np.arange(4) + len(robot))
    assert not people.of_robot.any()
    assert people.robot is None


def test_film_shows_its_one_picture_in_the_place_of_every_camera(robot: Windows) -> None:
    two = replace(robot, frames=robot.frames * 2, frame=np.repeat(robot.frame, 2, axis=1))
    lesson = Mixture(two, codes(two), film()).batch(np.array([0, len(two) + 5]))
    assert lesson.images.shape == (2, 2, 3, 32, 32)
    assert (lesson.images[1] == 105).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_pass_has_as_much_film_as_was_asked_for(robot: Windows, share: float) -> None:
    """Whichever there is less of repeats; nothing is left out."""
    both = mixed(robot, share)
    learn, check = both.split(0.34, seed=0)
    assert float((learn >= len(robot)).mean()) == pytest.approx(share, abs=0.02)
    ours, theirs = robot.split(0.34, 0), film().split(0.34, 0)
    assert set(learn) == {*ours[0], *(theirs[0] + len(robot))}
    assert set(check) == {*ours[1], *(theirs[1] + len(robot))}


def test_without_film_or_weight_the_robot_is_learned_from_alone(robot: Windows) -> None:
    for alone in (Mixture(robot, codes(robot)), mixed(robot, 0.0)):
        assert (alone.split(0.2, 0)[0] < len(robot)).all()
    assert (mixed(robot, 1.0).split(0.2, 0)[0] >= len(robot)).all()


def test_windows_that_are_not_to_be_taught_are_left_out_and_others_repeat(robot: Windows) -> None:
    taught = np.array([0, 0, 9, 17, 30])
    learn, check = Mixture(robot, codes(robot), taught=taught).split(0.2, 0)
    held = set(robot.split(0.2, 0)[1])
    assert sorted(learn) == [number for number in taught if number not in held]
    assert set(check) == held


def test_a_window_may_have_a_subtask_of_its_own(robot: Windows) -> None:
    said = [f"step {number}" for number in range(len(robot))]
    assert Mixture(robot, codes(robot), subtasks=said).batch(np.array([4, 2])).subtasks == ["step 4", "step 2"]


def test_a_pair_has_both_arms() -> None:
    one = squares(episodes=2, each=4)
    pair = replace(one, body=Body(12, 2))
    lesson = Mixture(pair, codes(pair)).batch(np.array([0]))
    assert lesson.arms.tolist() == [[True, True]]
    assert lesson.categories == ["dual arm"]


def test_what_cannot_be_taught_is_refused(robot: Windows) -> None:
    with pytest.raises(NoData, match="action tokens"):
        Mixture(robot, codes(robot)[:-1])
    with pytest.raises(NoData, match="without action tokens"):
        Mixture(robot, codes(robot), replace(film(), codes=None))
    with pytest.raises(NoData, match="4 codes a hand, the robot 2"):
        Mixture(robot, codes(robot)[..., :2], film())
    with pytest.raises(NoData, match="one size"):
        Mixture(robot, codes(robot), film(image=48))


def test_a_mixture_is_what_the_token_policy_is_fitted_to(robot: Windows) -> None:
    """The loop asks it for batches, held-out ones too; a second call with the same folder has nothing left to do."""
    how = Ntp.preset("tiny")
    how = replace(how, training=replace(how.training, steps=4, batch=4, held_out=0.4, check_every=4))
    both = mixed(robot)
    torch.manual_seed(0)
    net = NtpNet(how, CODES, ENTRIES, ["pick it up", *robot.instructions])
    told = net.fit(both)
    assert {"text", "action", "held_out"} <= told.keys()
    assert np.isfinite(told["loss"])
