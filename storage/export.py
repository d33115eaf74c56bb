"""What all exports have in common: what they are given, when they refuse, and that they appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from storage import arrays
from storage.episode import Episode


class CannotWrite(ValueError):
    """These episodes cannot be written in that form. The message says which, and what would help."""


@dataclass(frozen=True)
class Take:
    """An episode, and what else is to be said of it: one value per name, the same names for all episodes."""

    episode: Episode
    said: Mapping[str, int | float | str | None] = field(default_factory=dict)


@contextmanager
def aside(target: Path) -> Generator[Path]:
    """A path to write a file or a folder to. It becomes ``target`` when all went well, and disappears otherwise.

    Raises:
        FileExistsError: the target is there already.
        OSError: its folder cannot be written to.
    """
    target = target.absolute()
    _demand_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield beside / target.name
        arrays.sync_tree(beside)
        _demand_free(target)
        (beside / target.name).rename(target)
        arrays.sync(target.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _demand_free(target: Path) -> None:
    if target.exists():
        raise FileExistsError(f"{target} is there already; give the name of a new one")
