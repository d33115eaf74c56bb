"""A trial at a cell that demonstrations do not know is invalid, and after a few of them the batch waits."""

from pathlib import Path

import pytest

from appliance.evaluate import CannotEvaluate, Trying, evaluate, plan
from appliance.home import STARTER, Home
from appliance.rigs import rig
from appliance.station import Station
from storage import Outcome
from tests.homes import remembering

CELL, TASK = "franka-sim", STARTER.name


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two demonstrations, and a policy that remembers them."""
    return remembering(tmp_path_factory.mktemp("home"), 2)


def outcomes(home: Home, batch: str) -> list[tuple[Outcome, str]]:
    with home.join() as catalog:
        ran = [trial.episode for trial in catalog.trials(batch) if trial.episode]
        told = catalog.last_verdicts(ran)
    return [(told[episode].outcome, told[episode].note) for episode in ran]


def test_trials_at_the_cell_that_was_learned_at_are_valid(home: Home) -> None:
    batch, _ = plan(home, TASK, ["nearest-1"], 1, 0, CELL, vary=("camera",))
    assert evaluate(Trying(home, batch.id, CELL, limit=1.0), 1, lambda _turn: None)
    assert [outcome for outcome, _ in outcomes(home, batch.id)] == [Outcome.FAILURE] * 2


def test_a_camera_that_nobody_meant_to_move_makes_trials_invalid_and_then_the_batch_waits(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, _ = plan(home, TASK, ["nearest-1"], 3, 0, CELL)
    arrange = Station.arrange
    monkeypatch.setattr(Station, "arrange", lambda cell, condition: arrange(cell, {**condition, "camera": 1}))
    bumped = "the cell is not the one that was learned at: the view of front has moved by"
    with pytest.raises(CannotEvaluate, match=rf"3 trials in a row were invalid; {bumped}"):
        evaluate(Trying(home, batch.id, CELL, limit=1.0), 1, lambda _turn: None)
    told = outcomes(home, batch.id)
    assert [outcome for outcome, _ in told] == [Outcome.INVALID] * 2
    assert all(note.startswith(bumped) for _, note in told)
    with home.join() as catalog:
        assert catalog.batch(batch.id).closed is None


def test_what_a_policy_learned_at_is_read_from_its_snapshot(home: Home) -> None:
    with home.join() as catalog:
        row = catalog.policy("nearest-1")
        found = rig(catalog, home.folder, row)
        assert found is not None
        assert [set(one.pictures) for one in found.seen] == [{"front", "wrist"}] * 2
        assert rig(catalog, Path("nowhere"), row) is None
