"""A data folder with real episodes, a policy, a page and a reference picture, and whoever backs it up and is killed."""

import os
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

from appliance.home import Home
from ops.backup import Backup
from ops.restore import Restore
from storage import Edit, EditKind, Outcome, PolicyRow, Verdict, digest
from tests.episodes import record
from tests.victims import die_at

SAID = {"task": "pick_place", "agent": "person", "operator": "ada", "station": "table"}


def take(home: Home, number: int) -> UUID:
    """Record one more episode, and let the catalog know."""
    key = _recorded(home, number)
    home.open(lambda _line: None).close()
    return key


def made(folder: Path, takes: int = 3, database: str = "") -> Home:
    """A data folder with so many episodes."""
    home = Home(folder, database or str(folder / "catalog.db"))
    ids = [_recorded(home, number) for number in range(takes)]
    home.open(lambda _line: None).close()
    policy = folder / "policies" / "p1"
    policy.mkdir(parents=True)
    (policy / "weights.safetensors").write_bytes(os.urandom(5000))
    (policy / "facts.json").write_text("{}")
    (folder / "reports" / "all").mkdir(parents=True)
    (folder / "reports" / "all" / "report.html").write_text("<p>good</p>")
    (folder / "views").mkdir()
    (folder / "views" / "front.npy").write_bytes(os.urandom(300))
    (folder / "serving").mkdir()
    (folder / "serving" / "code").write_text("abcd-efgh")
    with home.join() as catalog:
        catalog.add(
            PolicyRow(name="bc-1", method="bc", task="pick_place", path="policies/p1", digest=digest(policy)),
            *(Verdict(episode=one, by="ada", outcome=Outcome.SUCCESS) for one in ids),
        )
    return home


def retire_and_purge(home: Home, episode: UUID) -> None:
    """Give an episode up, as `appliance purge` does."""
    from ops.purge import plan, purge

    with home.join() as catalog:
        catalog.edit(Edit(episode=episode, kind=EditKind.RETIRE, by="ada"))
        purge(catalog, home.folder, plan(catalog, home.folder, [episode]), "ada")


def backup(home: Home, to: Path, **more: Any) -> Backup:
    return Backup(home.folder, home.database, to, **more)


def restore(of: Path, into: Path, **more: Any) -> Restore:
    return Restore(of, into, **({"database": str(into / "catalog.db")} | more))


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the catalog and what belongs to this machine."""
    mine = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "serving", "backups.json", "cache", "staging"}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in mine
    }


def killed(at: int, work: Backup | Restore) -> bool:
    """Let a forked program do it, which kills itself before its so-manieth change of a file; whether it came so far."""
    child = os.fork()
    if child == 0:
        die_at(at)
        work.make()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _recorded(home: Home, number: int) -> UUID:
    started = f"2026-01-02T03:{number:02}:05+00:00"
    return record(home.folder, {**SAID, "started": started}, seed=number).id
