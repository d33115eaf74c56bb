"""What was recorded is never rewritten: edits, verdicts and merges say how it stands, and history alone can tell."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from storage import (
    Catalog,
    Edit,
    EditKind,
    EpisodeRow,
    Merge,
    Outcome,
    Refused,
    Task,
    Unknown,
    Wanted,
)
from storage.models import Base
from storage.standing import counts_as
from tests.said import NOON, edit, episode, streams, verdict

COPY: dict[str, Any] = {"path": "compact/x.zarr", "digest": "c", "bytes": 7}


@pytest.fixture
def row(catalog: Catalog) -> EpisodeRow:
    made = episode()
    catalog.add(made)
    return made


def test_a_retired_episode_is_left_out_until_it_is_restored(catalog: Catalog, row: EpisodeRow) -> None:
    catalog.edit(edit(row, EditKind.RETIRE, "the cube was upside down"))
    assert catalog.find(Wanted()) == []
    assert [one.row.id for one in catalog.find(Wanted(retired=True))] == [row.id]
    catalog.edit(edit(row, EditKind.RESTORE))
    assert catalog.count(Wanted()) == 1
    said = catalog.edits(row.id)
    assert [(one.kind, one.by, one.why) for one in said] == [
        (EditKind.RETIRE, "ada", "the cube was upside down"),
        (EditKind.RESTORE, "ada", ""),
    ]
    assert said[0].made <= datetime.now(UTC)
    assert catalog.edits(kind=EditKind.RESTORE) == said[1:]


def test_an_episode_in_quarantine_is_shown_and_not_learned_from(catalog: Catalog, row: EpisodeRow) -> None:
    catalog.edit(edit(row, EditKind.QUARANTINE, "gap 0.3 s of front"))
    assert catalog.count(Wanted()) == catalog.count(Wanted(quarantined=True)) == 1
    assert catalog.count(Wanted(quarantined=False)) == 0
    catalog.edit(edit(row, EditKind.RELEASE))
    assert catalog.count(Wanted(quarantined=False)) == 1


def test_trim_marks_go_into_snapshots_and_can_be_taken_back(catalog: Catalog, row: EpisodeRow) -> None:
    whole = catalog.snapshot("reach", catalog.find(Wanted()))
    catalog.edit(edit(row, EditKind.TRIM, start=0.5))
    (trimmed,) = catalog.find(Wanted())
    assert (trimmed.standing.start, trimmed.standing.end, trimmed.keep) == (0.5, None, (0.5, 2.5))
    assert catalog.snapshot("reach", [trimmed]).episodes == [[str(row.id), row.digest, 0.5, 2.5]]
    catalog.edit(edit(row, EditKind.TRIM, end=2))
    assert catalog.find(Wanted())[0].keep == (0.0, 2.0)
    catalog.edit(edit(row, EditKind.TRIM))
    assert catalog.find(Wanted())[0].keep is None
    assert catalog.snapshot("reach", catalog.find(Wanted())) == whole


def test_a_relabelled_episode_counts_as_the_other_task_and_was_recorded_as_the_first(
    catalog: Catalog, row: EpisodeRow
) -> None:
    catalog.add(Task(name="stack", instruction="stack them"))
    catalog.edit(edit(row, EditKind.RELABEL, task="stack"))
    (found,) = catalog.find(Wanted(task="stack"))
    assert (found.row.task, found.standing.task) == ("reach", "stack")
    assert catalog.find(Wanted(task="reach")) == []


def test_merged_tasks_are_one_for_what_comes_later_too_until_it_is_taken_back(catalog: Catalog) -> None:
    catalog.add(*(Task(name=name, instruction=name) for name in ("grab", "grasp", "hold")))
    catalog.add(episode(1, task="grab"), episode(2, task="grasp"))
    catalog.merge(Merge(task="grab", into="grasp", by="ada", why="the same thing"))
    catalog.merge(Merge(task="grasp", into="hold", by="ada"))
    catalog.add(episode(3, task="grab"))
    assert [catalog.count(Wanted(task=name)) for name in ("grab", "grasp", "hold")] == [0, 0, 3]
    late = episode(4)
    catalog.add(late)
    catalog.edit(edit(late, EditKind.RELABEL, task="grab"))
    assert catalog.standing(late.id).task == "hold"
    catalog.merge(Merge(task="grasp", into="grasp", by="bob"))
    assert [catalog.count(Wanted(task=name)) for name in ("grab", "grasp", "hold")] == [0, 4, 0]
    assert [(one.task, one.into, one.by) for one in catalog.merges()] == [
        ("grab", "grasp", "ada"),
        ("grasp", "hold", "ada"),
        ("grasp", "grasp", "bob"),
    ]


def test_purging_leaves_the_row_and_says_that_the_record_is_gone(catalog: Catalog, row: EpisodeRow) -> None:
    catalog.edit(edit(row, EditKind.RETIRE), edit(row, EditKind.PURGE))
    assert catalog.find(Wanted(retired=None)) == []
    assert [one.row for one in catalog.find(Wanted(retired=None, purged=True))] == [row]


def test_a_compact_copy_takes_over_when_the_original_is_gone(catalog: Catalog, row: EpisodeRow) -> None:
    catalog.edit(edit(row, EditKind.COMPACT, **COPY))
    assert catalog.standing(row.id).path == row.path
    catalog.edit(edit(row, EditKind.COOL))
    standing = catalog.standing(row.id)
    assert (standing.path, standing.digest) == ("compact/x.zarr", "c")
    assert catalog.episode(row.id).path == row.path
    assert catalog.snapshot("reach", catalog.find(Wanted())).episodes == [[str(row.id), "c"]]


def test_what_contradicts_how_an_episode_stands_is_refused_with_what_would_be_right(
    catalog: Catalog, row: EpisodeRow
) -> None:
    other, gone, cold = episode(1), episode(2), episode(3)
    catalog.add(other, gone, cold)
    catalog.edit(edit(other, EditKind.RETIRE), edit(other, EditKind.QUARANTINE), edit(other, EditKind.TRIM, end=1))
    catalog.edit(edit(gone, EditKind.RETIRE), edit(gone, EditKind.PURGE))
    catalog.edit(edit(cold, EditKind.COMPACT, **COPY), edit(cold, EditKind.COOL))
    wrong: list[tuple[Edit, str]] = [
        (edit(other, EditKind.RETIRE), f"cannot retire episode {other.id}: it is retired already"),
        (edit(row, EditKind.RESTORE), "cannot restore .*: it is not retired"),
        (edit(other, EditKind.QUARANTINE), "it is in quarantine already"),
        (edit(row, EditKind.RELEASE), "it is not in quarantine"),
        (edit(row, EditKind.PURGE), "only what was retired is purged; retire it first"),
        (edit(gone, EditKind.RESTORE), "was purged; nothing more can be done to it"),
        (edit(row, EditKind.TRIM), "it is trimmed so already"),
        (edit(other, EditKind.TRIM, end=1.0), "it is trimmed so already"),
        (edit(row, EditKind.TRIM, start=2, end=1), "2 s to 1 s is not within its 2.5 s; give 0 <= start < end <= 2.5"),
        (edit(row, EditKind.TRIM, end=2.6), "0 s to 2.6 s is not within its 2.5 s"),
        (edit(row, EditKind.TRIM, start=-0.1), "-0.1 s to 2.5 s is not within"),
        (edit(row, EditKind.TRIM, start=float("nan")), "its start has to be a number of seconds, not nan"),
        (edit(row, EditKind.TRIM, end=True), "its end has to be a number of seconds, not True"),
        (edit(row, EditKind.TRIM, begin=1), "it cannot hold begin; it holds end, start"),
        (edit(row, EditKind.RETIRE, task="reach"), "it cannot hold task; it holds nothing"),
        (edit(row, EditKind.RELABEL, task="reach"), "it is of task reach already"),
        (edit(row, EditKind.COMPACT, path="p"), "the copy's bytes, digest is not said"),
        (edit(row, EditKind.COOL), "there is no compact copy of it; compact it first"),
        (edit(cold, EditKind.COMPACT, **COPY), "its original is gone, so no other copy can be made of it"),
        (edit(cold, EditKind.COOL), "its original is gone already"),
        (Edit(episode=row.id, kind=EditKind.RETIRE, by=""), "an edit says who made it"),
    ]
    before = everything(catalog, [row, other, gone, cold])
    for attempt, helps in wrong:
        with pytest.raises(Refused, match=helps):
            catalog.edit(edit(cold, EditKind.RETIRE), attempt)
        assert everything(catalog, [row, other, gone, cold]) == before
    with pytest.raises(Unknown, match="there is no task 'jump'; there are: reach"):
        catalog.edit(edit(row, EditKind.RELABEL, task="jump"))
    with pytest.raises(Unknown, match=f"there is no episode '.*'; there are: .*{row.id}"):
        catalog.edit(edit(episode(9), EditKind.RETIRE))
    assert everything(catalog, [row, other, gone, cold]) == before


def test_merges_that_go_nowhere_or_in_a_circle_are_refused(catalog: Catalog) -> None:
    catalog.add(Task(name="grasp", instruction="grasp it"))
    with pytest.raises(Refused, match="episodes of reach count as reach already"):
        catalog.merge(Merge(task="reach", into="reach", by="ada"))
    catalog.merge(Merge(task="reach", into="grasp", by="ada"))
    with pytest.raises(Refused, match="episodes of reach count as grasp already"):
        catalog.merge(Merge(task="reach", into="grasp", by="bob"))
    with pytest.raises(Refused, match="grasp counts as reach counts as grasp; merge reach into itself first"):
        catalog.merge(Merge(task="grasp", into="reach", by="ada"))
    with pytest.raises(Unknown, match="there is no task 'jump'; there are: grasp, reach"):
        catalog.merge(Merge(task="reach", into="jump", by="ada"))
    assert len(catalog.merges()) == 1


def test_a_circle_of_three_is_refused_though_the_first_of_them_counts_as_the_last(catalog: Catalog) -> None:
    catalog.add(*(Task(name=name, instruction=name) for name in ("grab", "grasp", "hold")))
    catalog.add(episode(1, task="grab"), episode(2, task="grasp"))
    catalog.merge(Merge(task="grab", into="grasp", by="ada"))
    catalog.merge(Merge(task="grasp", into="hold", by="ada"))
    for task, last in (("grasp", "grab"), ("hold", "grasp")):
        with pytest.raises(Refused, match=f"a circle: {task} counts as grab counts .* merge {last} into itself first"):
            catalog.merge(Merge(task=task, into="grab", by="bob"))
    assert len(catalog.merges()) == 2
    assert catalog.count(Wanted(task="hold")) == 2
    catalog.merge(Merge(task="grab", into="grab", by="bob"))
    catalog.merge(Merge(task="grasp", into="grab", by="bob"))
    assert [catalog.count(Wanted(task=name)) for name in ("grab", "grasp", "hold")] == [2, 0, 0]


def test_merges_in_a_circle_are_told_not_followed_for_ever() -> None:
    with pytest.raises(Refused, match="a counts as b counts as c counts as b; merge c into itself first"):
        counts_as("a", {"a": "b", "b": "c", "c": "b"})


def test_an_episode_and_its_quarantine_may_be_added_twice(catalog: Catalog) -> None:
    """Two programs that find the same sealed episode say the same of it."""
    row = episode()
    held = Edit(episode=row.id, kind=EditKind.QUARANTINE, by="table", why="gap", made=NOON)
    catalog.add(row, held, *streams(row))
    catalog.add(row, held, *streams(row))
    assert len(catalog.edits(row.id)) == 1
    with pytest.raises(Refused, match="it is in quarantine already"):
        catalog.add(Edit(episode=row.id, kind=EditKind.QUARANTINE, by="table", why="another gap", made=NOON))


def test_what_follows_from_history_cannot_be_added_by_hand(catalog: Catalog, row: EpisodeRow) -> None:
    with pytest.raises(Refused, match="a standing follows from other rows"):
        catalog.add(catalog.standing(row.id))


TASKS = ("a", "b", "c")
EPISODES = 3
SECONDS = 2.5

verdicts = some.tuples(some.integers(0, EPISODES - 1), some.sampled_from(Outcome))
marks = some.fixed_dictionaries(
    {}, optional={"start": some.sampled_from([0, 0.5, 2]), "end": some.sampled_from([1, 2.5])}
)
edits = some.one_of(
    some.tuples(some.integers(0, EPISODES - 1), some.sampled_from(EditKind), some.just({})),
    some.tuples(some.integers(0, EPISODES - 1), some.just(EditKind.TRIM), marks),
    some.tuples(some.integers(0, EPISODES - 1), some.just(EditKind.RELABEL), some.sampled_from(TASKS)),
    some.tuples(some.integers(0, EPISODES - 1), some.just(EditKind.COMPACT), some.just(COPY)),
)
merges = some.tuples(some.sampled_from(TASKS), some.sampled_from(TASKS))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=some.lists(some.one_of(verdicts, edits, merges), max_size=12), late=some.sampled_from(TASKS))
def test_however_things_were_said_history_alone_tells_how_they_stand(
    catalog: Catalog, said: list[Any], late: str
) -> None:
    """What is refused changes nothing; what is accepted leaves every episode as its whole history says."""
    run = uuid4().hex[:6]
    names = {name: f"{name}-{run}" for name in TASKS}
    catalog.add(*(Task(name=name, instruction=name) for name in names.values()))
    rows = [episode(number, task=names[TASKS[number]], seconds=SECONDS) for number in range(EPISODES)]
    catalog.add(*rows)
    for one in said:
        before = everything(catalog, rows)
        try:
            _say(catalog, one, rows, names)
        except Refused:
            assert everything(catalog, rows) == before
    rows.append(episode(9, task=names[late]))
    catalog.add(rows[-1])
    history = History(catalog)
    for row in rows:
        assert told(catalog.standing(row.id)) == history.of(row.id)


def _say(catalog: Catalog, one: Any, rows: list[EpisodeRow], names: dict[str, str]) -> None:
    match one:
        case (int() as number, Outcome() as outcome):
            catalog.add(verdict(rows[number], outcome))
        case (int() as number, EditKind() as kind, str() as task):
            catalog.edit(edit(rows[number], kind, task=names[task]))
        case (int() as number, EditKind() as kind, dict() as value):
            if kind is EditKind.RELABEL:
                value = {"task": names["a"]}
            catalog.edit(edit(rows[number], kind, **value))
        case (str() as task, str() as into):
            catalog.merge(Merge(task=names[task], into=names[into], by="ada"))


def told(row: Base) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


def everything(catalog: Catalog, rows: list[EpisodeRow]) -> list[Any]:
    """All that was said of these episodes, all merges, and how they stand."""
    said: list[Base] = list(catalog.merges())
    for row in rows:
        said += [*catalog.verdicts(row.id), *catalog.edits(row.id), catalog.standing(row.id)]
    return [told(one) for one in said]


class History:
    """Works out how an episode stands from everything that was ever said, in another way than the catalog does."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.into = {one.task: one.into for one in catalog.merges()}

    def of(self, key: UUID) -> dict[str, Any]:
        row, said = self.catalog.episode(key), self.catalog.edits(key)

        def last(*kinds: EditKind) -> Edit | None:
            return next((one for one in reversed(said) if one.kind in kinds), None)

        def is_last(kind: EditKind, undone_by: EditKind) -> bool:
            found = last(kind, undone_by)
            return found is not None and found.kind is kind

        judged = self.catalog.verdicts(key)
        relabel, trim, cool = last(EditKind.RELABEL), last(EditKind.TRIM), last(EditKind.COOL)
        copies = [one for one in said if one.kind is EditKind.COMPACT and cool is not None and one.id < cool.id]
        named = relabel.value["task"] if relabel else row.task
        return {
            "episode": key,
            "task": self.follow(named),
            "named": named,
            "outcome": judged[-1].outcome if judged else None,
            "failure": judged[-1].failure if judged else None,
            "retired": is_last(EditKind.RETIRE, EditKind.RESTORE),
            "quarantined": is_last(EditKind.QUARANTINE, EditKind.RELEASE),
            "purged": last(EditKind.PURGE) is not None,
            "start": trim.value.get("start") if trim else None,
            "end": trim.value.get("end") if trim else None,
            "path": copies[-1].value["path"] if copies else row.path,
            "digest": copies[-1].value["digest"] if copies else row.digest,
            "kit": "",
        } | {name: getattr(row, name) for name in ("started", "agent", "operator", "station", "policy")}

    def follow(self, task: str) -> str:
        into = self.into.get(task, task)
        return task if into == task else self.follow(into)
