"""What a whole episode consists of: every file's size and checksum, and one digest of all that was recorded."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google_crc32c import extend

ROOT = "zarr.json"
MANIFEST = "manifest.json"
LOG = "rows.log"

BLOCK = 1 << 22


class Sum:
    """The size, checksum and hash of a file, taken piece by piece: while it is written, or from the disk."""

    def __init__(self) -> None:
        self.size = 0
        self.checksum = 0
        """CRC32C."""
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, *parts: bytes) -> None:
        """Go on with what follows in the file."""
        for part in parts:
            self.size += len(part)
            self.checksum = extend(self.checksum, part)
            self._hash.update(part)

    @property
    def hash(self) -> bytes:
        return self._hash.digest()


def manifest_of(staged: Path, known: Mapping[str, Sum]) -> dict[str, Any]:
    """List every file's size and checksum, and the digest. Files whose sums are ``known`` are not read again."""
    sums = {
        name: known[name] if name in known else _summed(staged / name)
        for name in _files(staged)
        if not name.startswith(MANIFEST)
    }
    files = {name: [found.size, found.checksum] for name, found in sums.items()}
    return {"digest": _digest(sums), "files": files}


def digest(path: Path) -> str:
    """Hash what was recorded: every array's files, but not the root's attributes, which tell when and under which name.

    The same rows always have the same digest.
    """
    return _digest({name: _summed(path / name) for name in _files(path)})


def check(path: Path) -> list[str]:
    """Compare a sealed episode with its manifest; return what is wrong, in words. An empty list is a whole episode."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        listed: dict[str, list[int]] = manifest["files"]
        expected: str = manifest["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{MANIFEST} cannot be read: {error!r}"]
    there = {name for name in _files(path) if name != MANIFEST}
    wrong = [f"{name} is missing" for name in sorted(listed.keys() - there)]
    wrong += [f"{name} is not in the manifest" for name in sorted(there - listed.keys())]
    sums = {}
    for name in sorted(there & listed.keys()):
        size, checksum = listed[name]
        try:
            sums[name] = found = _summed(path / name)
        except OSError as error:
            wrong.append(f"{name} cannot be read: {error}")
            continue
        if found.size != size:
            wrong.append(f"{name} has {found.size} bytes instead of {size}")
        elif found.checksum != checksum:
            wrong.append(f"{name} has changed since it was sealed")
    if not wrong and _digest(sums) != expected:
        wrong.append(f"{MANIFEST} has changed since it was sealed")
    return wrong


def _files(path: Path) -> list[str]:
    """Every file of an episode, as a path within it, in order."""
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file() and file.name != LOG)


def _summed(path: Path) -> Sum:
    found = Sum()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            found.add(block)
    return found


def _digest(sums: Mapping[str, Sum]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for name, found in sorted(sums.items()):
        if name not in {ROOT, MANIFEST}:
            whole.update(name.encode() + b"\0")
            whole.update(found.hash)
    return whole.hexdigest()
