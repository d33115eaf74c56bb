"""Trials at the screen: planned, run and judged blind, gone on with; and a champion made, and unmade."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from uuid import UUID

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from appliance import station
from appliance.home import STARTER, Home
from appliance.settings import learner
from appliance.train import train
from appliance.tui.app import Tui
from appliance.tui.asks import Pick, Write
from appliance.tui.evaluate import Evaluate
from appliance.tui.planning import Planning, Several
from appliance.tui.room import Room
from ops import rollout
from ops.judging.judgement import Judgement
from storage import Batch, Catalog, Outcome, Trial, Verdict
from tests.homes import remembering
from tests.test_report import SUCCESS, entered

CELL, TASK = "franka-sim", STARTER.name
LIVE = "live.toml"
NAMES = ("nearest-1", "nearest-2")

type At = Pilot[None]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """With two policies, at a twin in real time: trials last as long as at a real table."""
    folder = tmp_path_factory.mktemp("home")
    (folder / LIVE).write_text(station.text(CELL).replace("# realtime = true", "realtime = true"))
    found = remembering(folder, 1)  # not in real time, which a busy machine may not keep
    train(found, TASK, "nearest", "tiny", learner("nearest", "tiny", {}), lambda _done, _of, _loss: None)
    return found


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is later than stepped time was, when all was shown; no trial here is about that."""
    monkeypatch.setattr("ops.rig.DELAYED", 10.0)


@pytest.fixture
def catalog(home: Home) -> Iterator[Catalog]:
    with home.join() as opened:
        yield opened


def at(home: Home, test: Callable[[At, Evaluate], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> Tui:
    """Let somebody stand before the screen of trials."""
    app = Tui(Room(home, str(home.folder / LIVE), "ada"))

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            try:
                await pilot.press("5")
                await pilot.pause()
                screen = app.screen
                assert isinstance(screen, Evaluate)
                await test(pilot, screen)
            finally:
                app.table.leave()
                assert await asyncio.to_thread(app.table.left, 60)

    asyncio.run(run())
    return app


async def until(pilot: At, condition: Callable[[], object], what: str = "") -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what or shown(pilot)
        await pilot.pause(0.02)


def shown(pilot: At) -> str:
    """What can be read."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def see(pilot: At, words: str) -> None:
    await until(pilot, lambda: words in " ".join(shown(pilot).split()), f"{words!r} never came")


async def plan(pilot: At, trials: int) -> None:
    """Have trials of both policies planned, and sit down to them."""
    await pilot.press("n")
    await until(pilot, lambda: isinstance(pilot.app.screen, Planning))
    form = pilot.app.screen
    assert form.query_one(Several).chosen == (*reversed(NAMES),)
    form.query_one("#trials", Input).value = str(trials)
    await pilot.press("f5")


async def likely(pilot: At) -> str:
    """What is marked among what may be chosen."""
    await see(pilot, "> ")
    return shown(pilot).partition("> ")[2].split()[1]


async def going_on(pilot: At) -> None:
    """Wait until a trial runs, and has shown its cameras' first pictures."""
    assert isinstance(pilot.app, Tui)
    table = pilot.app.table

    def goes() -> bool:
        session = table.sitting.session if table.sitting is not None else None
        return session is not None and session.recording and time.monotonic() - session.began > 0.5

    await until(pilot, goes)


def told(catalog: Catalog, batch: Batch) -> list[Verdict | None]:
    """The last verdict on each trial, in the order they ran."""
    trials = catalog.trials(batch.id)
    verdicts = catalog.last_verdicts([one.episode for one in trials if one.episode])
    return [verdicts.get(one.episode) if one.episode else None for one in trials]


def test_a_batch_is_planned_judged_blind_and_then_it_is_told_who_was_who(home: Home, catalog: Catalog) -> None:
    before = {one.id for one in catalog.batches(TASK)}
    seen: list[str] = []
    marked: list[str] = []

    async def begin(pilot: At) -> None:
        await see(pilot, "START: put the red cube")
        seen.append(shown(pilot))
        await pilot.press("enter")
        await going_on(pilot)
        seen.append(shown(pilot))

    async def test(pilot: At, screen: Evaluate) -> None:
        await plan(pilot, 2)
        await see(pilot, "trial 1 of 4")
        await see(pilot, "n=0: no valid trial of both together")
        await begin(pilot)
        await pilot.press("f")
        await see(pilot, "In which stage?")
        await pilot.press("4")
        await see(pilot, "How, in S3")
        await pilot.press("2")
        await until(pilot, lambda: screen.query_one("#note", Input).display)
        await pilot.press(*"slid", "enter")
        await see(pilot, "trial 2 of 4")
        await see(pilot, "n=1: 0% [0, 79] of both together")
        await until(pilot, lambda: screen._cameras.ghost, "the start is shown as the other trial from it began")
        await begin(pilot)
        await pilot.press("s")
        await see(pilot, "trial 3 of 4")
        await see(pilot, "1 starts tried by both, 1 told them apart")
        await pilot.press("3")
        await pilot.pause()
        assert pilot.app.screen is screen, "a digit that comes late shows no other screen"
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: pilot.app.screen is not screen)
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert pilot.app.focused is None, "whoever comes back begins with the same key"
        assert not screen.check_action("press", ("takeover",)), "nobody said how they would take over"
        await begin(pilot)
        await pilot.press("d")
        await see(pilot, "trial 4 of 4")
        await begin(pilot)
        await pilot.press("f")
        await see(pilot, "In which stage?")
        marked.append(await likely(pilot))
        await pilot.press("s")
        await see(pilot, f"How, in {marked[0]}")
        marked.append(await likely(pilot))
        await pilot.press("s")
        await until(pilot, lambda: screen.query_one("#note", Input).display)
        await pilot.press("enter")
        await until(pilot, lambda: not screen.has_class("trying"))
        for name in NAMES:
            await see(pilot, f"{name} n=")
        await see(pilot, "champion of pick_place: none yet")

    at(home, test)
    assert not [name for name in NAMES if any(name in one for one in seen)]
    (batch,) = (one for one in catalog.batches(TASK) if one.id not in before)
    assert batch.closed is not None
    verdicts = [one for one in told(catalog, batch) if one is not None]
    assert [one.outcome for one in verdicts] == [Outcome.FAILURE, Outcome.SUCCESS, Outcome.INVALID, Outcome.FAILURE]
    assert [(one.by, one.labelled_by) for one in verdicts] == [("ada", "human")] * 4
    assert (verdicts[0].stage, verdicts[0].note) == ("S3", "slid")
    assert [verdicts[3].stage, verdicts[3].failure] == marked, "what is likely is taken by confirming"


def test_a_batch_that_is_left_stays_open_and_is_gone_on_with(home: Home, catalog: Catalog) -> None:
    before = {one.id for one in catalog.batches(TASK)}

    async def test(pilot: At, screen: Evaluate) -> None:
        await plan(pilot, 1)
        await see(pilot, "trial 1 of 2")
        await see(pilot, "START: put")
        await pilot.press("enter")
        await going_on(pilot)
        await pilot.press("q")
        await see(pilot, "How did it go?")
        await pilot.press("q")
        await until(pilot, lambda: not screen.has_class("trying"))
        (batch,) = (one for one in catalog.batches(TASK) if one.id not in before)
        assert [one.claimed_by for one in catalog.trials(batch.id)] == [None, None], "it was given back"
        assert batch.closed is None
        await see(pilot, "0 of 2")
        await pilot.press("up")  # from a batch of another test, that is closed and tells
        await until(pilot, lambda: not any(name in shown(pilot) for name in NAMES))
        await pilot.press("p")
        await see(pilot, "only a closed batch says whom one may promote")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Pick) or screen.has_class("trying"))
        if isinstance(pilot.app.screen, Pick):
            await pilot.press("1")
        for turn in ("trial 1 of 2", "trial 2 of 2"):
            await see(pilot, turn)
            await see(pilot, "START: put")
            await pilot.press("enter")
            await going_on(pilot)
            await pilot.press("s")
        await until(pilot, lambda: not screen.has_class("trying"))
        closed = catalog.batch(batch.id)
        assert closed.closed is not None
        assert all(one is not None and one.outcome is Outcome.SUCCESS for one in told(catalog, closed))
        await see(pilot, "2 of 2")
        await pilot.press("enter")
        await see(pilot, "is closed: none of its trials is left")

    at(home, test)


def test_a_policy_is_promoted_another_too_and_that_is_rolled_back(home: Home, catalog: Catalog) -> None:
    batch = rollout.plan(catalog, TASK, [catalog.policy(name) for name in NAMES], 1, 0, CELL)

    def attempt(trial: Trial) -> tuple[UUID, Judgement]:
        return entered(catalog, home.folder, trial), SUCCESS

    rollout.run(catalog, batch, attempt, "ada", home.folder)

    async def promote(pilot: At, nth: str, why: str) -> None:
        await pilot.press("p")
        await until(pilot, lambda: isinstance(pilot.app.screen, Pick))
        await pilot.press(nth)
        await until(pilot, lambda: isinstance(pilot.app.screen, Write))
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, Write), "without a reason nobody is promoted"
        await pilot.press(*why, "enter")

    async def test(pilot: At, screen: Evaluate) -> None:
        await until(pilot, lambda: screen.shown is not None and screen.shown.line.id == batch.id)
        assert screen.shown is not None
        one, other = (each.name for each in screen.shown.policies)
        await pilot.press("b")
        await until(pilot, lambda: isinstance(pilot.app.screen, Write))
        await pilot.press("x", "enter")
        await see(pilot, "! ")
        assert catalog.champion(TASK) is None
        await promote(pilot, "1", "steady")
        await see(pilot, f"champion of pick_place: {one} (promoted by ada: steady)")
        await promote(pilot, "1", "faster")
        await see(pilot, f"champion of pick_place: {other} (promoted by ada: faster)")
        await pilot.press("b")
        await until(pilot, lambda: isinstance(pilot.app.screen, Write))
        await pilot.press(*"slips", "enter")
        await see(pilot, f"champion of pick_place: {one} ")
        await pilot.press("b", "escape")
        champion = catalog.champion(TASK)
        assert champion is not None
        assert champion.name == one

    at(home, test)
    rows = catalog.promotions(TASK)
    assert [(row.by, row.why) for row in rows] == [("ada", "steady"), ("ada", "faster"), ("ada", "slips")]
    assert rows[0].policy == rows[2].policy != rows[1].policy
    assert rows[0].kind == rows[1].kind != rows[2].kind
    assert rows[0].evidence == rows[1].evidence == {"batch": batch.id}
