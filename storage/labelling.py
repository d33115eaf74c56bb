"""What models inferred of episodes: one row for each episode and model, written by whoever is first."""

from collections.abc import Iterable
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.models import Labelling
from storage.rows import Refused, insert


def keep(session: Session, row: Labelling) -> bool:
    """Keep what a model inferred, unless somebody did already: then the first word stands.

    Two machines may round differently, so the second word need not be the same to the bit.

    Returns:
        Whether it was new.

    Raises:
        Unknown: there is no such episode.
        Refused: its codes are not as many as its shape says.
    """
    said = int(np.prod(row.shape)) * 2
    if len(row.codes) != said:
        raise Refused(f"labels of shape {row.shape} take {said} bytes, 2 each, and {len(row.codes)} were given")
    if session.get(Labelling, (row.artefact, row.episode)) is not None:
        return False
    insert(session, row)
    return True


def of(session: Session, artefact: str, episode: UUID) -> Labelling | None:
    """What this model inferred of that episode, if it did."""
    return session.get(Labelling, (artefact, episode))


def labelled(session: Session, artefact: str, episodes: Iterable[UUID], at_once: int) -> set[UUID]:
    """Those of these episodes that this model has labelled."""
    wanted, found = list(episodes), set[UUID]()
    for first in range(0, len(wanted), at_once):
        some = Labelling.episode.in_(wanted[first : first + at_once])
        found.update(session.scalars(select(Labelling.episode).where(Labelling.artefact == artefact, some)))
    return found
