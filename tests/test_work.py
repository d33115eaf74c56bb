"""The process that does one job: how it is told of, how it makes way, and that it never outlives its worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.home import STARTER, Home
from appliance.kinds import QUEUES
from appliance.night import STEPS
from appliance.work import NICE, WORK, command
from ops import leases
from tests.homes import remembering

PATIENCE = 60.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """With a demonstration to learn from."""
    return remembering(tmp_path_factory.mktemp("home"), 1)


@contextmanager
def child(home: Home, kind: str, worker: int | None = None, **settings: Any) -> Generator[subprocess.Popen[str]]:
    """The process that does such a job."""
    variables = {"APPLIANCE_HOME": str(home.folder), "APPLIANCE_WORKER": str(worker or os.getpid())}
    process = subprocess.Popen(
        [*command()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps({"job": f"{kind}-{time.monotonic_ns()}", "kind": kind, "settings": settings}))
        process.stdin.close()
    process.stdin = None
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def training(**settings: str) -> dict[str, Any]:
    how = {"training.tracker": "none", **settings}
    return {"task": STARTER.name, "method": "ccol", "preset": "tiny", "settings": how}


def said(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """All that it says until it ends."""
    out, _ = process.communicate(timeout=PATIENCE)
    return [json.loads(line) for line in out.splitlines()]


def hears(process: subprocess.Popen[str], what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Wait until it says that."""
    assert process.stdout is not None
    for line in process.stdout:
        if what(heard := json.loads(line)):
            return dict(heard)
    raise AssertionError(f"it ended with {process.wait()}")


def test_every_kind_has_a_queue_and_somebody_who_does_it() -> None:
    assert QUEUES.keys() == WORK.keys() | STEPS.keys() | {"night"}


def test_what_is_said_is_progress_then_a_result(home: Home) -> None:
    with child(home, "verify") as process:
        lines = said(process)
    assert process.returncode == 0
    assert lines[-1] == {"result": {"wrong": []}}


def test_what_is_refused_is_told_in_a_line(home: Home) -> None:
    with child(home, "trials", batch="none") as process:
        lines = said(process)
    assert process.returncode == 1
    assert "'none'" in lines[-1]["refused"]


@pytest.mark.slow
def test_it_steps_back_and_makes_way_when_it_is_asked_to(home: Home) -> None:
    with child(home, "train", **training(**{"training.steps": "100000"})) as process:
        hears(process, lambda line: line.get("progress", {}).get("what") == "training")
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == NICE
        process.send_signal(signal.SIGTERM)
        lines = said(process)
    assert process.returncode == leases.PAUSED
    assert not [line for line in lines if "result" in line]


@pytest.mark.slow
def test_it_dies_with_its_worker(home: Home, tmp_path: Path) -> None:
    """Also when that is killed: the job is then somebody else's."""
    asked = {"job": "orphan", "kind": "train", "settings": training(**{"training.steps": "100000"})}
    worker = (
        "import json, os, subprocess, sys, time\n"
        "child = subprocess.Popen(json.loads(sys.argv[1]), stdin=subprocess.PIPE, stdout=open(sys.argv[3], 'w'), "
        "env=os.environ | {'APPLIANCE_WORKER': str(os.getpid())})\n"
        "child.stdin.write(sys.argv[2].encode())\n"
        "child.stdin.close()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    words = [sys.executable, "-c", worker, json.dumps([*command()]), json.dumps(asked), str(tmp_path / "said")]
    variables = os.environ | {"APPLIANCE_HOME": str(home.folder)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        until(lambda: "training" in (tmp_path / "said").read_text())
        process.kill()
    until(lambda: not alive(orphan))


def test_whoever_did_not_start_it_cannot_be_its_worker(home: Home) -> None:
    with child(home, "verify", worker=1) as process:
        assert said(process) == []
    assert process.returncode == 1


def alive(process: int) -> bool:
    """Whether it runs; one that nobody has waited for yet does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
