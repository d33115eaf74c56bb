"""What a person at the table sees: everything that they need at each moment, on a small terminal without colours."""

import io
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from rich.console import Console

from appliance import station
from appliance.asking import Shown
from appliance.cli import screen
from appliance.keys import HELP
from appliance.offers import Offer
from appliance.session import Session, State
from appliance.sitting import Attended, lines
from collectors.buttons import HELP as BUTTONS
from collectors.ways import Place
from tests.hosts import until
from tests.test_session import BLIND, REACH, known
from tests.test_station import CELL, LIMITS, write

WIDTH, HEIGHT = 80, 24
LOST = (
    "hands: the headset's browser is not connected: put the headset on and open https://192.168.1.20:8442/ in it; "
    "its code is in /home/ada/.config/appliance/webxr/code"
)
FACTS = (
    "14.2 s, gap 100 ms, lost 0.0 %, late 3 ms, hand to command 14 ms, p99 27 ms (pose age 6 ms); led 93 %, "
    "held back 4 %"
)


class Follows:
    """Whoever drives, as far as it is seen."""

    status = "follows, 12 ms"


@pytest.fixture
def attended(tmp_path: Path) -> Iterator[Attended]:
    bench = station.load(write(tmp_path, CELL + BLIND + LIMITS))
    with known(tmp_path) as catalog:
        session = Session(bench.loop(), catalog, tmp_path, "ada", bench)
        place = Place(bench.robot, bench.drivers, bench.hz, session.events)
        sitting = Attended(session, place, "vr", [Offer(REACH, 3)], limit=120.0)
        sitting.view.offer = Offer(REACH, 3)
        yield sitting


def seen(attended: Attended) -> list[str]:
    """The lines of a small terminal."""
    paper, shown = io.StringIO(), screen.drawn(lines(attended), (BUTTONS, HELP))
    Console(file=paper, width=WIDTH, height=HEIGHT, force_terminal=True, no_color=True).print(shown)
    return re.sub(r"\x1b\[[\d;]*m", "", paper.getvalue()).splitlines()


def words(attended: Attended) -> str:
    """The same as one line: what was broken is whole again."""
    return " ".join(" ".join(seen(attended)).split())


def recording(attended: Attended) -> None:
    attended.session.state, attended.session.recording = State.RUNNING, True
    attended.session.driving, attended.session.began = cast("Any", Follows()), time.monotonic() - 3.21


def test_before_a_take_they_see_what_to_set_up_and_how_to_begin(attended: Attended) -> None:
    attended.view.asks = "Set the scene: cube left. START: reach it"
    assert seen(attended)[0].startswith("reach   take 1   0 good   ")
    assert "Set the scene: cube left. START: reach it" in words(attended)
    assert " ".join(HELP.split()) in words(attended), "what keys there are"
    assert " ".join(BUTTONS.split()) in words(attended), "and buttons"


def test_in_a_take_they_see_that_it_is_recorded_how_long_and_what_the_hand_does(attended: Attended) -> None:
    recording(attended)
    assert "REC 3.2 s of 120 follows, 12 ms" in words(attended)
    attended.session.recording = False
    assert "REC" not in words(attended), "on the way to where it begins nothing is recorded"


def test_after_a_take_they_see_how_it_was_recorded_and_what_to_choose_from(attended: Attended) -> None:
    attended.session.state = State.REVIEW
    attended.view.asks, attended.view.choices, attended.view.at = f"{FACTS}. How did it go?", ["it succeeded", "no"], 1
    attended.view.shown.append(Shown(uuid4(), "vr", "success", FACTS))
    assert seen(attended)[0].startswith("reach   take 2   1 good   ")
    assert f"{FACTS}. How did it go? 1 it succeeded > 2 no last: success, {FACTS}" in words(attended)


def test_what_is_lost_is_told_with_what_to_do(attended: Attended) -> None:
    attended.view.trouble = LOST
    assert f"{LOST} START: try again" in words(attended)


def test_on_a_small_terminal_nothing_is_cut_off_and_what_is_moved_to_is_in_sight(attended: Attended) -> None:
    recording(attended)
    attended.view.asks, attended.view.trouble = f"{FACTS}. How did it go?", LOST
    attended.view.shown.append(Shown(uuid4(), "vr", "success", FACTS))
    attended.view.choices = [f"task {number}" for number in range(1, 31)]
    for at in (0, 8, 9, 29):
        attended.view.at = at
        lines = seen(attended)
        assert len(lines) < HEIGHT
        assert max(map(len, lines)) <= WIDTH
        assert any(line.strip() == f"> {at + 1} task {at + 1}" for line in lines)
    assert "28 to 30 of 30" in words(attended)


def test_a_driver_that_leaves_while_the_screen_is_drawn_disturbs_nobody(attended: Attended) -> None:
    """Another thread draws while the sitting goes on; a mistake there would leave the screen as it is for good."""
    recording(attended)

    class Leaving(Session):
        @property
        def driving(self) -> Any:
            self.looks = getattr(self, "looks", 0) + 1
            return Follows() if self.looks == 1 else None

        @driving.setter
        def driving(self, _value: Any) -> None: ...

    attended.session.__class__ = Leaving
    assert "follows, 12 ms" in words(attended)


def test_a_log_gets_what_is_told_and_no_screen(attended: Attended, capsys: pytest.CaptureFixture[str]) -> None:
    with screen.screen(lambda: lines(attended)):
        screen.say("success: 14.2 s")
    assert capsys.readouterr().err == "success: 14.2 s\n"


def test_on_a_terminal_it_is_drawn_anew_in_no_colour_and_what_is_told_stays(
    attended: Attended, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NO_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = os.openpty()
    heard = bytearray()
    ear = threading.Thread(target=_listen, args=(ours, heard))
    ear.start()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with screen.screen(lambda: lines(attended)):
            attended.view.asks = "Set the scene"
            until(lambda: b"Set the scene" in heard)
            screen.say("success: 14.2 s")
            attended.view.asks = "What shall be shown?"
            until(lambda: b"What shall be shown?" in heard)
        left = bytes(heard)
    ear.join()
    os.close(ours)
    assert b"success: 14.2 s\r\n" in left
    assert not re.search(rb"\x1b\[[\d;]*(3|4|9)\d[;m]", left), "a colour"
    assert b"\x1b[?25h" in bytes(heard), "the cursor is shown again"


def _listen(terminal: int, heard: bytearray) -> None:
    """Take down what a terminal is told, until nobody tells it anything any more."""
    while True:
        try:
            heard += os.read(terminal, 4096)
        except OSError:
            return
