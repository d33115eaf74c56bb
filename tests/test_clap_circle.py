"""CLAP goes round the circle by the commands that a person types: film, training, going on, trials; one arm and two."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.typed import Said, Type

TINY = ("--preset", "tiny", "--tracker", "none")
QUICK = (*TINY, "--act_vae.steps", "4", "--vd_vae.steps", "4", "--ntp.steps", "4", "--adapt.steps", "2", "--steps", "4")


def well(said: Said) -> str:
    assert said.code == 0, said.err
    return said.out


def tried(appliance: Type, task: str) -> list[tuple[int, int, int]]:
    """Of every policy: trials, those that were invalid, those that nobody judged."""
    found = json.loads(well(appliance("report", "--task", task, "--json")))["policies"]
    return [(each["trials"], each["invalid"], each["unjudged"]) for each in found]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_robots_and_film_become_a_policy_that_is_tried_by_either_drive(appliance: Type, home: Path) -> None:
    """Nothing is learned in so few steps; but every trial runs to its end and is judged."""
    well(appliance("collect", "--task", "pick_place", "--episodes", "2", "--seed", "0"))
    well(appliance("imagine", "--task", "pick_place", "--episodes", "1", "--height", "48", "--fps", "12"))
    said = well(appliance("train", "--task", "pick_place", "--method", "clap", *QUICK))
    assert "clap-1: learned from 2 episodes" in said
    on = ("train", "--task", "pick_place", "--method", "clap", "--from", "clap-1", *QUICK)
    well(appliance(*on))
    well(appliance(*on, "--drive", "ntp"))
    rows = {row["name"]: row for row in json.loads(well(appliance("policies", "list", "--json")))}
    assert [rows[name]["parent"] for name in ("clap-2", "clap-3")] == [rows["clap-1"]["id"]] * 2
    words = [word for name in ("clap-2", "clap-3") for word in ("--policy", name)]
    well(appliance("evaluate", "--task", "pick_place", *words, "--trials", "1"))
    assert tried(appliance, "pick_place") == [(1, 0, 0)] * 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_arms_are_taught_and_tried_by_the_same_commands(appliance: Type, home: Path) -> None:
    well(appliance("tasks", "add", "transfer", "--instruction", "hand the cube to the other arm"))
    well(appliance("collect", "--task", "transfer", "--station", "aloha-sim", "--episodes", "2", "--seed", "0"))
    for drive in ("rf", "ntp"):
        well(appliance("train", "--task", "transfer", "--method", "clap", *QUICK, "--drive", drive))
    words = ["--policy", "clap-1", "--policy", "clap-2", "--trials", "1", "--station", "aloha-sim"]
    well(appliance("evaluate", "--task", "transfer", *words))
    assert tried(appliance, "transfer") == [(1, 0, 0)] * 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_in_each_stage_the_same_command_goes_on_there(appliance: Type, home: Path) -> None:
    """The program is killed as soon as a stage has stored its progress; what is there stays as it is."""
    well(appliance("collect", "--task", "pick_place", "--episodes", "2", "--seed", "0"))
    well(appliance("imagine", "--task", "pick_place", "--episodes", "1", "--height", "48", "--fps", "12"))
    longer = [word for part in ("act_vae.", "vd_vae.", "ntp.", "") for word in (f"--{part}save_every", "2")]
    steps = ("--act_vae.steps", "60", "--vd_vae.steps", "16", "--ntp.steps", "16", "--steps", "16")
    words = ("train", "--task", "pick_place", "--method", "clap", *TINY, *steps, *longer)
    kept: dict[Path, bytes] = {}
    for stage in ("act_vae/last.json", "act_vae/done.json", "vd_vae/last.json", "tokens/last.json", "post/last.json"):
        killed(words, home, stage)
        for path, content in kept.items():
            assert path.read_bytes() == content, path
        kept |= {path: path.read_bytes() for path in home.glob("runs/*/*/done.json")}
    assert len(kept) == 3
    well(appliance(*words))
    assert [row["name"] for row in json.loads(well(appliance("policies", "list", "--json")))] == ["clap-1"]
    for path, content in kept.items():
        (now,) = home.glob(f"runs/*/{path.parent.name}/done.json")
        assert now.read_bytes() == content


def killed(words: tuple[str, ...], home: Path, stage: str) -> None:
    """Type a command, and kill it when its run has come so far."""
    command = [sys.executable, "-c", "import sys; from appliance.cli import main; main(sys.argv[1:])", *words]
    there = {path for path in home.glob(f"runs/*/{stage}") if path.is_file()}
    with subprocess.Popen(command, env={**os.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            until = time.monotonic() + 300
            while not set(home.glob(f"runs/*/{stage}")) - there:
                assert running.poll() is None, "it ended before it was killed"
                assert time.monotonic() < until, f"it never came to {stage}"
                time.sleep(0.01)
        finally:
            running.send_signal(signal.SIGKILL)
