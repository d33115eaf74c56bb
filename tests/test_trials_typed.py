"""A person types ``appliance evaluate --attended``: keys, what they see, and what the catalog has then."""

from pathlib import Path

import pytest

from appliance.home import Home
from tests.test_collect_typed import ENTER, Terminal
from tests.typed import Type

TASK = ("--task", "pick_place")


@pytest.mark.timeout(180)
def test_two_trials_are_begun_at_the_keyboard_and_nobody_sees_whose_they_are(appliance: Type, home: Path) -> None:
    assert appliance("collect", *TASK, "--seed", "0").code == 0
    assert appliance("train", *TASK, "--method", "nearest").code == 0
    with Terminal(
        *("evaluate", *TASK, "--policy", "nearest-1", "--trials", "2", "--attended", "--operator", "ada"),
        APPLIANCE_HOME=str(home),
    ) as terminal:
        terminal.see("START: put the red cube on the yellow pad.")
        assert "0 of 2 trials" in terminal.screen
        before = terminal.screen.partition("Batch ")[2].partition("START:")[2]
        terminal.press(ENTER)
        terminal.see("trial 1 of 2: ")
        terminal.see("START: put the red cube on the yellow pad.")
        shown = before + terminal.screen
        terminal.press(ENTER)
        assert terminal.left() == 0
        assert "nearest-1" in terminal.screen, "the report tells once all is over"
    assert "nearest-1" not in shown
    with Home(home, str(home / "catalog.db")).join() as catalog:
        (batch,) = catalog.batches("pick_place")
        assert batch.closed is not None
        ran = [trial.episode for trial in catalog.trials(batch.id) if trial.episode]
        assert {one.by for one in catalog.last_verdicts(ran).values()} == {"ada"}


def test_what_makes_no_sense_is_refused(appliance: Type) -> None:
    words = ("evaluate", *TASK, "--policy", "ccol-1")
    assert "needs no person" in appliance(*words, "--takeover", "replay").err
    assert "a person is at one table" in appliance(*words, "--attended", "--workers", "2").err
