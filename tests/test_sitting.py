"""A person's sitting: everything is said by presses, however few keys there are, and all of it is on record."""

import functools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import numpy as np
import pytest

from appliance import station
from appliance.asking import View
from appliance.collect import CannotCollect
from appliance.offers import Offer, offers, scene
from appliance.session import Session, sitting
from appliance.sitting import Attended, lines
from collectors import Agent, Event, Events, Lacking
from collectors.events import Press
from collectors.ways import Place
from drivers import Row, Rows
from storage import Catalog, Episode, Observation, Wanted, WorkOrder
from tests.hosts import until
from tests.test_session import BLIND, REACH, known
from tests.test_station import CELL, LIMITS, write

S, F, D, A, X, Q = Event.SUCCESS, Event.FAILURE, Event.DISCARD, Event.AGAIN, Event.START, Event.STOP
ONE, TWO, THREE = Event.TAG_1, Event.TAG_2, Event.TAG_3
READY, WENT, STAGE, HOW, NOTE = "START: ", "How did it go?", "In which stage?", "How, in", "A note?"


class Showing:
    """Whoever drives, and presses something at the tenth tick of each take."""

    def __init__(self, events: Events, action: np.dtype[np.void], presses: Sequence[Sequence[Event]]) -> None:
        self._events, self._action = events, action
        self._presses = iter(presses)
        self.instructions: list[str] = []
        self.status = "clutch closed"

    def reset(self, instruction: str) -> None:
        self._ticks = 0
        self.instructions.append(instruction)

    def act(self, seen: Observation) -> Row | None:
        self._ticks += 1
        if self._ticks == 10:
            for event in next(self._presses, ()):
                self._events.put(event)
        target = np.zeros(1, self._action)
        target["t"], target["q"] = seen.t, 0.5
        return target[0]  # type: ignore[no-any-return]  # numpy does not say what an element of a structured array is


class Nearing(Showing):
    """Is where it shall be after twenty ticks."""

    def done(self, _seen: Observation) -> bool:
        return self._ticks >= 20


class Letters:
    """Somebody who writes one thing."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.writing = False

    def begin(self) -> None:
        self.writing = True

    def typed(self) -> tuple[str, bool]:
        return self._text, True

    def end(self) -> None:
        self.writing = False


class Asked(Protocol):
    """Something that asks a person."""

    view: View
    session: Session


class Finger:
    """Presses one thing after the other, each once it is asked for."""

    def __init__(self, attended: Asked, script: Sequence[tuple[str, Event]]) -> None:
        self._attended, self._script = attended, script
        self.failed = ""
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        view = self._attended.view
        before = view.asks
        for asks, event in self._script:
            try:
                until(functools.partial(_new, view, asks, before), 20.0)
            except AssertionError:
                self.failed = f"{asks!r} was never asked, but {view.asks!r}"
                self._attended.session.stop.set()
                return
            before = view.asks
            self._attended.session.events.put(event)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        assert self.failed == ""


def _new(view: View, asks: str, before: str) -> bool:
    """Whether this is asked, and it is not the question that was answered before, which may have the same words."""
    return asks in view.asks and view.asks is not before


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    bench = station.load(write(tmp_path, CELL + BLIND + LIMITS))
    with sitting(bench, known(tmp_path), tmp_path, operator="ada") as session:
        yield session


def sit(
    session: Session,
    presses: Sequence[Sequence[Event]],
    script: Sequence[tuple[str, Event]],
    of: Sequence[Offer] = (),
    **more: Any,
) -> Attended:
    """Sit through it."""
    made: list[Showing] = []

    def make(_way: str, here: Place) -> Agent:
        if not made:
            made.append(Showing(here.events, here.robot.action, presses))
        return made[0]

    asked = list(of) or [Offer(REACH, 1)]
    attended = Attended(session, anywhere(session), "kinesthetic", asked, make=make, limit=2.0, **more)
    with Finger(attended, script):
        attended.run()
    return attended


def anywhere(session: Session) -> Place:
    """A place that no way but ours is asked about."""
    assert session.station is not None
    return Place(session.station.robot, session.station.drivers, session.station.hz, session.events)


def verdicts(session: Session) -> list[tuple[str, str | None, str]]:
    found = session.catalog.find(Wanted(retired=None))
    return [(str(v.outcome), v.failure, v.note) for row in found for v in session.catalog.verdicts(row.row.id)]


def test_a_take_begins_with_a_press_and_ends_with_its_verdict(session: Session) -> None:
    told: list[str] = []
    attended = sit(session, [[S], [S]], [(READY, X)] * 2, [Offer(REACH, 2)], tell=told.append)
    assert verdicts(session) == [("success", None, "")] * 2
    (first, _) = session.catalog.find(Wanted())
    assert (first.row.agent, first.row.ended_by, first.row.seconds < 1) == ("kinesthetic", "done", True)
    assert attended.view.good == 2
    assert told[0].startswith("success: 0.5 s")
    assert Episode(session.root / first.row.path).attributes["marks"][0][1] == "success"


def test_a_failure_is_said_with_three_presses(session: Session) -> None:
    script = [(READY, X), (STAGE, Event.TAG_4), (HOW, ONE)]
    sit(session, [[F]], script, typing=Letters("too far left"))
    assert verdicts(session) == [("failure", "DROP", "too far left")]
    (row,) = session.catalog.find(Wanted())
    assert session.catalog.verdicts(row.row.id)[0].stage == "S3"


def test_what_the_cell_did_is_nobodys_failure(session: Session) -> None:
    sit(session, [[F]], [(READY, X), (STAGE, ONE), (HOW, ONE)])
    assert verdicts(session) == [("invalid", "ENV", "")]


def test_with_one_pedal_a_choice_is_made_by_going_on_to_it_and_waiting(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.asking.QUIET", 0.3)
    sit(session, [[]], [(READY, X), (WENT, X), (STAGE, X), (HOW, X)])
    ((outcome, failure, _),) = verdicts(session)
    assert (outcome, failure is not None) == ("failure", True)


def test_a_verdict_that_was_begun_can_be_taken_back(session: Session) -> None:
    sit(session, [[F]], [(READY, X), (STAGE, TWO), (HOW, F), (WENT, S)])
    assert verdicts(session) == [("success", None, "")]


@pytest.mark.parametrize("event", [D, A])
def test_what_is_discarded_is_retired_and_the_same_scene_comes_again(session: Session, event: Event) -> None:
    attended = sit(session, [[event], [S]], [(READY, X)] * 2, starts=lambda _offer: (7, 8))
    found = session.catalog.find(Wanted(retired=None))
    assert [one.row.condition for one in found] == [{"seed": 7}, {"seed": 7}]
    assert [one.standing.retired for one in found] == [True, False]
    assert [one.row.ended_by for one in found] == ["stopped", "done"]
    assert (attended.view.good, verdicts(session)) == (1, [("success", None, "")])


def test_takes_are_varied_in_turn_and_the_person_is_told_how(session: Session) -> None:
    vary = ("lighting", "camera")
    script = [("seed 7, camera 104 (move the front camera", X), ("seed 8, lighting 105 (change the light", X)]
    sit(session, [[S], [S]], script, [Offer(REACH, 2)], starts=lambda _offer: (7, 8), vary=vary)
    found = session.catalog.find(Wanted())
    assert [one.row.condition for one in found] == [{"seed": 7, "camera": 104}, {"seed": 8, "lighting": 105}]


def test_the_last_take_can_be_discarded_after_its_verdict(session: Session) -> None:
    script = [(READY, X), (READY, D), (READY, X), (READY, X)]
    sit(session, [[S], [S], [S]], script, [Offer(REACH, 2)], starts=lambda _offer: (7, 8))
    found = session.catalog.find(Wanted(retired=None))
    assert [(one.row.condition["seed"], one.standing.retired) for one in found] == [(7, True), (7, False), (8, False)]


def test_what_was_repeated_can_still_be_discarded_instead(session: Session) -> None:
    script = [(READY, X), ("Hands away", D), (READY, X), ("Hands away", X), (WENT, S)]
    sit(session, [[S], [S], []], script, replay=True)
    found = session.catalog.find(Wanted(retired=None))
    assert [one.standing.retired for one in found] == [True, False, False]
    assert [one.row.follows for one in found] == [None, None, found[1].row.id]


def test_one_stop_ends_the_take_and_another_one_the_sitting(session: Session) -> None:
    sit(session, [[Q], [S]], [(READY, X), (WENT, S), (READY, Q)], [Offer(REACH, 5)])
    assert verdicts(session) == [("success", None, "")]
    assert not session.stop.is_set()


@pytest.mark.parametrize("event", [Q, D, S])
def test_no_take_begins_when_its_end_is_pressed_while_it_is_prepared(session: Session, event: Event) -> None:
    """What was lost may take a while to come back, and a robot on its way to the beginning moves at once."""
    told: list[str] = []
    presses = [event]

    def begins(_hand: int, _seconds: float, _amplitude: float) -> None:
        if presses:
            session.events.put(presses.pop())

    here = replace(anywhere(session), pulse=begins)
    attended = Attended(session, here, "kinesthetic", [Offer(REACH, 1)], tell=told.append)
    attended.make = lambda _way, here: Showing(here.events, here.robot.action, [[S]])
    with Finger(attended, [(READY, X), (READY, X)]):
        assert attended.run()
    assert told[0] == f"no take begins: {event} was pressed"
    assert [row.row.ended_by for row in session.catalog.find(Wanted(retired=None))] == ["done"]


def test_a_take_that_is_over_at_once_is_no_success_before_a_person_says_so(session: Session) -> None:
    """A button that begins a take when it is pressed and ends it when it is let go may just be touched."""

    class Touched(Showing):
        def act(self, seen: Observation) -> Row | None:
            self._events.put(S)
            return super().act(seen)

    attended = Attended(session, anywhere(session), "kinesthetic", [Offer(REACH, 1)])
    attended.make = lambda _way, here: Touched(here.events, here.robot.action, [])
    with Finger(attended, [(READY, X), (WENT, D), (READY, Q)]):
        assert not attended.run()
    assert verdicts(session) == []


def test_a_sitting_that_is_stopped_before_the_verdict_leaves_it_to_others(session: Session) -> None:
    attended = sit(session, [[Q]], [(READY, X), (WENT, Q)], [Offer(REACH, 5)])
    assert verdicts(session) == []
    assert attended.view.shown[0].said == "no verdict yet"
    (row,) = session.catalog.find(Wanted())
    assert not row.standing.retired


def test_the_moments_that_are_marked_in_a_take_are_on_record(session: Session) -> None:
    sit(session, [[ONE, THREE, S]], [(READY, X)])
    (row,) = session.catalog.find(Wanted())
    marks = Episode(session.root / row.row.path).attributes["marks"]
    assert [name for _, name in marks] == ["tag_1", "tag_3", "success"]


def test_what_is_to_be_shown_is_chosen_at_the_table_and_counts_for_its_order(session: Session) -> None:
    order = session.catalog.order(WorkOrder(task="reach", wanted=1, condition={"cube": "left"}, why="it drops there"))
    found = offers(session.catalog, None, None, None)
    assert [one.words for one in found] == ["reach, order 1: cube left; 1 more (it drops there)", "reach"]
    sit(session, [[S]], [("What shall be shown?", S), ("The scene: cube left", X)], found)
    (row,) = session.catalog.find(Wanted())
    assert (row.row.order, row.row.condition) == (order.id, {"cube": "left"})
    assert [one.order for one in offers(session.catalog, "reach", None, None)] == [None]


def test_an_order_is_not_done_by_what_was_put_aside_nor_twice_by_what_was_repeated(session: Session) -> None:
    order = session.catalog.order(WorkOrder(task="reach", wanted=2))
    (offer, *_) = offers(session.catalog, "reach", None, None)
    script = [(READY, X), ("Hands away", X), (WENT, S), (READY, X), ("Hands away", X), (WENT, S)]
    sit(session, [[S], [], [S], []], script, [offer], replay=True)
    assert session.catalog.order_progress(order.id) == 2
    assert len(verdicts(session)) == 4


def test_where_there_is_no_task_the_line_that_adds_one_is_told(tmp_path: Path) -> None:
    with Catalog(tmp_path / "catalog.db") as catalog, pytest.raises(CannotCollect, match="appliance tasks add"):
        offers(catalog, None, None, None)


def test_what_cannot_be_repeated_after_all_may_be_left_as_it_is(session: Session) -> None:
    """The scene may not be what it was: without a way on, only the end of the sitting would be left."""
    script = [(READY, X), ("FAILURE: leave it", X), ("FAILURE: leave it", F), (READY, X), ("Hands away", F)]
    attended = sit(session, [[S], [D], [S]], script, [Offer(REACH, 2)], replay=True)
    assert [one.said for one in attended.view.shown] == ["success", "discarded", "success"]
    assert verdicts(session) == [("success", None, "")] * 2


def test_a_stop_while_a_note_may_be_written_ends_the_sitting(session: Session) -> None:
    class Silent(Letters):
        def typed(self) -> tuple[str, bool]:
            return "", False

    script = [(READY, X), (STAGE, Event.TAG_4), (HOW, ONE), (NOTE, Q)]
    sit(session, [[F]], script, [Offer(REACH, 5)], typing=Silent(""))
    assert session.stop.is_set()
    assert [outcome for outcome, _, _ in verdicts(session)] == ["failure"]


def test_an_order_without_its_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotCollect, match="needs its task too"):
        offers(known(tmp_path), None, 1, None)


def test_the_arm_s_own_button_begins_no_motion_of_the_arm_alone(session: Session) -> None:
    """Whoever presses it has a hand on the arm."""

    class Own:
        def __init__(self, stream: str) -> None:
            self.stream = stream

        def hear(self, _rows: Rows) -> list[Press]:
            return [(X,)] if "Hands away" in attended.view.asks else []

    session.sources = [Own("arm")]
    attended = Attended(session, anywhere(session), "kinesthetic", [Offer(REACH, 1)], limit=2.0, replay=True)
    attended.make = lambda _way, here: Showing(here.events, here.robot.action, [[S]])
    with Finger(attended, [(READY, X), ("Hands away", Q)]):
        assert not attended.run()
    assert [row.row.agent for row in session.catalog.find(Wanted())] == ["kinesthetic"]


def test_every_success_is_repeated_and_the_episode_says_of_which(session: Session) -> None:
    script = [(READY, X), ("Hands away", X), (WENT, S)]
    attended = sit(session, [[S], []], script, replay=True)
    first, second = session.catalog.find(Wanted())
    assert (first.row.agent, second.row.agent) == ("kinesthetic", "replay")
    assert (first.row.follows, second.row.follows) == (None, first.row.id)
    assert isinstance(second.row.follows, UUID)
    assert len(attended.view.shown) == 2


def test_a_motion_that_cannot_be_repeated_is_told_and_the_sitting_goes_on(session: Session) -> None:
    told: list[str] = []
    attended = Attended(session, anywhere(session), "kinesthetic", [Offer(REACH, 2)], replay=True, tell=told.append)

    def make(way: str, here: Place) -> Agent:
        if way == "replay":
            raise Lacking("it was led faster than the arm can go")
        return Showing(here.events, here.robot.action, [[S], [S]])

    attended.make = make
    with Finger(attended, [(READY, X)] * 2):
        assert attended.run()
    assert [line for line in told if "not repeated" in line] == [
        "not repeated: it was led faster than the arm can go"
    ] * 2


def test_a_take_that_does_not_begin_is_told_why_and_can_be_begun_again(session: Session) -> None:
    class Shy(Showing):
        tries = 0

        @property
        def approach(self) -> Showing:
            self.tries += 1
            return Nearing(self._events, self._action, [[S]] if self.tries == 1 else [])

    told: list[str] = []
    attended = Attended(session, anywhere(session), "vr", [Offer(REACH, 1)], tell=told.append)
    attended.make = lambda _way, here: Shy(here.events, here.robot.action, [[S]])
    with Finger(attended, [(READY, X)] * 2):
        assert attended.run()
    assert "success was pressed, at: clutch closed" in told[0]
    assert verdicts(session) == [("success", None, "")]


def test_the_person_sees_time_count_grade_and_disk(session: Session) -> None:
    attended = sit(session, [[S]], [(READY, X)])
    head, *_, last = lines(attended)
    assert head.startswith("reach   take 2   1 good   ")
    assert head.endswith(" GB free")
    assert last.startswith("last: success, 0.5 s, gap")
    attended.view.choices, attended.view.at, attended.view.trouble = ["one", "two"], 1, "front: its cable is out"
    assert lines(attended)[2:4] == ["  1 one", "> 2 two"]
    assert lines(attended)[-1] == "front: its cable is out  START: try again"


def test_while_it_is_shown_the_person_sees_what_whoever_drives_has_to_tell(session: Session) -> None:
    seen: list[str] = []

    class Drawn(Showing):
        def act(self, seen_: Observation) -> Row | None:
            seen.append(lines(attended)[1])
            return super().act(seen_)

    attended = Attended(session, anywhere(session), "vr", [Offer(REACH, 1)], limit=2.0)
    attended.make = lambda _way, here: Drawn(here.events, here.robot.action, [[S]])
    with Finger(attended, [(READY, X)]):
        attended.run()
    assert seen[0].startswith("REC 0.")
    assert seen[0].endswith(" s of 2   clutch closed")


def test_a_scene_is_said_in_words() -> None:
    assert scene({}) == "as you like"
    assert scene({"seed": 3, "cube": "left"}) == "seed 3, cube left"
