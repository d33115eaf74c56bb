"""Trials with somebody beside them: what they say counts, they may take over, and never learn whose trial it was."""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance import evaluate
from appliance.evaluate import Trying, plan, ready
from appliance.home import STARTER, Home
from appliance.session import NotThere, Session
from appliance.train import demonstrations
from appliance.trials import INTERVENTION, Trials, lines
from collectors import Event
from collectors.events import Press
from collectors.scripted import Scripted
from collectors.ways import Place
from drivers import Rows
from ops import failures
from ops.judging.judgement import invalid
from ops.judging.stops import Stop
from storage import Episode, Outcome, Stale, Trial, Verdict
from tests.homes import remembering
from tests.test_sitting import Finger, Letters

CELL, TASK = "franka-sim", STARTER.name
X, S, F, D, Q, T = Event.START, Event.SUCCESS, Event.FAILURE, Event.DISCARD, Event.STOP, Event.TAKEOVER
BEGIN, WENT, STAGE, HOW = "START: ", "How did it go?", "In which stage?", "How, in"


class Hand:
    """Presses something once, so many seconds into the take."""

    stream = "arm"

    def __init__(self, event: Event, seconds: float = 0.5) -> None:
        self._event, self._wait = event, round(seconds * 1e9)
        self._until: int | None = None

    def hear(self, rows: Rows) -> Sequence[Press]:
        if not len(rows) or self._wait < 0:
            return ()
        self._until = self._until or int(rows["t"][0]) + self._wait
        if rows["t"][-1] < self._until:
            return ()
        self._wait = -1
        return [(self._event,)]


class Fault:
    """Ends the take in a fault, once."""

    stream, past = "arm", False

    def hear(self, rows: Rows) -> Sequence[Press]:
        if len(rows) > 20 and not self.past:
            self.past = True
            raise Stale("the arm has stopped")
        return ()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return remembering(tmp_path_factory.mktemp("home"), 1)


@pytest.fixture
def trials(home: Home) -> Iterator[Trials]:
    """One trial, and somebody who can take over as the script can."""
    batch, _ = plan(home, TASK, ["nearest-1"], 1, 0, CELL)
    with ready(Trying(home, batch.id, CELL, limit=1.0), "ada", _Flag()) as here:
        robot = here.session.loop.robot
        place = Place(here.cell.robot, here.cell.drivers, here.cell.hz, here.session.events)
        person: Any = lambda _way, _place: Scripted(robot.kinematics, robot.action, seed=0)  # ruff: ignore[lambda-assignment]
        yield Trials(here, place, "vr", make=person, typing=Letters("it slid away"))


class _Flag:
    """Whether the batch was stopped."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True


def warming(monkeypatch: pytest.MonkeyPatch, press: Callable[[], None]) -> None:
    """Have something pressed while the policy warms up."""
    warm = evaluate._warm

    def pressed(*given: Any) -> float | None:
        press()
        return warm(*given)

    monkeypatch.setattr(evaluate, "_warm", pressed)


def told(trials: Trials) -> list[Verdict]:
    catalog = trials.session.catalog
    ran = [trial.episode for trial in catalog.trials(trials.here.batch.id) if trial.episode]
    return [*catalog.last_verdicts(ran).values()]


def test_what_the_person_says_counts(trials: Trials) -> None:
    trials.session.sources = [Hand(S)]
    with Finger(trials, [(BEGIN, X)]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.outcome, verdict.labelled_by, verdict.by) == (Outcome.SUCCESS, "human", "ada")
    assert verdict.evidence["reached"] == "S5"
    assert "cadence" in verdict.evidence


def test_a_failure_is_tagged_in_three_presses(trials: Trials) -> None:
    """Failure, stage, code; the note is written by whoever has a keyboard."""
    trials.session.sources = [Hand(F)]
    with Finger(trials, [(BEGIN, X), (STAGE, Event.TAG_4), (HOW, Event.TAG_2)]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.outcome, verdict.stage, verdict.labelled_by) == (Outcome.FAILURE, "S3", "human")
    assert verdict.failure in {mode.code for mode in trials.session.catalog.failure_modes()}
    assert (verdict.note, verdict.evidence["reached"]) == ("it slid away", "S3")


def test_what_rules_say_is_suggested_and_taken_by_confirming(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trials, "_likely", lambda *_: ("S4", "PREC"))
    trials.session.sources = [Hand(F)]
    with Finger(trials, [(BEGIN, X), (STAGE, S), (HOW, S)]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.stage, verdict.failure) == ("S4", "PREC")


def test_a_trial_that_ends_by_itself_is_judged_by_rules_where_there_are_any(trials: Trials) -> None:
    trials.session.sources = []
    with Finger(trials, [(BEGIN, X)]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.outcome, verdict.labelled_by) == (Outcome.FAILURE, "auto")


def test_where_there_are_none_the_person_is_asked_and_may_say_that_it_does_not_count(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trials, "_by_rules", lambda *_: None)
    trials.session.sources = []
    with Finger(trials, [(BEGIN, X), (WENT, F), (STAGE, F), (WENT, D)]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.outcome, verdict.failure, verdict.labelled_by) == (Outcome.INVALID, "ENV", "human")


def test_who_takes_over_goes_on_from_there_and_the_trial_has_failed(trials: Trials, home: Home) -> None:
    trials.session.sources = [Hand(T)]
    with Finger(trials, [(BEGIN, X), (STAGE, Event.TAG_2), (HOW, Event.TAG_1)]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.outcome, verdict.stage, verdict.labelled_by) == (Outcome.FAILURE, "S1", "human")
    assert verdict.evidence["taken_over"] == pytest.approx(0.5, abs=0.1)
    assert verdict.evidence["clip"] == [0.0, verdict.evidence["taken_over"]]
    catalog = trials.session.catalog
    row = catalog.episode(verdict.evidence["correction"])
    assert (row.agent, row.policy, row.operator) == (INTERVENTION, None, "ada")
    (trial,) = catalog.trials(trials.here.batch.id)
    before, after = (Episode(home.folder / catalog.episode(str(one)).path) for one in (trial.episode, row.id))
    assert after.attributes["corrects"] == str(trial.episode)
    last, first = before.rows("arm")["q"][-1], after.rows("arm")["q"][0]
    assert abs(last - first).max() < 0.05, "it went on from where the policy was"
    assert catalog.last_verdicts([row.id])[row.id].outcome is Outcome.SUCCESS
    assert row.id in {one.row.id for one in demonstrations(catalog, TASK)}


@pytest.mark.parametrize("event", [X, T])
def test_nobody_takes_over_where_nobody_can(trials: Trials, event: Event) -> None:
    alone = Trials(trials.here, None, typing=Letters(""))
    alone.session.ends = type(alone.session).ends
    alone.session.sources = [Hand(event)]
    with Finger(alone, [(BEGIN, X)]):
        assert alone.run()
    (verdict,) = told(alone)
    assert verdict.labelled_by == "auto"


@pytest.mark.parametrize("own", [True, False])
def test_a_policy_that_stops_the_arm_is_tagged_where_no_rules_can_and_a_cable_is_nobody_s(
    trials: Trials, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    monkeypatch.setattr(failures, "judge", lambda *_: invalid("there is no stream 'truth'"))
    monkeypatch.setattr(failures, "caused", lambda _: Stop("the arm braked by itself", {}) if own else None)
    trials.session.sources = [Fault()]
    asked = [(WENT, F), (STAGE, Event.TAG_2), (HOW, Event.TAG_1)] if own else []
    with Finger(trials, [(BEGIN, X), *asked]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.outcome is Outcome.FAILURE, verdict.labelled_by == "human") == (own, own)


def test_a_batch_that_is_stopped_gives_its_trial_back(trials: Trials) -> None:
    with Finger(trials, [(BEGIN, Q)]):
        assert not trials.run()
    (trial,) = trials.session.catalog.trials(trials.here.batch.id)
    assert (trial.claimed_by, trial.episode) == (None, None)


def test_a_press_before_the_trial_has_begun_says_nothing_of_it(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    """START, pressed once more while the policy warms up, is no takeover, and a failure is none."""
    trials.session.sources = []

    def press() -> None:
        for event in (X, F):
            trials.session.events.put(event)

    warming(monkeypatch, press)
    with Finger(trials, [(BEGIN, X)]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.labelled_by, "taken_over" in verdict.evidence) == ("auto", False)


@pytest.mark.parametrize("pedal", [True, False])
def test_who_stops_before_the_trial_has_begun_gives_it_back(
    trials: Trials, monkeypatch: pytest.MonkeyPatch, pedal: bool
) -> None:
    session = trials.session
    warming(monkeypatch, lambda: session.events.put(Q) if pedal else session.stop.set())
    with Finger(trials, [(BEGIN, X)]):
        assert not trials.run()
    (trial,) = session.catalog.trials(trials.here.batch.id)
    assert (trial.claimed_by, trial.episode) == (None, None)


def test_a_takeover_that_does_not_come_about_leaves_the_trial_failed(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Session.run

    def refuse(session: Session, *given: Any, **said: Any) -> Any:
        if said.get("corrects"):
            raise NotThere("the leader was not brought to where the take begins")
        return run(session, *given, **said)

    monkeypatch.setattr(Session, "run", refuse)
    spoken: list[str] = []
    trials.tell = spoken.append
    trials.session.sources = [Hand(T)]
    with Finger(trials, [(BEGIN, X), (STAGE, Event.TAG_1), (HOW, S), (STAGE, Event.TAG_2), (HOW, Event.TAG_1)]):
        assert trials.run()
    (verdict,) = told(trials)
    assert (verdict.outcome, verdict.stage, verdict.evidence["correction"]) == (Outcome.FAILURE, "S1", None)
    assert spoken[:2] == [
        "the leader was not brought to where the take begins",
        "what was taken over has failed; a stage from S1 on says where",
    ]


def test_a_trial_is_held_by_the_program_and_not_by_who_stands_beside_it(trials: Trials) -> None:
    """A program that died can be found dead, and the trial given back; a person cannot."""
    held: list[str | None] = []
    attempt = trials.attempt

    def look(trial: Trial) -> Any:
        held.append(trial.claimed_by)
        return attempt(trial)

    trials.attempt = look  # type: ignore[method-assign]
    with Finger(trials, [(BEGIN, Q)]):
        assert not trials.run()
    assert held == [f"{platform.node()}:{os.getpid()}"]


def test_what_is_shown_never_names_the_policy(trials: Trials, tmp_path: Path) -> None:
    trials.session.sources = [Hand(S)]
    spoken: list[str] = []
    trials.tell = spoken.append
    shown = [*lines(trials)]
    with Finger(trials, [(BEGIN, X)]):
        assert trials.run()
    shown += lines(trials)
    assert spoken == ["trial 1 of 1: success"]
    assert "nearest" not in " ".join([*shown, *spoken])
    assert shown[-1].startswith("last: success")
