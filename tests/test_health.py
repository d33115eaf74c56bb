"""Whatever is not well is found, said, and comes with what to do."""

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.doctor.finding import Finding, Level, examine
from appliance.health import Health, worst
from appliance.home import Home
from ops.backup import remember
from ops.journal import Journal
from storage import Night, StationRow, StreamRow, Task, WorkerRow
from tests.homes import opened
from tests.said import episode
from tests.tree import lay, one
from tests.typed import Type

GIGA = 10**9
NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)
REACH = Task(name="reach", instruction="reach")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = opened(tmp_path_factory.mktemp("health"))
    with made.join() as catalog:
        catalog.add(REACH)
    return made.folder


@pytest.fixture
def here(template: Path, tmp_path: Path) -> Home:
    shutil.copytree(template, tmp_path / "home")
    return Home(tmp_path / "home", str(tmp_path / "home" / "catalog.db"))


def health(here: Home, **more: Any) -> Health:
    return Health(here, **({"now": lambda: NOON, "sleep": lambda _seconds: None} | more))


def test_all_that_is_looked_at_says_something(here: Home) -> None:
    found = examine(health(here).checks())
    assert {one.about for one in found} >= {"disk", "catalog", "clock", "queue", "workers", "backup", "night"}
    assert not [one for one in found if "could not be looked at" in one.what]
    assert all(one.fix for one in found if one.level is not Level.OK)
    assert worst([]) is Level.OK


@pytest.mark.parametrize(
    ("free", "gigabytes_a_week", "level"),
    [
        (500, 0, Level.OK),
        (60, 0, Level.WARN),
        (20, 0, Level.BAD),
        (500, 70, Level.OK),
        (120, 70, Level.WARN),
        (102, 140, Level.WARN),
        (102, 700, Level.BAD),
        (500, 1400, Level.BAD),
    ],
)
def test_the_disk_is_counted_in_days_like_the_last_seven(
    here: Home, free: float, gigabytes_a_week: int, level: Level
) -> None:
    with here.join() as catalog:
        old = episode(minute=-60 * 24 * 30, bytes=10_000 * GIGA)
        catalog.add(old, *([episode(bytes=gigabytes_a_week * GIGA)] if gigabytes_a_week else []))
    found = one(health(here, free=lambda _: (int(free * GIGA), 1000 * GIGA)).disk())
    assert found.level is level, found
    assert ("days at the last week's" in found.what) == bool(gigabytes_a_week)


def test_a_disk_that_lasts_longer_than_anybody_asks_is_not_counted_in_days(here: Home) -> None:
    with here.join() as catalog:
        catalog.add(episode(bytes=7_000_000))
    found = one(health(here, free=lambda _: (500 * GIGA, 1000 * GIGA)).disk())
    assert "more than 10 years at the last week's" in found.what


def test_a_clock_that_was_set_is_told_for_a_day(here: Home, tmp_path: Path) -> None:
    lay(tmp_path, {"proc/sys/kernel/random/boot_id": "b1"})
    moment, boot = [NOON], [1000.0]
    look = health(here, root=tmp_path, now=lambda: moment[0], since_boot=lambda: boot[0])

    def after(seconds: float, wall: float) -> Finding:
        boot[0] += seconds
        moment[0] += timedelta(seconds=wall)
        return one(look.clock())

    assert one(look.clock()).level is Level.OK
    assert after(60, 60.5).level is Level.OK
    assert after(3600, 3602).level is Level.OK, "NTP may correct it by so much"
    set_back = after(60, -30)
    assert set_back.level is Level.WARN
    assert "was set by -90.0 s" in set_back.what
    assert after(3600, 3600).level is Level.WARN
    assert after(86400, 86400).level is Level.OK
    lay(tmp_path, {"proc/sys/kernel/random/boot_id": "b2"})
    assert after(60, 5000).level is Level.OK, "a restart begins anew"


def test_a_damaged_note_of_the_clocks_is_no_finding(here: Home, tmp_path: Path) -> None:
    lay(here.folder, {"cache/clocks.json": "{"})
    assert one(health(here).clock()).level is Level.OK


def test_a_job_that_waits_for_long_is_told(here: Home) -> None:
    assert "nobody has asked" in one(health(here).queue()).what
    with here.jobs() as jobs:
        job = jobs.enqueue("verify", {}, "mika")
    now = datetime.now(UTC)

    def later(hours: float) -> Finding:
        return one(health(here, now=lambda: now + timedelta(hours=hours)).queue())

    assert later(1).level is Level.OK
    assert later(7).level is Level.WARN
    assert later(25).level is Level.BAD
    assert "1 wait, the first for 7 hours" in later(7).what
    assert job.id


def test_a_worker_that_no_longer_counts_is_found(here: Home) -> None:
    assert one(health(here).workers()).fix.startswith("appliance serve")
    with here.join() as catalog:
        for name in ("cell", "gpu"):
            catalog.arrive(WorkerRow(name=name, node=f"{name}.lab", process=1, queues=["learn"]))

        def beat(*names: str) -> Callable[[float], object]:
            return lambda _seconds: [catalog.beat(name) for name in names]

        both = health(here, sleep=beat("cell", "gpu")).workers()
        assert [(one.level, one.what) for one in both] == [(Level.OK, "alive: cell (learn), gpu (learn)")]
        alive, dead = health(here, sleep=beat("cell")).workers()
        assert (alive.level, dead.level) == (Level.OK, Level.WARN)
        assert "gpu on gpu.lab has stopped counting" in dead.what
        assert [one.level for one in health(here).workers()] == [Level.BAD, Level.BAD]


@pytest.mark.parametrize(
    ("gap", "lost", "level"),
    [(0.04, 0.0, Level.OK), (0.6, 0.0, Level.WARN), (0.04, 3.0, Level.WARN), (None, None, Level.OK)],
)
def test_a_camera_that_was_late_in_the_newest_episode_is_told(
    here: Home, gap: float | None, lost: float | None, level: Level
) -> None:
    assert "nothing was recorded" in one(health(here).cameras()).what
    with here.join() as catalog:
        old, new = episode(minute=0, station="table"), episode(minute=5, station="table")
        catalog.add(
            StationRow(digest="d", name="table", text=""), StationRow(digest="e", name="idle", text=""), old, new
        )
        catalog.add(StreamRow(episode=old.id, name="front", rows=9, camera=True, gap=9.0, lost=50.0))
        catalog.add(StreamRow(episode=new.id, name="front", rows=9, camera=True, gap=gap, lost=lost))
        catalog.add(StreamRow(episode=new.id, name="arm", rows=9, gap=5.0, lost=9.0))
    found = one(health(here).cameras())
    assert found.level is level, found
    assert found.about == "cameras of table"
    assert "24 hours ago" in found.what


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str, code: int = 0) -> None:
    """An nvidia-smi that says so."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("says", "code", "levels"),
    [
        ("RTX 4090, 50, 100, 24000, 3", 0, [Level.OK]),
        ("RTX 4090, 85, 100, 24000, 99", 0, [Level.WARN]),
        ("A, 95, 1, 2, 3\nB, 40, 1, 2, 3", 0, [Level.BAD, Level.OK]),
        ("RTX 4090, [N/A], [N/A], [N/A], [N/A]", 0, [Level.OK]),
        ("NVIDIA-SMI has failed because it could not communicate with the driver", 9, [Level.BAD]),
    ],
)
def test_a_gpu_that_is_hot_or_does_not_answer_is_told(
    here: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, code: int, levels: Sequence[Level]
) -> None:
    smi(tmp_path, monkeypatch, says, code)
    assert [one.level for one in health(here).graphics()] == levels


def test_a_machine_without_a_gpu_is_well(here: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert one(health(here).graphics()).level is Level.OK


@pytest.mark.parametrize(
    ("now", "high", "critical", "level"),
    [
        (60, None, None, Level.OK),
        (90, None, None, Level.WARN),
        (93, None, None, Level.BAD),
        (90, 100, 110, Level.OK),
        (105, 100, 110, Level.WARN),
        (70, 60, 65, Level.BAD),
    ],
)
def test_a_sensor_s_own_limits_count(
    here: Home, now: float, high: float | None, critical: float | None, level: Level
) -> None:
    hot = SimpleNamespace(current=now, high=high, critical=critical)
    cool = SimpleNamespace(current=20.0, high=None, critical=None)
    assert one(health(here).heat({"cpu": [cool, hot], "disk": [cool]})).level is level
    assert one(health(here).heat({})).level is Level.OK


@pytest.mark.parametrize(
    ("age", "facts", "level"),
    [
        (timedelta(hours=3), {"ok": True}, Level.OK),
        (timedelta(days=3), {"ok": True}, Level.WARN),
        (timedelta(days=8), {"ok": True}, Level.BAD),
        (timedelta(hours=3), {"ok": False, "why": "the disk is full"}, Level.BAD),
        (timedelta(hours=3), {"ok": True, "same_disk": True}, Level.WARN),
    ],
)
def test_a_backup_is_to_be_good_recent_and_elsewhere(
    here: Home, age: timedelta, facts: dict[str, Any], level: Level
) -> None:
    looked = health(here, now=lambda: datetime.now(UTC) + age)
    before = one(looked.safe("backup", "backup", looked.limits.backup))
    assert (before.level, before.fix) == (Level.WARN, "appliance backup DIR")
    remember(here.folder, "backup", to="/disk", there=3, seconds=2.0, **facts)
    assert one(looked.safe("backup", "backup", looked.limits.backup)).level is level
    assert one(looked.safe("restore check", "restore_check", looked.limits.check)).what == "there was none yet"


@pytest.mark.parametrize(
    ("decision", "age", "level"),
    [
        *(("promoted", 1, Level.OK), ("kept", 1, Level.OK), ("refused", 1, Level.WARN), ("failed", 1, Level.BAD)),
        *(("", 1, Level.OK), ("", 30, Level.BAD)),
    ],
)
def test_how_the_last_night_ended_is_told(here: Home, decision: str, age: float, level: Level) -> None:
    with here.join() as catalog:
        began = NOON - timedelta(hours=age)
        ended = began if decision else None
        older = Night(
            id="n0", task="reach", station="s", by="x", began=began - timedelta(days=1), ended=began, decision="failed"
        )
        catalog.add(
            older,
            Night(
                id="n1",
                task="reach",
                station="s",
                by="x",
                began=began,
                ended=ended,
                decision=decision,
                why="too little",
            ),
        )
    found = one(health(here).night())
    assert found.level is level, found
    assert "n1" in found.what


def test_a_catalog_that_does_not_answer_is_one_finding_and_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("this is no database")
    found = examine(health(Home(tmp_path, str(tmp_path / "catalog.db"))).checks())
    bad = [one for one in found if one.level is Level.BAD]
    assert [one.about for one in bad if one.about not in {"disk", "GPU", "data folder"}] == ["catalog"]


def test_a_person_reads_it_and_exit_1_says_that_something_is_bad(
    appliance: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance("tasks", "list")
    said = appliance("health")
    assert "backup" in said.out
    remember(home, "backup", to="/disk", ok=False, why="the disk is full")
    bad = appliance("health", "--json")
    assert bad.code == 1
    (backup,) = [one for one in bad.json if one["id"] == "backup"]
    assert backup["level"] == "bad"
    assert "the disk is full" in backup["what"]
    assert backup["fix"] == "appliance backup DIR"


def test_a_person_reads_the_log(appliance: Type, home: Path) -> None:
    journal = Journal.of(home)
    journal.of_these(job="abc").info("began", steps=3)
    journal.of_these(job="xyz", episode="e1").error("broke", trace="line 1\nline 2")
    journal.debug("details")
    everything = appliance("log").out
    assert "began  [job=abc steps=3]" in everything
    assert "    line 2" in everything
    assert "details" not in everything
    assert "details" in appliance("log", "--level", "debug").out
    assert [line["what"] for line in appliance("log", "--job", "ab", "--json").json] == ["began"]
    assert [line["what"] for line in appliance("log", "--episode", "e", "--json").json] == ["broke"]
    assert [line["what"] for line in appliance("log", "--level", "warn", "--json").json] == ["broke"]
    assert [line["what"] for line in appliance("log", "--last", "1", "--json").json] == ["broke"]
    assert appliance("log", "--since", "2999-01-01", "--json").json == []


def test_a_person_follows_the_log(appliance: Type, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ops import journal as journals

    Journal.of(home).info("before")

    def then(*_: object) -> Any:
        yield {"t": "2026-01-01T00:00:00.000000Z", "level": "info", "what": "after"}

    monkeypatch.setattr(journals, "follow", then)
    said = appliance("log", "--follow", "--json")
    assert [json.loads(line)["what"] for line in said.out.splitlines()] == ["before", "after"]
