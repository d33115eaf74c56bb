"""From a policy down to the people, cells and calibrations behind it, and up to its trials: nothing gets lost."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from appliance.home import Home
from ops import lineage
from ops.lineage import Branch
from ops.lineage import tree as in_words
from storage import Batch, Calibration, Catalog, EditKind, EpisodeRow, EpisodeWriter, Night, Outcome, Trial, Wanted
from storage.engine import Database
from storage.lineage import live
from tests.episodes import STREAMS
from tests.said import edit, episode, policy, streams, verdict
from tests.takes import Take
from tests.typed import Type


@pytest.fixture
def family(catalog: Catalog) -> Catalog:
    """bc-1 learned from three of ada's and one of bob's; bc-2 goes on from it with bob's alone; bc-3 from bc-2."""
    for _ in range(2):
        catalog.calibrate(Calibration(station="cell", device="front", values={"fx": 600}, by="ada"))
    shown = [episode(minute, operator="ada", station="cell", station_digest="a1") for minute in range(3)]
    bobs = episode(9, operator="bob", agent="vr", station="bench", station_digest="b2", seconds=60.0)
    catalog.add(
        *shown, bobs, *(row for one, lens in zip(shown, (1, 1, 2), strict=True) for row in streams(one, front=lens))
    )
    every = catalog.snapshot("reach", catalog.find(Wanted()), "all")
    his = catalog.snapshot("reach", catalog.find(Wanted(operator="bob")), "his")
    first = policy("bc-1", 1, snapshot=every.id, revision="c0de")
    second = policy("bc-2", 2, snapshot=his.id, parent=first.id)
    catalog.add(first, second, policy("bc-3", 3, snapshot=his.id, parent=second.id))
    return catalog


def of(catalog: Catalog, name: str) -> Any:
    return catalog.lineage(catalog.policy(name).id)


def said(branch: Branch) -> list[str]:
    return [branch.says, *(line for one in branch.branches for line in said(one))]


def test_a_line_goes_down_to_who_showed_it_where_and_with_which_calibration(family: Catalog) -> None:
    line = of(family, "bc-3").line
    assert [one.policy.name for one in line] == ["bc-3", "bc-2", "bc-1"]
    assert [one.held.episodes for one in line] == [1, 1, 4]
    sources = [
        (one.episodes, one.operator, one.agent, one.station, one.station_digest, one.calibrations)
        for one in line[2].held.sources
    ]
    assert sources == [
        (2, "ada", "person", "cell", "a1", (("front", 1),)),
        (1, "ada", "person", "cell", "a1", (("front", 2),)),
        (1, "bob", "vr", "bench", "b2", ()),
    ]
    (his,) = line[0].held.sources
    assert (his.seconds, his.first, his.last) == (60.0, his.last, his.first)


def test_episodes_that_differ_only_in_serial_numbers_are_of_one_source(catalog: Catalog) -> None:
    one, two = episode(1, operator="ada", seconds=2.0), episode(5, operator="ada", seconds=3.0)
    swapped = streams(two, front=None)
    for row in swapped:
        row.serial = f"{row.serial}-2"
    catalog.add(one, two, *streams(one, front=None), *swapped)
    assert len({found.standing.kit for found in catalog.find(Wanted())}) == 2
    frozen = catalog.snapshot("reach", catalog.find(Wanted()))
    catalog.add(policy("bc-1", snapshot=frozen.id))
    catalog.edit(edit(one, EditKind.QUARANTINE), edit(two, EditKind.RETIRE), edit(two, EditKind.PURGE))
    (source,) = of(catalog, "bc-1").line[0].held.sources
    assert (source.episodes, source.seconds) == (2, 5.0)
    assert (source.first, source.last) == (one.started, two.started)
    assert (source.quarantined, source.retired, source.purged) == (1, 0, 1)


def test_a_line_goes_up_to_trials_promotions_nights_and_children(family: Catalog) -> None:
    one, two = family.policy("bc-1"), family.policy("bc-2")
    plan(family, "b1", one.id, two.id)
    assert [(each.planned, each.ran, each.outcomes) for each in of(family, "bc-2").tried] == [(2, 1, None)]
    family.end_batch("b1", "enough was seen")
    (tried,) = of(family, "bc-2").tried
    assert (tried.against, tried.planned, tried.ran) == (("bc-1",), 2, 1)
    assert tried.outcomes == {Outcome.SUCCESS: 0, Outcome.FAILURE: 1, Outcome.INVALID: 0}
    family.promote(two, "ada", "it is better", {"batch": "b1"})
    family.add(Night(id="2026-01-02-reach", task="reach", station="cell", by="clock", candidate=two.id))
    found = of(family, "bc-2")
    assert found.champion
    assert not of(family, "bc-1").champion
    assert [each.name for each in found.children] == ["bc-3"]
    assert [(each.by, each.why) for each in found.promotions] == [("ada", "it is better")]
    assert [each.id for each in found.nights] == ["2026-01-02-reach"]
    assert found.drove == 1


def plan(catalog: Catalog, name: str, *policies: Any) -> EpisodeRow:
    """A batch of two trials for each of these; the last policy has run one, and failed."""
    trials = [
        Trial(batch=name, turn=turn, task="reach", policy=key)
        for turn, key in enumerate([key for key in policies for _ in range(2)])
    ]
    planned = catalog.plan(Batch(id=name, task="reach", station="cell", seed=0, planned=len(trials)), trials)
    ran = episode(30, agent="policy", policy=policies[-1])
    catalog.add(ran, verdict(ran, Outcome.FAILURE))
    catalog.close_trial(planned[-1], ran.id)
    return ran


def test_what_a_policy_in_use_or_one_before_it_learned_from_is_needed(family: Catalog) -> None:
    assert family.needed() == {}
    shown = {found.row.operator: found.row.id for found in family.find(Wanted())}
    family.promote(family.policy("bc-2"), "ada")
    needed = family.needed()
    assert set(needed.values()) == {"bc-1", "bc-2"}
    assert needed[shown["bob"]] == "bc-2"
    assert len(needed) == 4


@pytest.mark.parametrize("how", ["gone back to", "tried", "a night's candidate", "a night's champion"])
def test_in_use_is_more_than_the_champion(catalog: Catalog, where: str, how: str) -> None:
    first, other = policy("bc-1", 1), policy("bc-2", 2)
    catalog.add(first, other)
    night: dict[str, Any] = {"id": "2026-01-02-reach", "task": "reach", "station": "cell", "by": "clock"}
    match how:
        case "gone back to":
            catalog.promote(first, "ada")
            catalog.promote(other, "ada")
        case "tried":
            plan(catalog, "b1", first.id)
        case "a night's candidate":
            catalog.add(Night(**night, candidate=first.id))
        case _:
            catalog.add(Night(**night, champion=first.id))
    assert first.id in used(where)
    match how:
        case "gone back to":
            catalog.roll_back("reach", "ada")
            assert used(where) == {first.id}
        case "tried":
            catalog.end_batch("b1", "enough")
            assert used(where) == set()


def used(where: str) -> set[UUID]:
    with closing(Database(where)) as database, database.read() as session:
        return live(session)


@pytest.fixture
def cell(home: Path) -> Iterator[Catalog]:
    """A real episode by ada, a policy that learned from it, and another that learned from that one alone."""
    with Home(home, str(home / "catalog.db")).open() as opened:
        sealed = Take().record(home)
        row = episode(
            1, sealed.id, task="pick_place", operator="ada", station="cell", path=f"episodes/{sealed.path.name}"
        )
        opened.add(row, *streams(row))
        frozen = opened.snapshot("pick_place", opened.find(Wanted()))
        parent = policy("bc-1", 1, task="pick_place", snapshot=frozen.id)
        opened.add(parent, policy("bc-2", 2, task="pick_place", parent=parent.id, revision="c0de"))
        yield opened


def test_policies_show_draws_the_line(appliance: Type, cell: Catalog, tmp_path: Path) -> None:
    picture = tmp_path / "line.svg"
    said = appliance("policies", "show", "bc-2", "--save", str(picture))
    for words in ("bc-2: bc of pick_place", "code c0de", "goes on from bc-1", "1 person by ada at cell"):
        assert words in said.out
    assert picture.read_bytes()[:5] == b"<?xml"
    line = appliance("policies", "show", "bc-1", "--json").json["lineage"]
    assert line["learned"]["sources"][0]["operator"] == "ada"
    assert [one["name"] for one in line["children"]] == ["bc-2"]
    assert appliance("policies", "show", "bc-1", "--save", str(tmp_path / "line.tree")).code == 1


def test_an_episode_and_a_trial_tell_their_line_both_ways(appliance: Type, cell: Catalog) -> None:
    (shown,) = cell.find(Wanted())
    line = appliance("episodes", "show", str(shown.row.id), "--json").json
    assert (line["learned"], line["descended"]) == (["bc-1"], {"bc-2": "bc-1"})
    said = appliance("lineage", str(shown.row.id)).out
    assert "bc-1 learned from it" in said
    assert "bc-2 descends from bc-1, which did" in said
    both = policy("bc-3", 3, task="pick_place", parent=cell.policy("bc-2").id, snapshot=cell.policy("bc-1").snapshot)
    cell.add(both)
    line = lineage.learned(cell, shown.row.id)
    assert (line["learned"], line["descended"]) == (["bc-1", "bc-3"], {"bc-2": "bc-1"})
    driver = cell.policy("bc-1").id
    trials = [Trial(batch="b1", turn=turn, task="pick_place", policy=driver) for turn in (0, 1)]
    planned = cell.plan(Batch(id="b1", task="pick_place", station="cell", seed=0, planned=2), trials)
    ran = episode(5, task="pick_place", agent="policy", policy=driver)
    cell.add(ran)
    cell.close_trial(planned[1], ran.id)
    said = appliance("lineage", "b1:1").out
    for words in ("turn 1 of batch b1", "driven by bc-1", "1 person by ada at cell", "no policy learned from it"):
        assert words in said
    assert "has not run yet" in appliance("lineage", "b1:0").err
    assert "no turn 7" in appliance("lineage", "b1:7").err
    assert "its turns are 0 to 1" in appliance("lineage", "b1:7").err
    assert "b1 is a batch; name one of its trials, BATCH:TURN" in appliance("lineage", "b1").err
    assert appliance("lineage", "nobody").code == 1


def test_which_code_recorded_what_was_learned_from_is_read_from_the_disk(home: Path, cell: Catalog) -> None:
    with EpisodeWriter(home, STREAMS, {"revision": "f00d"}) as writer:
        sealed = writer.seal({"ended_by": "done"})
    gone = episode(3, task="pick_place", path="episodes/nowhere.zarr")
    damaged = episode(4, task="pick_place", path=cell.find(Wanted())[0].row.path)
    (home / damaged.path / "zarr.json").write_text("{}")
    cell.add(episode(2, sealed.id, task="pick_place", path=f"episodes/{sealed.path.name}"), gone, damaged)
    frozen = cell.snapshot("pick_place", cell.find(Wanted()))
    cell.add(policy("bc-4", 4, task="pick_place", snapshot=frozen.id))
    facts = lineage.of_policy(cell, home, cell.policy("bc-4"))
    assert facts["revisions"] == {"f00d": 1}
    assert "1 recorded with code f00d" in said(in_words(facts))
