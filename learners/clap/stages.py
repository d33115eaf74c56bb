"""The token policy as a stage of a run leaves it, and artefacts that are read only when they are needed."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from learners.checkpoint import BadCheckpoint, read, write
from learners.clap.act_vae import ActVaeNet
from learners.clap.ntp import Ntp, NtpNet
from learners.clap.vocabulary import Vocabulary
from learners.stages import fingerprint

METHOD = "clap.ntp"


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
