"""Stages of a run, each of which leaves an artefact: done once, and not again after a crash."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from learners.checkpoint import BadCheckpoint
from learners.together import together
from learners.train import Tell

ARTEFACT, NOTE = "artefact", "done.json"


class Artefact(Protocol):
    """What a stage leaves."""

    measured: dict[str, float]

    @property
    def digest(self) -> str: ...
    def save(self, folder: Path, /) -> None: ...


@dataclass(frozen=True)
class Stages:
    """A run's folder, or none, and who is told of the steps of each stage."""

    run: Path | None
    told: Callable[[str], Tell]

    def once[A: Artefact](
        self,
        name: str,
        against: dict[str, str],
        make: Callable[[Path | None], A],
        load: Callable[[Path], A],
    ) -> A:
        """What the stage made before, or what ``make`` makes now in its folder.

        ``against`` are the digests of what it is made with. Of processes that are `together` the main one says whether
        it was made before, and keeps it.

        Raises:
            BadCheckpoint: what lies there was made with something else, or is not what was stored.
        """
        if self.run is None:
            return make(None)
        folder, ranks = self.run / name, together()
        note = ranks.told(lambda: json.loads((folder / NOTE).read_text()) if (folder / NOTE).exists() else None)
        if note is not None:
            ranks.share(folder / ARTEFACT)
            return self._kept(folder, note, against, load)
        made = make(folder)
        if not ranks.main:
            return made
        shutil.rmtree(folder / ARTEFACT, ignore_errors=True)
        made.save(folder / ARTEFACT)
        _write(folder / NOTE, {"digest": made.digest, "against": against, "measured": made.measured})
        # What it takes to go on within the stage is not needed any more, and may be large.
        for old in [*folder.rglob("last.json"), *folder.rglob("step-*.safetensors")]:
            old.unlink()
        return made

    def _kept[A: Artefact](
        self, folder: Path, note: dict[str, Any], against: dict[str, str], load: Callable[[Path], A]
    ) -> A:
        if note["against"] != against:
            raise BadCheckpoint(
                f"{folder} was made with {note['against']}, and this run has {against}; remove it to make it again"
            )
        made = load(folder / ARTEFACT)
        if made.digest != note["digest"]:
            raise BadCheckpoint(f"{folder / ARTEFACT} is not what was stored there; remove {folder} to make it again")
        made.measured = dict(note["measured"])
        return made


def frozen[M: nn.Module](net: M) -> M:
    """The network, from which nothing learns any more."""
    return net.eval().requires_grad_(False)


def fingerprint(net: nn.Module) -> str:
    """The same for the same weights, to the bit: 32 hexadecimal digits."""
    found = blake2b(digest_size=16)
    for name, values in sorted(net.state_dict().items()):
        found.update(name.encode())
        # Bytes of any kind of number: numpy has no bfloat16.
        found.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _write(path: Path, told: Any) -> None:
    unfinished = path.with_suffix(".part")
    with unfinished.open("w") as file:
        json.dump(told, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
