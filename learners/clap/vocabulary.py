"""Which Act-VAE a stage's tokens are of. Whoever was made with one refuses to work with another."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from learners.checkpoint import BadCheckpoint
from learners.clap.act_vae import ActVaeNet


class OtherVocabulary(BadCheckpoint):
    """Two artefacts mean different things by the same tokens. The message says what differs."""


@dataclass(frozen=True)
class Vocabulary:
    """What makes tokens mean the same."""

    act_vae: str
    """Digest of the Act-VAE."""
    entries: int
    """Words that there are (K)."""
    count: int
    """Words for one arm's chunk (N)."""
    width: int
    """Numbers of a word's vector."""
    schema: str
    """Id of the action schema."""
    arms: tuple[str, ...] = ("left", "right")
    """In which order arms lie in an array of tokens."""

    @classmethod
    def of(cls, act: ActVaeNet) -> Self:
        """That of an Act-VAE."""
        return cls(act.digest, act.codes.entries, act.how.tokens, act.codes.width, act.schema.id)

    @classmethod
    def said(cls, facts: Mapping[str, Any]) -> Self:
        """That which an artefact's facts tell of.

        Raises:
            KeyError: they tell of none.
        """
        told = dict(facts["vocabulary"])
        return cls(**told | {"arms": tuple(told["arms"])})

    @property
    def facts(self) -> dict[str, Any]:
        """How an artefact keeps it."""
        return {"vocabulary": asdict(self) | {"arms": list(self.arms)}}

    def demand(self, other: "Vocabulary", who: str) -> None:
        """Make sure that ``who`` speaks it too.

        Raises:
            OtherVocabulary: it does not.
        """
        mine, theirs = asdict(self), asdict(other)
        if differs := [f"{name} {theirs[name]!r}, not {mine[name]!r}" for name in mine if mine[name] != theirs[name]]:
            raise OtherVocabulary(f"{who} was made with another Act-VAE: it has {'; '.join(differs)}")
