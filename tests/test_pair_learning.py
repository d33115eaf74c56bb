"""Two arms go round the same circle as one, by the same commands."""

import json
from pathlib import Path

import pytest

from tests.typed import Type

INSTRUCTION = "hand the cube to the other arm"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_pair_is_shown_a_task_learns_it_and_is_tried(appliance: Type, home: Path) -> None:
    """Nothing is learned from two demonstrations; but every trial runs to its end and is judged."""
    assert appliance("tasks", "add", "transfer", "--instruction", INSTRUCTION).code == 0
    shown = appliance("collect", "--task", "transfer", "--station", "aloha-sim", "--episodes", "2", "--seed", "0")
    assert shown.out == "2 of 2 succeeded.\n"
    for method in (["nearest"], ["ccol", "--preset", "tiny", "--steps", "3", "--tracker", "none"]):
        said = appliance("train", "--task", "transfer", "--method", *method)
        assert said.code == 0, said.err
    words = ["--policy", "nearest-1", "--policy", "ccol-1", "--trials", "1", "--station", "aloha-sim"]
    assert appliance("evaluate", "--task", "transfer", *words).code == 0
    for policy in json.loads(appliance("report", "--task", "transfer", "--json").out)["policies"]:
        assert (policy["trials"], policy["invalid"], policy["unjudged"]) == (1, 0, 0)
    assert len(list((home / "episodes").iterdir())) == 4
