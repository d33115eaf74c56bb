"""A person at the command line: what they type, what they get, and what they are told when it cannot be."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from appliance.collect import starts
from appliance.home import Home
from storage import EpisodeWriter, Wanted
from tests.typed import Type

ROOT = Path(__file__).parent.parent


def test_a_sitting_from_collecting_to_verifying(appliance: Type, home: Path) -> None:
    said = appliance("collect", "--task", "pick_place", "--episodes", "2", "--operator", "ada", "--seed", "1")
    assert (said.code, said.out) == (0, "2 of 2 succeeded.\n")

    listed = appliance("episodes", "list", "--json").json
    assert [row["condition"] for row in listed] == [{"seed": 1000}, {"seed": 1001}]
    assert {(row["task"], row["agent"], row["operator"], row["station"]) for row in listed} == {
        ("pick_place", "scripted", "ada", "franka-sim")
    }
    assert [(row["outcome"], row["ended_by"]) for row in listed] == [("success", "done")] * 2
    assert listed[0]["started"] < listed[1]["started"]

    first = listed[0]["id"]
    assert appliance("episodes", "judge", first[:8], "failure", "--failure", "DROP", "--note", "slipped").code == 0
    shown = appliance("episodes", "show", first, "--json").json
    assert [(one["labelled_by"], one["outcome"], one["failure"]) for one in shown["verdicts"]] == [
        ("auto", "success", None),
        ("human", "failure", "DROP"),
    ]
    assert shown["attributes"]["instruction"] == "put the red cube on the yellow pad"
    assert shown["streams"].keys() >= {"arm", "action", "truth", "front", "wrist", "ticks"}
    assert appliance("episodes", "list", "--json").json[0]["outcome"] == "failure"
    assert appliance("tasks", "list", "--json").json[0]["successes"] == 1

    assert appliance("verify").out == "All well: 2 episodes are what they were when they were sealed.\n"
    victim = next((home / listed[1]["path"]).rglob("zarr.json"))
    victim.write_text(victim.read_text() + " ")
    rotten = appliance("verify")
    assert rotten.code == 1
    assert listed[1]["id"] in rotten.err
    assert appliance("verify", "--json").json[0]["kind"] == "changed"


def test_takes_for_a_work_order_are_set_as_it_asks_and_counted(appliance: Type) -> None:
    asked = ("orders", "add", "--task", "pick_place", "--wanted", "2", "--why", "the far corner")
    assert appliance(*asked, "--condition", '{"red_cube": [0.5, 0.1, 0.3]}').code == 0
    said = appliance("collect", "--task", "pick_place", "--order", "1", "--seed", "1")
    assert (said.code, said.out) == (0, "2 of 2 succeeded.\n")
    listed = appliance("episodes", "list", "--json").json
    assert [row["condition"] for row in listed] == [{"seed": k, "red_cube": [0.5, 0.1, 0.3]} for k in (1000, 1001)]
    (order,) = appliance("orders", "list", "--json").json
    assert (order["done"], order["wanted"]) == (2, 2)
    assert (
        "there is no work order '7'; there are: 1" in appliance("collect", "--task", "pick_place", "--order", "7").err
    )
    appliance("tasks", "add", "stack", "--instruction", "stack the cubes")
    assert "is of task 'pick_place'" in appliance("collect", "--task", "stack", "--order", "1").err
    appliance("orders", "close", "1")
    assert "was closed" in appliance("collect", "--task", "pick_place", "--order", "1").err


def test_how_many_processes_collect_makes_no_difference_to_what_is_collected(appliance: Type) -> None:
    said = appliance("collect", "--task", "pick_place", "--episodes", "3", "--workers", "2", "--seed", "4")
    assert said.code == 0, said.err
    listed = appliance("episodes", "list", "--json").json
    assert sorted(row["condition"]["seed"] for row in listed) == [4000, 4001, 4002]


def test_the_same_seed_gives_the_same_episode_bytes(appliance: Type, home: Path) -> None:
    """Also in another sitting, by another process; only who and when may differ."""
    for workers in ("1", "2"):
        said = appliance("collect", "--task", "pick_place", "--episodes", "2", "--seed", "3", "--workers", workers)
        assert said.code == 0, said.err
    listed = appliance("episodes", "list", "--json").json
    by_start: dict[int, list[Path]] = {}
    for row in listed:
        by_start.setdefault(row["condition"]["seed"], []).append(home / row["path"])
    assert [len(paths) for paths in by_start.values()] == [2, 2]
    assert len({row["digest"] for row in listed}) == 2
    for first, second in by_start.values():
        names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
        assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
        said_of_it = {Path("zarr.json"), Path("manifest.json")}
        assert [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()] == sorted(
            said_of_it
        )


def test_training_goes_on_from_a_policy_that_fits(appliance: Type) -> None:
    assert appliance("collect", "--task", "pick_place", "--seed", "0").code == 0
    tiny = ("train", "--task", "pick_place", "--method", "ccol", "--preset", "tiny", "--steps", "2")
    assert appliance(*tiny).code == 0
    assert appliance(*tiny, "--from", "ccol-1").code == 0
    first, second = appliance("policies", "list", "--json").json
    assert (first["parent"], second["parent"]) == (None, first["id"])
    measured = appliance("policies", "show", "ccol-2", "--json").json["metrics"]
    assert {"recon", "kl", "disc", "key", "loss"} <= measured.keys()

    wider = appliance(*tiny, "--from", "ccol-1", "--width", "48")
    assert wider.code == 1
    assert "do not fit" in wider.err
    remembers = appliance("train", "--task", "pick_place", "--method", "nearest", "--from", "ccol-1")
    assert remembers.code == 1
    assert "only remembers" in remembers.err
    assert appliance(*tiny, "--from", "ccol-9").code == 1


def test_without_a_seed_a_sitting_goes_on_where_the_last_one_ended(appliance: Type, home: Path) -> None:
    assert appliance("collect", "--task", "pick_place", "--seed", "0").code == 0
    here = Home(home, str(home / "catalog.db"))
    assert starts(here, "pick_place", "franka-sim", 3, None) == (1, 2, 3)
    assert starts(here, "pick_place", "franka-sim", 2, 7) == (7000, 7001)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_ends_the_sitting_safely(home: Path, workers: int) -> None:
    words = ["collect", "--task", "pick_place", "--episodes", "500", "--workers", str(workers)]
    command = [sys.executable, "-m", "appliance.cli", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True) as sitting:
        try:
            until = time.monotonic() + 60
            while not list((home / "staging").glob("*/arm/rows.log")) and time.monotonic() < until:
                assert sitting.poll() is None
            os.killpg(sitting.pid, signal.SIGINT)
            out, err = sitting.communicate(timeout=60)
        finally:
            sitting.kill()
    assert out.startswith("Stopped."), err
    assert "Traceback" not in err
    assert sitting.returncode == 0
    assert list((home / "staging").iterdir()) == []
    with Home(home, str(home / "catalog.db")).join() as catalog:
        rows = [found.row for found in catalog.find(Wanted())]
        verdicts = catalog.last_verdicts(row.id for row in rows)
        assert {"stopped"} <= {row.ended_by for row in rows}
        assert all(verdicts[row.id].outcome == "invalid" for row in rows if row.ended_by == "stopped")


def test_a_take_that_a_crash_cut_short_is_brought_in_at_the_next_start(appliance: Type, home: Path) -> None:
    assert appliance("collect", "--task", "pick_place", "--seed", "0").code == 0
    (whole,) = appliance("episodes", "list", "--json").json
    about = {"task": "pick_place", "agent": "scripted", "started": whole["started"]}
    rows = _rows(home / whole["path"])
    with EpisodeWriter(home, {"arm": rows.dtype}, about) as writer:
        writer.append("arm", rows)
    said = appliance("episodes", "list", "--json")
    assert "recovered" in said.err
    assert [row["recovered"] for row in said.json if row["id"] != whole["id"]] == [True]


def test_tasks_are_added_once_and_listed(appliance: Type) -> None:
    words = ("tasks", "add", "stack", "--instruction", "put the green cube on the purple pad")
    assert appliance(*words).code == 0
    assert [task["id"] for task in appliance("tasks", "list", "--json").json] == ["pick_place", "stack"]
    assert "stack" in appliance("tasks", "list").out
    again = appliance("tasks", "add", "stack", "--instruction", "something else")
    assert again.code == 1
    assert "stack" in again.err


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        (["collect", "--task", "pick"], ["there is no task 'pick'", "pick_place"]),
        (["collect", "--task", "pick_place", "--station", "franca"], ["no station 'franca'", "franka-sim"]),
        (["episodes", "list", "--task", "pick"], ["there is no task 'pick'", "pick_place"]),
        (["episodes", "show", "0123"], ["there is no episode '0123'"]),
        (["policies", "show", "ccol-9"], ["there is no policy 'ccol-9'"]),
        (["report", "--task", "pick"], ["there is no task 'pick'", "pick_place"]),
        (["evaluate", "--task", "pick_place", "--policy", "ccol-9"], ["there is no policy 'ccol-9'"]),
        (
            ["train", "--task", "pick_place", "--method", "nearest"],
            ["no successful demonstration", "appliance collect"],
        ),
    ],
)
def test_a_refusal_says_what_would_have_been_right(appliance: Type, words: Sequence[str], helps: Sequence[str]) -> None:
    said = appliance(*words)
    assert said.code == 1
    assert said.err.count("\n") <= 2
    for part in helps:
        assert part in said.err


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        (["colect"], "collect"),
        (["collect"], "--task"),
        (["collect", "--task", "pick_place", "--hurry"], "--hurry"),
        (["collect", "--task", "pick_place", "--episodes", "0"], "--episodes"),
        (["collect", "--task", "pick_place", "--by", "telepathy"], "scripted"),
        (["episodes", "judge", "00", "splendid"], "invalid"),
        (["train", "--task", "pick_place", "--method", "magic"], "ccol"),
        (["train", "--task", "pick_place", "--method", "ccol", "--preset", "huge"], "tiny"),
        (["train", "--task", "pick_place", "--method", "ccol", "--widht", "3"], "width"),
        (["train", "--task", "pick_place", "--method", "ccol", "--width", "wide"], "valid integer"),
        (["train", "--task", "pick_place", "--method", "ccol", "width"], "An option begins with --"),
    ],
)
def test_a_mistake_in_the_command_line_is_exit_code_2(appliance: Type, words: Sequence[str], helps: str) -> None:
    said = appliance(*words)
    assert said.code == 2
    assert helps in said.err


def test_a_verdict_has_to_make_sense(appliance: Type) -> None:
    assert appliance("collect", "--task", "pick_place", "--seed", "0").code == 0
    (row,) = appliance("episodes", "list", "--json").json
    unnamed = appliance("episodes", "judge", row["id"], "failure")
    assert unnamed.code == 1
    assert "DROP" in unnamed.err
    misnamed = appliance("episodes", "judge", row["id"], "failure", "--failure", "DORP")
    assert misnamed.code == 1
    assert "there is no failure DORP" in misnamed.err
    assert len(appliance("episodes", "show", row["id"], "--json").json["verdicts"]) == 1


def test_a_task_nobody_can_show_here_is_refused_before_anything_moves(appliance: Type, home: Path) -> None:
    appliance("tasks", "add", "tidy", "--instruction", "tidy up")
    said = appliance("collect", "--task", "tidy")
    assert said.code == 1
    assert "must name one cube" in said.err
    assert not (home / "staging").exists()


def test_a_home_that_cannot_be_written_to_is_refused(appliance: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_HOME", "/proc/nowhere")
    said = appliance("tasks", "list")
    assert said.code == 1
    assert "cannot write to the data folder /proc/nowhere" in said.err
    assert "Set APPLIANCE_HOME" in said.err


def test_the_catalog_may_lie_elsewhere(appliance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_DATABASE", f"sqlite:///{tmp_path}/elsewhere.db")
    assert appliance("tasks", "list").code == 0
    assert (tmp_path / "elsewhere.db").exists()
    (tmp_path / "letter.txt").write_text("Dear Ada, " * 100)
    monkeypatch.setenv("APPLIANCE_DATABASE", f"sqlite:///{tmp_path}/letter.txt")
    refused = appliance("tasks", "list")
    assert refused.code == 1
    assert "catalog" in refused.err


def test_the_whole_circle_in_miniature(appliance: Type, home: Path) -> None:
    said = appliance("demo", "--quick", "--workers", "1")
    assert said.code == 0, said.err
    found = appliance("report", "--json").json
    assert [policy["method"] for policy in found["policies"]] == ["random", "nearest", "ccol"]
    for policy in found["policies"]:
        assert policy["trials"] == 2
        assert policy.keys() >= {"success_rate", "interval", "failures"}
    assert (home / "reports" / "pick_place" / "report.html").exists()
    assert [policy["name"] for policy in appliance("policies", "list", "--json").json] == [
        "random-1",
        "nearest-1",
        "ccol-1",
    ]
    shown = appliance("policies", "show", "ccol-1", "--json").json
    assert shown["settings"]["training"]["steps"] > 0
    assert shown["snapshot"]
    assert appliance("verify").code == 0


def _rows(episode: Path) -> Any:
    from storage import Episode

    return Episode(episode).rows("arm")
