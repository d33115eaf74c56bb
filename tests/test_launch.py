"""Training with several processes, from what a person types to the policy that comes of it."""

import json
import os
import shlex
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from appliance import launch, work
from appliance.doing import Here
from appliance.home import Home
from appliance.launch import Asked, CannotLaunch, Spread
from storage import EpisodeRow, Outcome, PolicyRow, Verdict
from tests.takes import Take
from tests.typed import Type

ROOT = Path(__file__).parent.parent
TASK = "pick_place"
SETTINGS = {"cameras": '["front"]', "batch": "6", "workers": "0", "tracker": "none", "held_out": "0.34", "warmup": "1"}


@pytest.fixture
def opened(home: Path) -> Home:
    """Three takes that went well."""
    found = Home(home, str(home / "catalog.db"))
    with found.open() as catalog:
        for _ in range(3):
            sealed = Take().to("red_cube").record(home, camera=True)
            row = EpisodeRow(
                id=sealed.id,
                task=TASK,
                agent="scripted",
                path=f"episodes/{sealed.path.name}",
                digest=sealed.digest,
                seconds=sealed.seconds,
                started=datetime(2026, 5, 1, 9, tzinfo=UTC),
            )
            catalog.add(row, Verdict(episode=sealed.id, by="ada", outcome=Outcome.SUCCESS))
    return found


def words(**settings: str) -> list[str]:
    """What a person types to train so."""
    given = [f"--{name}={value}" for name, value in (SETTINGS | settings).items()]
    return ["train", "--task", TASK, "--method", "ccol", "--preset", "tiny", "--processes", "2", *given]


def policies(home: Home) -> list[PolicyRow]:
    with home.join() as catalog:
        return catalog.policies()


@pytest.mark.slow
def test_two_processes_make_one_policy(opened: Home, appliance: Type) -> None:
    """For real: accelerate starts them, both cut the same windows, the main one keeps the policy and says how it is."""
    said = appliance(*words(steps="3"))
    assert said.code == 0, said.err
    assert said.out.startswith("ccol-1: learned from 3 episodes in ")
    assert "ccol: 3 of 3, loss " in said.err
    (row,) = policies(opened)
    assert (opened.folder / row.path / "policy.json").exists()
    assert [*(opened.folder / "policies").iterdir()] == [opened.folder / row.path]
    assert [path.suffix for path in (opened.folder / launch.FOLDER).iterdir()] == [".json"]
    with opened.join() as catalog:
        assert len(catalog.learned(str(row.snapshot))) == 3


@pytest.mark.slow
def test_whoever_stops_hearing_stops_them_and_the_same_words_go_on_from_there(opened: Home) -> None:
    asked = Asked(TASK, "ccol", "tiny", SETTINGS | {"steps": "100", "save_every": "1000"}, name=uuid4())
    told: list[int] = []

    def stop(done: int, _of: int, _loss: float) -> None:
        told.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch.run(opened, Spread(2), asked, stop)
    assert policies(opened) == []
    assert len([*(opened.folder / "runs").glob("*/last.json")]) == 1
    again: list[int] = []
    made = launch.run(opened, Spread(2), asked, lambda done, _of, _loss: again.append(done))
    assert again[0] > told[0]
    assert made == asked.name
    assert [row.id for row in policies(opened)] == [made]


@pytest.mark.slow
def test_a_job_may_use_several_processes(opened: Home) -> None:
    asked = {"task": TASK, "method": "ccol", "preset": "tiny", "settings": SETTINGS | {"steps": "2"}, "processes": 2}
    assert work.do(opened, "train", asked, Here("lesson"))["policy"] == "ccol-1"
    assert work.do(opened, "train", asked, Here("lesson"))["policy"] == "ccol-1"
    assert len(policies(opened)) == 1


@pytest.mark.slow
def test_a_refusal_of_a_process_is_told_as_it_is(opened: Home, appliance: Type) -> None:
    said = appliance(*words(cameras='["wrist"]'))
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("appliance: ccol: an episode has no ['wrist']; it has ")
    assert "Traceback" not in said.err


@pytest.mark.slow
def test_processes_that_were_asked_for_different_things_do_not_train_together(opened: Home) -> None:
    """As when somebody types other words on the second machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank, steps in enumerate(("3", "4")):
        asked = opened.folder / f"{rank}.json"
        asked.write_text(
            json.dumps({"task": TASK, "method": "ccol", "preset": "tiny", "settings": {**SETTINGS, "steps": steps}})
        )
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
        where |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        where |= {"APPLIANCE_HOME": str(opened.folder), "APPLIANCE_DATABASE": opened.database}
        words = [sys.executable, "-m", "appliance.launch", str(asked), str(opened.folder / f"{rank}.told")]
        (opened.folder / f"{rank}.told").touch()
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(words, cwd=ROOT, env=os.environ | where, **pipes))  # type: ignore[call-overload]  # pipes
    first, other = started
    assert other.wait(120) == 1
    refused = json.loads((opened.folder / "1.told").read_text().splitlines()[-1])["refused"]
    assert refused.startswith(
        "process 2 of 2 has other settings or another revision than the main one, or found other "
    )
    first.kill()
    first.wait()
    for each in started:
        each.stdin.close()
    assert policies(opened) == []


def test_the_line_says_everything_so_that_no_settings_of_accelerate_matter(opened: Home, appliance: Type) -> None:
    said = appliance(*words(steps="5"), "--machines", "3", "--rank", "1", "--main", "10.0.0.5:29511", "--show")
    assert said.code == 0, said.err
    line = shlex.split(said.out)
    assert line[:2] == [f"APPLIANCE_HOME={opened.folder}", f"APPLIANCE_DATABASE={opened.database}"]
    assert line[2:6] == [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    options = dict(zip(line[7:-1:2], line[8:-1:2], strict=True))
    assert options.pop("--num_cpu_threads_per_process").isdecimal()
    assert options == {
        "--num_processes": "6",
        "--num_machines": "3",
        "--machine_rank": "1",
        "--main_process_ip": "10.0.0.5",
        "--main_process_port": "29511",
        "--mixed_precision": "no",
        "--dynamo_backend": "no",
        "--module": "appliance.launch",
    }
    asked = json.loads(Path(line[-1]).read_text())
    assert asked["settings"] == SETTINGS | {"steps": "5"}
    assert (asked["task"], asked["method"], asked["preset"], asked["start"]) == (TASK, "ccol", "tiny", None)
    assert policies(opened) == []


def test_machines_say_which_they_are_and_where_they_meet(opened: Home, appliance: Type) -> None:
    said = appliance(*words(), "--machines", "2", "--rank", "2", "--main", "10.0.0.5:29511", "--show")
    assert (said.code, said.err) == (
        1,
        "appliance: machine 2 of 2: they are counted from 0; say --rank of each\n",
    )
    for place in ("", "10.0.0.5", "10.0.0.5:http"):
        with pytest.raises(CannotLaunch, match="--main HOST:PORT"):
            Spread(1, 2, 0, place).line(Path("asked.json"))


def test_processes_whose_listener_was_killed_end(tmp_path: Path) -> None:
    """The other end of their input is gone with it; nobody else may go on with the same run meanwhile."""
    program = "from appliance import launch; launch._end_when_alone()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 1
