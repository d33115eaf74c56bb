"""What people did on film, in the words of an Act-VAE: inferred film by film, and kept by whoever wants to keep it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from learners.clap.vd_vae import VdVaeNet
from learners.data import NoData
from learners.footage import Footage

type Words = NDArray[np.uint16]

AT_ONCE = 32
"""Moments that are looked at in one go."""


@dataclass(frozen=True)
class Labels:
    """Words for even moments of one film."""

    start: int
    """The first moment, in nanoseconds of the episode's clock."""
    period: int
    """Nanoseconds from one moment to the next."""
    words: Words
    """(n, 2, N): left, then right; those of a hand that does not count mean nothing."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the words mean: see `Vocabulary`."""

    def at(self, moments: NDArray[np.int64]) -> Words:
        """The words of the nearest labelled moments: film may have been trimmed after it was labelled.

        Raises:
            NoData: a moment lies outside.
        """
        index = np.rint((moments - self.start) / self.period).astype(np.int64)
        if len(index) and not (index.min() >= 0 and index.max() < len(self.words)):
            end = self.start + (len(self.words) - 1) * self.period
            raise NoData(
                f"labels tell of {self.start} to {end} ns, and {moments.min()} to {moments.max()} ns are asked for; "
                "label the film again: appliance label"
            )
        return self.words[index]


class Kept(Protocol):
    """Labels that one model made, by film. Whoever keeps them must not mix those of two models."""

    def get(self, episode: UUID, /) -> Labels | None:
        """Those of a film, if there are any."""
        ...

    def put(self, episode: UUID, labels: Labels, /) -> None:
        """Keep them. When there are some already, either may stay: they are the same model's."""
        ...


@dataclass(frozen=True)
class Shelf:
    """Labels in a folder, a file for each film; a crash leaves a file whole or not there."""

    folder: Path

    def get(self, episode: UUID, /) -> Labels | None:
        try:
            found = load_file(self.folder / f"{episode}.safetensors")
            start, period = found["moments"].tolist()
            return Labels(start, period, found["words"])
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, ValueError) as error:
            raise NoData(f"{self.folder}/{episode}.safetensors is damaged: {error}; remove it") from error

    def put(self, episode: UUID, labels: Labels, /) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{episode}.part"
        save_file({"moments": np.array([labels.start, labels.period]), "words": labels.words}, part)
        part.rename(self.folder / f"{episode}.safetensors")


def label(
    film: Footage,
    vd: VdVaeNet,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
    kept: Kept | None = None,
) -> Mapping[UUID, Words]:
    """Words (moments, 2, N) of every film, for `Footage.labelled`. What is ``kept`` already is not inferred again."""
    found: dict[UUID, Words] = {}
    for number, name in enumerate(film.ids):
        moments = film.moment[film.episode == number]
        labels = None if kept is None else kept.get(name)
        if labels is None:
            labels = infer(film, number, vd)
            if kept is not None:
                kept.put(name, labels)
        found[name] = labels.at(moments)
        tell(number + 1, len(film.ids))
    return found


@torch.no_grad()
def infer(film: Footage, number: int, vd: VdVaeNet) -> Labels:
    """Words for every moment of one of these films, by number.

    Raises:
        NoData: the frames of a moment are not as far apart as those that the model learned from.
    """
    chunk = vd.schema.steps / vd.schema.hz
    if abs(film.ahead - chunk) > 0.5 / film.hz:
        raise NoData(f"the model infers what is done in {chunk:.3f} s, and the film is cut to show {film.ahead:.3f} s")
    film, index = vd.film(film, number), np.flatnonzero(film.episode == number)
    device = next(vd.parameters()).device
    was = vd.training
    vd.eval()
    words = []
    for first in range(0, len(index), AT_ONCE):
        batch = film.batch(index[first : first + AT_ONCE])
        words.append(vd.tokens(batch.now.to(device), batch.later.to(device)).cpu().numpy().astype(np.uint16))
    vd.train(was)
    every = np.concatenate(words)
    return Labels(int(film.moment[index[0]]), round(1e9 / film.hz), every, vd.vocabulary.facts | {"ahead": film.ahead})
