"""What is told of very many episodes at once: the verdicts that count, and which of them have pictures."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.models import EpisodeRow, Standing, StreamRow, Verdict


def last_verdicts(session: Session, episodes: Iterable[UUID], at_once: int) -> dict[UUID, Verdict]:
    """The verdict that counts, for each of these episodes that has one."""
    wanted = list(dict.fromkeys(episodes))
    found: dict[UUID, Verdict] = {}
    for first in range(0, len(wanted), at_once):
        some = Verdict.episode.in_(wanted[first : first + at_once])
        last = select(func.max(Verdict.id)).where(some).group_by(Verdict.episode)
        found |= {v.episode: v for v in session.scalars(select(Verdict).where(Verdict.id.in_(last)))}
    return {episode: found[episode] for episode in wanted if episode in found}


def by_people(session: Session, episodes: Iterable[UUID], at_once: int) -> list[Verdict]:
    """All that people have said of these episodes, in the order in which they did."""
    wanted = list(dict.fromkeys(episodes))
    said = select(Verdict).where(Verdict.labelled_by == "human")
    some = (wanted[first : first + at_once] for first in range(0, len(wanted), at_once))
    found = [verdict for each in some for verdict in session.scalars(said.where(Verdict.episode.in_(each)))]
    return sorted(found, key=lambda verdict: verdict.id)


def with_camera(session: Session) -> set[UUID]:
    """Every episode that a camera gave something to."""
    return set(session.scalars(select(StreamRow.episode).where(StreamRow.camera).distinct()))


def without_streams(session: Session) -> list[EpisodeRow]:
    """Episodes catalogued before streams were, and not purged."""
    both = select(EpisodeRow).join(Standing, Standing.episode == EpisodeRow.id)
    return list(session.scalars(both.where(EpisodeRow.bytes == 0, Standing.kit == "", Standing.purged.is_(False))))
