"""The screen as people have it, in a terminal: it is killed in a take, the terminal is closed, and a link is slow."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.home import STARTER, Home
from appliance.tui.hangup import GONE
from drivers import sensed
from storage import Wanted
from tests.hosts import FarEnd
from tests.test_collect_typed import ENTER, Terminal
from tests.toy import Wired

pytestmark = pytest.mark.timeout(280)


@dataclass
class Limb(Wired):
    """One that a hand can lead."""

    @property
    def dtype(self) -> np.dtype[np.void]:
        return sensed(("q", "<f8", (1,)), ("q_target", "<f8", (1,)), ("width", "<f8"))

    def guide(self) -> None:
        self._tell("guide")

    def rest(self) -> None:
        self._tell("rest")

    def grip(self, width: float) -> None:
        self._tell("grip", width)


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd() as end:
        yield end


def bench(folder: Path, far: FarEnd) -> str:
    """A station with such a robot, in a program of its own, and a camera."""
    file = folder / "bench.toml"
    file.write_text(
        f'name = "bench"\nhz = 20\nrobot = "arm"\n'
        f'[device.arm]\ndriver = "tests.test_tui_killed:Limb"\nfar = "{far.address}"\n'
        '[device.front]\ndriver = "tests.toy:Eye"\nsize = [120, 160]\n'
        "[limits]\nlow = [-1.0]\nhigh = [1.0]\nspeed = [100.0]\n"
    )
    return str(file)


def screen(folder: Path, station: str, kind: type[Terminal] = Terminal, **variables: str) -> Terminal:
    words = ("tui", "--station", station, "--operator", "ada", "--task", STARTER.name)
    return kind(*words, APPLIANCE_HOME=str(folder / "home"), **variables)


def begun(terminal: Terminal, far: FarEnd) -> None:
    """Begin a sitting, and a take in it."""
    terminal.see("3 Episodes")
    terminal.press(b"2")
    terminal.see("by kinesthetic")
    terminal.press(ENTER)
    terminal.see("START: put the red cube")
    terminal.press(ENTER)
    far.hear("guide", within=60.0)
    terminal.see("REC 1.")


def found(folder: Path) -> list[Any]:
    home = Home(folder / "home", str(folder / "home" / "catalog.db"))
    with home.join() as catalog:
        return catalog.find(Wanted(retired=None))


def killed(folder: Path, station: str, far: FarEnd) -> Path:
    """Kill a screen in a take, and return its folder.

    A device of a machine that stands still for half a second is lost, which ends its take: then another screen begins
    another one.
    """
    for attempt in range(3):
        mine = folder / str(attempt)
        mine.mkdir()
        with screen(mine, station) as terminal:
            begun(terminal, far)
            terminal.see("REC 2.")
            far.heard()
            os.kill(terminal.running.pid, signal.SIGKILL)
            far.hear("hold")
            far.hear("left")
            assert terminal.left() == -signal.SIGKILL
        if not list((mine / "home" / "episodes").glob("*.zarr")):
            return mine
    raise AssertionError("no take went on until its screen was killed")


def test_a_screen_that_is_killed_in_a_take_leaves_a_robot_that_holds_and_the_take_and_shows_it_when_it_is_back(
    tmp_path: Path, far: FarEnd
) -> None:
    station = bench(tmp_path, far)
    folder = killed(tmp_path, station, far)
    with screen(folder, station) as terminal:
        terminal.see("a take that was cut short: ")
        terminal.see("Needs you: 1 cut short by a crash")
        terminal.press(b"\x11")
        assert terminal.left() == 0
        assert terminal.after == terminal.before
    (one,) = found(folder)
    assert one.row.seconds > 0.9
    assert one.standing.outcome is None


class Detached(Terminal):
    """One that goes away without a word."""

    controls = False


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Terminal, Detached])
def test_a_slow_link_is_not_filled_with_pictures_and_a_take_ends_safely_when_it_breaks(
    tmp_path: Path, far: FarEnd, kind: type[Terminal]
) -> None:
    link = {"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.1 22"}
    with screen(tmp_path, bench(tmp_path, far), kind, **link) as terminal:
        begun(terminal, far)
        before, since = terminal.sent, time.monotonic()
        terminal.see("REC 5.")
        rate = (terminal.sent - before) / (time.monotonic() - since)
        assert 200 < rate < 50_000
        far.heard()
        terminal.close()
        far.hear("hold", within=10.0)
        far.hear("left", within=30.0)
        assert terminal.left() in {0, GONE}
    (one,) = found(tmp_path)
    assert one.row.ended_by == "stopped"
    assert one.row.seconds > 4.5
