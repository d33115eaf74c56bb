"""A person at a terminal types ``appliance collect --by vr``: keys, buttons, Ctrl-C, and what the catalog has then."""

import fcntl
import functools
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from appliance.home import Home
from drivers.openxr.rows import LOWER
from drivers.webxr import WebHands
from storage import Episode, Outcome, Wanted
from tests.test_vr_web import TASK, offered
from tests.typed import Type
from tests.visitor import Worn
from tests.wearer import REST

ENTER, CTRL_C = b"\r", b"\x03"

PATIENCE = 60.0
"""Seconds after which a wait is hopeless, however busy the machine."""
KEPT = 50_000
"""Letters of what a terminal was sent last, among which words are looked for."""


class Terminal:
    """A terminal of 80 columns in which a command runs, and the person before it."""

    controls = True
    """Whether the command is told when the terminal goes away."""

    def __init__(self, *words: str, **variables: str) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._theirs, self.before = theirs, termios.tcgetattr(theirs)
        self.running = subprocess.Popen(
            [sys.executable, "-m", "appliance.cli", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm-256color", "NO_COLOR": "1", "LINES": "", "COLUMNS": ""} | variables,
            start_new_session=True,
            preexec_fn=functools.partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0) if self.controls else None,
        )
        self.screen, self.sent = "", 0
        self._closed = False
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        while not self._closed:
            if not select.select([self._ours], [], [], 0.1)[0]:
                continue
            try:
                raw = os.read(self._ours, 1 << 16)
            except OSError:
                return
            heard = raw.decode(errors="replace")
            self.sent += len(raw)
            self.screen = (self.screen + re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", heard))[-KEPT:]

    def press(self, keys: bytes) -> None:
        """Press keys, and forget what was on the screen before."""
        self.screen = ""
        os.write(self._ours, keys)

    def see(self, words: str) -> None:
        """Wait until this can be read, over however many lines."""
        self.wait(lambda: words in " ".join(self.screen.split()), words)

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.running.poll() is None, f"it ended before {what!r}: {self.screen}"
            assert time.monotonic() < end, f"{what!r} never came: {self.screen[-2000:]}"
            time.sleep(0.02)

    def close(self) -> None:
        """Have the terminal go away, as a link that breaks does."""
        self._closed = True
        self._ear.join()
        for end in (self._ours, self._theirs):
            os.close(end)

    def left(self) -> int:
        """Wait until the command is over, and return what it says of itself."""
        return self.running.wait(PATIENCE)

    @property
    def after(self) -> list[Any]:
        """How the terminal is set now."""
        return termios.tcgetattr(self._theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()
        if not self._closed:
            os.close(self._theirs)
            self._ear.join(5)
            os.close(self._ours)


class Hand:
    """The person's right hand: lets go, squeezes, and goes up and down."""

    def __init__(self, worn: Worn) -> None:
        self._worn = worn

    def rest(self, buttons: int = 0) -> None:
        self._worn.put([REST, REST], 0.0, [0.0, 0.0], buttons)

    def press(self, button: int) -> None:
        """Press a button of the right hand, and let go of it."""
        self.rest(button)
        time.sleep(0.2)
        self.rest()

    def lift(self, terminal: Terminal) -> None:
        """Couple the tool, and lift it by ten centimetres."""
        self.rest()
        terminal.see("open: squeeze to move")
        self._worn.put([REST, REST], 1.0, [0.0, 0.0], 0)
        terminal.see("follows, ")
        for step in range(100):
            self._worn.put([REST, REST + np.array([0, 0.001 * step, 0, 0, 0, 0, 0])], 1.0, [0.0, 0.0], 0)
            time.sleep(0.01)


def test_a_person_at_a_terminal_shows_a_task_with_a_headset(appliance: Type, home: Path, tmp_path: Path) -> None:
    """Four takes: ended by a key, by a button, by Ctrl-C; and one more Ctrl-C ends the sitting."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = int(door.getsockname()[1])
    file = tmp_path / "mine.toml"
    settings = f'port = {port}\nfolder = "{tmp_path}"\nsilence = 5.0\npatience = 1.0\n'
    file.write_text(offered("franka-sim").replace('WebHands"', f'WebHands"\n{settings}#'))
    assert TASK.instruction in appliance("tasks", "list").out
    words = (
        "collect",
        "--task",
        TASK.name,
        "--station",
        str(file),
        "--by",
        "vr",
        "--episodes",
        "5",
        "--operator",
        "ada",
    )
    with Terminal(*words) as terminal:
        terminal.see("START: put the red cube on the yellow pad")
        terminal.see("put the headset on and open http://127.0.0.1")
        terminal.see("START: try again")
        with Worn(WebHands("hands", port=port, folder=tmp_path)) as worn:
            hand = Hand(worn)
            hand.rest()
            terminal.press(b"")
            terminal.wait(lambda: "START: try again" not in terminal.screen[-1200:], "a headset that is there")
            terminal.press(ENTER)
            hand.lift(terminal)
            terminal.press(b"s")
            terminal.see("take 2 1 good")
            terminal.see("hand to command")
            terminal.press(ENTER)
            hand.lift(terminal)
            hand.press(LOWER)
            terminal.see("take 3 2 good")
            terminal.press(ENTER)
            hand.lift(terminal)
            terminal.press(CTRL_C)
            terminal.see("How did it go?")
            terminal.press(b"d")
            terminal.see("discarded: ")
            terminal.see("take 4 2 good")
            terminal.press(CTRL_C)
            assert terminal.left() == 0
        assert "Stopped. 2 of 2 succeeded." in terminal.screen
        assert terminal.after == terminal.before
        assert "Traceback" not in terminal.screen
    with Home(home, str(home / "catalog.db")).join() as catalog:
        found = catalog.find(Wanted(retired=None))
        assert [(one.row.agent, one.row.operator, one.standing.retired) for one in found] == [
            ("vr", "ada", False),
            ("vr", "ada", False),
            ("vr", "ada", True),
        ]
        assert [one.standing.outcome for one in found] == [Outcome.SUCCESS, Outcome.SUCCESS, None]
        assert [one.row.ended_by for one in found] == ["done", "done", "stopped"]
        for one in found:
            episode = Episode(home / one.row.path)
            tool = episode["arm", "tool"][:, 2]
            assert tool[-1] - tool[0] > 0.02, "the tool went up with the hand"
