"""A policy is trained on what a task was shown with, and drives only what it was trained for."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from appliance import train as training
from appliance.evaluate import CannotEvaluate, Trying, evaluate, plan
from appliance.home import Home
from appliance.settings import learner
from appliance.train import seeing, train
from drivers import Rows
from learners import ChunkPolicy
from learners.body import Body
from learners.nearest import Nearest
from ops.rollout import Turn
from storage import Episode, EpisodeRow, Observation, Outcome, Task, Verdict
from storage.reading import NOTES
from tests.lessons import SECOND, arm_rows, camera_rows, pair_rows, record
from tests.typed import Type

STAMPS = np.arange(SECOND, 3 * SECOND, SECOND // 100)
PAIR_STATION = """
name = "pair"
robot = "arm"
hz = 20
[cell]
driver = "drivers.twin.aloha:AlohaTable"
[limits]
low = [-3.1, -1.85, -1.76, -3.1, -1.86, -3.1, -3.1, -1.85, -1.76, -3.1, -1.86, -3.1]
high = [3.1, 1.25, 1.6, 3.1, 2.23, 3.1, 3.1, 1.25, 1.6, 3.1, 2.23, 3.1]
speed = [1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5]
"""


@pytest.fixture
def here(home: Path) -> Home:
    """The data folder that commands use; it knows a task for one arm and a task for two."""
    found = Home(home, str(home / "catalog.db"))
    with found.open(lambda _said: None) as catalog:
        if "transfer" not in [task.name for task in catalog.tasks()]:
            catalog.add(Task(name="transfer", instruction="hand the cube to the other arm"))
    return found


def show(here: Home, task: str, robot: Rows, cameras: tuple[str, ...]) -> None:
    """Add a demonstration that succeeded."""
    pictures = {name: camera_rows(STAMPS[::3], seed) for seed, name in enumerate(cameras)}
    sealed = record(here.folder, robot, pictures)
    path = str(sealed.path.relative_to(here.folder))
    row = EpisodeRow(
        id=sealed.id,
        task=task,
        agent="person",
        path=path,
        digest=sealed.digest,
        seconds=sealed.seconds,
        started=datetime.now(UTC),
    )
    with here.join() as catalog:
        catalog.add(row, Verdict(episode=sealed.id, by="me", outcome=Outcome.SUCCESS))


@pytest.mark.parametrize(
    "method", [["nearest"], ["random"], ["ccol", "--preset", "tiny", "--steps", "2", "--tracker", "none"]]
)
def test_a_pair_is_trained_by_the_same_command_as_one_arm(appliance: Type, here: Home, method: list[str]) -> None:
    show(here, "transfer", pair_rows(STAMPS), ("top", "left_wrist", "right_wrist"))
    show(here, "pick_place", arm_rows(STAMPS), ("front", "wrist", "side"))
    for task, body, cameras in (
        ("transfer", {"joints": 12, "arms": 2}, ["left_wrist", "right_wrist", "top"]),
        ("pick_place", {"joints": 7, "arms": 1}, ["front", "wrist"]),
    ):
        said = appliance("train", "--task", task, "--method", *method)
        assert said.code == 0, said.err
        with here.join() as catalog:
            row = catalog.policies(task)[-1]
        assert sorted(row.settings.get("cameras", cameras)) == cameras
        assert f'"joints": {body["joints"]}' in (here.folder / row.path / "policy.json").read_text()


def test_cameras_that_were_asked_for_are_not_exchanged(appliance: Type, here: Home) -> None:
    show(here, "transfer", pair_rows(STAMPS), ("top", "left_wrist"))
    said = appliance("train", "--task", "transfer", "--method", "nearest", "--cameras", '["front"]')
    assert said.code == 1
    assert "no ['front']; it has ['arm', 'left_wrist', 'ticks', 'top']" in said.err
    assert appliance("train", "--task", "transfer", "--method", "nearest", "--cameras", '["top"]').code == 0
    with here.join() as catalog:
        assert catalog.policy("nearest-1").settings["cameras"] == ["top"]


def test_a_policy_of_two_arms_is_not_tried_on_one_nor_one_of_one_on_two(
    appliance: Type, here: Home, tmp_path: Path
) -> None:
    show(here, "transfer", pair_rows(STAMPS), ("top",))
    show(here, "pick_place", arm_rows(STAMPS), ("front",))
    station = tmp_path / "pair.toml"
    station.write_text(PAIR_STATION)
    for task in ("transfer", "pick_place"):
        assert appliance("train", "--task", task, "--method", "nearest").code == 0
    with pytest.raises(
        CannotEvaluate, match="nearest-1 moves 2 arms of 6 joints each, and franka-sim has one arm of 7"
    ):
        plan(here, "transfer", ["nearest-1"], 1, 0, "franka-sim")
    with pytest.raises(
        CannotEvaluate, match="nearest-2 moves one arm of 7 joints, and pair has 2 arms of 6 joints each"
    ):
        plan(here, "pick_place", ["nearest-2"], 1, 0, str(station))
    assert plan(here, "transfer", ["nearest-1"], 1, 0, str(station))[0].planned == 1
    assert plan(here, "pick_place", ["nearest-2"], 1, 0, "franka-sim")[0].planned == 1


def test_a_policy_is_not_tried_where_a_camera_of_its_is_missing(appliance: Type, here: Home) -> None:
    show(here, "pick_place", arm_rows(STAMPS), ("front", "side"))
    assert appliance("train", "--task", "pick_place", "--method", "nearest", "--cameras", '["front", "side"]').code == 0
    with pytest.raises(
        CannotEvaluate, match=r"nearest-1 looks through side, and franka-sim has cameras \['front', 'wrist'\]"
    ):
        plan(here, "pick_place", ["nearest-1"], 1, 0, "franka-sim")


NAMED_OTHERWISE = """
name = "lab"
robot = "follower"
hz = 20
[device.follower]
driver = "drivers.franka:Franka"
host = "172.16.0.2"
[limits]
low = [-2.7, -1.7, -2.9, -3.0, -2.8, 0.6, -3.0]
high = [2.7, 1.7, 2.9, -0.2, 2.8, 4.5, 3.0]
speed = [1.3, 1.3, 1.3, 1.3, 2.6, 2.0, 2.6]
"""


def test_a_policy_is_not_tried_where_the_robot_is_called_otherwise(appliance: Type, here: Home, tmp_path: Path) -> None:
    show(here, "pick_place", arm_rows(STAMPS), ("front",))
    assert appliance("train", "--task", "pick_place", "--method", "nearest").code == 0
    (tmp_path / "lab.toml").write_text(NAMED_OTHERWISE)
    with pytest.raises(
        CannotEvaluate, match=r"a policy looks for a robot called 'arm', and lab's is 'follower': .*arm"
    ):
        plan(here, "pick_place", ["nearest-1"], 1, 0, str(tmp_path / "lab.toml"))


def test_a_task_is_learned_through_the_cameras_that_all_of_it_was_shown_to(
    appliance: Type, here: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a later demonstration lacks is left out, and nobody takes an episode away meanwhile."""
    held: list[bool] = []

    def opened(path: Path) -> Episode:
        held.append(any((here.folder / NOTES).iterdir()))
        return Episode(path)

    show(here, "pick_place", arm_rows(STAMPS), ("front", "wrist", "side"))
    show(here, "pick_place", arm_rows(STAMPS), ("front", "side"))
    with monkeypatch.context() as patched:
        patched.setattr("appliance.train.Episode", opened)
        how = seeing(here, "pick_place", Nearest())
    assert held == [True, True]
    assert how.cameras == ("front", "side")
    assert seeing(here, "pick_place", Nearest(cameras=("side",))).cameras == ("side",)
    assert appliance("train", "--task", "pick_place", "--method", "nearest").code == 0


def test_a_policy_without_cameras_goes_by_what_it_feels(appliance: Type, here: Home) -> None:
    show(here, "pick_place", arm_rows(STAMPS), ("front",))
    assert appliance("train", "--task", "pick_place", "--method", "nearest", "--cameras", "[]").code == 0
    batch, _ = plan(here, "pick_place", ["nearest-1"], 1, 0, "franka-sim")
    turns: list[Turn] = []
    assert evaluate(Trying(here, batch.id, "franka-sim", limit=1.0), 1, turns.append)
    assert [turn.outcome for turn in turns] == [Outcome.FAILURE]


def test_a_policy_that_looks_far_back_is_shown_as_much(appliance: Type, here: Home) -> None:
    """It looks back over 2.4 s, more than a loop remembers by itself; the trial runs, and none of it is a fault."""
    show(here, "pick_place", arm_rows(STAMPS), ("front", "wrist"))
    words = ["--preset", "tiny", "--steps", "1", "--tracker", "none", "--spacing", "0.6", "--replan", "0.5"]
    assert appliance("train", "--task", "pick_place", "--method", "ccol", *words).code == 0
    batch, _ = plan(here, "pick_place", ["ccol-1"], 1, 0, "franka-sim")
    turns: list[Turn] = []
    assert evaluate(Trying(here, batch.id, "franka-sim", limit=1.0), 1, turns.append)
    assert [turn.outcome for turn in turns] == [Outcome.FAILURE]


def test_a_policy_has_planned_once_before_its_take(
    appliance: Type, here: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first plan is slow; when it is asked for one, nothing is being recorded yet."""
    show(here, "pick_place", arm_rows(STAMPS), ("front", "wrist"))
    assert appliance("train", "--task", "pick_place", "--method", "nearest").code == 0
    batch, _ = plan(here, "pick_place", ["nearest-1"], 2, 0, "franka-sim")
    recording, planned = [], ChunkPolicy.plan

    def watched(policy: ChunkPolicy, seen: Observation, instruction: str) -> Rows:
        recording.append(any((here.folder / "staging").iterdir()))
        return planned(policy, seen, instruction)

    monkeypatch.setattr(ChunkPolicy, "plan", watched)
    assert evaluate(Trying(here, batch.id, "franka-sim", limit=0.5), 1, lambda _turn: None)
    assert recording[:2] == [False, True]
    assert recording.count(False) == 2
    with here.join() as catalog:
        took = [catalog.episode(trial.episode) for trial in catalog.trials(batch.id) if trial.episode is not None]
    assert all(row.seconds <= 0.52 for row in took)


def test_the_robot_of_a_station_is_read_off_its_rows(tmp_path: Path) -> None:
    from appliance import station

    (tmp_path / "pair.toml").write_text(PAIR_STATION)
    assert Body.of(station.load(tmp_path / "pair.toml").robot.dtype) == Body(12, 2)
    assert Body.of(station.load("franka-sim").robot.dtype) == Body(7, 1)


def test_a_policy_that_another_process_has_kept_meanwhile_is_left_as_it_is(
    here: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a job is done twice, because a worker that stood still was given up: what the catalog names stays."""
    show(here, "pick_place", arm_rows(STAMPS), ("head",))
    how = learner("nearest", "tiny", {"cameras": '["head"]'})
    name, seen = uuid4(), [None]
    there = train(here, "pick_place", "nearest", "tiny", how, lambda *_: None, name=name)
    before = (here.folder / there.path).stat().st_ino
    real = training._known
    monkeypatch.setattr(training, "_known", lambda *asked: seen.pop() if seen else real(*asked))
    assert train(here, "pick_place", "nearest", "tiny", how, lambda *_: None, name=name).digest == there.digest
    assert (here.folder / there.path).stat().st_ino == before
