"""Rerun beside the screen: a program of its own, which stays when the screen is left."""

import os
import subprocess  # ruff: ignore[suspicious-subprocess-import] - it starts our own command, by our words alone
import sys
import tempfile
from collections.abc import Iterator
from typing import IO
from uuid import UUID

from appliance.home import Home
from ops import view


class Viewers:
    """Those that were opened and have not ended."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._open: dict[UUID, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def open(self, episode: UUID) -> None:
        """Start ``appliance episodes view`` of an episode, unless it is open already; returns at once.

        Raises:
            CannotShow: there is no display here.
        """
        if episode in self._open:
            return
        try:
            view.check_display()
        except view.CannotShow as error:
            raise view.CannotShow(f"{error}: {instead(episode)}") from error
        said: IO[bytes] = tempfile.TemporaryFile()  # ruff: ignore[open-file-with-context-handler] - open while it runs
        words = [sys.executable, "-m", "appliance.cli", "episodes", "view", str(episode)]
        where = {"APPLIANCE_HOME": str(self._home.folder), "APPLIANCE_DATABASE": self._home.database}
        quiet = subprocess.DEVNULL
        self._open[episode] = (
            subprocess.Popen(  # ruff: ignore[subprocess-without-shell-equals-true] - our own words, and no shell
                words, env=os.environ | where, stdin=quiet, stdout=quiet, stderr=said, start_new_session=True
            ),
            said,
        )

    def ended(self) -> Iterator[str]:
        """For each that has ended since with a complaint: what it complained of, and what can be done instead."""
        for episode, (process, said) in [*self._open.items()]:
            if process.poll() is None:
                continue
            del self._open[episode]
            with said:
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
            if process.returncode:
                why = lines[-1] if lines else f"the viewer ended with code {process.returncode}"
                yield f"{why}: {instead(episode)}"


def instead(episode: UUID) -> str:
    """What can be typed where no window opens."""
    key = str(episode)[:8]
    return f"appliance episodes view {key} --save {key}.rrd"
