"""One store for two machines: what one recorded and learned comes whole to the other, or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from appliance import shared
from appliance.home import Home
from appliance.shared import FETCHING, Changed, Moved, NoStore, NotHere, amiss, far, present, pull, push
from appliance.unit import unit
from ops.verify import Kind, verify
from storage import Episode, EpisodeRow, Outcome, PolicyRow, Verdict, Wanted, digest
from storage.store import LISTS, Store, StoreFailed
from tests.buckets import bucket, contents, lose, spoil
from tests.takes import Take
from tests.typed import Type

TASK = "pick_place"


@pytest.fixture(params=["bucket", "mounted"])
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store of either kind, in which nothing is."""
    if request.param == "mounted":
        yield str(tmp_path / "mounted")
        return
    with bucket(monkeypatch) as url:
        yield url


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with bucket(monkeypatch) as found:
        yield found


def machine(tmp_path: Path, name: str, store: str) -> Home:
    """A machine with a data folder of its own, and the catalog of all."""
    home = Home(tmp_path / name, str(tmp_path / "catalog.db"), store)
    home.open(lambda _said: None).close()
    return home


def recorded(home: Home, goal: str = "red_cube") -> UUID:
    """A take with pictures that went well."""
    sealed = Take().to(goal).record(home.folder, camera=True)
    row = EpisodeRow(
        id=sealed.id,
        task=TASK,
        agent="scripted",
        path=f"episodes/{sealed.path.name}",
        digest=sealed.digest,
        seconds=sealed.seconds,
        started=datetime(2026, 5, 1, 9, tzinfo=UTC),
    )
    with home.join() as catalog:
        catalog.add(row, Verdict(episode=sealed.id, by="ada", outcome=Outcome.SUCCESS))
    return sealed.id


def learned(home: Home) -> PolicyRow:
    """A policy; what is in it does not matter."""
    name = uuid4()
    folder = home.folder / "policies" / str(name)
    (folder / "part").mkdir(parents=True)
    (folder / "policy.json").write_text("{}")
    (folder / "part" / "weights").write_bytes(os.urandom(1000))
    row = PolicyRow(
        id=name,
        name="ccol-1",
        method="ccol",
        preset="tiny",
        settings={},
        task=TASK,
        path=f"policies/{name}",
        digest=digest(folder),
        revision="1",
        metrics={},
    )
    with home.join() as catalog:
        catalog.add(row)
    return row


def known(home: Home) -> list[Any]:
    with home.join() as catalog:
        return catalog.find(Wanted())


def fetched(home: Home) -> Moved:
    with home.join() as catalog:
        return present(home, catalog.find(Wanted()), catalog.policies())


def test_what_one_machine_has_comes_to_the_other_when_it_is_needed(where: str, tmp_path: Path) -> None:
    one, other = machine(tmp_path, "one", where), machine(tmp_path, "other", where)
    episode, policy = recorded(one), learned(one)
    pushed = push(one)
    assert pushed.number == 2
    assert push(one) == Moved()
    assert fetched(one) == Moved()
    assert fetched(other) == pushed
    assert fetched(other) == Moved()
    path = known(other)[0].standing.path
    here, there = Episode(one.folder / path), Episode(other.folder / path)
    assert there.id == episode
    assert np.array_equal(here["arm", "q"], there["arm", "q"])
    assert np.array_equal(here["front", "rgb"], there["front", "rgb"])
    assert digest(other.folder / policy.path) == policy.digest
    assert push(other) == Moved()
    with other.join() as catalog:
        assert [*verify(catalog, other.folder)] == []
    assert [*(other.folder / FETCHING).iterdir()] == []


def test_what_the_store_does_not_have_is_told_with_what_would_help(where: str, tmp_path: Path) -> None:
    one, other = machine(tmp_path, "one", where), machine(tmp_path, "other", where)
    episode = recorded(one)
    with pytest.raises(NotHere, match=rf"episode {episode} is not on this machine, .* appliance share --push"):
        fetched(other)
    assert not (other.folder / "episodes").exists()


def test_without_a_store_a_machine_is_alone(tmp_path: Path) -> None:
    one = machine(tmp_path, "one", "")
    recorded(one)
    assert push(one) == Moved()
    assert fetched(replace(one, folder=tmp_path / "elsewhere")) == Moved()
    with pytest.raises(NoStore, match="APPLIANCE_STORE"):
        pull(one)


def test_a_push_that_was_cut_short_goes_on_and_only_then_is_it_there(url: str, tmp_path: Path) -> None:
    """Files are in the bucket before the list is; without the list nobody takes them for an episode."""
    one, other = machine(tmp_path, "one", url), machine(tmp_path, "other", url)
    recorded(one)
    push(one)
    (listed,) = [key for key in contents() if f"/{LISTS}/" in key]
    lose(listed)
    (lost,) = [key for key in contents() if key.endswith("arm/q/zarr.json")]
    lose(lost)
    with pytest.raises(NotHere):
        fetched(other)
    assert push(one).number == 1
    assert {lost, listed} <= contents().keys()
    assert fetched(other).number == 1


def test_a_fetch_that_was_cut_short_goes_on(url: str, tmp_path: Path) -> None:
    """Half of a file is fetched again, a whole one is not: it is no longer in the bucket."""
    one, other = machine(tmp_path, "one", url), machine(tmp_path, "other", url)
    recorded(one)
    push(one)
    path = known(one)[0].standing.path
    part = other.folder / FETCHING / path.replace("/", "-")
    shutil.copytree(one.folder / path, part)
    (part / "manifest.json").write_text("{")
    (part / "strange").write_text("left by nobody")
    (whole,) = [key for key in contents() if key.endswith("arm/q/zarr.json")]
    lose(whole)
    assert fetched(other).number == 1
    assert not (other.folder / path / "strange").exists()


def test_what_changed_in_the_store_is_refused_and_gets_no_name(url: str, tmp_path: Path) -> None:
    one, other = machine(tmp_path, "one", url), machine(tmp_path, "other", url)
    recorded(one)
    push(one)
    (key,) = [key for key in contents() if key.endswith("arm/q/c.0.0")]
    spoil(key, b"x" * contents()[key])
    with pytest.raises(StoreFailed, match=r"arm/q/c.0.0 has .* bytes and is not what was pushed there"):
        fetched(other)
    assert not (other.folder / "episodes").exists()


def test_what_is_whole_and_something_else_than_the_catalog_says_is_refused(url: str, tmp_path: Path) -> None:
    """As if another episode had been pushed under the name of this one."""
    one, other = machine(tmp_path, "one", url), machine(tmp_path, "other", url)
    recorded(one), recorded(one, "green_cube")
    first, second = (found.standing for found in known(one))
    store = Store(url)
    for path in (first.path, second.path):
        store.push(one.folder / first.path, path, first.digest)
    with pytest.raises(Changed, match=f"episode {second.episode} came from .* and is not what the catalog says"):
        fetched(other)
    with pytest.raises(StoreFailed, match=f"has another {second.path}, and nothing there is written over"):
        store.push(one.folder / second.path, second.path, second.digest)


def test_what_changed_on_the_disk_is_not_pushed_and_the_rest_is(where: str, tmp_path: Path) -> None:
    one = machine(tmp_path, "one", where)
    recorded(one), recorded(one)
    broken, well = (found.standing.path for found in known(one))
    (one.folder / broken / "arm" / "q" / "c.0.0").write_bytes(b"x")
    with pytest.raises(Changed, match=r"not shared, for it is not what the catalog says: .*arm/q/c.0.0 has 1 bytes"):
        push(one)
    assert Store(where).paths() == {well}


def test_a_list_that_leads_out_of_its_folder_is_refused(url: str, tmp_path: Path) -> None:
    one, other = machine(tmp_path, "one", url), machine(tmp_path, "other", url)
    recorded(one)
    push(one)
    (key,) = [key for key in contents() if f"/{LISTS}/" in key]
    content = Store(url).listed(known(one)[0].standing.path)
    spoil(key, json.dumps(content | {"files": {"../../stolen": [1, "00"]}}).encode())
    with pytest.raises(StoreFailed, match=r"names ../../stolen, which lies elsewhere"):
        fetched(other)


def test_an_episode_is_read_where_it_is(url: str, tmp_path: Path) -> None:
    """Through zarr's own store; nothing is fetched."""
    one, other = machine(tmp_path, "one", url), machine(tmp_path, "other", url)
    recorded(one)
    push(one)
    (found,) = known(other)
    assert far(one, found) is None
    away, here = far(other, found), Episode(one.folder / found.standing.path)
    assert away is not None
    assert away.attributes == here.attributes
    assert away.rows == {name: len(here[name, "t"]) for name in here.streams}
    assert np.array_equal(away["arm", "q"], here["arm", "q"])
    assert np.array_equal(away["front", "rgb"], here["front", "rgb"])
    assert not (other.folder / "episodes").exists()


def test_what_others_have_is_not_missing_here(where: str, tmp_path: Path) -> None:
    one, other = machine(tmp_path, "one", where), machine(tmp_path, "other", where)
    recorded(one)
    push(one)
    lost = recorded(one)
    with other.join() as catalog:
        assert [finding.kind for finding in verify(catalog, other.folder)] == [Kind.MISSING, Kind.MISSING]
        assert [finding.where.stem for finding in amiss(other, verify(catalog, other.folder))] == [str(lost)]
        assert len([*amiss(replace(other, store=""), verify(catalog, other.folder))]) == 2


def test_a_store_that_is_not_there_is_told_of(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreFailed, match=f"the store {url} cannot be used: "):
        Store(url).paths()
    with pytest.raises(StoreFailed, match="the store nowhere://x cannot be used: "):
        Store("nowhere://x")


def test_a_person_shares_and_sees_what_lies_elsewhere(
    url: str, home: Path, tmp_path: Path, appliance: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert appliance("share").err.startswith("appliance: nothing says what this machine shares with others: ")
    monkeypatch.setenv("APPLIANCE_STORE", url)
    episode = recorded(Home(home, str(home / "catalog.db"), url))
    monkeypatch.setenv("APPLIANCE_DATABASE", str(home / "catalog.db"))
    here = appliance("episodes", "show", str(episode), "--json").json
    assert appliance("share", "--push", "--json").json["pushed"] == 1
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path / "other"))
    assert appliance("episodes", "show", str(episode), "--json").json == here
    assert not (tmp_path / "other" / "episodes").exists()
    assert appliance("share").out.startswith("Pushed 0 (0.0 MB), fetched 1 (")
    assert (tmp_path / "other" / "episodes" / f"{episode}.zarr").is_dir()


def test_the_job_says_what_it_moved(url: str, tmp_path: Path) -> None:
    from appliance.doing import Here

    one, other = machine(tmp_path, "one", url), machine(tmp_path, "other", url)
    recorded(one)
    assert shared.share(one, {}, Here())["pushed"] == 1
    assert shared.share(other, {"pull": True}, Here())["fetched"] == 1


def test_the_daemon_is_told_of_the_store_and_not_of_who_asks_it(tmp_path: Path) -> None:
    mounted = unit(machine(tmp_path, "one", str(tmp_path / "mounted")))
    assert f"APPLIANCE_STORE={tmp_path / 'mounted'}" in mounted
    (writable,) = [line for line in mounted.splitlines() if line.startswith("ReadWritePaths=")]
    assert str(tmp_path / "mounted") in writable
    assert "AWS_" not in mounted
    assert "# AWS_*=... belongs into " in unit(machine(tmp_path, "other", "s3://cells/table"))
