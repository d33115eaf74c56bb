"""A policy on another machine: it says what it would have said here, to whoever knows the code, while it is there."""

import http.client
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from appliance import station
from appliance.evaluate import (
    CannotEvaluate,
    Drivers,
    Drives,
    Trying,
    attempt_trial,
    evaluate,
    load,
    plan,
    resume,
)
from appliance.home import Home
from appliance.serving import server as served
from appliance.serving.contract import Contract
from appliance.serving.door import NoServer, code
from appliance.serving.remote import Remote
from appliance.serving.wire import pack, unpack
from appliance.session import Session
from collectors import Loop
from collectors.ahead import PolicyLost
from drivers import Clock, Row, Rows, sensed
from learners import ChunkPolicy, Senses, windows
from learners.body import Body
from learners.nearest import Nearest
from learners.transforms import VIEWS
from ops import failures, rollout
from ops.rollout import Turn
from storage import Catalog, Episode, Observation, Outcome, PolicyRow, Stale, Task
from tests.lessons import INSTRUCTION, SECOND, arm_rows, camera_rows, pair_rows, record
from tests.serving import CODE, CONTRACT, Program, serving
from tests.test_ahead import Fresh
from tests.test_fitting import show
from tests.toy import SimRobot
from tests.typed import Type

torch.set_num_threads(1)

STAMPS = np.arange(SECOND, 3 * SECOND, SECOND // 100)
T = 2 * SECOND


def seen(robot: Rows | None = None, cameras: tuple[str, ...] = ("front", "wrist"), t: int = T) -> Observation:
    """A moment in the middle of a record, as a loop that remembers a second shows it."""
    rows = {"arm": arm_rows(STAMPS) if robot is None else robot}
    rows |= {name: camera_rows(STAMPS[::3], number) for number, name in enumerate(cameras)}
    shown = {name: each[(each["t"] <= t) & (each["t"] >= t - SECOND)] for name, each in rows.items()}
    return Observation(t, shown, t - SECOND)


def said(glimpse: Observation, instruction: str) -> Rows:
    """A plan that tells what was seen: the robot's newest joints, then what each picture adds up to."""
    rows: Rows = np.zeros(4, [("t", "<i8"), ("q", "<f8", (7,)), ("width", "<f8")])
    rows["t"] = glimpse.t + np.arange(4) * 50_000_000
    rows["q"][1] = glimpse.streams["arm"]["q"][-1]
    rows["q"][2] = [glimpse.streams[name]["rgb"].sum() for name in ("front", "wrist")] + [0.0] * 5
    rows["width"] = len(instruction)
    return rows


class Weights(torch.nn.Module):
    """A network whose steps are a linear function of all that it is shown."""

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.of_state, self.of_images = torch.nn.Linear(state, 5 * width), torch.nn.Linear(2 * 3 * 16 * 16, 5 * width)

    def steps(self, images: torch.Tensor, state: torch.Tensor, _instructions: list[str]) -> torch.Tensor:
        said: torch.Tensor = self.of_state(state.flatten(1)) + self.of_images(images.float().flatten(1) / 255)
        return said.reshape(len(said), 5, -1)


def network(view: str, body: Body) -> ChunkPolicy:
    """A policy that nobody has trained, which looks back 0.2 s."""
    senses, seen_as = Senses(("front", "wrist"), 16, 2, 0.2), VIEWS[view].of(body)
    how: Any = SimpleNamespace(senses=senses, view=VIEWS[view], hz=10.0, k=5, replan=0.3, ensemble=0.01)
    return ChunkPolicy("weights", how, Weights(seen_as.width, 2 * body.width), body.facts)


def remembered(root: Path) -> ChunkPolicy:
    """A policy that repeats the take that it has seen."""
    pictures = {name: camera_rows(STAMPS[::3], seed) for seed, name in enumerate(("front", "wrist"))}
    how = Nearest(image=16)
    return how.fit(windows(how, [Episode(record(root, arm_rows(STAMPS), pictures).path)], [INSTRUCTION]))


def row_of(policy: ChunkPolicy) -> PolicyRow:
    return PolicyRow(name="one-1", method=policy.method, task="reach", path="-", digest="d1")


@pytest.mark.parametrize("which", ["nearest", "joint", "tool", "pair"])
def test_a_served_policy_says_what_it_says_at_the_robot_to_the_bit(tmp_path: Path, which: str) -> None:
    robot = pair_rows(STAMPS) if which == "pair" else arm_rows(STAMPS)
    views = {"joint": "joint", "tool": "tool", "pair": "tool"}
    policy = remembered(tmp_path) if which == "nearest" else network(views[which], Body.of(robot.dtype))
    moments = [seen(robot, t=t) for t in (T, T + 33_000_000, T + 470_000_000)]
    with (
        serving(policy.plan, Contract.of(row_of(policy), policy)) as url,
        Remote(url, CODE) as remote,
    ):
        for moment in moments:
            there, here = remote.plan(moment, INSTRUCTION), policy.plan(moment, INSTRUCTION)
            assert there.dtype == here.dtype
            np.testing.assert_array_equal(there, here)
    assert (remote.horizon, remote.ensemble, remote.body) == (policy.horizon, policy.ensemble, policy.body)
    assert (remote.senses, remote.memory) == (policy.senses, policy.memory)


def test_what_is_looked_at_is_a_copy_and_stale_as_the_whole_is(tmp_path: Path) -> None:
    policy = remembered(tmp_path)
    moment = seen()
    small = policy.glimpse(moment)
    before = policy.plan(moment, INSTRUCTION)
    assert small.streams["front"]["rgb"].shape == (1, 16, 16, 3)
    assert len(small.streams["arm"]) == 1
    for rows in moment.streams.values():
        rows[:] = rows[::-1].copy()
    np.testing.assert_array_equal(policy.plan(small, INSTRUCTION), before)
    looking_back = replace(policy.senses, history=2, spacing=0.1)
    assert len(looking_back.glimpse(seen()).streams["arm"]) == 2
    with pytest.raises(Stale, match="nothing within"):
        looking_back.glimpse(replace(seen(), t=T + SECOND))
    with pytest.raises(Stale, match="looks back"):
        looking_back.glimpse(replace(seen(), since=T - 1))


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer no-such-code", f"Basic {CODE}", f"Bearer {CODE}x"])
def test_only_who_knows_the_code_may_ask(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "WRONG", 0.01)
    with serving(said) as url:
        headers = {} if given is None else {"Authorization": given}
        with pytest.raises(InvalidStatus, match="401"), connect(url, additional_headers=headers, proxy=None):
            pass
        page = {"Authorization": f"Bearer {CODE}", "Origin": "http://x"}  # in a browser of this machine
        with pytest.raises(InvalidStatus, match="401"), connect(url, additional_headers=page, proxy=None):
            pass
        with pytest.raises(NoServer, match="knows another code"), Remote(url, "another-code"):
            pass


def test_wrong_codes_are_answered_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who guesses on many lines at once guesses no faster."""
    monkeypatch.setattr(served, "WRONG", 0.1)

    def guess(url: str) -> None:
        with pytest.raises(NoServer), Remote(url, "another-code"):
            pass

    with serving(said) as url, ThreadPoolExecutor(4) as guessing:
        begun = time.monotonic()
        list(guessing.map(guess, [url] * 4))
        assert time.monotonic() - begun >= 0.4


def test_anybody_may_ask_whether_it_is_well() -> None:
    with serving(said) as url:
        line = http.client.HTTPConnection(url.removeprefix("ws://"), timeout=5)
        line.request("GET", "/healthz")
        answer = line.getresponse()
        assert (answer.status, answer.read()) == (200, b"OK\n")
        line.close()


def openpi_packs(value: Any) -> Any:
    """As openpi's client writes an array."""
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}


def openpi_reads(value: Any) -> Any:
    """As openpi's client reads an array."""
    return np.ndarray(value[b"shape"], value[b"dtype"], value[b"data"]) if b"__ndarray__" in value else value


def test_a_client_of_openpi_is_told_what_is_served_and_gets_actions() -> None:
    """It knows pictures, a state and a prompt; the code it says as its API key."""
    pictures = camera_rows(STAMPS[:2])["rgb"]
    state = np.concatenate([np.linspace(0, 1, 7), [0.5, 0.1, 0.3], [1, 0, 0, 0, -1, 0], [0.04]]).astype("f4")
    asked = {
        "observation/image": pictures[0],
        "observation/wrist_image": pictures[1],
        "observation/state": state,
        "prompt": "four words are these",
    }
    heard: list[Observation] = []

    def plan(glimpse: Observation, instruction: str) -> Rows:
        heard.append(glimpse)
        return said(glimpse, instruction)

    with serving(plan) as url:
        key = {"Authorization": f"Api-Key {CODE}"}
        with connect(url, additional_headers=key, compression=None, proxy=None) as socket:
            metadata = msgpack.unpackb(socket.recv(), object_hook=openpi_reads)
            assert metadata["pictures"] == {"front": "observation/image", "wrist": "observation/wrist_image"}
            assert metadata["fields"] == {"q": [7], "width": []}
            socket.send(msgpack.packb(asked, default=openpi_packs))
            answer = msgpack.unpackb(socket.recv(), object_hook=openpi_reads)
    actions = answer["actions"]
    assert actions.shape == (3, 8)
    np.testing.assert_allclose(actions[0, :7], state[:7])
    assert actions[1, :2].tolist() == pictures[:2].sum((1, 2, 3)).tolist()
    assert set(actions[:, 7]) == {len("four words are these")}
    assert answer["server_timing"]["infer_ms"] > 0
    arm = heard[0].streams["arm"][-1]
    np.testing.assert_allclose(arm["tool"], [0.5, 0.1, 0.3, 0, 1, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(arm["tool_target"], arm["tool"])
    assert arm["width"] == pytest.approx(0.04)


def test_a_state_of_two_arms_is_read_arm_by_arm() -> None:
    pair = replace(CONTRACT, body=CONTRACT.body.__class__(12, 2), senses=replace(CONTRACT.senses, cameras=()))
    robot = pair_rows(STAMPS[:1])
    moment = Observation(int(STAMPS[0]), {"arm": robot})
    question = pair.question(moment, "go")
    exact, _ = pair.heard(question)
    read, _ = pair.heard({name: value for name, value in question.items() if name != "observation/robot"})
    for name in ("q", "tool", "width"):
        np.testing.assert_array_equal(exact.streams["arm"][name], robot[name])
        alike = read.streams["arm"][name]
        if name == "tool":
            turned = (alike.reshape(2, 7)[:, 3:] * robot[name].reshape(2, 7)[:, 3:]).sum(1)
            np.testing.assert_allclose(np.abs(turned), 1, atol=1e-5)
            alike, there = alike.reshape(2, 7)[:, :3], robot[name].reshape(2, 7)[:, :3]
            np.testing.assert_allclose(alike, there, atol=1e-6)
        else:
            np.testing.assert_allclose(alike, robot[name], atol=1e-6)


def question() -> dict[str, Any]:
    """A good one."""
    return CONTRACT.question(CONTRACT.senses.glimpse(seen()), INSTRUCTION)


def robot_of(**changed: Any) -> dict[str, Any]:
    return question() | {"observation/robot": question()["observation/robot"] | changed}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (question() | {"prompt": 3}, "prompt"),
        (question() | {"observation/image": np.zeros((4, 4), "u1")}, "observation/image"),
        (question() | {"observation/image": np.zeros((4, 4, 3), "f4")}, "observation/image"),
        (question() | {"observation/image": np.zeros((0, 4, 3), "u1")}, "observation/image"),
        ({name: value for name, value in question().items() if name != "observation/wrist_image"}, "nothing"),
        (robot_of(q=np.zeros((2, 6))), "'q'"),
        (robot_of(q=np.full((2, 7), np.nan)), "not finite"),
        (robot_of(t=np.zeros(2)), "whole nanoseconds"),
        (robot_of(t=np.zeros(0, "i8")), "1 to 1000 rows"),
        (robot_of(now=1.5), "'now'"),
        (robot_of(now=1 << 62), "'now'"),
        (robot_of(now=T + SECOND), "within"),
        (question() | {"observation/robot": None, "observation/state": np.zeros(16)}, "(17,)"),
        (question() | {"observation/robot": None, "observation/state": np.zeros(17)}, "no columns of a rotation"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_why_and_costs_nobody_else(asked: Any, why: str) -> None:
    def plan(glimpse: Observation, instruction: str) -> Rows:
        CONTRACT.senses.live(glimpse)
        return said(glimpse, instruction)

    with serving(plan) as url, Remote(url, CODE) as other:
        with connect(url, additional_headers={"Authorization": f"Bearer {CODE}"}, proxy=None) as socket:
            socket.recv()
            socket.send(pack(asked))
            answer = socket.recv()
            assert isinstance(answer, str)
            assert why in answer
            with pytest.raises(ConnectionClosed):
                socket.recv()
        assert len(other.plan(seen(), INSTRUCTION)) == 4


def test_a_policy_that_breaks_is_told_to_the_robot_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    def plan(glimpse: Observation, _instruction: str) -> Rows:
        raise ValueError("a secret path")

    with serving(plan) as url, Remote(url, CODE) as remote:
        with pytest.raises(PolicyLost, match="the server's log says how") as lost:
            remote.plan(seen(), INSTRUCTION)
        assert "secret" not in str(lost.value)
    assert "a secret path" in caplog.text


def test_slow_planning_for_one_keeps_nobody_else_from_coming() -> None:
    def plan(glimpse: Observation, instruction: str) -> Rows:
        time.sleep(0.6)
        return said(glimpse, instruction)

    key = {"Authorization": f"Bearer {CODE}"}
    with serving(plan) as url, connect(url, additional_headers=key, proxy=None) as first:
        first.recv()
        first.send(pack(question()))
        begun = time.monotonic()
        with Remote(url, CODE) as other:
            other.reach()
        assert time.monotonic() - begun < 0.4
        assert "actions" in unpack(first.recv())


def test_a_silent_server_is_lost_after_a_while_and_found_again() -> None:
    quiet = [0.0, 1.0, 0.0]

    def plan(glimpse: Observation, instruction: str) -> Rows:
        time.sleep(quiet.pop(0))
        return said(glimpse, instruction)

    with serving(plan) as url, Remote(url, CODE, patience=0.2) as remote:
        remote.plan(seen(), INSTRUCTION)
        with pytest.raises(PolicyLost, match=r"timed out in 0\.2s"):
            remote.plan(seen(), INSTRUCTION)
        with pytest.raises(PolicyLost, match="not connected"):
            remote.plan(seen(), INSTRUCTION)
        remote.reach()
        assert len(remote.plan(seen(), INSTRUCTION)) == 4


def test_a_server_that_came_back_with_another_policy_is_refused() -> None:
    with serving(said) as url, Remote(url, CODE) as remote:
        pass
    port = int(url.rpartition(":")[2])
    with serving(said, replace(CONTRACT, digest="d2"), port), pytest.raises(NoServer, match="serves another policy"):
        remote.reach()
    with pytest.raises(NoServer, match="no policy server answers"):
        remote.reach(0.3)
    with serving(said, CONTRACT, port):
        remote.reach()
        remote.close()


def test_a_server_that_went_between_two_takes_is_missed_before_the_next() -> None:
    with ExitStack() as there, Remote(there.enter_context(serving(said)), CODE) as remote:
        remote.plan(seen(), INSTRUCTION)
        remote.reach()
        there.close()
        with pytest.raises(NoServer, match="no policy server answers"):
            remote.reach()


@pytest.mark.parametrize(
    "url", ["localhost:8000", "http://127.0.0.1:1", "ws://", "ws://h:70000", "ws://h:x", "ws://[::1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(NoServer, match="ws://HOST:PORT"):
        Remote(url, CODE)


@pytest.fixture
def here(home: Path, appliance: Type) -> Home:
    """A data folder with a policy that was learned from two takes."""
    found = Home(home, str(home / "catalog.db"))
    found.open(lambda _said: None).close()
    show(found, "pick_place", arm_rows(STAMPS), ("front", "wrist"))
    show(found, "pick_place", arm_rows(STAMPS, 3), ("front", "wrist"))
    assert appliance("train", "--task", "pick_place", "--method", "nearest").code == 0
    return found


@pytest.fixture
def program(here: Home) -> Iterator[Program]:
    started = Program(here.folder, "nearest-1", "--port", "0")
    yield started
    started.kill()


def trust(url: str, known: str) -> str:
    """Make sure that a server beyond this machine is told the code only where its own certificate is shown."""
    address, _, mark = url.partition("#")
    assert address.startswith("wss://")
    for wrong in ("", "#" + "0" * 64):
        with pytest.raises(NoServer, match=f"fingerprint {mark}"), Remote(address + wrong, known):
            pass
    with pytest.raises(NoServer), Remote(address.replace("wss", "ws"), known):
        pass
    return url


def test_a_batch_whose_server_is_killed_loses_one_trial_and_goes_on_when_it_is_back(
    here: Home, program: Program, appliance: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the first of three trials: that one is invalid, nothing of the others was tried, and they are left.

    It comes back as a server for the whole network, which is known by its certificate.
    """
    monkeypatch.delenv("APPLIANCE_POLICY_CODE", raising=False)
    finished, url = failures.finished, program.url
    batch, _ = plan(here, "pick_place", ["nearest-1"], 3, 0, "franka-sim", [url])
    turns: list[Turn] = []

    def over(moment: Observation, instruction: str) -> bool:
        if len(moment.streams["arm"]) and moment.t > 600_000_000 and program.process.poll() is None:
            program.kill()
        return finished(moment, instruction)

    trying = Trying(here, batch.id, "franka-sim", limit=2.0, servers=(url,), returning=0.3)
    with monkeypatch.context() as patched:
        patched.setattr(failures, "finished", over)
        with pytest.raises(CannotEvaluate, match=f"--resume {batch.id}"):
            evaluate(trying, 1, turns.append)
    assert [turn.outcome for turn in turns] == [Outcome.INVALID]
    with here.join() as catalog:
        lost, *left = catalog.trials(batch.id)
        assert lost.episode is not None
        assert [(trial.episode, trial.claimed_by) for trial in left] == [(None, None)] * 2
        row = catalog.episode(lost.episode)
        (verdict,) = catalog.verdicts(lost.episode)
    assert (row.ended_by, verdict.failure) == ("fault", "ENV")
    assert "PolicyLost: ws://" in verdict.note
    assert "nearest" not in verdict.note, "whoever stands beside it reads it as well"
    taken = Episode(here.folder / row.path)
    assert taken.seconds < 1.2
    assert taken["ticks", "t"][-1] == taken["action", "t"][-1] + 50_000_000, "no command after the loss"

    again = Program(here.folder, "nearest-1", "--host", "0.0.0.0", "--port", "0")
    try:
        address = trust(again.url.replace("0.0.0.0", "127.0.0.1"), code(here.folder))
        assert resume(here, "pick_place", batch.id, "franka-sim")[2] == 2
        assert evaluate(replace(trying, servers=(address,)), 1, turns.append)
        assert again.close().endswith("questions were answered.\n")
    finally:
        again.kill()
    assert [turn.outcome for turn in turns] == [Outcome.INVALID, Outcome.FAILURE, Outcome.FAILURE]
    with here.join() as catalog:
        assert catalog.batch(batch.id).closed is not None
    with pytest.raises(CannotEvaluate, match="is closed"):
        resume(here, "pick_place", batch.id, "franka-sim")
    refused = appliance("evaluate", "--task", "pick_place", "--policy", "nearest-1", "--server", url)
    assert (refused.code, "no policy server answers" in refused.err) == (1, True)


def test_the_code_is_drawn_once_and_a_variable_goes_before_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APPLIANCE_POLICY_CODE", raising=False)
    drawn = code(home)
    assert code(home) == drawn
    assert (home / "serving/code").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("APPLIANCE_POLICY_CODE", CODE)
    assert code(home) == CODE
    monkeypatch.setenv("APPLIANCE_POLICY_CODE", "short")
    with pytest.raises(NoServer, match="APPLIANCE_POLICY_CODE"):
        code(home)


def test_only_the_policy_that_the_catalog_knows_is_served_and_asked(here: Home, appliance: Type) -> None:
    assert appliance("train", "--task", "pick_place", "--method", "nearest", "--k", "9").code == 0
    words = "evaluate", "--task", "pick_place", "--trials", "1"
    with here.join() as catalog:
        one, other = catalog.policy("nearest-1"), catalog.policy("nearest-2")
        policy = load(here.folder, one)
        with serving_as(here, policy, one) as url:
            said = appliance(*words, "--policy", "nearest-2", "--server", url)
            assert said.code == 1
            assert f"serves nearest-1 ({one.digest})" in said.err
            assert f"nearest-2 ({other.digest})" in said.err
        assert catalog.batches() == []
    settings = here.folder / one.path / "policy.json"
    settings.write_text(settings.read_text() + " ")
    refused = appliance("policies", "serve", "nearest-1", "--port", "0")
    assert refused.code == 1
    assert f"the catalog's nearest-1 is {one.digest}" in refused.err


def serving_as(here: Home, policy: ChunkPolicy, row: PolicyRow) -> Any:
    return serving(policy.plan, Contract.of(row, policy), code=code(here.folder))


def test_a_trial_held_by_a_program_that_died_is_given_back_and_nobody_else_s(here: Home, appliance: Type) -> None:
    batch, _ = plan(here, "pick_place", ["nearest-1"], 4, 0, "franka-sim")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    node = platform.node()
    holders = [f"{node}:{gone.pid}", f"{node}:{os.getpid()}", f"elsewhere:{gone.pid}"]
    with here.join() as catalog:
        for by in holders:
            catalog.claim_trial(batch.id, by)
        _, rows, left = resume(here, "pick_place", batch.id, "franka-sim")
        assert left == 2
        assert [row.name for row in rows] == ["nearest-1"]
        assert [trial.claimed_by for trial in catalog.trials(batch.id)] == [None, *holders[1:], None]
    with pytest.raises(CannotEvaluate, match="is of task pick_place at franka-sim, not reach at franka-sim"):
        resume(here, "reach", batch.id, "franka-sim")
    both = appliance("evaluate", "--task", "pick_place", "--policy", "nearest-1", "--resume", batch.id)
    neither = appliance("evaluate", "--task", "pick_place")
    assert (both.code, neither.code) == (2, 2)
    assert "either --policy NAME" in both.err


def test_in_simulated_time_plans_come_as_late_as_asked_and_the_report_tells(
    here: Home, appliance: Type, tmp_path: Path
) -> None:
    words = "evaluate", "--task", "pick_place", "--policy", "nearest-1", "--trials", "1", "--delay", "0.12"
    said = appliance(*words)
    assert said.code == 0, said.err
    assert "how plans kept up" in said.out
    (found,) = appliance("report", "--json", "--page", str(tmp_path)).json["policies"]
    assert f"<td>0.0% of {found['cadence']['plans']}</td>" in (tmp_path / "report.html").read_text()
    assert found["cadence"]["plans"] > 10
    assert found["cadence"]["delay"] == [0.15, 0.15], "the loop looks every 50 ms"
    assert found["cadence"]["late"] == 0
    (one,) = found["results"]
    assert one["cadence"]["plans"] == found["cadence"]["plans"]


def test_plans_come_late_by_themselves_on_a_real_clock(here: Home, tmp_path: Path) -> None:
    where = tmp_path / "real.toml"
    where.write_text(station.text("franka-sim").replace("# realtime = true", "realtime = true"))
    with pytest.raises(CannotEvaluate, match="--delay is for simulated time"):
        plan(here, "pick_place", ["nearest-1"], 1, 0, str(where), delay=0.1)


class Feeling(SimRobot):
    """An arm whose rows say all that a policy feels."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.dtype = ARM
        self._rows = np.zeros(0, ARM)

    def _fill(self, row: Row) -> None:
        super()._fill(row)
        row["tool"][3] = 1


ARM = sensed(*((name, "<f8", (7,)) for name in ("q", "q_target", "tool")), ("width", "<f8"))
BLIND = replace(CONTRACT, senses=Senses((), 16, 1, 0.0), fields={"q": (7,)})


@dataclass
class Pausing:
    """Takes long for its first plan, and then as long as it is told; stays where it is."""

    usual: float
    first: float = 0.6
    name: str = "pausing"
    horizon: int = 400_000_000
    ensemble: float | None = None
    memory: float = 0.0
    body: Body = field(default_factory=Body)
    senses: Senses = BLIND.senses

    def plan(self, seen: Observation, _instruction: str) -> Rows:
        time.sleep(self.first)
        self.first = self.usual
        rows: Rows = np.zeros(40, [("t", "<i8"), ("q", "<f8", (7,))])
        rows["t"] = seen.t + np.arange(40) * 50_000_000
        return rows


class Knowing(Drivers):
    """Knows its policy without a folder."""

    def __init__(self, root: Path, policy: Drives) -> None:
        super().__init__(root)
        self.policy = policy

    def known(self, row: PolicyRow) -> Drives:
        return self.policy if row.id not in self.served else super().known(row)


@pytest.mark.parametrize(("usual", "far", "ahead"), [(0.0, False, False), (0.3, False, True), (0.0, True, True)])
def test_a_policy_plans_ahead_on_a_real_clock_when_it_is_slow_or_far_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual: float, far: bool, ahead: bool
) -> None:
    """A tick lasts 200 ms; it is not the first plan, which takes 600, that decides, and it is decided once."""
    monkeypatch.setattr(failures, "finished", lambda _seen, instruction: False)
    clock, policy = Fresh(), Pausing(usual)
    session = Session(Loop(Feeling(clock), [], clock, 5), Catalog(tmp_path / "catalog.db"), tmp_path, "me")
    row = PolicyRow(name="one-1", method="said", task="reach", path="-", digest="d1")
    drivers = Knowing(tmp_path, policy)
    with session.recorder, serving(policy.plan, BLIND) as url, Remote(url, CODE) as remote:
        session.catalog.add(Task(name="reach", instruction="go"), row)
        if far:
            drivers.served = {row.id: remote}
        batch = rollout.plan(session.catalog, "reach", [row], 1, 0, "toy")
        (trial,) = session.catalog.trials(batch.id)
        episode, judgement = attempt_trial(session, drivers, 1.2, 0.0, trial)
    assert drivers.ahead == {row.id: ahead}
    rows = Episode(tmp_path / session.catalog.episode(episode).path).rows("following")
    assert len(rows) >= 2
    assert ((rows["t"] > rows["asked"]) == ahead).all()
    assert judgement.evidence["cadence"]["plans"] == len(rows)
