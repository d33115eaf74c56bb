"""What something bad contaminated is set aside, and champions are trained again without it: once, if asked twice."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import retraining, work
from appliance.home import Home
from appliance.kinds import QUEUES
from appliance.settings import learner
from ops.jobs import State
from ops.worker import Worker
from storage import Calibration, Catalog, EditKind, EpisodeRow, PolicyRow, Refused, Wanted
from tests.homes import remembering
from tests.said import edit, episode, policy, streams, verdict
from tests.test_jobs import until
from tests.typed import Type

TINY = json.loads(json.dumps(dataclasses.asdict(learner("nearest", "tiny", {})), default=str))
BAD = ("recall", "--calibration", "1", "--retrain")


@dataclasses.dataclass
class Lab:
    """A data folder in which calibration 1 of the front camera turned out to be wrong."""

    home: Home
    catalog: Catalog
    bad: EpisodeRow
    good: EpisodeRow

    def learns(self, name: str, minute: int, *shown: EpisodeRow, **more: Any) -> PolicyRow:
        """A policy that learned from these."""
        frozen = self.catalog.snapshot("pick_place", self.catalog.among(row.id for row in shown).values())
        usual = {"task": "pick_place", "method": "nearest", "preset": "tiny", "settings": TINY}
        row = policy(name, minute, snapshot=frozen.id, **(usual | more))
        self.catalog.add(row)
        return row

    def quarantined(self) -> set[Any]:
        return {one.row.id for one in self.catalog.find(Wanted(quarantined=True, retired=None))}

    def jobs(self) -> list[Any]:
        with self.home.jobs() as jobs:
            return jobs.list()


@pytest.fixture
def lab(home: Path) -> Iterator[Lab]:
    place = Home(home, str(home / "catalog.db"))
    with place.open() as catalog:
        for _ in range(2):
            catalog.calibrate(Calibration(station="cell", device="front", values={"fx": 600}, by="ada"))
        bad, good = (episode(minute, task="pick_place", station="cell") for minute in (1, 2))
        catalog.add(bad, good, *streams(bad, front=1), *streams(good, front=2), verdict(bad), verdict(good))
        yield Lab(place, catalog, bad, good)


def test_a_contaminated_champion_is_named_and_trained_again_from_its_newest_clean_ancestor(
    lab: Lab, appliance: Type
) -> None:
    clean = lab.learns("nearest-1", 1, lab.good)
    newer = lab.learns("nearest-2", 2, lab.good, parent=clean.id)
    dirty = lab.learns("nearest-3", 3, lab.bad, parent=newer.id)
    champion = lab.learns("nearest-4", 4, lab.good, parent=dirty.id)
    lab.catalog.promote(clean, "ada")
    lab.catalog.promote(champion, "ada")
    said = appliance(*BAD, "--yes", "--why", "knocked", "--by", "ada")
    assert "1 episodes go into quarantine" in said.out
    assert "nearest-4, THE CHAMPION of pick_place, learned from them" in said.out
    assert "Clean is nearest-1, which was champion before: appliance policies promote nearest-1" in said.out
    assert "nearest tiny from nearest-2, of 1 demonstrations" in said.out
    assert lab.quarantined() == {lab.bad.id}
    (made,) = lab.catalog.edits(lab.bad.id)
    assert (made.kind, made.by, made.why) == (EditKind.QUARANTINE, "ada", "recall of calibration 1: knocked")
    (job,) = lab.jobs()
    assert (job.kind, job.state, job.by) == ("train", State.WAITING, "ada")
    assert job.settings["task"] == "pick_place"
    assert job.settings["start"] == "nearest-2"
    again = learner(job.settings["method"], job.settings["preset"], job.settings["settings"])
    assert json.loads(json.dumps(dataclasses.asdict(again), default=str)) == TINY


def test_doing_it_again_does_nothing_twice(lab: Lab, appliance: Type) -> None:
    lab.catalog.promote(lab.learns("nearest-1", 1, lab.bad), "ada")
    first = appliance(*BAD, "--yes", "--json").json["retrain"]
    (champion,) = first["champions"]
    assert first["done"]
    assert champion["state"] == "waiting"
    assert champion["settings"]["start"] is None
    again = appliance(*BAD)
    assert again.code == 0
    assert "No episode is left to put into quarantine" in again.out
    assert "It was asked for before, and is waiting" in again.out
    assert not appliance(*BAD, "--yes", "--json").json["retrain"]["done"]
    assert [one.id for one in lab.jobs()] == [champion["job"]]
    assert len(lab.catalog.edits(lab.bad.id)) == 1


def test_a_run_that_was_cut_short_after_the_quarantine_is_finished(lab: Lab, appliance: Type) -> None:
    lab.catalog.promote(lab.learns("nearest-1", 1, lab.bad), "ada")
    job = appliance(*BAD, "--json").json["retrain"]["champions"][0]["job"]
    lab.catalog.edit(edit(lab.bad, EditKind.QUARANTINE))
    assert appliance(*BAD, "--yes").code == 0
    assert [one.id for one in lab.jobs()] == [job]


def test_nothing_is_done_before_somebody_says_yes(lab: Lab, appliance: Type) -> None:
    lab.catalog.promote(lab.learns("nearest-1", 1, lab.bad), "ada")
    assert appliance(*BAD).code == 1
    assert not appliance(*BAD, "--json").json["retrain"]["done"]
    assert lab.quarantined() == set()
    assert lab.jobs() == []


def test_more_that_is_bad_is_another_training(lab: Lab, appliance: Type) -> None:
    third = episode(3, task="pick_place")
    lab.catalog.add(third, verdict(third))
    lab.catalog.promote(lab.learns("nearest-1", 1, lab.bad, lab.good), "ada")
    first = appliance(*BAD, "--yes", "--json").json["retrain"]["champions"][0]
    assert first["demonstrations"] == 2
    second = appliance("recall", "--calibration", "2", "--retrain", "--yes", "--json").json["retrain"]["champions"][0]
    assert second["demonstrations"] == 1
    assert {first["job"], second["job"]} == {one.id for one in lab.jobs()}
    assert len(lab.jobs()) == 2


def test_who_learned_from_what_was_in_quarantine_before_is_not_clean(lab: Lab) -> None:
    """The parent is out of this recall's reach, and bad for another reason."""
    other = episode(3, task="pick_place", operator="eve")
    lab.catalog.add(other)
    parent = lab.learns("nearest-1", 1, other)
    lab.catalog.promote(parent, "ada")
    lab.catalog.promote(lab.learns("nearest-2", 2, lab.bad, parent=parent.id), "ada")
    (one,) = retraining.plan(lab.catalog, lab.catalog.recall(calibration=1)).champions
    assert (one.start, one.back) == (parent, parent)
    lab.catalog.edit(edit(other, EditKind.QUARANTINE))
    (one,) = retraining.plan(lab.catalog, lab.catalog.recall(calibration=1)).champions
    assert (one.start, one.back) == (None, None)


def test_an_ancestor_of_another_method_is_not_gone_on_from(lab: Lab) -> None:
    parent = lab.learns("bc-1", 1, lab.good, method="bc")
    lab.catalog.promote(lab.learns("nearest-2", 2, lab.bad, parent=parent.id), "ada")
    (one,) = retraining.plan(lab.catalog, lab.catalog.recall(calibration=1)).champions
    assert one.start is None
    assert (one.back, one.reigned) == (parent, False)


def test_a_clean_champion_is_left_alone(lab: Lab) -> None:
    lab.learns("nearest-1", 1, lab.bad)
    lab.catalog.promote(lab.learns("nearest-2", 2, lab.good), "ada")
    assert retraining.plan(lab.catalog, lab.catalog.recall(calibration=1)).champions == ()


def test_without_a_clean_demonstration_nothing_is_asked_for(lab: Lab, appliance: Type) -> None:
    lab.catalog.promote(lab.learns("nearest-1", 1, lab.bad), "ada")
    lab.catalog.edit(edit(lab.good, EditKind.RETIRE))
    for _ in range(2):
        said = appliance(*BAD, "--yes")
        assert "It cannot be trained again" in said.out
        assert said.code == 0
    assert lab.quarantined() == {lab.bad.id}
    assert lab.jobs() == []


def test_what_is_retired_is_set_aside_as_well_and_what_is_purged_is_gone(lab: Lab) -> None:
    """Whoever restores it is to know."""
    gone = episode(3, task="pick_place")
    lab.catalog.add(gone, *streams(gone, front=1))
    lab.catalog.edit(*(edit(row, EditKind.RETIRE) for row in (gone, lab.bad)), edit(gone, EditKind.PURGE))
    planned = retraining.plan(lab.catalog, lab.catalog.recall(calibration=1))
    assert [one.row.id for one in planned.aside] == [lab.bad.id]
    assert planned.champions == ()


def test_what_somebody_set_aside_meanwhile_stops_all_of_it(lab: Lab) -> None:
    lab.catalog.promote(lab.learns("nearest-1", 1, lab.bad), "ada")
    planned = retraining.plan(lab.catalog, lab.catalog.recall(calibration=1))
    lab.catalog.edit(edit(lab.bad, EditKind.QUARANTINE))
    with pytest.raises(Refused, match="in quarantine already"):
        retraining.do(lab.home, lab.catalog, planned, "ada", "test")
    assert lab.jobs() == []


def test_what_was_led_by_hand_is_learned_from_again_if_it_was(lab: Lab) -> None:
    led = episode(3, task="pick_place", agent="kinesthetic")
    alone = episode(4, task="pick_place", agent="replay", follows=led.id)
    lab.catalog.add(led, alone, verdict(led), verdict(alone))
    for number, (shown, hands) in enumerate((((led, alone), True), ((alone,), False), ((led,), False)), 1):
        champion = lab.learns(f"nearest-{number}", number, lab.bad, *shown)
        lab.catalog.promote(champion, "ada")
        (one,) = retraining.plan(lab.catalog, lab.catalog.recall(calibration=1)).champions
        assert one.champion == champion
        assert one.settings["hands"] is hands
        assert one.shown == (3 if hands else 2)


def test_a_training_that_has_begun_already_is_named(lab: Lab, appliance: Type) -> None:
    """It may have begun with what is bad; one that waits has not, nor has one of another task."""
    place, note = lab.home, {"note": str(lab.home.folder / "ran"), "steps": 1000, "seconds": 0.05}
    command = [sys.executable, "-m", "tests.jobbing"]
    with place.jobs() as jobs:
        begun = jobs.enqueue("train", {"task": "pick_place", **note}, "eve").id
        with Worker(place.folder, place.database, lambda: command, QUEUES, lambda _steps, _asked: {}):
            until(lambda: jobs.get(begun).state is State.RUNNING)
            waits = jobs.enqueue("train", {"task": "pick_place", **note}, "eve").id
            assert appliance(*BAD, "--json").json["retrain"]["under_way"] == [begun]
            assert f"{begun} trains pick_place, and may have begun with them" in appliance(*BAD).out
            bare = retraining.under_way(place, lab.catalog.recall(calibration=1), [begun])
            assert bare == []
            for key in (waits, begun):
                jobs.cancel(key, "ada", "seen")


@pytest.mark.slow
def test_the_clean_training_is_done_and_learned_from_nothing_bad(home: Path, appliance: Type) -> None:
    """From two real demonstrations to a champion, to a recall of one of them, to a policy without it."""
    place = remembering(home, 2)
    with place.join() as catalog:
        first, second = (one.row.id for one in catalog.find(Wanted()))
        catalog.promote(catalog.policy("nearest-1"), "ada")
        asked = ("recall", "--episode", str(first), "--retrain", "--yes", "--json")
        key = appliance(*asked).json["retrain"]["champions"][0]["job"]
        with place.jobs() as jobs, Worker(place.folder, place.database, work.command, QUEUES, lambda _s, _a: {}):
            assert jobs.result(key)["policy"] == "nearest-2"
        clean = catalog.policy("nearest-2")
        assert catalog.learned(clean.snapshot or "") == [second]
        assert clean.settings == catalog.policy("nearest-1").settings
        assert [row.name for row in catalog.recall(episode=first).policies] == ["nearest-1"]
        assert appliance(*asked).json["retrain"]["champions"][0]["back"] == "nearest-2"
        assert "is done: nearest-2" in appliance("recall", "--episode", str(first), "--retrain").out


@pytest.mark.parametrize("method", ["ccol", "clap", "lada", "nearest", "lerobot.act"])
def test_a_policys_settings_are_typed_as_they_were(method: str) -> None:
    how = learner(method, "tiny", {"seed": "7"} if method in {"ccol", "lada"} else {})
    kept = json.loads(json.dumps(dataclasses.asdict(how), default=str))
    assert learner(method, "small", retraining.typed(learner(method, "small", {}), kept)) == how
