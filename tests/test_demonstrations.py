"""What is learned from is what somebody vouched for, as it stands now; its pictures are unpacked once if that pays."""

import json
import shutil
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from appliance.home import Home
from appliance.settings import learner
from appliance.train import CannotTrain, demonstrations, train
from storage import Catalog, Edit, EditKind, EpisodeRow, Outcome, PolicyRow, Verdict
from storage.pictures import SPARE, caches
from tests.homes import joined, opened
from tests.takes import Take
from tests.typed import Type

TASK = "pick_place"

home = pytest.fixture(opened)
catalog = pytest.fixture(joined)


def show(home: Home, catalog: Catalog, agent: str = "person", follows: UUID | None = None) -> UUID:
    """Add a demonstration that succeeded."""
    sealed = Take().to("red_cube").close("red_cube").lift().record(home.folder, camera=True)
    row = EpisodeRow(
        id=sealed.id,
        task=TASK,
        agent=agent,
        follows=follows,
        path=str(sealed.path.relative_to(home.folder)),
        digest=sealed.digest,
        seconds=sealed.seconds,
        started=datetime.now(UTC),
    )
    catalog.add(row, Verdict(episode=sealed.id, by="me", outcome=Outcome.SUCCESS))
    return sealed.id


def edit(catalog: Catalog, episode: UUID, kind: EditKind, **value: Any) -> None:
    catalog.edit(Edit(episode=episode, kind=kind, value=value, by="me", why="a test"))


def learn(home: Home, steps: int = 4, batch: int = 16) -> tuple[PolicyRow, list[str]]:
    """Train shortly; returns the policy, and what was said before the first step."""
    given = {"cameras": json.dumps(["front"]), "steps": str(steps), "batch": str(batch), "tracker": "none"}
    how = learner("ccol", "tiny", given)
    said: list[str] = []
    row = train(home, TASK, "ccol", "tiny", how, lambda *_: None, None, lambda what, _done, _of: said.append(what))
    return row, list(dict.fromkeys(said))


def test_what_is_quarantined_or_retired_is_not_learned_from(home: Home, catalog: Catalog) -> None:
    good, doubtful, bad = (show(home, catalog) for _ in range(3))
    edit(catalog, doubtful, EditKind.QUARANTINE)
    edit(catalog, bad, EditKind.RETIRE)
    assert [one.row.id for one in demonstrations(catalog, TASK)] == [good]
    edit(catalog, doubtful, EditKind.RELEASE)
    edit(catalog, bad, EditKind.RESTORE)
    assert [one.row.id for one in demonstrations(catalog, TASK)] == [good, doubtful, bad]


def test_when_all_that_succeeded_is_quarantined_that_is_said(home: Home, catalog: Catalog) -> None:
    edit(catalog, show(home, catalog), EditKind.QUARANTINE)
    with pytest.raises(
        CannotTrain, match="no successful demonstration among its 1 episodes; 1 that succeeded are in qu"
    ):
        demonstrations(catalog, TASK)


def test_what_was_led_by_hand_is_left_out_once_it_was_repeated_with_success(home: Home, catalog: Catalog) -> None:
    led, alone, driven = (show(home, catalog, agent) for agent in ("kinesthetic", "kinesthetic", "vr"))
    again = [show(home, catalog, "replay", follows=one) for one in (led, driven)]
    assert [one.row.id for one in demonstrations(catalog, TASK)] == [alone, driven, *again]
    assert [one.row.id for one in demonstrations(catalog, TASK, hands=True)] == [led, alone, driven, *again]
    policy, _ = learn(home)
    assert (policy.metrics["episodes"], policy.metrics["left_out"]) == (4, 1)
    edit(catalog, again[0], EditKind.RETIRE)
    assert [one.row.id for one in demonstrations(catalog, TASK)] == [led, alone, driven, again[1]]


def test_what_is_left_out_is_told_and_can_be_kept(
    home: Home, catalog: Catalog, appliance: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_HOME", str(home.folder))
    monkeypatch.delenv("APPLIANCE_DATABASE", raising=False)
    show(home, catalog, "replay", follows=show(home, catalog, "kinesthetic"))
    words = ("train", "--task", TASK, "--method", "nearest", "--preset", "tiny", "--cameras", '["front"]')
    said = appliance(*words)
    assert "learned from 1 episodes" in said.out
    assert "1 led by hand were left out" in said.out
    assert "--with-hands keeps them" in said.out
    said = appliance(*words, "--with-hands")
    assert "learned from 2 episodes" in said.out
    assert "left out" not in said.out


def test_what_was_trimmed_off_is_not_learned_from(home: Home, catalog: Catalog) -> None:
    episode = show(home, catalog)
    whole, _ = learn(home)
    edit(catalog, episode, EditKind.TRIM, start=0.5, end=1.5)
    part, _ = learn(home)
    assert whole.metrics["windows"] > 12
    assert 9 <= part.metrics["windows"] <= 11
    assert whole.snapshot != part.snapshot


def test_pictures_are_unpacked_once_for_all_trainings_on_the_same_episodes(home: Home, catalog: Catalog) -> None:
    show(home, catalog)
    first, said = learn(home)
    assert said == ["reading episodes", "unpacking front"]
    [cache] = caches(home.folder / "cache" / "frames")
    assert cache.path.name.startswith(f"{first.snapshot}-front-")
    assert learn(home, steps=5)[1] == ["reading episodes"]
    assert len(caches(home.folder / "cache" / "frames")) == 1


def test_pictures_that_are_hardly_looked_at_are_not_unpacked_beforehand(home: Home, catalog: Catalog) -> None:
    show(home, catalog)
    assert learn(home, steps=1, batch=4)[1] == ["reading episodes"]
    assert caches(home.folder / "cache" / "frames") == []


def test_a_full_disk_is_told_and_does_not_stop_the_training(
    home: Home, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(home, catalog)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=SPARE))
    row, said = learn(home)
    assert said[1].startswith("not unpacking front: ")
    assert "drop other caches" in said[1]
    assert row.metrics["windows"] > 10


def test_caches_of_other_snapshots_make_room(home: Home, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take half of what is left of the disk at most."""
    show(home, catalog)
    old, _ = learn(home)
    show(home, catalog)
    new, _ = learn(home)
    names = [cache.path.name for cache in caches(home.folder / "cache" / "frames")]
    assert [name.partition("-")[0] for name in names] == [old.snapshot, new.snapshot]
    show(home, catalog)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    learn(home)
    assert caches(home.folder / "cache" / "frames") == []
