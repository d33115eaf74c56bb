"""A real terminal for tests: tmux, in which a program runs as it does before an operator."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pytest

PROGRAM = "tmux"
LINE = "apt-get install -y --no-install-recommends tmux"

NOT_HERE = ("COLUMNS", "LINES", "SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")
"""What a test may have been given that is not so in a terminal of its own."""

PATIENCE = 120.0
"""Seconds after which a wait is hopeless, however busy the machine."""


def needed() -> None:
    """Skip the test where there is no terminal, and say what to type; fail in CI."""
    if shutil.which(PROGRAM) is None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(f"There is no {PROGRAM}. Type: {LINE}")


class Terminal:
    """A terminal of so many columns and rows, in which a command runs. It ends with whoever made it."""

    def __init__(self, columns: int, rows: int, *words: str, **variables: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tmux-")
        self._at = (PROGRAM, "-S", f"{self._folder.name}/socket")
        dying = shutil.which("setpriv")  # the terminal of a test that was killed ends too
        self._server = subprocess.Popen(
            [*([dying, "--pdeathsig", "KILL"] if dying else []), *self._at, "-f", os.devnull, "-D"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait(lambda: self._ask("set", "-g", "status", "off") is not None, "tmux")
        self._ask("set", "-g", "remain-on-exit", "on")
        self._ask("set", "-g", "default-terminal", "screen-256color")
        known = {"COLORTERM": "truecolor"} | dict.fromkeys(NOT_HERE, "") | variables
        told = [part for name, value in known.items() for part in ("-e", f"{name}={value}")]
        size = ["-x", str(columns), "-y", str(rows)]
        assert self._ask("new-session", "-d", *size, *told, *words) is not None, "tmux has no session"

    @property
    def process(self) -> int:
        """The command's."""
        return int(self._ask("display", "-p", "#{pane_pid}") or 0)

    @property
    def over(self) -> bool:
        """Whether the command has ended."""
        return (self._ask("display", "-p", "#{pane_dead}") or "").strip() == "1"

    @property
    def screen(self) -> str:
        """What can be read."""
        return self._ask("capture-pane", "-p") or ""

    @property
    def coloured(self) -> str:
        """The same with its colours, as a terminal is sent them."""
        return self._ask("capture-pane", "-p", "-e", "-N") or ""

    def press(self, *keys: str) -> None:
        """Press keys, as tmux calls them: ``Enter``, ``C-q``, ``s``."""
        self._ask("send-keys", *keys)

    def write(self, text: str) -> None:
        """Type a text."""
        self._ask("send-keys", "-l", text)

    def resize(self, columns: int, rows: int) -> None:
        """Pull at its corner."""
        self._ask("resize-window", "-x", str(columns), "-y", str(rows))

    def see(self, words: str) -> None:
        """Wait until this can be read, over however many lines."""
        self.wait(lambda: words in re.sub(r"\s+", " ", self.screen), repr(words))

    def ended(self) -> None:
        """Wait until the command is over."""
        self.wait(lambda: self.over, "its end")

    def wait(self, condition: Callable[[], object], what: str = "what was waited for") -> None:
        """Wait for something."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what} never came: {self.screen}"
            time.sleep(0.05)

    def _ask(self, *words: str) -> str | None:
        """What tmux answers; None when it does not."""
        said = subprocess.run([*self._at, *words], capture_output=True, text=True, check=False)
        return said.stdout if said.returncode == 0 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask("kill-server")
        self._server.kill()
        self._server.wait()
        self._folder.cleanup()
