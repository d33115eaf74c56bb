"""The program itself in a real terminal: at any size, in one colour, and killed in the middle of a trial."""

import os
import platform
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.evaluate import plan
from appliance.home import STARTER, Home
from storage import Episode, Wanted
from tests import terminal
from tests.homes import remembering
from tests.terminal import Terminal

CELL, TASK = "franka-sim", STARTER.name

ANSWERS = {
    "2": "Enter: begin a sitting",
    "3": "when task who",
    "4": "what state how far",
    "5": "No trials yet",
    "6": "code failure trials",
    "1": "DEVICES of franka-sim",
}
"""What is to be read after each key."""

LARGE = "████ █████ ███ ████ █ █"
"""How READY begins where there is room for large letters."""

ENOUGH = 1_000_000
"""Bytes of a take, with pictures among them."""


@pytest.fixture(autouse=True)
def here() -> None:
    terminal.needed()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return remembering(tmp_path_factory.mktemp("home"), 1)


def screen(home: Home, columns: int, rows: int, **variables: str) -> Terminal:
    words = (sys.executable, "-m", "appliance.cli", "tui", "--operator", "ada")
    return Terminal(columns, rows, *words, APPLIANCE_HOME=str(home.folder), **variables)


def test_every_screen_is_there_at_every_size_and_the_terminal_is_left_as_it_was(tmp_path: Path) -> None:
    with screen(Home(tmp_path, str(tmp_path / "catalog.db")), 80, 24) as seen:
        seen.see("DEVICES of franka-sim")
        for columns, rows, ready in ((80, 24, " READY "), (200, 60, LARGE)):
            seen.resize(columns, rows)
            seen.see(ready)
            for key, words in ANSWERS.items():
                seen.press(key)
                seen.see(words)
                seen.see(ready)
                seen.wait(lambda: "^q Quit  ? Help" in seen.screen.splitlines()[-1], "the line of keys")
                assert len(seen.screen.splitlines()) == rows
        seen.press("5", "?")
        seen.see("n plans a batch")
        seen.press("Escape")
        seen.see("No trials yet")
        seen.press("C-q")
        seen.ended()
        assert "? Help" not in seen.screen


def test_in_one_colour_everything_is_said_in_words(tmp_path: Path) -> None:
    with screen(Home(tmp_path, str(tmp_path / "catalog.db")), 80, 24, NO_COLOR="1") as seen:
        seen.see("READY")
        seen.see("DEVICES of franka-sim")
        shades = re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", seen.coloured)
        assert {len({*shade}) for shade in shades} == {1}, "greys"


def size(folder: Path) -> int:
    """Bytes below a folder that somebody writes to."""
    found = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found += path.stat().st_size
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_trial_whose_screen_is_killed_is_given_back_and_its_take_recovered(home: Home) -> None:
    batch, _ = plan(home, TASK, ["nearest-1"], 2, 0, CELL)

    def begin(seen: Terminal) -> None:
        seen.see("DEVICES of franka-sim")
        seen.press("5")
        seen.see(f"{batch.id} pick_place")
        seen.press("Enter")
        seen.see("trial 1 of 2")
        seen.see("START: put the red cube")

    with screen(home, 80, 24) as seen:
        begin(seen)
        seen.press("Enter")
        seen.wait(lambda: size(home.folder / "staging") > ENOUGH, "rows on the disk")
        process = seen.process
        os.kill(process, signal.SIGKILL)
        seen.ended()
    with home.join() as catalog:
        assert [one.claimed_by for one in catalog.trials(batch.id)] == [f"{platform.node()}:{process}", None]
    with screen(home, 80, 24) as seen:
        begin(seen)
        seen.press("q")
        seen.see("0 of 2 1 open")
    with home.join() as catalog:
        assert [one.claimed_by for one in catalog.trials(batch.id)] == [None, None]
        assert catalog.batch(batch.id).closed is None
        (recovered,) = catalog.find(Wanted(agent="policy", task=TASK))
        assert recovered.row.policy == catalog.policy("nearest-1").id
        assert Episode(home.folder / recovered.row.path).streams
