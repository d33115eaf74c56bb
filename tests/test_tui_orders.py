"""Failures and orders on the screen: how far trials come, the clips of a failure, and what is asked for against it."""

import shutil
import time
from pathlib import Path
from uuid import UUID

import pytest
from textual.pilot import Pilot

from appliance import station
from appliance.begins import begins
from appliance.home import Home
from appliance.tui.drilled import Drilled
from appliance.tui.failing import Asked
from appliance.tui.replay import Replay
from storage import Batch, Outcome, Trial, Verdict, WorkOrder
from tests import said
from tests.homes import opened
from tests.screens import Alone, another_task, compared, line, plain, rows, shown, take, until

TASK = "pick_place"
CODE, _NAME, TRIALS, EVERYWHERE = range(4)
ORDER, _TASK, DONE, GAIN, MINUTES, FAILURE, _WHY = range(7)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A champion that dropped it in two of four trials, a demonstration that failed, and two orders."""
    home = opened(tmp_path_factory.mktemp("made"))
    another_task(home, "reach")
    driver = said.policy("bc-1", task=TASK)
    driver.id = UUID(int=7)
    with home.join() as catalog:
        catalog.add(driver)
        catalog.promote(driver, "ada")
    ran = [take(home, minute, agent="policy", operator="", policy=str(driver.id)) for minute in range(4)]
    shown_badly = take(home, 9)
    with home.join() as catalog:
        catalog.add(
            *(failed(key, "DROP", "S3", first_closing=0.7) for key in ran[:2]), failed(shown_badly, "LOC", "S1")
        )
        catalog.add(*(Verdict(episode=key, by="rules", outcome=Outcome.SUCCESS) for key in ran[2:]))
        trials = [
            Trial(batch="b1", turn=turn, task=TASK, policy=driver.id, condition={"seed": turn}) for turn in range(4)
        ]
        catalog.plan(Batch(id="b1", task=TASK, station="cell", seed=0, planned=4), trials)
        for key in ran:
            trial = catalog.claim_trial("b1", "me")
            assert trial is not None
            catalog.close_trial(trial, key)
        evidence = {"policy": "bc-1", "batch": "b1", "episodes": [str(ran[0])], "trials": 4, "failures": 2, "shown": 0}
        order = WorkOrder(task=TASK, wanted=12, failure="DROP", why="left half", evidence=evidence)
        order.evidence |= {"gain": 0.042, "minutes": 18.0}
        order.made = said.NOON
        catalog.order(order)
        catalog.order(WorkOrder(task="reach", wanted=3, why="by hand", made=said.NOON))
    return home


def failed(key: UUID, code: str, stage: str, **evidence: object) -> Verdict:
    return Verdict(
        episode=key,
        by="rules",
        outcome=Outcome.FAILURE,
        failure=code,
        stage=stage,
        evidence=evidence,
        labelled_by="auto",
    )


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    """The same, a test's own."""
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    return Home(tmp_path, str(tmp_path / "catalog.db"))


def test_the_funnel_the_codes_and_the_orders_stand_beside_each_other(home: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app, "#orders")) == 2)
        assert "bc-1 n=4: 50%" in line(app, "#which")
        assert "S4 deliver" in line(app, "#funnel")
        counts = [row.split()[-1] for row in line(app, "#funnel").splitlines()]
        assert counts == ["4", "4", "4", "2", "2", "2"], "both were lost in S3"
        found = [(row[CODE], row[TRIALS], row[EVERYWHERE]) for row in rows(app, "#codes")]
        assert found == [("DROP", "2", "2"), ("LOC", "0", "1")]
        first, second = rows(app, "#orders")
        assert (first[DONE], first[GAIN], first[MINUTES], first[FAILURE]) == ("······ 0/12", "+4.2", "18", "DROP")
        assert (second[DONE], second[GAIN]) == ("······ 0/3", "")
        assert "from bc-1's batch b1: 2 of 4 trials" in line(app, "#about")
        await pilot.press("k")
        await until(pilot, lambda: line(app, "#which") == "reach: no trials yet")
        assert rows(app, "#codes") == []

    shown(home, "orders", drive)


def test_a_failure_leads_to_its_clips_and_they_to_their_replay(home: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app, "#codes")) == 2)
        app.screen.query_one("#codes").focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Drilled) and len(rows(app)) == 2)
        assert f"{TASK}: DROP" in line(app, "#which")
        assert not app.screen.query("Picture.there")
        await pilot.press("t")
        await until(pilot, lambda: len(app.screen.query("Picture.there")) == 3)
        assert "pictures at 0.0 s, 0.7 s, 1.9 s" in line(app, "#about")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Replay) and "of 1.98 s" in line(app, "#ruler"))
        await pilot.press("s")
        await until(pilot, lambda: "It counts as failure. Say success instead?" in plain(pilot))
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.screen, Replay))
        await pilot.press("s")
        await until(pilot, lambda: "Say success instead?" in plain(pilot))
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, Replay) and ": success" in line(app, "#said"))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Drilled) and len(rows(app)) == 1)
        await pilot.press("escape")
        await until(pilot, lambda: [row[TRIALS] for row in rows(app, "#codes")] == ["1", "0"])

    shown(home, "orders", drive)


def test_collecting_an_order_is_asked_of_the_app(home: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app, "#orders")) == 2)
        await pilot.press("down", "g")
        await until(pilot, lambda: [(one.task, one.order) for one in app.wanted] == [("reach", 2)])

    shown(home, "orders", drive)


def test_an_order_is_closed_with_a_reason_and_stays_to_be_seen(home: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app, "#orders")) == 2)
        await pilot.press("c")
        await until(pilot, lambda: "Why is order 1 closed?" in plain(pilot))
        await pilot.press(*"cured", "enter")
        await until(pilot, lambda: [row[ORDER] for row in rows(app, "#orders")] == ["2"])
        await pilot.press("h")
        await until(pilot, lambda: len(rows(app, "#orders")) == 2)
        await pilot.press("up", "up", "g")
        await until(pilot, lambda: "order 1 is closed" in line(app, "#said"))
        assert "by ada: cured" in line(app, "#about")
        assert not app.wanted

    shown(home, "orders", drive)
    with home.join() as catalog:
        catalog.close_order(1, "eve", "again")
        assert catalog.work_order(1).result == {"by": "ada", "why": "cured"}, "the first word stands"


def test_the_start_is_shown_when_asked_for_and_why_there_is_none(home: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app, "#orders")) == 2)
        await pilot.press("v")
        await until(pilot, lambda: len(app.screen.query("Picture.there")) == 1)
        await pilot.press("down")
        await until(pilot, lambda: not app.screen.query("Picture.there"))
        await pilot.press("v")
        await until(pilot, lambda: "none has a picture of 'front'" in line(app, "#said"))

    shown(home, "orders", drive)


def test_what_would_cure_most_is_suggested_and_one_of_it_asked_for(tmp_path: Path) -> None:
    """A policy that fails wherever it begins on the left, where nothing was shown."""
    home, cell = opened(tmp_path), station.load("franka-sim")
    instruction = "put the red cube on the yellow pad"
    left = {seed: float(str(begins(cell, {"seed": seed}, instruction)["y"])) > 0 for seed in range(24)}
    driver = said.policy("half-1", task=TASK)
    with home.join() as catalog:
        catalog.add(driver)
        ran = [said.episode(seed, task=TASK, station="franka-sim", agent="policy", policy=driver.id) for seed in left]
        good = [said.episode(seed, task=TASK, station="franka-sim") for seed in left if not left[seed]]
        won = [*good, *(row for row in ran if not left[row.condition["seed"]])]
        catalog.add(*ran, *good, *(Verdict(episode=row.id, by="rules", outcome=Outcome.SUCCESS) for row in won))
        catalog.add(*(failed(row.id, "LOC", "S1") for row in ran if left[row.condition["seed"]]))
        trials = [Trial(batch="b", turn=k, task=TASK, policy=driver.id, condition={"seed": k}) for k in left]
        catalog.plan(Batch(id="b", task=TASK, station="franka-sim", seed=0, planned=len(left)), trials)
        for row in ran:
            trial = catalog.claim_trial("b", "me")
            assert trial is not None
            catalog.close_trial(trial, row.id)

    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "half-1" in line(app, "#which"))
        await pilot.press("a")
        await until(pilot, lambda: "Ask for which?" in plain(pilot) and "left half" in plain(pilot))
        await pilot.press("1")
        await until(pilot, lambda: [row[FAILURE] for row in rows(app, "#orders")] == ["LOC"])
        await pilot.press("a")
        await until(pilot, lambda: "Ask for which?" in plain(pilot))
        await pilot.press("1")
        await until(pilot, lambda: "an open order asks for that already" in line(app, "#said"))

    shown(home, "orders", drive)


def test_a_catalog_that_is_gone_is_a_line(home: Home) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app, "#orders")) == 2)
        Path(home.database).write_bytes(b"no database at all, but long enough to be looked at as if it were one" * 40)
        await pilot.press("r")
        await until(pilot, lambda: line(app, "#said").startswith("! "))
        assert len(rows(app, "#orders")) == 2

    shown(home, "orders", drive)


def test_what_an_order_has_brought_stands_where_its_gain_stood() -> None:
    order = WorkOrder(task=TASK, wanted=12, evidence={"gain": 0.1, "minutes": 12.0})
    assert (Asked(order, 3).gain, Asked(order, 3).minutes, Asked(order, 3).bar()) == ("+10.0", "9", "█····· 3/12")
    order.result = {"before": {"successes": 1, "trials": 10}, "after": {"successes": 9, "trials": 10}}
    order.closed = said.NOON
    assert (Asked(order, 12).gain, Asked(order, 12).minutes) == ("was +80", "")


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (40, 12)])
def test_it_fits_a_terminal_of_any_size(home: Home, size: tuple[int, int]) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app, "#orders")) == 2)
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: "S3" in plain(pilot))

    shown(home, "orders", drive, size)


def test_it_looks_as_it_did(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drive(app: Alone, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(app, "#orders")) == 2 and "order 1" in line(app, "#about"))
        await compared(pilot, "orders")

    with monkeypatch.context() as here:
        here.setenv("TZ", "UTC")
        time.tzset()
        shown(home, "orders", drive)
    time.tzset()
