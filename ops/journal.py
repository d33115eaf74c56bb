"""What happened, in lines of JSON: when, how bad, what, and of which job, night, episode, batch, policy, station.

Every program writes to the file of the day, each line at once at its end, so that lines of several programs do not
mix. When a file is large enough, all of them go on with the next; nobody renames anything. Old files are removed.
"""

import enum
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

LOGS = "logs"
"""The folder of the data folder where the files are."""

IDS = ("job", "night", "episode", "batch", "policy", "station", "worker")
"""What a line can be about, by name."""

LONGEST = 16_000
"""Bytes of a line. What is longer keeps its beginning: one line is one write."""

HIDDEN = "***"

SECRET = re.compile(r"token|password|secret|authorization|credential|(api|private)_?key|^(code|key)$", re.IGNORECASE)
"""Names of facts that are nobody's business."""

IN_TEXT = re.compile(
    r"(://[^/\s:@]*:)[^\s@]+(?=@)|((?:bearer|api-key)\s+)\S+|"
    r"((?:token|password|secret(?:_access_key)?|signature)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',]+",
    re.IGNORECASE,
)
"""A password in an address, and a code or a key as the network, a program's settings or a library say it."""

FILE = re.compile(r"(\d{4}-\d{2}-\d{2})\.(\d{4})\.jsonl")


class Level(enum.StrEnum):
    """How bad it is."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True)
class Keeping:
    """How much is kept."""

    largest: int = 8 << 20
    """Bytes of one file."""
    most: int = 256 << 20
    """Bytes of all."""
    days: float = 30.0


@dataclass(frozen=True)
class Journal:
    """Writes lines. Programs and threads may share a folder; a forked child may go on with its parent's.

    A line that cannot be written, e.g. on a full disk, is told on stderr once: it does not end the work it tells of.
    """

    folder: Path
    """Where the files are."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What every line is about."""
    keeping: Keeping = Keeping()
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _pen: "_Pen" = field(default_factory=lambda: _Pen(), repr=False, compare=False)

    @classmethod
    def of(cls, home: Path) -> "Journal":
        """The journal of a data folder."""
        return cls(home / LOGS)

    def of_these(self, **about: object) -> "Journal":
        """The same journal, whose lines say in addition what they are about: ``job``, ``episode``, ...

        Raises:
            ValueError: lines are not told apart by such a name.
        """
        if strange := about.keys() - set(IDS):
            raise ValueError(f"a line is about {', '.join(IDS)}; {sorted(strange)} are facts")
        return replace(self, about={**self.about, **{name: str(value) for name, value in about.items()}})

    def debug(self, what: str, **facts: object) -> None:
        """Write what only whoever repairs the program wants to know."""
        self.write(Level.DEBUG, what, **facts)

    def info(self, what: str, **facts: object) -> None:
        """Write what happened, as it should."""
        self.write(Level.INFO, what, **facts)

    def warn(self, what: str, **facts: object) -> None:
        """Write what somebody should look at."""
        self.write(Level.WARN, what, **facts)

    def error(self, what: str, **facts: object) -> None:
        """Write what went wrong."""
        self.write(Level.ERROR, what, **facts)

    def write(self, level: Level, what: str, **facts: object) -> None:
        """Write a line. Facts with the name of a secret, and secrets within texts, are not written."""
        moment = self.now()
        facts.pop("t", None)
        said = {"t": _stamp(moment), "level": str(level), "what": what, **self.about, **facts}
        try:
            self._pen.write(self.folder, f"{moment:%Y-%m-%d}", _line(said), self.keeping, moment)
        except OSError as error:
            self._pen.complain(f"the journal in {self.folder} cannot be written: {error.strerror or error}")

    @contextmanager
    def hearing(self, least: int = logging.WARNING) -> Generator[None]:
        """Write down, too, what libraries say through Python's own logging while the block runs."""
        ear = _Ear(self, least)
        logging.getLogger().addHandler(ear)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(ear)


@dataclass(frozen=True)
class Asked:
    """Which lines are wanted. What is empty does not matter."""

    about: Mapping[str, str] = field(default_factory=dict)
    """For each name, the first characters of the id."""
    least: Level = Level.DEBUG
    """This bad or worse."""
    since: datetime | None = None

    def wants(self, line: Mapping[str, Any]) -> bool:
        """Whether a line is one of them."""
        order = list(Level)
        return (
            line["level"] in order[order.index(self.least) :]
            and (self.since is None or line["t"] >= _stamp(self.since))
            and all(str(line.get(name) or "").startswith(value) for name, value in self.about.items())
        )


def read(folder: Path, asked: Asked | None = None) -> Iterator[dict[str, Any]]:
    """Yield the lines in the order in which they were written. What is no line, e.g. half of one, is left out."""
    for path in _files(folder):
        with suppress(FileNotFoundError), path.open("rb") as file:
            yield from filter((asked or Asked()).wants, _lines(file))


def follow(
    folder: Path, asked: Asked, stop: Callable[[], bool], sleep: Callable[[float], None] = time.sleep
) -> Iterator[dict[str, Any]]:
    """Yield lines as they come, from now on, until ``stop`` says so."""
    read_to = {path: path.stat().st_size for path in _files(folder)}
    while not stop():
        yield from further(folder, asked, read_to)
        sleep(0.2)


def further(folder: Path, asked: Asked, read_to: dict[Path, int]) -> Iterator[dict[str, Any]]:
    """Yield the lines after those that were read: ``read_to`` says how far, by file, and is told how far it is now."""
    for path in _files(folder):
        if asked.since is not None and path.name < f"{asked.since.astimezone(UTC):%Y-%m-%d}":
            continue
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(read_to.get(path, 0))
            whole = file.read().rpartition(b"\n")
            read_to[path] = file.tell() - len(whole[2])
            yield from filter(asked.wants, _lines(iter(whole[0].splitlines())))


class _Pen:
    """What is open at the moment."""

    def __init__(self) -> None:
        self._file, self._path, self._opened_by = -1, Path(), os.getpid()
        self._lock = threading.Lock()
        self._lost = 0

    def write(self, folder: Path, day: str, line: bytes, keeping: Keeping, moment: datetime) -> None:
        """Write a line at the end of the day's last file.

        Raises:
            OSError: it could not be written, or not all of it.
        """
        if self._opened_by != os.getpid():  # this is a forked child; whoever held the lock there is not here
            self._lock, self._opened_by = threading.Lock(), os.getpid()
        with self._lock:
            self._write(folder, day, line, keeping, moment)

    def _write(self, folder: Path, day: str, line: bytes, keeping: Keeping, moment: datetime) -> None:
        self._turn_to(folder, day, keeping, moment)
        if self._lost:
            told = {"t": _stamp(moment), "level": "error", "what": f"{self._lost} lines before this could not be kept"}
            line = b"\n" + _line(told) + line
        if os.write(self._file, line) != len(line):
            raise OSError("only a part of a line could be written; the disk is full")
        self._lost = 0

    def complain(self, what: str) -> None:
        """Say it once, until a line could be written again."""
        if not self._lost:
            sys.stderr.write(f"{what}\n")
        self._lost += 1

    def _turn_to(self, folder: Path, day: str, keeping: Keeping, moment: datetime) -> None:
        """Open the file to write to, unless it is open: all programs find the same one."""
        if self._file >= 0 and self._path.parent == folder and self._path.name.startswith(day):
            about = os.fstat(self._file)
            if about.st_size < keeping.largest and about.st_nlink:
                return
        folder.mkdir(parents=True, exist_ok=True)
        last = max((int(found[2]) for path in _files(folder) if (found := _named(path)) and found[1] == day), default=1)
        with suppress(FileNotFoundError):
            last += (folder / f"{day}.{last:04}.jsonl").stat().st_size >= keeping.largest
        path = folder / f"{day}.{last:04}.jsonl"
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        before, self._file, self._path = self._file, opened, path
        if before >= 0:
            os.close(before)
        _forget(folder, keeping, moment, path)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


class _Ear(logging.Handler):
    """Hands what Python's logging says to a journal."""

    def __init__(self, journal: Journal, least: int) -> None:
        super().__init__(least)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        names = {logging.DEBUG: Level.DEBUG, logging.INFO: Level.INFO, logging.WARNING: Level.WARN}
        level = names.get(record.levelno, Level.ERROR)
        facts: dict[str, object] = {"from": record.name}
        if record.exc_info:
            facts["trace"] = logging.Formatter().formatException(record.exc_info)
        self._journal.write(level, record.getMessage(), **facts)


def _forget(folder: Path, keeping: Keeping, moment: datetime, current: Path) -> None:
    """Remove files that are too old, or too many, the oldest first; never the one that is written to."""
    files = [path for path in _files(folder) if path != current]
    sizes = {}
    for path in files:
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    oldest = f"{moment - timedelta(days=keeping.days):%Y-%m-%d}"
    total = sum(sizes.values())
    for path in sizes:
        if path.name[: len(oldest)] < oldest or total > keeping.most:
            path.unlink(missing_ok=True)
            total -= sizes[path]


def _files(folder: Path) -> list[Path]:
    """The files, oldest first."""
    return sorted(path for path in folder.glob("*.jsonl") if _named(path))


def _named(path: Path) -> re.Match[str] | None:
    return FILE.fullmatch(path.name)


def _lines(raw: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in raw:
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and {"t", "level", "what"} <= found.keys():
                yield found


def _line(said: Mapping[str, object]) -> bytes:
    clean = {name: HIDDEN if SECRET.search(name) else _clean(value) for name, value in said.items()}
    line = json.dumps(clean, ensure_ascii=False, default=str).encode()
    if len(line) > LONGEST:
        head = {name: clean[name] for name in clean if name in {"t", "level", *IDS}}
        begins = line[: LONGEST // 2].decode(errors="ignore")
        whole = {**head, "what": str(clean["what"])[:1000], "cut": begins}
        line = json.dumps(whole, ensure_ascii=False, default=str).encode()
    return line + b"\n"


def _clean(value: object) -> object:
    """The same without passwords and codes, however deep they are."""
    if isinstance(value, str):
        return _hide(value)
    if isinstance(value, Mapping):
        return {str(name): HIDDEN if SECRET.search(str(name)) else _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    if isinstance(value, float) and not -1e308 < value < 1e308:
        return str(value)
    return value if isinstance(value, int | float | None) else _hide(str(value))


def _hide(text: str) -> str:
    return IN_TEXT.sub(lambda found: "".join(part or "" for part in found.groups()) + HIDDEN, text)


def _stamp(moment: datetime) -> str:
    """UTC, to the microsecond, so that text sorts as time."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
