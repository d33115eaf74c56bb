"""Where the appliance keeps what it knows, and the door to it."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from appliance.refusal import Refusal
from storage import Catalog, Reconciled, Recovered, Task, reconcile, recover

if TYPE_CHECKING:
    from ops.jobs import Jobs

STARTER = Task(name="pick_place", instruction="put the red cube on the yellow pad")
"""What a new appliance can be asked to learn."""


class NoHome(Refusal):
    """The data folder cannot be used. The message says why, and what to set."""


def _on_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@dataclass(frozen=True)
class Home:
    """The data folder and the catalog of what lies in it."""

    folder: Path
    """Holds ``staging/``, ``episodes/``, ``policies/``, ``reports/``, and the cameras' references in ``views/``."""
    database: str
    """A SQLite file, or a URL."""
    store: str = ""
    """What this machine shares with others: a folder that all of them mount, or a URL; empty when it is alone."""

    @classmethod
    def from_environment(cls) -> Self:
        """``APPLIANCE_HOME``, ``APPLIANCE_DATABASE`` and ``APPLIANCE_STORE``, or the usual places."""
        folder = (
            Path(os.environ.get("APPLIANCE_HOME") or Path.home() / ".local/share/appliance").expanduser().absolute()
        )
        database = os.environ.get("APPLIANCE_DATABASE") or str(folder / "catalog.db")
        return cls(folder, database, os.environ.get("APPLIANCE_STORE") or "")

    def open(self, tell: Callable[[str], None] = _on_stderr) -> Catalog:
        """Open the catalog, and bring in what a crash left behind. What became of it is told, and why what stays does.

        Raises:
            NoHome: the folder cannot be written to.
            Unavailable: the catalog cannot be opened.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise NoHome(
                f"cannot write to the data folder {self.folder}: {error.strerror or error}. "
                "Set APPLIANCE_HOME to a folder that you own"
            ) from error
        # What matplotlib learns about this machine's fonts belongs to the appliance too.
        os.environ.setdefault("MPLCONFIGDIR", str(self.folder / "cache"))
        catalog = self.join()
        if not catalog.tasks():
            catalog.add(Task(name=STARTER.name, instruction=STARTER.instruction))
        for found in recover(self.folder):
            tell(_of_take(found))
        for added in reconcile(self.folder, catalog):
            tell(_of_episode(added))
        return catalog

    def join(self) -> Catalog:
        """Open the catalog beside another process of this appliance, which has opened the home already."""
        return Catalog(self.database)

    def jobs(self) -> "Jobs":
        """What is done in the background.

        Raises:
            Unavailable: the catalog's address is none.
        """
        from appliance.kinds import QUEUES
        from ops.jobs import Jobs

        return Jobs(self.folder, self.database, QUEUES)


def _of_take(found: Recovered) -> str:
    """What became of a take that was never sealed, in a line."""
    if found.sealed is None:
        return f"{found.id} in staging could not be recovered, and stays there: {found.why}"
    cut = f"; {found.dropped} bytes of rows that were half written are gone" if found.dropped else ""
    return f"recovered {found.id}, a take that was cut short: {sum(found.rows.values())} rows{cut}"


def _of_episode(added: Reconciled) -> str:
    """What became of an episode that the catalog did not know, in a line."""
    if added.row is None:
        return f"{added.path} is on disk and could not be added to the catalog: {added.why}"
    return f"{added.row.id} was on disk and is now in the catalog"
