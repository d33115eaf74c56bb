"""What people do on a task's film, in the words of a policy's vocabulary: rows in the catalog, one for each film.

Any number of processes and machines that share the catalog may do it at once, and any of them may be killed: what is
there is not done again, and the first word on a film stands.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

import learners
from appliance import shared, workers
from appliance.film import QUERY, film
from appliance.home import Home
from appliance.refusal import Refusal
from appliance.session import Flag
from storage import Catalog, Episode, Labelling, PolicyRow
from storage.reading import reading

if TYPE_CHECKING:
    from learners.clap.labels import Labels
    from learners.clap.vd_vae import VdVaeNet

KIND = "clap.vd_vae"
"""What labels film."""


class CannotLabel(Refusal):
    """The policy infers nothing from film, or there is none. The message says what would help."""


@dataclass(frozen=True)
class Labelled:
    """A film has its labels, or cannot have them."""

    episode: UUID
    new: bool
    """Whether it had none before."""
    why_not: str = ""


@dataclass(frozen=True)
class Wish:
    """Films to label, in this order, and with what."""

    home: Home
    policy: Path
    films: tuple[UUID, ...]


@dataclass(frozen=True)
class Noted:
    """A model's labels in the catalog: what `learners.clap.labels.Kept` asks for."""

    catalog: Catalog
    vd: "VdVaeNet"

    @functools.cached_property
    def artefact(self) -> str:
        return self.vd.digest

    def get(self, episode: UUID, /) -> "Labels | None":
        from learners.clap.labels import Labels

        row = self.catalog.labelling(self.artefact, episode)
        if row is None:
            return None
        words = np.frombuffer(row.codes, "<u2").reshape(row.shape)
        return Labels(row.start, row.period, words.astype(np.uint16), row.facts)

    def put(self, episode: UUID, labels: "Labels", /) -> None:
        self.keep(episode, labels)

    def keep(self, episode: UUID, labels: "Labels") -> bool:
        """Keep labels, and say whether there were none."""
        return self.catalog.label(
            Labelling(
                artefact=self.artefact,
                episode=episode,
                kind=KIND,
                facts=labels.facts,
                start=labels.start,
                period=labels.period,
                shape=list(labels.words.shape),
                codes=labels.words.astype("<u2").tobytes(),
            )
        )


def label(
    home: Home, task: str, policy: str, processes: int, tell: Callable[[Labelled], None], begin: Callable[[int], None]
) -> bool:
    """Label every film of the task that this policy's model has not labelled yet; ``begin`` hears how many.

    Returns:
        Whether all were looked at; False when a person stopped it. What was labelled stays.

    Raises:
        CannotLabel: the policy cannot, or the task has no film.
        Unknown: there is no such task or policy.
        WorkerRefused: a process could not go on.
    """
    with home.join() as catalog:
        row = catalog.policy(policy)
        shared.present(home, policies=[row])
        folder = home.folder / row.path
        artefact = labeller(folder, row).digest
        shown = film(catalog, task)
        if not shown:
            raise CannotLabel(
                f"task {task!r} has no film ({QUERY}); bring some in: appliance import gopro, or make some up: "
                f"appliance imagine --task {task}"
            )
        there = [one.row.id for one in shown]
        missing = sorted(set(there) - catalog.labelled(artefact, there))
    begin(len(missing))
    if not missing:
        return True
    # Whoever else labels at the same time goes in another order, so that they seldom meet.
    Random().shuffle(missing)  # ruff: ignore[suspicious-non-cryptographic-random-usage] - nothing secret
    with reading(home.folder, f"labelling film of {task}", missing):
        shared.present(home, [one for one in shown if one.row.id in set(missing)])
        work = functools.partial(infer, Wish(home, folder, tuple(missing)))
        return workers.share(work, min(processes, len(missing)), tell)


def infer(wish: Wish, worker: int, of: int, stop: Flag, tell: Callable[[Labelled], None]) -> None:
    """Label every ``of``-th film, in this process."""
    from learners.clap.labels import infer as inferred

    vd = labeller(wish.policy)
    with wish.home.join() as catalog:
        noted = Noted(catalog, vd)
        for episode in wish.films[worker::of]:
            if stop.is_set():
                return
            if catalog.labelled(noted.artefact, [episode]):
                tell(Labelled(episode, new=False))
                continue
            try:
                labels = inferred(_footage(wish.home, catalog, episode, vd), 0, vd)
            except learners.NoData as error:
                tell(Labelled(episode, new=False, why_not=str(error)))
                continue
            tell(Labelled(episode, noted.keep(episode, labels)))


def labeller(folder: Path, row: PolicyRow | None = None) -> "VdVaeNet":
    """Read what a policy infers actions from film with.

    Raises:
        CannotLabel: it has none, or it is damaged.
    """
    from learners.clap.act_vae import ActVaeNet
    from learners.clap.vd_vae import VdVaeNet

    if not (folder / "vd_vae").is_dir():
        name = folder.name if row is None else f"{row.name} ({row.method})"
        raise CannotLabel(
            f"policy {name} infers nothing from film; one of method clap does that was trained on a task with film"
        )
    try:
        return VdVaeNet.load(folder / "vd_vae", ActVaeNet.load(folder / "act_vae"))
    except learners.BadCheckpoint as error:
        raise CannotLabel(str(error)) from error


def _footage(home: Home, catalog: Catalog, episode: UUID, vd: "VdVaeNet") -> Any:
    """The whole film, also what was trimmed: what is used of it may change, the labels need not."""
    height, width = vd.shape
    found = Episode(home.folder / catalog.standing(episode).path)
    return learners.Footage.of(
        [found],
        [str(found.attributes.get("instruction", ""))],
        image=height if height == width else None,
        hz=vd.schema.hz,
        ahead=vd.schema.steps / vd.schema.hz,
    )
