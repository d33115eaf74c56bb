"""What models infer of episodes is kept once, by whoever is first, on either database."""

import multiprocessing
from uuid import uuid4

import pytest
import sqlalchemy as sa

from storage import Catalog, Labelling, Refused, Unknown
from storage.models import EpisodeRow
from tests.said import REACH, episode
from tests.test_migrations import go_down


def labelling(of: EpisodeRow, artefact: str = "a", first: int = 0) -> Labelling:
    codes = bytes([first, 1, 2, 3, 4, 5, 6, 255])
    facts = {"vocabulary": {"entries": 64}}
    kind = "clap.vd_vae"
    return Labelling(
        artefact=artefact,
        episode=of.id,
        kind=kind,
        facts=facts,
        start=2**60,
        period=10**8,
        shape=[1, 2, 2],
        codes=codes,
    )


def test_what_a_model_inferred_comes_back_as_it_was(catalog: Catalog) -> None:
    row = episode()
    catalog.add(row)
    assert catalog.labelling("a", row.id) is None
    assert catalog.label(labelling(row))
    found = catalog.labelling("a", row.id)
    assert found is not None
    assert (found.start, found.period, found.shape) == (2**60, 10**8, [1, 2, 2])
    assert (found.codes, found.facts) == (labelling(row).codes, {"vocabulary": {"entries": 64}})


def test_the_first_word_on_an_episode_stands_and_each_model_has_its_own(catalog: Catalog) -> None:
    row = episode()
    catalog.add(row)
    assert catalog.label(labelling(row))
    assert not catalog.label(labelling(row, first=9))
    assert catalog.label(labelling(row, "b", first=9))
    first, other = catalog.labelling("a", row.id), catalog.labelling("b", row.id)
    assert first is not None
    assert other is not None
    assert (first.codes[0], other.codes[0]) == (0, 9)


def test_which_of_many_episodes_are_labelled_is_told_at_once(catalog: Catalog) -> None:
    rows = [episode(minute) for minute in range(4)]
    catalog.add(*rows)
    for row in rows[:2]:
        catalog.label(labelling(row))
    catalog.label(labelling(rows[2], "b"))
    many = [row.id for row in rows] + [uuid4() for _ in range(1200)]
    assert catalog.labelled("a", many) == {rows[0].id, rows[1].id}
    assert catalog.labelled("a", []) == set()


def test_labels_of_no_episode_and_labels_cut_short_are_refused(catalog: Catalog) -> None:
    row = episode()
    with pytest.raises(Unknown, match="no episode"):
        catalog.label(labelling(row))
    catalog.add(row)
    short = labelling(row)
    short.codes = short.codes[:-1]
    with pytest.raises(Refused, match="take 8 bytes, 2 each, and 7"):
        catalog.label(short)


def _label(where: str, row: EpisodeRow, first: int) -> None:
    with Catalog(where) as catalog:
        catalog.label(labelling(row, first=first))


def test_processes_that_label_the_same_episode_at_once_keep_one_label(where: str) -> None:
    row = episode()
    with Catalog(where) as catalog:
        catalog.add(REACH, row)
        context = multiprocessing.get_context("spawn")
        racing = [context.Process(target=_label, args=(where, row, first)) for first in range(3)]
        for process in racing:
            process.start()
        for process in racing:
            process.join()
        assert [process.exitcode for process in racing] == [0, 0, 0]
        assert catalog.labelled("a", [row.id]) == {row.id}


def test_the_table_goes_and_comes_back_with_everything_else_in_place(where: str) -> None:
    row = episode()
    with Catalog(where) as catalog:
        catalog.add(REACH, row)
        catalog.label(labelling(row))
        go_down(catalog, "0003")
        with catalog._database.engine.connect() as connection:
            assert "labelling" not in sa.inspect(connection).get_table_names()
    with Catalog(where) as again:
        assert again.episode(row.id).digest == row.digest
        assert again.labelled("a", [row.id]) == set()
        assert again.label(labelling(row))
