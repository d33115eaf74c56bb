"""Where episodes go: the folder, the disk's room and speed, the catalog, and what a crash left."""

import os
import re
import stat
import time
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

from appliance.doctor.finding import Finding, bad, fine, warn
from storage import Unavailable
from storage.engine import version_at
from storage.migrate import HEAD
from storage.seal import idle

HOURS = (1.0, 8.0)
"""Hours of recording below which there is too little room, and below which somebody should make some."""

ROOM = (1e9, 10e9)
"""The same in bytes, where nobody knows what is recorded."""

PIECE, PIECES = 4 << 20, 8
"""What is written to see how fast the disk is: pieces of so many bytes, each waited for."""

SPEED = 20e6
"""Bytes a second that any disk should take."""

MARGIN = 3.0
"""How much faster than the recording a disk should be."""

PAUSE = 1.0
"""Seconds that a disk may take for one piece; the recorder's buffer holds two."""

REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "sshfs", "fuse.sshfs", "9p", "afs"}
VOLATILE = {"tmpfs", "ramfs"}

GIGA = 1e9


def folder(home: Path, root: Path) -> list[Finding]:
    """See whether the data folder is ours, only ours to change, and on a disk that keeps what it is given."""
    about = "data folder"
    here = _existing(home)
    if not os.access(here, os.W_OK | os.X_OK):
        fix = f"sudo chown -R $USER {here}, or set APPLIANCE_HOME to a folder that you own"
        return [bad(about, f"{here} cannot be written to", fix)]
    kind = filesystem(here, (root / "proc/mounts"))
    if kind in VOLATILE:
        return [bad(about, f"{home} is in memory ({kind}): a restart empties it", "Set APPLIANCE_HOME to a disk")]
    if kind in REMOTE:
        fix = "Set APPLIANCE_HOME to a disk of this machine, and copy episodes from there"
        return [warn(about, f"{home} is on another machine ({kind}): locks and fsync may not hold there", fix)]
    if home.exists() and home.stat().st_mode & stat.S_IWOTH:
        return [warn(about, f"everybody on this machine can change {home}", f"chmod o-w {home}")]
    return [fine(about, f"{home} is ours" if home.exists() else f"{home} will be made at the first start")]


def space(home: Path, rate: float | None, free: Callable[[Path], int] | None = None) -> list[Finding]:
    """See for how long the disk can be recorded to, at ``rate`` bytes a second."""
    left = (free or _free)(_existing(home))
    said = f"{left / GIGA:.1f} GB are free"
    fix = "appliance compact --older-than 30 --remove-originals, appliance purge --older-than 90, or a larger disk"
    too_little, little = ROOM
    if rate:
        hours = left / rate / 3600
        said += f": {hours:.1f} hours of this station, at {rate / 1e6:.1f} MB/s"
        too_little, little = (max(room, hour * 3600 * rate) for room, hour in zip(ROOM, HOURS, strict=True))
    if left < too_little:
        return [bad("disk space", said, fix)]
    return [warn("disk space", said, fix) if left < little else fine("disk space", said)]


def speed(home: Path, rate: float | None, clock: Callable[[], float] = time.monotonic) -> list[Finding]:
    """Write to the disk as the recorder does, waiting for every piece, and see how fast that is."""
    about = "disk speed"
    here = _existing(home)
    if not os.access(here, os.W_OK | os.X_OK):
        return [bad(about, f"{here} cannot be written to", "See the data folder")]
    worst, whole = _write(here / f".doctor-{os.getpid()}", clock)
    rapid = PIECE * PIECES / max(whole, 1e-9)
    said = f"{rapid / 1e6:.0f} MB/s with fsync, the slowest of {PIECES} pieces {worst * 1e3:.0f} ms"
    needs = MARGIN * rate if rate else SPEED
    if rate:
        said += f"; this station writes up to {rate / 1e6:.1f} MB/s"
    fix = "Record to a solid-state disk of this machine (APPLIANCE_HOME), with nothing else busy on it"
    if rate and rapid < rate:
        return [bad(about, said, fix)]
    return [warn(about, said, fix) if rapid < needs or worst > PAUSE else fine(about, said)]


def leftovers(home: Path) -> list[Finding]:
    """See what an earlier crash left in staging."""
    about = "staging"
    found = sorted((home / "staging").glob("*"))
    left = [path for path in found if (idle(path) if path.is_dir() else path.exists())]
    if not left:
        busy = f"{len(found)} takes are being recorded now" if found else "nothing is left over"
        return [fine(about, busy)]
    names = ", ".join(path.name for path in left[:3]) + (", ..." if len(left) > 3 else "")
    what = f"{len(left)} takes were cut short and never sealed ({names})"
    fix = "appliance episodes list: every command first brings in what can be recovered, and says why when it cannot"
    return [warn(about, what, fix)]


def catalog(database: str) -> list[Finding]:
    """See whether the catalog answers, and is of this program's version. Changes nothing."""
    about = "catalog"
    try:
        version = version_at(database)
    except Unavailable as error:
        return [bad(about, str(error), "Start its server, or set APPLIANCE_DATABASE to a file or a postgresql:// URL")]
    except ImportError:
        return [bad(about, "PostgreSQL needs a package that is not installed", "pip install 'appliance[postgres]'")]
    if version is None:
        return [fine(about, "is empty, and will be made at the first start")]
    if version > HEAD:
        what = f"is at version {version}, this program knows versions up to {HEAD}"
        return [bad(about, what, "Update this program, or point APPLIANCE_DATABASE at another catalog")]
    if version < HEAD:
        what = f"is at version {version}; the next command brings it to {HEAD}, and older programs then refuse it"
        return [warn(about, what, "Update the other machines that use it, too; then type any command")]
    return [fine(about, f"answers, at version {version}")]


def filesystem(path: Path, mounts: Path) -> str:
    """The kind of file system that a folder is on, as the kernel tells it; empty when it does not."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    here = path.resolve()
    # The kernel writes a space as \040, and what else would end a word likewise: proc_mounts(5).
    places = [
        (re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), line[1]), line[2]) for line in lines if len(line) > 2
    ]
    above = [(len(place), kind) for place, kind in places if here.is_relative_to(place)]
    # What was mounted last over the same folder is what one sees.
    return max(reversed(above), key=itemgetter(0))[1] if above else ""


def _existing(path: Path) -> Path:
    """The folder, or the first one above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _free(path: Path) -> int:
    told = os.statvfs(path)
    return told.f_bavail * told.f_frsize


def _write(file: Path, clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds that the slowest piece took, and all of them. The file is gone afterwards."""
    piece = os.urandom(PIECE)
    took = []
    try:
        with file.open("wb", buffering=0) as out:
            for _ in range(PIECES):
                began = clock()
                out.write(piece)
                os.fdatasync(out.fileno())
                took.append(clock() - began)
    finally:
        file.unlink(missing_ok=True)
    return max(took), sum(took)
