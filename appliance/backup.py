"""Backups and their rehearsals, as commands and jobs ask for them; how the last ones ended is remembered."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from appliance import shared
from appliance.doing import Doing
from appliance.home import Home
from appliance.refusal import Refusal
from ops.backup import Backup, CannotBackUp, Made, Tell, remember, remembered
from ops.rehearsal import Rehearsal, Rehearsed
from ops.restore import CannotRestore, Restore, Restored

BACKUP, CHECK = "backup", "restore_check"


class NoBackup(Refusal):
    """There is no whole backup, or it cannot be restored. The message says why, and what to do."""


def make(home: Home, to: Path, tell: Tell, mirror: bool = False, again: bool = False, anew: bool = False) -> Made:
    """Back up a data folder: all that the catalog knows, so that what only others have is fetched from the store first.

    Raises:
        NoBackup: it is not whole: it could not be made, or something was damaged and is missing in it.
    """

    def run() -> Made:
        if home.store:
            shared.pull(home, tell)
        return Backup(home.folder, home.database, to.absolute(), mirror, again, anew, tell=tell).make()

    made: Made = _remembered(home, BACKUP, str(to.absolute()), run, lambda made: made.damaged)
    return made


def bring_back(backup: Path, home: Home, tell: Tell) -> Restored:
    """Make a data folder and its catalog again.

    Raises:
        NoBackup: it cannot be done.
    """
    try:
        return Restore(backup.absolute(), home.folder, home.database, tell=tell).make()
    except CannotRestore as error:
        raise NoBackup(str(error)) from error


def rehearse(home: Home, of: Path, scratch: Path | None, tell: Tell) -> Rehearsed:
    """Restore a backup into a scratch folder, look through it, and remove that.

    Raises:
        NoBackup: it cannot be restored, or not as it was.
    """

    def run() -> Rehearsed:
        if scratch is None and not home.folder.exists():
            raise NoBackup(f"there is no data folder {home.folder} to try it in; name a scratch folder with --into")
        return Rehearsal(of.absolute(), scratch or home.folder / "cache", Random(), tell=tell).make()  # ruff: ignore[suspicious-non-cryptographic-random-usage] - it only spreads

    done: Rehearsed = _remembered(home, CHECK, str(of.absolute()), run, lambda done: done.wrong)
    return done


def backup(home: Home, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Do the job ``backup``: ``to`` a folder, by default where the last went; ``mirror`` as `make` has it."""
    made = make(home, _folder(home, settings.get("to")), doing.tell, bool(settings.get("mirror")))
    doing.log("a backup was made", **asdict(made))
    return asdict(made)


def restore_check(home: Home, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Do the job ``restore-check``: of the backup ``from`` a folder, by default the last, into ``scratch``."""
    scratch = settings.get("scratch")
    done = rehearse(home, _folder(home, settings.get("from")), Path(scratch) if scratch else None, doing.tell)
    doing.log("a backup was restored, looked through, and removed again", **asdict(done))
    return asdict(done)


def _folder(home: Home, named: str | None) -> Path:
    """Where a backup is."""
    found = named or remembered(home.folder).get(BACKUP, {}).get("to")
    if not found:
        raise NoBackup("nobody said where the backup is: type `appliance backup DIR` once, or give the job a folder")
    return Path(found)


def _remembered(
    home: Home, what: str, where: str, run: Callable[[], Any], wrong: Callable[[Any], tuple[str, ...]]
) -> Any:
    """Do it, and remember how it ended.

    Raises:
        NoBackup: it did not end well.
    """
    try:
        done = run()
    except (CannotBackUp, CannotRestore, OSError) as error:
        _note(home, what, to=where, ok=False, why=str(error))
        if isinstance(error, OSError):
            raise
        raise NoBackup(str(error)) from error
    found = wrong(done)
    why = "; ".join([*found[:3], *([f"and {len(found) - 3} more"] if len(found) > 3 else [])])
    _note(home, what, to=where, ok=not found, why=why, **asdict(done))
    if found:
        raise NoBackup(f"{len(found)} things are not as they were: {why}")
    return done


def _note(home: Home, what: str, **facts: Any) -> None:
    """Remember, where there is a data folder: an empty place stays so."""
    if home.folder.exists():
        remember(home.folder, what, **facts)
