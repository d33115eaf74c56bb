"""Demonstrations by hands that nobody has become episodes: what a head-mounted camera would see, and the truth apart.

They look as imported film does (stream ``head``, no robot, no action) and are marked wherever one may look. Stream
``truth`` is for measuring how well somebody sees; no real film has it, so nothing should be learned from it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from collectors.human_video.episodes import Kept, head
from drivers import Rows
from storage import EpisodeWriter, Jpeg, arrays
from storage.apart import apart

NAMESPACE = UUID("8e1b4c1a-9d0d-5c53-a4c5-0a8a6f1e7d12")
"""In which such episodes are named by what decides their content."""

AGENT = "synthetic_human"

EDITION = 1
"""Goes up when the same seed comes to look different, so that old and new episodes are not taken for the same."""

TRUTH = "truth"


class Imagined(Protocol):
    """One demonstration, ready to be looked at."""

    @property
    def words(self) -> str:
        """What is done."""
        ...

    @property
    def arms(self) -> tuple[bool, bool]:
        """Whether the left hand does something, and the right one."""
        ...

    @property
    def setting(self) -> Mapping[str, Any]:
        """What it looks like, as JSON."""
        ...

    @property
    def truth(self) -> Rows:
        """A row for every picture."""
        ...

    @property
    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        """The pictures (height, width, 3), in order."""
        ...


class Imagination(Protocol):
    """Makes demonstrations up: the same seed, the same one."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def hz(self) -> float: ...

    @property
    def view(self) -> str:
        """From where it is seen: ``head``, or ``cell``."""
        ...

    def show(self, instruction: str, seed: int, as_asked: bool = False, /) -> AbstractContextManager[Imagined]:
        """Make one up; with ``as_asked``, with the very things that the instruction names."""
        ...


@dataclass(frozen=True)
class Wish:
    """What is to be shown."""

    task: str
    instruction: str
    operator: str
    seed: int
    as_asked: bool = False
    quality: int = 90
    """Of JPEG."""


def name_of(imagination: Imagination, wish: Wish) -> UUID:
    """The episode's id, which follows from what decides its content; what is seen from a head need not say so."""
    size = [imagination.height, imagination.width, imagination.hz]
    said = [EDITION, wish.task, wish.instruction, wish.seed, wish.as_asked, wish.quality, *size]
    said += [] if imagination.view == "head" else [imagination.view]
    return uuid5(NAMESPACE, json.dumps(said))


def imagine(imagination: Imagination, wish: Wish, root: Path, known: bool = False) -> Kept:
    """Make an episode of one made-up demonstration, sealed. The same wish is never fulfilled twice.

    Whatever happens, there is a whole episode in ``episodes`` afterwards, or none.

    Args:
        imagination: who makes it up.
        wish: what is to be shown.
        root: the data folder.
        known: we have had it, even if its files are gone.

    Raises:
        DeviceError: the instruction cannot be shown by a hand, or this machine cannot draw.
        OSError: our disk does not take it.
    """
    root, name = root.absolute(), name_of(imagination, wish)
    final = root / "episodes" / f"{name}.zarr"
    if known or final.exists():
        return Kept(name, final, new=False)
    with imagination.show(wish.instruction, wish.seed, wish.as_asked) as shown, apart(root) as folder:
        streams = {"head": head(imagination.height, imagination.width), TRUTH: shown.truth.dtype}
        said = _attributes(imagination, wish, shown)
        with EpisodeWriter(folder, streams, said, Jpeg(wish.quality), name) as writer:
            for row, true in zip(_seen(shown, streams["head"]), _each(shown.truth), strict=True):
                writer.append("head", row)
                writer.append(TRUTH, true)
            sealed = writer.seal()
        sealed.path.rename(final)
        arrays.sync(final.parent)
    return Kept(name, final, new=True)


def _each(rows: Rows) -> Iterator[Rows]:
    return (rows[k : k + 1] for k in range(len(rows)))


def _seen(shown: Imagined, dtype: np.dtype[np.void]) -> Iterator[Rows]:
    """A row per picture, stamped as the truth is."""
    for true, picture in zip(_each(shown.truth), shown.pictures, strict=True):
        row: Rows = np.zeros(1, dtype)
        row["t"] = row["received"] = row["shown"] = true["t"]
        row["seq"], row["rgb"] = true["seq"], picture
        yield row


def _attributes(imagination: Imagination, wish: Wish, shown: Imagined) -> dict[str, Any]:
    return {
        "task": wish.task,
        "instruction": shown.words,
        "subtask": shown.words,
        "arms": list(shown.arms),
        "operator": wish.operator,
        "agent": AGENT,
        "source": AGENT,
        "started": datetime.now(UTC).isoformat(),
        "ended_by": "done",
        "condition": {"seed": wish.seed},
        "synthetic_human": {
            "edition": EDITION,
            "seed": wish.seed,
            "asked": wish.instruction,
            "as_asked": wish.as_asked,
            "truth": TRUTH,
            "kept": {"height": imagination.height, "width": imagination.width, "hz": imagination.hz}
            | {"quality": wish.quality, "view": imagination.view},
            "setting": dict(shown.setting),
        },
    }
