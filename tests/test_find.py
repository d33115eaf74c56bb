"""Episodes are found by anything that can be said of them, by one index, however many there are."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from storage import Calibration, Catalog, EditKind, EpisodeRow, Outcome, Task, Unknown, Wanted
from storage.search import counting, listing
from tests.bench.bench_catalog import edit_once, questions, seed
from tests.said import NOON, edit, episode, policy, streams, verdict

DRIVER = policy()


@pytest.fixture
def rows(catalog: Catalog) -> list[EpisodeRow]:
    """Four that differ in everything a list can be narrowed by."""
    catalog.add(Task(name="stack", instruction="stack them"), DRIVER)
    front = catalog.calibrate(Calibration(station="cell", device="front", values={}, by="ada"))
    made = [
        episode(0, operator="ada", station="cell"),
        episode(1, operator="bob", station="cell", agent="policy", policy=DRIVER.id),
        episode(2, operator="ada", station="bench", task="stack"),
        episode(3, operator="bob", station="bench", agent="scripted"),
    ]
    catalog.add(*made, *streams(made[0], front=front.id), *streams(made[1], front=None), *streams(made[2], wrist=None))
    catalog.add(verdict(made[0]), verdict(made[1], Outcome.FAILURE), verdict(made[2], Outcome.INVALID))
    catalog.edit(edit(made[1], EditKind.QUARANTINE), edit(made[3], EditKind.RETIRE))
    return made


QUESTIONS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2]),
    ({"retired": None}, [0, 1, 2, 3]),
    ({"retired": True}, [3]),
    ({"quarantined": True}, [1]),
    ({"quarantined": False}, [0, 2]),
    ({"purged": True}, []),
    ({"task": "stack"}, [2]),
    ({"outcome": Outcome.SUCCESS}, [0]),
    ({"agent": "policy"}, [1]),
    ({"operator": "ada"}, [0, 2]),
    ({"station": "bench"}, [2]),
    ({"station": "elsewhere"}, []),
    ({"device": "front"}, [0, 1]),
    ({"device": "SN-wrist"}, [2]),
    ({"device": "gripper"}, []),
    ({"calibration": 1}, [0]),
    ({"policy": DRIVER.id}, [1]),
    ({"since": NOON + timedelta(minutes=1)}, [1, 2]),
    ({"until": NOON + timedelta(minutes=1)}, [0]),
    ({"operator": "ada", "station": "cell", "outcome": Outcome.SUCCESS, "device": "arm"}, [0]),
    ({"operator": "ada", "agent": "policy"}, []),
    ({"failure": "DROP"}, [1]),
    ({"failure": "ENV"}, [2]),
    ({"words": ("ADA",)}, [0, 2]),
    ({"words": ("bo", "cel")}, [1]),
    ({"words": ("drop",)}, [1]),
    ({"words": ("fail",)}, [1]),
    ({"words": ("tack",)}, [2]),
    ({"words": ("%",)}, []),
    ({"words": ("polic",), "operator": "ada"}, []),
]
"""What is asked of them, and which are the answer."""


def test_every_question_finds_and_counts_what_it_should(catalog: Catalog, rows: list[EpisodeRow]) -> None:
    for wanted, which in QUESTIONS:
        asked = Wanted(**wanted)
        assert [one.row for one in catalog.find(asked)] == [rows[number] for number in which], wanted
        assert catalog.count(asked) == len(which), wanted
        assert [one.row for one in catalog.find(asked, last=1)] == [rows[number] for number in which[-1:]], wanted


def test_the_newest_come_oldest_first(catalog: Catalog, rows: list[EpisodeRow]) -> None:
    assert [one.row for one in catalog.find(Wanted(), last=2)] == rows[1:3]
    assert [one.standing.episode for one in catalog.find(Wanted(), last=2)] == [row.id for row in rows[1:3]]
    assert catalog.find(Wanted(), last=0) == []


def test_a_word_may_begin_the_id_and_no_word_is_a_pattern(catalog: Catalog, rows: list[EpisodeRow]) -> None:
    for row in rows[:3]:
        assert [one.row for one in catalog.find(Wanted(words=(str(row.id)[:13],)))] == [row]
    assert catalog.find(Wanted(words=("a_a",))) == []


def test_pages_of_older_ones_follow_without_a_gap_or_a_repeat(catalog: Catalog) -> None:
    """Three began in the same minute, so that only their ids tell them apart."""
    there = [episode(minute) for minute in (0, 1, 1, 1, 2)]
    catalog.add(*there)
    seen, before = list[EpisodeRow](), None
    for _ in range(3):
        page = catalog.find(Wanted(before=before), last=2)
        seen = [one.row for one in page] + seen
        before = page[0].standing.started, page[0].standing.episode
    assert seen == sorted(there, key=lambda row: (row.started, row.id.hex))
    assert catalog.find(Wanted(before=before), last=2) == []


def test_episodes_are_counted_by_anything_most_frequent_first(catalog: Catalog, rows: list[EpisodeRow]) -> None:
    assert catalog.tally(Wanted(), "operator") == {"ada": 2, "bob": 1}
    assert catalog.tally(Wanted(), "failure") == {"DROP": 1, "ENV": 1}
    assert catalog.tally(Wanted(retired=None), "outcome") == {"failure": 1, "invalid": 1, "success": 1}
    assert catalog.tally(Wanted(task="stack", outcome=Outcome.SUCCESS), "agent") == {}
    held = catalog.snapshot("reach", catalog.find(Wanted(task="reach"))[:1])
    assert catalog.tally(Wanted(snapshot=held.id), "operator") == {"ada": 1}


def test_what_cannot_exist_is_answered_with_what_does(catalog: Catalog, rows: list[EpisodeRow]) -> None:
    for ask in (catalog.find, catalog.count):
        with pytest.raises(Unknown, match="there is no task 'jump'; there are: reach, stack"):
            ask(Wanted(task="jump"))
        with pytest.raises(Unknown, match="there is no calibration '9'; there are: 1"):
            ask(Wanted(calibration=9))
        with pytest.raises(Unknown, match="there is no policy"):
            ask(Wanted(policy=rows[0].id))


def test_episodes_are_looked_up_many_at_once_however_they_stand(catalog: Catalog, rows: list[EpisodeRow]) -> None:
    found = catalog.among([rows[3].id, rows[1].id, episode().id])
    assert {key: (one.row, one.standing.retired) for key, one in found.items()} == {
        rows[3].id: (rows[3], True),
        rows[1].id: (rows[1], False),
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Enough episodes for the database to care how it looks for them."""
    with Catalog(tmp_path_factory.mktemp("many") / "catalog.db") as catalog:
        seed(catalog, 2_000)
        yield catalog


def test_no_question_about_many_episodes_sorts_them_or_reads_the_whole_table(many: Catalog) -> None:
    """One index holds all that is asked for, in the order of the list; only what was chosen is turned round."""
    for question, wanted in questions(many).items():
        for query in (listing(wanted, 50), listing(wanted, None), counting(wanted)):
            plan = _plan(many, query)
            assert any("standing USING" in step and "INDEX" in step for step in plan), (question, plan)
            choosing = plan[: plan.index("SCAN newest")] if "SCAN newest" in plan else plan
            assert not [step for step in choosing if "TEMP B-TREE" in step], plan
            assert not [step for step in plan if step.startswith("SCAN episode")], plan
        assert any("standing USING COVERING INDEX" in step for step in _plan(many, counting(wanted))), question


def test_the_seeded_catalog_stands_as_its_history_says(many: Catalog) -> None:
    """What the bench measures is a catalog as it would have come about."""
    last = many.last_verdicts(one.row.id for one in many.find(Wanted(retired=None), last=100))
    for one in many.find(Wanted(retired=None), last=100):
        assert one.standing.outcome is last[one.row.id].outcome
        assert [stream.name for stream in many.streams(one.row.id)] == ["action", "arm", "front", "wrist"]
    before = many.count(Wanted())
    edit_once(many)
    assert many.count(Wanted()) == before - 1


def _plan(catalog: Catalog, query: Any) -> list[str]:
    """How SQLite would go about it, step by step."""
    words = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with catalog._read() as session:
        return [row[-1] for row in session.execute(text(f"EXPLAIN QUERY PLAN {words}".replace(":", "\\:")))]


def test_of_very_many_episodes_those_that_are_there_are_known(many: Catalog) -> None:
    there = [one.row.id for one in many.find(Wanted(), last=1_000)]
    strangers = [episode().id for _ in range(1_000)]
    assert many.known([*there, *strangers]) == set(there)
    assert many.known([*there[:3], *strangers[:3]]) == set(there[:3])
    assert many.known([]) == set()
