"""Old episodes become small or go only by a rule that somebody made, never against whoever needs them; on record."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from appliance.doing import Here, Paused
from appliance.home import Home
from appliance.keeping import keep
from ops.keeping import GRACE, Plan, plan, run
from ops.verify import verify
from storage import (
    Catalog,
    Edit,
    EditKind,
    EpisodeRow,
    KeepingRule,
    Outcome,
    Refused,
    StreamRow,
    Unknown,
    Verdict,
    Wanted,
    WorkOrder,
)
from storage.reading import reading
from tests.said import policy
from tests.takes import Take
from tests.typed import Type

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def catalog(home: Path) -> Iterator[Catalog]:
    with Home(home, str(home / "catalog.db")).open() as opened:
        yield opened


@pytest.fixture
def take(home: Path, catalog: Catalog) -> Callable[..., EpisodeRow]:
    """Record a short take with a camera, so many days ago."""

    def make(
        days: float = 100, outcome: Outcome | None = Outcome.FAILURE, camera: bool = True, **more: Any
    ) -> EpisodeRow:
        sealed = Take().record(home, camera=camera)
        usual = {"task": "pick_place", "agent": "scripted", "path": f"episodes/{sealed.path.name}"}
        row = EpisodeRow(
            **(usual | more), id=sealed.id, digest=sealed.digest, seconds=sealed.seconds, started=NOW - days * DAY
        )
        catalog.add(row, *([StreamRow(episode=row.id, name="front", rows=1, camera=True)] if camera else []))
        if outcome is not None:
            failure = None if outcome is Outcome.SUCCESS else "DROP"
            catalog.add(Verdict(episode=row.id, by="ada", outcome=outcome, failure=failure))
        return row

    return make


type Make = Callable[..., EpisodeRow]


def rule(catalog: Catalog, does: EditKind, days: float = 30, **more: Any) -> KeepingRule:
    return catalog.keep_by(KeepingRule(does=does, days=days, by="ada", why="no room", **more))


def planned(catalog: Catalog, home: Path, later: float = 0) -> Plan:
    return plan(catalog, home, datetime.now(UTC) + later * DAY, catalog.keeping_rules())


def does(found: Plan) -> dict[UUID, str]:
    return {one.found.row.id: str(one.does) for one in found.due}


def why(found: Plan) -> list[str]:
    return [one.why for one in found.stays]


def kinds(catalog: Catalog, row: EpisodeRow) -> list[str]:
    return [str(edit.kind) for edit in catalog.edits(row.id)]


def learns(catalog: Catalog, row: EpisodeRow, name: str = "bc-1") -> Any:
    """A policy that learned from it."""
    frozen = catalog.snapshot("pick_place", catalog.among([row.id]).values())
    made = policy(name, task="pick_place", snapshot=frozen.id)
    catalog.add(made)
    return made


def test_without_a_rule_nothing_is_ever_done(home: Path, catalog: Catalog, take: Make) -> None:
    row = take(days=10_000)
    assert planned(catalog, home) == Plan((), ())
    assert keep(Home(home, str(home / "catalog.db")), {}, Here()) == {"did": {}, "freed": 0, "failed": []}
    assert catalog.edits() == []
    assert (home / row.path).exists()


def test_a_rule_is_for_a_task_an_outcome_an_agent_and_an_age(home: Path, catalog: Catalog, take: Make) -> None:
    old = take()
    take(days=29)
    take(outcome=Outcome.SUCCESS)
    take(agent="vr")
    rule(catalog, EditKind.COMPACT, outcome=Outcome.FAILURE, agent="scripted", task="pick_place")
    assert does(planned(catalog, home)) == {old.id: "compact"}
    assert len(planned(catalog, home, later=2).due) == 2


def test_a_smaller_copy_is_made_and_then_it_is_all_there_is(home: Path, catalog: Catalog, take: Make) -> None:
    row, blind = take(), take(camera=False)
    small = rule(catalog, EditKind.COMPACT)
    done = run(catalog, home, planned(catalog, home))
    assert dict(done.did) == {EditKind.COMPACT: 1}
    assert done.freed < 0
    assert planned(catalog, home) == Plan((), ())
    cold = rule(catalog, EditKind.COOL)
    done = run(catalog, home, planned(catalog, home))
    assert dict(done.did) == {EditKind.COOL: 1}
    assert not (home / row.path).exists()
    assert (home / blind.path).exists()
    assert [(str(one.kind), one.by, one.why) for one in catalog.edits(row.id)] == [
        ("compact", f"keeping rule {small.id}", "of ada: no room"),
        ("cool", f"keeping rule {cold.id}", "of ada: no room"),
    ]
    assert planned(catalog, home) == Plan((), ())
    assert list(verify(catalog, home)) == []


def test_what_a_rule_deletes_is_set_aside_first_and_goes_a_week_later(home: Path, catalog: Catalog, take: Make) -> None:
    row, young = take(), take(days=2)
    away = rule(catalog, EditKind.PURGE)
    run(catalog, home, planned(catalog, home))
    assert kinds(catalog, row) == ["retire"]
    waiting = planned(catalog, home, later=GRACE - 0.1)
    assert waiting.due == ()
    assert "it was set aside, and is deleted from" in why(waiting)[0]
    done = run(catalog, home, planned(catalog, home, later=GRACE))
    assert dict(done.did) == {EditKind.PURGE: 1}
    assert done.freed > 0
    assert not (home / row.path).exists()
    assert (home / young.path).exists()
    assert {(one.by, one.why) for one in catalog.edits(row.id)} == {(f"keeping rule {away.id}", "of ada: no room")}
    assert list(verify(catalog, home)) == []


def test_what_a_person_restores_stays_for_good(home: Path, catalog: Catalog, take: Make) -> None:
    row = take()
    rule(catalog, EditKind.PURGE)
    run(catalog, home, planned(catalog, home))
    catalog.edit(Edit(episode=row.id, kind=EditKind.RESTORE, by="bob"))
    assert why(planned(catalog, home, later=1000)) == ["bob restored it"]
    catalog.edit(Edit(episode=row.id, kind=EditKind.RETIRE, by="bob"))
    assert does(planned(catalog, home)) == {row.id: "purge"}


@pytest.mark.parametrize("does_what", [EditKind.COOL, EditKind.PURGE])
def test_what_a_policy_in_use_learned_from_stays(home: Path, catalog: Catalog, take: Make, does_what: EditKind) -> None:
    row = take()
    learned = learns(catalog, row)
    rule(catalog, does_what)
    assert len(planned(catalog, home).due) == 1
    catalog.promote(learned, "ada")
    assert planned(catalog, home).due == ()
    assert why(planned(catalog, home)) == ["bc-1 learned from it, which is in use"]


def test_a_champion_of_since_then_keeps_what_a_rule_had_set_aside(home: Path, catalog: Catalog, take: Make) -> None:
    row = take()
    learned = learns(catalog, row)
    rule(catalog, EditKind.PURGE)
    run(catalog, home, planned(catalog, home))
    catalog.promote(learned, "ada")
    assert why(planned(catalog, home, later=GRACE)) == ["bc-1 learned from it, which is in use"]


def test_what_a_person_retired_goes_at_once_whoever_learned_from_it(home: Path, catalog: Catalog, take: Make) -> None:
    """As `purge` has it: retiring it was a person's word."""
    row = take()
    catalog.promote(learns(catalog, row), "ada")
    catalog.edit(Edit(episode=row.id, kind=EditKind.RETIRE, by="ada"))
    rule(catalog, EditKind.PURGE)
    run(catalog, home, planned(catalog, home))
    assert kinds(catalog, row) == ["retire", "purge"]
    assert not (home / row.path).exists()


@pytest.mark.parametrize("retired", [False, True])
@pytest.mark.parametrize("does_what", [EditKind.COOL, EditKind.PURGE])
def test_what_a_work_order_follows_from_stays(
    home: Path, catalog: Catalog, take: Make, does_what: EditKind, retired: bool
) -> None:
    row = take()
    order = catalog.order(WorkOrder(task="pick_place", wanted=3, evidence={"episodes": [str(row.id)]}))
    catalog.close_order(order.id)
    if retired:
        catalog.edit(Edit(episode=row.id, kind=EditKind.RETIRE, by="ada"))
    rule(catalog, does_what)
    found = planned(catalog, home)
    assert found.due == ()
    assert set(why(found)) <= {f"work order {order.id} follows from it"}
    assert found.stays or does_what is EditKind.COOL


@pytest.mark.parametrize("does_what", [EditKind.COOL, EditKind.PURGE])
def test_what_somebody_reads_stays_until_they_are_done(
    home: Path, catalog: Catalog, take: Make, does_what: EditKind
) -> None:
    row, other = take(), take()
    if does_what is EditKind.PURGE:
        catalog.edit(*(Edit(episode=one.id, kind=EditKind.RETIRE, by="ada") for one in (row, other)))
    rule(catalog, does_what)
    with reading(home, "training", [row.id]):
        assert does(planned(catalog, home)) == {other.id: str(does_what)}
        assert "training (process" in why(planned(catalog, home))[0]
    before = planned(catalog, home)
    assert len(before.due) == 2
    with reading(home, "training", [row.id]):
        done = run(catalog, home, before)
    assert (home / row.path).exists()
    assert not (home / other.path).exists()
    assert dict(done.did) == {does_what: 1}
    assert "training (process" in done.failed[0]
    run(catalog, home, planned(catalog, home))
    assert not (home / row.path).exists()


def test_of_two_rules_that_which_does_most_and_may_counts(home: Path, catalog: Catalog, take: Make) -> None:
    row, kept = take(), take()
    catalog.promote(learns(catalog, kept), "ada")
    for kind in (EditKind.COMPACT, EditKind.COOL, EditKind.PURGE):
        rule(catalog, kind)
    assert does(planned(catalog, home)) == {row.id: "retire", kept.id: "compact"}


def test_what_was_set_aside_is_not_made_smaller(home: Path, catalog: Catalog, take: Make) -> None:
    catalog.edit(Edit(episode=take().id, kind=EditKind.RETIRE, by="ada"))
    for kind in (EditKind.COMPACT, EditKind.COOL):
        rule(catalog, kind)
    assert planned(catalog, home) == Plan((), ())


def test_what_cannot_be_done_to_one_is_in_no_others_way(home: Path, catalog: Catalog, take: Make) -> None:
    broken, good = take(days=200), take()
    (home / broken.path / "zarr.json").write_text("{}")
    rule(catalog, EditKind.COOL)
    told = list[tuple[UUID, int, bool]]()
    done = run(catalog, home, planned(catalog, home), lambda one, n, why: told.append((one.found.row.id, n, not why)))
    assert told == [(broken.id, 1, False), (good.id, 2, True)]
    assert str(broken.id) in done.failed[0]
    assert (home / broken.path).exists()
    assert kinds(catalog, good) == ["compact", "cool"]


def test_an_ended_rule_counts_no_longer(home: Path, catalog: Catalog, take: Make) -> None:
    take()
    made = rule(catalog, EditKind.COMPACT)
    ended = catalog.end_rule(made.id)
    assert ended.ended is not None
    assert catalog.end_rule(made.id).ended == ended.ended
    assert catalog.keeping_rules() == []
    assert [one.id for one in catalog.keeping_rules(ended=True)] == [made.id]
    assert planned(catalog, home) == Plan((), ())
    with pytest.raises(Unknown, match="there is no keeping rule '9'"):
        catalog.end_rule(9)


def test_a_rule_that_says_too_little_is_refused_at_every_door(catalog: Catalog) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"does": EditKind.PURGE, "why": " "}, "a rule that deletes for good says why"),
        ({"does": EditKind.RETIRE}, "a rule can compact, cool, purge what is old, not retire"),
        ({"days": -1.0}, "0 to 36500, not -1"),
        ({"days": float("nan")}, "0 to 36500, not nan"),
        ({"days": float("inf")}, "0 to 36500, not inf"),
        ({"by": ""}, "says who made it"),
    ]
    given: dict[str, Any] = {"does": EditKind.COMPACT, "days": 1.0, "by": "ada", "why": "room"}
    for said, says in wrong:
        for door in (catalog.keep_by, catalog.add):
            with pytest.raises(Refused, match=says):
                door(KeepingRule(**(given | said)))
    with pytest.raises(Unknown, match="there is no task 'nap'"):
        catalog.keep_by(KeepingRule(**given, task="nap"))
    assert catalog.keeping_rules(ended=True) == []


def test_as_a_job_it_makes_way_and_goes_on_when_it_is_asked_again(home: Path, catalog: Catalog, take: Make) -> None:
    rows = [take(), take()]
    rule(catalog, EditKind.COMPACT)
    place, needed = Home(home, str(home / "catalog.db")), Here()
    needed.stop.set()
    with pytest.raises(Paused):
        keep(place, {}, needed)
    assert sorted(kinds(catalog, row) for row in rows) == [[], ["compact"]]
    assert keep(place, {}, Here())["did"] == {"compact": 1}
    assert keep(place, {}, Here())["did"] == {}
    assert [kinds(catalog, row) for row in rows] == [["compact"]] * 2


def test_only_the_rules_that_are_asked_for_count(home: Path, catalog: Catalog, take: Make) -> None:
    take()
    rule(catalog, EditKind.COMPACT)
    assert keep(Home(home, str(home / "catalog.db")), {"rules": [7]}, Here())["did"] == {}


def test_an_interrupted_purge_is_finished(home: Path, catalog: Catalog, take: Make) -> None:
    row = take()
    catalog.edit(*(Edit(episode=row.id, kind=kind, by="ada") for kind in (EditKind.RETIRE, EditKind.PURGE)))
    rule(catalog, EditKind.COMPACT)
    keep(Home(home, str(home / "catalog.db")), {}, Here())
    assert not (home / row.path).exists()


def test_rules_are_made_planned_run_and_ended_by_typing(
    home: Path, catalog: Catalog, take: Make, appliance: Type
) -> None:
    row = take(days=40)
    assert appliance("keeping", "list", "--json").json == []
    assert appliance("keeping", "add", "purge", "--days", "30", "--yes").code == 1
    said = appliance("keeping", "add", "purge", "--days", "30", "--why", "no room", "--outcome", "failure")
    assert said.code == 1
    assert "retire: 1 episodes" in said.out
    assert "--yes says yes for scripts" in said.err
    assert catalog.keeping_rules() == []
    words = ("keeping", "add", "purge", "--days", "30", "--why", "no room", "--operator", "ada", "--outcome", "failure")
    assert appliance(*words, "--yes").code == 0
    (listed,) = appliance("keeping", "list", "--json").json
    assert (listed["does"], listed["days"], listed["outcome"], listed["by"]) == ("purge", 30.0, "failure", "ada")
    due = appliance("keeping", "plan", "--json").json["due"]
    assert [(one["id"], one["does"], one["rule"]) for one in due] == [(str(row.id), "retire", listed["id"])]
    assert "retire" in appliance("keeping", "plan").out
    assert catalog.edits() == []
    assert appliance("keeping", "run", "--json").json["did"] == {"retire": 1}
    assert appliance("keeping", "plan", "--json").json["stays"][0]["id"] == str(row.id)
    assert appliance("keeping", "end", str(listed["id"])).code == 0
    assert appliance("keeping", "list", "--json").json == []
    assert appliance("keeping", "list", "--ended", "--json").json[0]["ended"]
    assert "Nothing was due" in appliance("keeping", "run").out
    assert catalog.count(Wanted(retired=True)) == 1
