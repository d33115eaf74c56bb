"""Whoever knows the code reads how the appliance is; nobody else learns anything, and nobody can change anything."""

import http.client
import json
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance import watch
from appliance.health import Health
from appliance.home import Home
from appliance.watch import CannotWatch, serve
from ops.backup import remember
from ops.journal import Journal, read
from ops.metrics import Metric, text
from storage import Batch, Night, PolicyRow, StationRow, Task, Trial, WorkerRow
from tests.homes import opened
from tests.said import episode

CODE = "abcd-efgh"
BEARER = {"Authorization": f"Bearer {CODE}"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = opened(tmp_path_factory.mktemp("watch"))
    with made.join() as catalog:
        catalog.add(Task(name="reach", instruction="reach"))
    return made.folder


@pytest.fixture
def here(template: Path, tmp_path: Path) -> Home:
    shutil.copytree(template, tmp_path / "home")
    return Home(tmp_path / "home", str(tmp_path / "home" / "catalog.db"))


@pytest.fixture
def port(here: Home) -> Iterator[int]:
    looking = Health(here, sleep=lambda _seconds: None)
    with serve(here, token=CODE, wrong=0.0, health=looking) as said:
        yield int(said.split()[0].rpartition(":")[2])


def get(port: int, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, Any, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=BEARER if headers is None else headers)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, content


def wait_for(happens: Callable[[], bool]) -> None:
    """Wait until it does, for at most a minute."""
    until = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_without_the_code_one_learns_only_that_somebody_is_there(here: Home, port: int) -> None:
    assert get(port, "/healthz", {})[::2] == (200, "ok\n")
    for path in ("/metrics", "/health", "/log", "/nothing", "/"):
        for headers in (
            {},
            {"Authorization": "Bearer abcd-efgx"},
            {"Authorization": f"Basic {CODE}"},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer é"},
        ):
            status, told, content = get(port, path, {name: of.encode("latin-1") for name, of in headers.items()})  # type: ignore[misc]  # bytes are what goes over the wire
            assert (status, content) == (401, "the code is wrong, or missing\n")
            assert told["WWW-Authenticate"] == "Bearer"
    refused = list(read(here.folder / "logs"))
    assert len(refused) == 25
    assert refused[0]["what"] == "a client was refused"
    assert "abcd" not in (next((here.folder / "logs").iterdir())).read_text()


def test_a_page_in_somebody_s_browser_is_refused_though_it_knows_the_code(port: int) -> None:
    assert get(port, "/metrics", BEARER | {"Origin": "http://evil.example"})[0] == 401


def test_a_code_in_the_address_counts_for_nothing(port: int) -> None:
    assert get(port, f"/metrics?token={CODE}", {})[0] == 401


def test_wrong_codes_are_answered_one_after_the_other(here: Home) -> None:
    with serve(here, token=CODE, wrong=0.2) as said:
        port = int(said.split()[0].rpartition(":")[2])
        began = time.monotonic()
        asking = [threading.Thread(target=get, args=(port, "/metrics", {})) for _ in range(3)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        assert time.monotonic() - began >= 0.6


def test_metrics_are_what_prometheus_reads(here: Home, port: int) -> None:
    noon = datetime.now(UTC) - timedelta(hours=1)
    with here.join() as catalog:
        policy = PolicyRow(name="bc-1", method="bc", task="reach", path="policies/a", digest="aa")
        catalog.add(policy, episode(station="table", late=0.004), StationRow(digest="d", name="table", text=""))
        catalog.arrive(WorkerRow(name="cell", node="lab", process=1))
        catalog.beat("cell")
        catalog.plan(
            Batch(id="b", task="reach", station="s", seed=1, planned=1),
            [Trial(batch="b", turn=0, task="reach", policy=policy.id)],
        )
        catalog.add(Night(id="n1", task="reach", station="s", by="x", began=noon, ended=noon, decision="kept"))
    remember(here.folder, "backup", to="/disk", ok=False)
    status, headers, content = get(port, "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    for line in content.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) appliance_[a-z_]+ .+|appliance_[a-z_]+({([a-z]+="[^"]*",?)+})? [-+0-9.e]+', line
        ), line
    assert content.count("# TYPE") == len(set(re.findall(r"# TYPE (\S+)", content)))
    for said in (
        'appliance_episodes{task="reach"} 1',
        'appliance_worker_beats_total{worker="cell",node="lab"} 1',
        'appliance_trials{task="reach",run="false"} 1',
        'appliance_night_decision{task="reach",decision="kept"} 1',
        'appliance_loop_late_seconds{station="table"} 0.004',
        'appliance_backup_ok{what="backup"} 0',
        "appliance_workers 1",
    ):
        assert f"{said}\n" in content, said
    assert re.search(r"^appliance_disk_free_bytes \d+$", content, re.MULTILINE)


def test_jobs_are_counted_by_state_and_their_queue_s_age_is_told(here: Home) -> None:
    with here.jobs() as jobs:
        jobs.enqueue("verify", {}, "mika")
    with serve(here, token=CODE) as said:
        content = get(int(said.split()[0].rpartition(":")[2]), "/metrics")[2]
    assert 'appliance_jobs{queue="chores",state="waiting"} 1\n' in content
    assert 'appliance_jobs{queue="chores",state="failed"} 0\n' in content
    assert re.search(r'appliance_queue_age_seconds{queue="chores"} [\d.]+\n', content)


def test_labels_and_figures_are_written_as_the_format_has_it() -> None:
    odd = {"task": 'a "b"\\\nc'}
    said = text(
        [
            Metric("appliance_x", "a\\b\nc", [(odd, float("inf")), ({}, float("nan")), ({}, 0.1)]),
            Metric("appliance_none", "", []),
        ]
    )
    assert said == (
        "# HELP appliance_x a\\\\b\\nc\n# TYPE appliance_x gauge\n"
        'appliance_x{task="a \\"b\\"\\\\\\nc"} +Inf\nappliance_x NaN\nappliance_x 0.1\n'
    )


def test_health_is_json_and_its_status_says_whether_something_is_bad(here: Home, port: int) -> None:
    remember(here.folder, "backup", to="/disk", ok=False, why="the disk is full")
    status, headers, content = get(port, "/health")
    said = json.loads(content)
    assert (status, said["level"], headers["Content-Type"]) == (503, "bad", "application/json; charset=utf-8")
    (backup,) = [one for one in said["findings"] if one["id"] == "backup"]
    assert backup["fix"] == "appliance backup DIR"
    remember(here.folder, "backup", to="/disk", ok=True, there=1, seconds=1.0)
    assert json.loads(get(port, "/health")[2])["at"] == said["at"], "nobody looks again within seconds"


def test_the_log_is_given_by_what_it_is_about(here: Home, port: int) -> None:
    journal = Journal.of(here.folder)
    for number in range(300):
        journal.of_these(job=f"j{number % 3}").info("step", number=number)
    journal.of_these(job="j1").error("broke")

    def lines(query: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in get(port, f"/log{query}")[2].splitlines()]

    assert len(lines("")) == 200
    assert {line["job"] for line in lines("?job=j1")} == {"j1"}
    assert len(lines("?job=j1")) == 101
    assert [line["what"] for line in lines("?level=error")] == ["broke"]
    assert [line["number"] for line in lines("?job=j2&last=2")] == [296, 299]
    assert lines("?since=2999-01-01") == []


@pytest.mark.parametrize(
    "query",
    [
        "?jobs=1",
        "?level=bad",
        "?last=x",
        "?last=0",
        "?last=999999",
        "?since=noon",
        "?" + "&".join(f"a{n}=1" for n in range(20)),
    ],
)
def test_what_cannot_be_understood_is_refused(port: int, query: str) -> None:
    status, _, content = get(port, f"/log{query}")
    assert status == 400
    assert "Traceback" not in content


def test_what_is_not_there_and_what_is_too_long_is_told(port: int) -> None:
    assert get(port, "/nothing")[0] == 404
    assert get(port, "/../../etc/passwd")[0] == 404
    assert get(port, f"/log?job={'x' * 5000}")[0] == 414


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_nothing_but_reading_is_possible(port: int, method: str) -> None:
    status, headers, content = get(port, "/metrics", method=method)
    assert (status, headers["Server"].strip()) == (501, "appliance")
    assert content == ("" if method == "HEAD" else "Not Implemented\n")


def test_what_breaks_is_logged_and_not_shown(here: Home, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.folder / "catalog.db").write_text("this is no database")
    status, _, content = get(port, "/metrics")
    assert (status, content) == (500, "that could not be answered; the appliance's log says why\n")
    (line,) = read(here.folder / "logs")
    assert line["level"] == "error"
    assert "catalog" in line["what"]


def test_clients_that_say_nothing_or_nonsense_keep_nobody_waiting(
    here: Home, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 60.0)
    monkeypatch.setattr(watch._Handler, "timeout", 60.0)

    def answered() -> bool:
        try:
            return get(port, "/healthz", {})[0] == 200
        except (http.client.HTTPException, OSError):
            return False

    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(watch.AT_ONCE - 1)]
    nonsense = socket.create_connection(("127.0.0.1", port))
    nonsense.sendall(b"\x16\x03\x01\x00\r\n\r\n")
    nonsense.recv(100)
    nonsense.close()
    wait_for(answered)
    silent.append(socket.create_connection(("127.0.0.1", port)))
    wait_for(lambda: not answered())
    for one in silent:
        one.close()
    wait_for(answered)
    assert "Traceback" not in capfd.readouterr().err


def test_a_slow_client_is_let_go(here: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 0.2)
    monkeypatch.setattr(watch._Handler, "timeout", 0.2)
    with serve(here, token=CODE) as said:
        slow = socket.create_connection(("127.0.0.1", int(said.split()[0].rpartition(":")[2])), timeout=5)
        slow.sendall(b"GET /healthz HT")
        assert slow.recv(100) == b""
        slow.close()


def test_it_ends_at_once_though_clients_are_connected(here: Home) -> None:
    with serve(here, token=CODE) as said:
        left = socket.create_connection(("127.0.0.1", int(said.split()[0].rpartition(":")[2])))
        began = time.monotonic()
    assert time.monotonic() - began < 2
    left.close()


def test_the_code_is_made_on_first_use_and_only_ours_to_read(here: Home) -> None:
    with serve(here, wrong=0.0) as said:
        path = here.folder / "watching" / "code"
        assert str(path) in said
        assert path.stat().st_mode & 0o077 == 0
        port = int(said.split()[0].rpartition(":")[2])
        assert get(port, "/health", {"Authorization": f"Bearer {path.read_text().strip()}"})[0] in {200, 503}
        assert path.read_text().strip() not in said


def test_a_port_that_is_taken_is_told(here: Home, port: int) -> None:
    with pytest.raises(CannotWatch, match=r"cannot be listened on: Address already in use"), serve(here, port=port):
        pass


def test_beyond_this_machine_it_speaks_tls(here: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with serve(here, host="0.0.0.0", token=CODE) as said:
        assert said.startswith("https://0.0.0.0:")
        port = int(said.split()[0].rpartition(":")[2])
        (certificate,) = (here.folder / "watching").glob("*.pem")
        tls = ssl.create_default_context(cafile=certificate)
        tls.check_hostname = False
        silent = socket.create_connection(("127.0.0.1", port))
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=10)
        connection.request("GET", "/metrics", headers=BEARER)
        assert connection.getresponse().status == 200
        connection.close()
        silent.close()
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        plain.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        with suppress(ConnectionError):
            assert b"ok" not in plain.recv(100)
        plain.close()
    assert capfd.readouterr().err == ""


def test_a_client_that_never_agrees_on_tls_is_let_go(here: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 0.2)
    with serve(here, host="0.0.0.0", token=CODE) as said:
        silent = socket.create_connection(
            ("127.0.0.1", int(said.split()[0].rpartition(":")[2].rstrip(","))), timeout=10
        )
        assert silent.recv(100) == b""
        silent.close()
