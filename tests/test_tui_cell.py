"""The cell at a glance: what is read, what needs a person first, and devices as they are read at the moment."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from appliance.glance import Glance
from appliance.home import STARTER, Home
from appliance.tui.app import Tui
from appliance.tui.cell import aligned
from appliance.tui.facts import Facts, OfTask, attention, read
from appliance.tui.room import Room
from appliance.tui.table import Word
from drivers import row_type, sensed
from ops.jobs import Schedule
from storage import Edit, EditKind, Observation, PolicyRow, WorkOrder
from tests.homes import opened
from tests.screens import take
from tests.test_tui_app import running, seat, shown
from tests.test_tui_collect import until

home = pytest.fixture(opened)


def text(app: Tui, name: str) -> str:
    return str(app.screen.query_one(f"#{name}", Static).content)


def test_what_needs_a_person_most_is_said_first() -> None:
    lacking = OfTask("pick_place", "", 3, 1, 12)
    facts = Facts((lacking,), unsaid=2, aside=1, missed="no night", failed="train t1: no memory", free=0.05, cut=1)
    said = [attention(facts, "arm: its cable is out")]
    for known in ({}, {"cut": 0}, {"free": 0.5}, {"failed": ""}, {"missed": ""}, {"aside": 0}, {"unsaid": 0}):
        facts = replace(facts, **known)
        said.append(attention(facts))
    assert [words.split(" ")[0] for words in said] == ["arm:", "1", "only", "a", "no", "1", "2", "pick_place:"]
    assert said[1].startswith("1 cut short by a crash")
    assert said[5].startswith("1 put aside")
    assert said[-1] == "pick_place: orders lack 12 takes; 2 collects them"
    assert attention(replace(facts, tasks=())) == "nothing"


def test_everything_is_read_again_from_the_catalog_the_jobs_and_the_disk(home: Home) -> None:
    _, cut, aside = take(home, 1), take(home, 2), take(home, 3)
    with home.join() as catalog:
        champion = PolicyRow(name="nearest-1", method="nearest", task=STARTER.name, path="policies/x", digest="0")
        catalog.add(champion)
        catalog.promote(champion, "ada")
        catalog.order(WorkOrder(task=STARTER.name, wanted=12))
        catalog.edit(Edit(episode=aside, kind=EditKind.QUARANTINE, by="ada", why="late"))
    with home.jobs() as jobs:
        jobs.enqueue("train", {"task": STARTER.name}, "ada")
        second = jobs.enqueue("verify", {}, "ada")
        jobs.cancel(second.id, "ada", "not now")
        jobs.schedule(Schedule("night-pick_place", "30 2 * * *", "UTC", "night", {"task": STARTER.name}, "ada"))
    facts = read(
        Room(home, "franka-sim", "ada"), [f"recovered {cut}, a take that was cut short: 9 rows", "x is on disk"]
    )
    assert facts.tasks == (OfTask(STARTER.name, "nearest-1", 0, 1, 12),)
    assert [one.split(" ")[:3] for one in facts.jobs] == [["train", STARTER.name, "waiting"]]
    assert facts.tonight[0].startswith("pick_place at 02:30 on ")
    assert (facts.cut, facts.aside, facts.unsaid, facts.failed) == (1, 1, 3, "")
    assert 0 < facts.free < 1
    with home.join() as catalog:
        catalog.edit(Edit(episode=cut, kind=EditKind.RETIRE, by="ada", why="half a take"))
    assert read(Room(home, "franka-sim", "ada"), [f"recovered {cut}, a take"]).cut == 0


def test_devices_are_shown_as_the_sitting_reads_them_and_as_not_connected_without_one(
    home: Home, tmp_path: Path
) -> None:
    sits = seat(home, tmp_path)

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "wrist  Camera  not connected" in text(app, "devices"))
        assert "gap up to 250 ms, lost up to 1 %" in text(app, "devices")
        assert "champion none yet" in text(app, "others") or "pick_place" not in text(app, "others")
        await running(app, pilot, sits)
        app.action_go("cell")
        await until(pilot, lambda: "ticks late by up to" in text(app, "devices"))
        assert "no row yet" in text(app, "devices"), "the bench has no wrist"

    shown(home, drive)


def test_what_was_not_read_is_not_told_and_what_cannot_be_read_ends_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Facts:
        raise ZeroDivisionError("by a mistake of ours")

    monkeypatch.setattr("appliance.tui.cell.read", broken)

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: text(app, "attention") == "Needs you: ZeroDivisionError: by a mistake of ours")
        assert "DISK" not in text(app, "others")
        assert app.is_running

    shown(home, drive)


def test_what_was_recovered_when_it_was_opened_is_shown(home: Home) -> None:
    line = f"recovered {take(home, 1)}, a take that was cut short: 9 rows"

    async def drive(app: Tui, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: line in text(app, "others"))
        await until(pilot, lambda: "1 cut short by a crash" in text(app, "attention"))
        assert app.table.word is Word.READY

    shown(home, drive, recovered=[line])


ARM, CAMERA = row_type(("q", "<f8")), sensed(("rgb", "u1", (2, 2, 3)))


def test_a_glance_tells_rates_ages_and_lateness_of_what_a_loop_has_seen() -> None:
    glance = Glance()
    assert (glance.looks(), glance.late) == ([], None)
    arm, front = np.zeros(51, ARM), np.zeros(4, CAMERA)
    arm["t"] = np.arange(51) * 20_000_000
    front["t"] = np.arange(4) * 100_000_000
    front["received"] = front["t"] + 30_000_000
    front["rgb"][-1] = 7
    glance.begin()
    for tick, late in enumerate((0, 3_000_000, 1_000_000)):
        glance.see(Observation(tick * 50_000_000 + late, {"arm": arm, "front": front}), 50_000_000)
    by_name = {one.name: one for one in glance.looks()}
    assert by_name["arm"].rate == pytest.approx(50)
    assert (by_name["arm"].t, by_name["arm"].latency, by_name["arm"].picture) == (1_000_000_000, None, None)
    assert by_name["front"].latency == pytest.approx(0.03)
    assert by_name["front"].picture is not None
    assert by_name["front"].picture.max() == 7
    assert glance.late == pytest.approx(0.003)


def test_between_takes_a_glance_keeps_what_is_new_and_forgets_what_is_old() -> None:
    glance, rows = Glance(), np.zeros(100, ARM)
    rows["t"] = np.cumsum(np.where(np.arange(100) < 50, 5_000_000, 20_000_000))
    assert glance.since("arm", 5_000_000_000) == 4_750_000_000
    glance.hear("arm", rows[:50])
    glance.hear("arm", rows[50:50])
    assert glance.since("arm", 300_000_000) == rows["t"][49]
    glance.hear("arm", rows[50:])
    (arm,) = glance.looks()
    assert arm.t == rows["t"][-1]
    assert arm.rate == pytest.approx(50)
    assert glance.since("arm", 9_000_000_000) == 8_750_000_000


def test_words_are_aligned_in_columns() -> None:
    assert aligned([("a", "bbb"), ("cc", "d")]) == ["a   bbb", "cc  d"]
    assert aligned([]) == []
