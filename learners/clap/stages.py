"""Stages of a run, each of which leaves an artefact: done once, and not again after a crash."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError
from torch import nn

from learners.checkpoint import BadCheckpoint, read, write
from learners.clap.act_vae import ActVaeNet
from learners.clap.ntp import Ntp, NtpNet
from learners.clap.post import fingerprint
from learners.clap.vocabulary import Vocabulary
from learners.train import Tell

ARTEFACT, NOTE = "artefact", "done.json"
METHOD = "clap.ntp"


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

        ``against`` are the digests of what it is made with.

        Raises:
            BadCheckpoint: what lies there was made with something else, or is not what was stored.
        """
        if self.run is None:
            return make(None)
        folder = self.run / name
        if (folder / NOTE).exists():
            return self._kept(folder, against, load)
        made = make(folder)
        shutil.rmtree(folder / ARTEFACT, ignore_errors=True)
        made.save(folder / ARTEFACT)
        _write(folder / NOTE, {"digest": made.digest, "against": against, "measured": made.measured})
        # What it takes to go on within the stage is not needed any more, and may be large.
        (folder / "last.json").unlink(missing_ok=True)
        for old in folder.glob("step-*.safetensors"):
            old.unlink()
        return made

    def _kept[A: Artefact](self, folder: Path, against: dict[str, str], load: Callable[[Path], A]) -> A:
        note = json.loads((folder / NOTE).read_text())
        if note["against"] != against:
            raise BadCheckpoint(
                f"{folder} was made with {note['against']}, and this run has {against}; remove it to make it again"
            )
        made = load(folder / ARTEFACT)
        if made.digest != note["digest"]:
            raise BadCheckpoint(f"{folder / ARTEFACT} is not what was stored there; remove {folder} to make it again")
        made.measured = dict(note["measured"])
        return made


@dataclass
class TokenPolicy:
    """The token policy as the first stage leaves it, with the vocabulary that it speaks."""

    net: NtpNet
    vocabulary: Vocabulary
    measured: dict[str, float]

    @property
    def digest(self) -> str:
        return fingerprint(self.net)

    def save(self, folder: Path) -> None:
        facts = {**self.vocabulary.facts, "ntp": self.net.facts, "digest": self.digest}
        write(folder, METHOD, self.net.how, facts, self.net.state_dict())

    @classmethod
    def load(cls, folder: Path, act: ActVaeNet) -> "TokenPolicy":
        """Read what `save` wrote.

        Raises:
            BadCheckpoint: the folder holds none, it is damaged, or it speaks another vocabulary than this Act-VAE.
        """
        stored = read(folder)
        if stored.method != METHOD:
            raise BadCheckpoint(f"{folder} holds {stored.method}, and not a token policy ({METHOD})")
        try:
            vocabulary = Vocabulary.said(stored.facts)
            how = TypeAdapter(Ntp).validate_python(stored.settings)
            net = NtpNet(how, vocabulary.count, vocabulary.entries, facts=stored.facts["ntp"])
            net.load_state_dict(stored.tensors)
        except (KeyError, TypeError, ValueError, ValidationError, RuntimeError) as error:
            raise BadCheckpoint(f"{folder}: the token policy is damaged: {str(error)[:300]}") from error
        vocabulary.demand(Vocabulary.of(act), str(folder))
        if fingerprint(net) != stored.facts.get("digest"):
            raise BadCheckpoint(f"{folder}: {METHOD} is not what was saved: its digest is {fingerprint(net)}")
        return cls(net.eval(), vocabulary, {})


@dataclass(frozen=True)
class Kept:
    """An artefact that lies in a folder and is read only when it is needed."""

    folder: Path

    def save(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder)


def frozen[M: nn.Module](net: M) -> M:
    """The network, from which nothing learns any more."""
    return net.eval().requires_grad_(False)


def _write(path: Path, told: Any) -> None:
    unfinished = path.with_suffix(".part")
    with unfinished.open("w") as file:
        json.dump(told, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
