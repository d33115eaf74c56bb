"""Failures become orders for the starts they come from, and an order finds starts that are what it asks for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance import station
from appliance.begins import CannotOrder, begins, fits, varied
from appliance.collect import CannotCollect, starts
from appliance.evaluate import CannotEvaluate
from appliance.home import STARTER, Home
from appliance.offers import offers
from appliance.orders import again, brought, place, suggest
from ops import rollout
from ops.results import summarize
from ops.slices import Bound, Slice
from ops.starts import start
from storage import Catalog, EpisodeRow, Outcome, Verdict, WorkOrder
from tests import said

LEFT = Slice((Bound("y", 0.0, 0.14, "left half"),))
CELL = "franka-sim"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, str(tmp_path / "catalog.db"))


def left(condition: dict[str, object]) -> bool:
    return float(begins(station.load(CELL), condition, STARTER.instruction)["y"]) > 0


def took(catalog: Catalog, condition: dict[str, object], outcome: Outcome, agent: str = "scripted") -> EpisodeRow:
    """An episode that was judged so."""
    row = said.episode(task=STARTER.name, agent=agent, station=CELL, seconds=8.0, condition=condition)
    catalog.add(row)
    code = "LOC" if outcome is Outcome.FAILURE else None
    catalog.add(Verdict(episode=row.id, by="rules", outcome=outcome, failure=code, labelled_by="auto"))
    return row


@pytest.fixture
def tried(home: Home) -> Home:
    """A policy that was shown the right half of the table, and fails on the left."""
    with home.open(lambda _: None) as catalog:
        for seed in range(40):
            if not left({"seed": seed}):
                took(catalog, {"seed": seed}, Outcome.SUCCESS)
        row = said.policy("half-1", task=STARTER.name)
        catalog.add(row)
        batch = rollout.plan(catalog, STARTER.name, [row], 30, 1, CELL)
        while (trial := catalog.claim_trial(batch.id, "me")) is not None:
            failed = left(trial.condition)
            episode = took(catalog, trial.condition, Outcome.FAILURE if failed else Outcome.SUCCESS, "policy")
            catalog.close_trial(trial, episode.id)
    return home


def test_a_planted_weakness_becomes_the_first_order(tried: Home) -> None:
    found = suggest(tried, STARTER.name)
    best = found.proposals[0]
    assert (found.policy, best.code, best.where.words, best.shown) == ("half-1", "LOC", "left half", 0)
    assert best.minutes == pytest.approx(12 * 18 / 60)
    with tried.join() as catalog:
        (order,) = place(catalog, STARTER.name, found)
        assert Slice.said(order.part) == best.where
        assert order.evidence["episodes"] == list(best.episodes)
        assert (order.wanted, order.failure, order.evidence["policy"]) == (12, "LOC", "half-1")
        assert place(catalog, STARTER.name, found) == []


def test_what_was_shown_elsewhere_is_no_start_of_this_table(tried: Home) -> None:
    """People at another station set the scene in words, which this table could not be set by."""
    with tried.join() as catalog:
        row = said.episode(task=STARTER.name, station="bench", condition={"red_cube": "left"}, minute=90)
        catalog.add(row, Verdict(episode=row.id, by="ada", outcome=Outcome.SUCCESS))
    assert suggest(tried, STARTER.name).proposals[0].shown == 0


def test_takes_for_an_order_begin_in_its_part(home: Home) -> None:
    cell = station.load(CELL)
    with home.open(lambda _: None) as catalog:
        order = catalog.order(WorkOrder(task=STARTER.name, wanted=3, part=LEFT.facts))
    meant = fits(cell, STARTER.instruction, order)
    found = starts(home, STARTER.name, CELL, 6, 0, meant)
    assert all(left({"seed": seed}) for seed in found)
    assert sorted(set(found)) == [*found]
    skipped = {*range(found[-1])} - {*found}
    assert skipped
    assert not any(left({"seed": seed}) for seed in skipped)
    assert starts(home, STARTER.name, CELL, 3, 0, fits(cell, STARTER.instruction, None)) == (0, 1, 2)


def test_a_part_where_nothing_is_put_is_refused(home: Home) -> None:
    beyond = WorkOrder(task="t", wanted=1, part=Slice((Bound("y", 0.3, 0.4, "far left"),)).facts)
    cell = station.load(CELL)
    with pytest.raises(CannotCollect, match="franka-sim hardly ever puts things where they are wanted: 0 of 1"):
        starts(home, STARTER.name, CELL, 1, 0, fits(cell, STARTER.instruction, beyond))
    with pytest.raises(CannotOrder, match=r"a person sets the scene; order .* wants: far left"):
        fits(replace(cell, cell=None), STARTER.instruction, beyond)


def test_what_an_order_has_brought_is_measured_on_its_starts_alone_and_closes_it(tried: Home) -> None:
    found = suggest(tried, STARTER.name)
    with tried.join() as catalog:
        (order,) = place(catalog, STARTER.name, found)
        before = summarize(catalog, STARTER.name)
        better = said.policy("whole-1", minute=1, task=STARTER.name)
        catalog.add(better)
        cell = station.load(CELL)
        meant = fits(cell, STARTER.instruction, order)
        rows = [catalog.policy("half-1"), better]
        batch = rollout.plan(catalog, STARTER.name, rows, 8, 2, CELL, order=order.id, fits=meant)
        with pytest.raises(CannotOrder, match="does not say what an order has brought"):
            brought(catalog, batch)
        while (trial := catalog.claim_trial(batch.id, "me")) is not None:
            assert left(trial.condition)
            outcome = Outcome.SUCCESS if trial.policy == better.id else Outcome.FAILURE
            catalog.close_trial(trial, took(catalog, trial.condition, outcome, "policy").id)
        measured = brought(catalog, batch)
        assert (measured.before.successes, measured.after.successes, measured.compared.pairs) == (0, 8, 8)
        assert measured.compared.decided == "better"
        kept = catalog.work_order(order.id)
        assert kept.closed is not None
        assert (kept.result["before"]["policy"], kept.result["after"]["successes"]) == ("half-1", 8)
        assert "whole-1 n=8: 100%" in kept.result["says"]
        again_ = summarize(catalog, STARTER.name)
        assert [one.batch for one in again_.policies] == [one.batch for one in before.policies]


def test_an_order_for_what_was_varied_is_shown_and_tried_varied_so(home: Home) -> None:
    """Its starts are any, or those of its place; a take for it is varied, and so is a trial of what it brought."""
    cell = station.load(CELL)
    dark = Bound("lighting", "lighting", "lighting", "lighting")
    with home.open(lambda _: None) as catalog:
        anywhere = catalog.order(WorkOrder(task=STARTER.name, wanted=3, part=Slice((dark,)).facts))
        there = catalog.order(WorkOrder(task=STARTER.name, wanted=3, part=Slice((dark, *LEFT.bounds)).facts))
        rows = [said.policy(name, minute=n, task=STARTER.name) for n, name in enumerate(("half-1", "whole-1"))]
        catalog.add(*rows)
        meant = fits(cell, STARTER.instruction, there)
        batch = rollout.plan(catalog, STARTER.name, rows, 4, 2, CELL, varied(there), there.id, meant)
        trials = catalog.trials(batch.id)
        offered = {one.order: one.vary for one in offers(catalog, STARTER.name, None, None)}
    assert offered == {anywhere.id: ("lighting",), there.id: ("lighting",), None: ()}
    assert starts(home, STARTER.name, CELL, 3, 0, fits(cell, STARTER.instruction, anywhere)) == (0, 1, 2)
    assert all(left({"seed": seed}) for seed in starts(home, STARTER.name, CELL, 3, 0, meant))
    assert len(trials) == 8
    assert all(set(one.condition) == {"seed", "lighting"} and left(one.condition) for one in trials)


def test_an_order_is_measured_with_the_policy_that_is_named(tried: Home) -> None:
    """Another one's batch that was left open is not gone on with."""
    with tried.join() as catalog:
        (order,) = place(catalog, STARTER.name, suggest(tried, STARTER.name))
        rows = [said.policy(name, minute=n, task=STARTER.name) for n, name in enumerate(("whole-1", "third-1"), 1)]
        catalog.add(*rows)
        policies = [catalog.policy("half-1"), rows[0]]
        batch = rollout.plan(catalog, STARTER.name, policies, 2, 2, CELL, order=order.id)
    assert again(tried, order.id, "whole-1", 2, 0).id == batch.id
    with pytest.raises(CannotEvaluate, match="policy half-1: "):
        again(tried, order.id, "third-1", 2, 0)
    with pytest.raises(CannotOrder, match="follows from failures of half-1; name what was learned since"):
        again(tried, order.id, "half-1", 2, 0)


def test_an_order_of_a_person_has_nothing_to_be_compared_with(home: Home) -> None:
    with home.open(lambda _: None) as catalog:
        order = catalog.order(WorkOrder(task=STARTER.name, wanted=1))
    with pytest.raises(CannotOrder, match="was not made from trials"):
        again(home, order.id, "ccol-1", 3, 0)


def test_without_trials_there_is_nothing_to_order(home: Home) -> None:
    with home.open(lambda _: None) as catalog:
        row = said.policy("new-1", task=STARTER.name)
        catalog.add(row)
    with pytest.raises(CannotOrder, match="no policy has closed trials of task 'pick_place'; try it first"):
        suggest(home, STARTER.name)
    with pytest.raises(CannotOrder, match="this policy has no closed trials"):
        suggest(home, STARTER.name, "new-1")


def test_a_start_tells_where_the_named_things_stand_and_what_is_unusual() -> None:
    there = {"red_cube": np.array([0.5, 0.1, 0.2]), "blue_cube": np.array([0.4, 0.0, 0.0])}
    condition = {"seed": 3, "red_cube": [0.5, 0.1, 0.2], "lighting": 4}
    assert start(there, condition, "put the red cube on the pad") == {
        "x": 0.5,
        "y": 0.1,
        "yaw": 0.2,
        "lighting": "lighting",
    }
    both = start(there, {}, "put the red cube on the blue cube")
    assert (both["red cube y"], both["blue cube x"]) == (0.1, 0.4)
    assert start({"cube": np.array([0.1, 0.2])}, {}, "do it") == {"x": 0.1, "y": 0.2}
    assert start({}, {"place": "left"}, "do it") == {"place": "place"}
