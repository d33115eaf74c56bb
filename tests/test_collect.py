"""Whole takes through the command line, on every station that can run here: shown, recorded, graded, judged."""

from pathlib import Path

import pytest

from appliance import station
from appliance.collect import script
from collectors import Lacking
from tests.needs import needs_gym_aloha
from tests.typed import Type

pytestmark = needs_gym_aloha

HANDOVER, INSERT = "hand the cube to the other arm", "put the peg into the socket"


@pytest.fixture
def lab(appliance: Type) -> Type:
    """A data folder that knows what ALOHA can be asked for."""
    appliance("tasks", "add", "transfer", "--instruction", HANDOVER)
    appliance("tasks", "add", "insertion", "--instruction", INSERT)
    return appliance


def small(folder: Path, task: str) -> str:
    """The simulated pair with one of its tasks, seen dimly and seldom."""
    file = folder / "dim.toml"
    seen = f'task = "{task}"\nimage = [24, 32]\ncamera_hz = 4'
    file.write_text(station.text("aloha-sim").replace('task = "transfer"', seen).replace("skew = 0.15", "skew = 0.4"))
    return str(file)


@pytest.mark.parametrize("task", ["transfer", "insertion"])
def test_a_pair_shows_its_tasks_which_are_recorded_graded_and_judged(lab: Type, tmp_path: Path, task: str) -> None:
    said = lab("collect", "--task", task, "--station", small(tmp_path, task), "--seed", "0")
    assert (said.code, said.out) == (0, "1 of 1 succeeded.\n"), said.err
    (row,) = lab("episodes", "list", "--json").json
    assert (row["task"], row["station"], row["outcome"], row["ended_by"]) == (task, "aloha-sim", "success", "done")
    assert (row["lost"], row["quarantined"]) == (0, False)
    shown = lab("episodes", "show", row["id"], "--json").json
    assert shown["verdicts"][0]["evidence"]["rules"] == "aloha-rules/1.1"
    assert shown["streams"].keys() >= {"arm", "action", "truth", "top", "left_wrist", "right_wrist", "ticks"}
    assert lab("verify").code == 0


@pytest.mark.parametrize(
    ("task", "where", "helps"),
    [
        ("pick_place", "aloha-sim", "like 'hand the cube to the other arm'"),
        ("insertion", "aloha-sim", "like 'hand the cube to the other arm'"),
        ("transfer", "franka-sim", "like 'put the red cube on the yellow pad'"),
        ("pick_place", "franka", "franka has no device 'truth'"),
    ],
)
def test_a_task_that_a_table_cannot_have_is_refused_with_what_it_can(
    lab: Type, task: str, where: str, helps: str
) -> None:
    said = lab("collect", "--task", task, "--station", where)
    assert said.code == 1
    assert helps in said.err
    assert lab("episodes", "list", "--json").json == []


def test_where_nobody_knows_a_script_that_is_said(tmp_path: Path) -> None:
    strange = tmp_path / "strange.toml"
    strange.write_text(
        'name = "strange"\nhz = 20\nrobot = "arm"\n[device.arm]\ndriver = "tests.test_station:Lever"\nhosted = false\n'
        '[device.truth]\ndriver = "tests.test_station:Gauge"\nhosted = false\n'
        "[limits]\nlow = [-1.0]\nhigh = [1.0]\nspeed = [1.0]\n"
    )
    with pytest.raises(Lacking, match="no script knows what to do with the things at strange: t, w"):
        script(station.load(strange))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "where", "rules"),
    [
        ("pick_place", "franka-emulated", "table-rules/1.1"),
        ("transfer", "aloha-emulated", "aloha-rules/1.1"),
    ],
)
def test_through_the_wire_takes_are_whole_graded_and_judged_too(lab: Type, task: str, where: str, rules: str) -> None:
    """In real time, so a machine that is busy may spoil a take, which then is judged so."""
    said = lab("collect", "--task", task, "--station", where, "--episodes", "3", "--seed", "0")
    assert said.code == 0, said.err
    rows = lab("episodes", "list", "--json").json
    assert len(rows) == 3
    good = [row for row in rows if row["outcome"] == "success"]
    assert good, [(row["outcome"], row["failure"], row["ended_by"]) for row in rows]
    assert all(row["gap"] is not None and row["late"] is not None for row in rows)
    assert lab("episodes", "show", good[0]["id"], "--json").json["verdicts"][0]["evidence"]["rules"] == rules
    assert lab("verify").code == 0


@pytest.mark.slow
def test_one_policy_drives_the_twin_and_the_emulated_arm(lab: Type) -> None:
    """Learned from the twin's takes; the trials through the wire may be slower."""
    task = ("--task", "pick_place")
    assert lab("collect", *task, "--episodes", "40", "--seed", "0", "--workers", "2").code == 0
    assert lab("train", *task, "--method", "nearest").code == 0
    for where in ("franka-sim", "franka-emulated"):
        said = lab("evaluate", *task, "--policy", "nearest-1", "--trials", "2", "--station", where)
        assert said.code == 0, said.err
    (policy,) = lab("report", *task, "--json").json["policies"]
    assert policy["trials"] + policy["invalid"] == 2
