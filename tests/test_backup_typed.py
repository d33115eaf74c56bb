"""What a person types to back up, to restore, and to try it; and the jobs that do it at night."""

import json
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from appliance.backup import NoBackup, restore_check
from appliance.backup import backup as backup_job
from appliance.doing import Here, Paused
from appliance.home import Home
from ops.backup import remembered, told
from ops.purge import size
from ops.rehearsal import Rehearsal
from ops.restore import CannotRestore
from tests.kept import backup, flip, made, tree
from tests.typed import Type


@dataclass(frozen=True)
class Heard(Here):
    """A job that remembers what it was told."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def log(self, what: str, **facts: Any) -> None:
        self.lines.append({"what": what, **json.loads(json.dumps(facts))})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("kept") / "home", 2).folder


@pytest.fixture
def kept(template: Path, home: Path) -> Home:
    shutil.copytree(template, home)
    return Home(home, str(home / "catalog.db"))


def test_a_person_backs_up_and_restores(
    kept: Home, appliance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = appliance("backup", str(tmp_path / "disk"))
    assert said.code == 0, said.err
    assert said.out.startswith("3 things, ")
    assert "when that fails, both are gone" in said.err
    assert remembered(kept.folder)["backup"]["ok"]
    again = appliance("backup", str(tmp_path / "disk"), "--json").json
    assert (again["copied"], again["there"]) == (0, 3)
    assert appliance("restore", str(tmp_path / "disk"), "--into", str(tmp_path / "new")).code == 0
    assert tree(tmp_path / "new") == tree(kept.folder)
    refused = appliance("restore", str(tmp_path / "disk"))
    assert refused.code == 1
    assert "is not empty" in refused.err
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path / "new"))
    assert len(appliance("episodes", "list", "--json").json) == 2
    assert appliance("verify").code == 0


def test_a_person_tries_a_backup(kept: Home, appliance: Type, tmp_path: Path) -> None:
    appliance("backup", str(tmp_path / "disk"))
    tried = appliance("restore", str(tmp_path / "disk"), "--check")
    assert tried.out.startswith("3 of 3 things, ")
    assert not (kept.folder / "cache" / "restore-check").exists()
    flip(next((tmp_path / "disk").glob("policies/*/weights.safetensors")))
    bad = appliance("restore", str(tmp_path / "disk"), "--check")
    assert bad.code == 1
    assert "policy bc-1" in bad.err


def test_a_restore_of_what_rotted_says_so_and_brings_the_rest(kept: Home, appliance: Type, tmp_path: Path) -> None:
    appliance("backup", str(tmp_path / "disk"))
    flip(next((tmp_path / "disk").glob("episodes/*.zarr/arm/q/c*")))
    said = appliance("restore", str(tmp_path / "disk"), "--into", str(tmp_path / "new"))
    assert said.code == 1
    assert "has changed" in said.err
    assert said.out.startswith("2 things and 2 files")


def test_trying_a_backup_leaves_an_empty_place_empty(appliance: Type, kept: Home, tmp_path: Path) -> None:
    appliance("backup", str(tmp_path / "disk"))
    shutil.rmtree(kept.folder)
    assert "name a scratch folder with --into" in appliance("restore", str(tmp_path / "disk"), "--check").err
    assert appliance("restore", str(tmp_path / "disk"), "--check", "--into", str(tmp_path / "scratch")).code == 0
    assert not kept.folder.exists()
    assert appliance("restore", str(tmp_path / "disk")).code == 0


def test_the_jobs_do_the_same_and_tell(kept: Home, tmp_path: Path) -> None:
    doing = Heard()
    with pytest.raises(NoBackup, match="nobody said where"):
        backup_job(kept, {}, doing)
    assert backup_job(kept, {"to": str(tmp_path / "disk")}, doing)["there"] == 3
    assert backup_job(kept, {}, doing)["copied"] == 0
    found = restore_check(kept, {}, doing)
    assert (found["items"], found["of"], found["wrong"]) == (3, 3, ())
    assert found["seconds"] > 0
    assert [line["what"].split()[1] for line in doing.lines] == ["backup", "backup", "backup"]
    assert remembered(kept.folder)["restore_check"]["ok"]
    assert not (kept.folder / "cache" / "restore-check").exists()


@pytest.mark.parametrize("what", ["episodes/*.zarr/front/rgb/c/0/0/0/0", "policies/*/facts.json", "files/*"])
def test_a_flipped_bit_fails_the_nightly_check_and_is_remembered(kept: Home, tmp_path: Path, what: str) -> None:
    to = tmp_path / "disk"
    backup_job(kept, {"to": str(to)}, Here())
    catalog = to / "files" / told(to).catalog
    flip(next(path for path in to.glob(what) if path != catalog))
    with pytest.raises(NoBackup, match="1 things are not as they were"):
        restore_check(kept, {"from": str(to)}, Here())
    last = remembered(kept.folder)["restore_check"]
    assert not last["ok"]
    assert last["why"]
    assert not (kept.folder / "cache" / "restore-check").exists()


def test_a_backup_of_what_is_damaged_fails_and_is_remembered(kept: Home, tmp_path: Path) -> None:
    flip(next(kept.folder.glob("episodes/*.zarr/arm/q/c*")))
    with pytest.raises(NoBackup, match="1 things are not as they were: episode"):
        backup_job(kept, {"to": str(tmp_path / "disk")}, Here())
    assert not remembered(kept.folder)["backup"]["ok"]


def test_a_job_that_has_to_make_way_is_gone_on_with(kept: Home, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Paused):
        backup_job(kept, {"to": str(tmp_path / "disk")}, Here(stop=stop))
    assert remembered(kept.folder) == {}
    assert backup_job(kept, {"to": str(tmp_path / "disk")}, Here())["there"] == 3


def test_where_there_is_little_room_some_are_tried_by_turns(kept: Home, tmp_path: Path) -> None:
    to = tmp_path / "disk"
    backup(kept, to).make()
    one = max(size(path) for path in to.glob("episodes/*"))
    room = 2 * ((64 << 20) + 2000 + one + 6000)

    def tried(seed: int) -> tuple[int, int]:
        done = Rehearsal(to, tmp_path / "scratch", Random(seed), lambda _: room).make()
        assert done.wrong == ()
        return done.items, done.of

    assert {tried(seed) for seed in range(2)} == {(2, 3)}
    flip(min(to.glob("episodes/*.zarr/arm/q/c*")))
    found = [Rehearsal(to, tmp_path / "scratch", Random(seed), lambda _: room).make().wrong for seed in range(3)]
    assert [] in [list(wrong) for wrong in found]
    assert any("has changed" in " ".join(wrong) for wrong in found)


def test_two_checks_at_once_are_refused_and_what_a_killed_one_left_is_removed(kept: Home, tmp_path: Path) -> None:
    from ops.carrying import held

    backup(kept, tmp_path / "disk").make()
    left = tmp_path / "scratch" / "restore-check" / "episodes"
    left.mkdir(parents=True)
    with held(tmp_path / "scratch"), pytest.raises(CannotRestore, match="another program"):
        Rehearsal(tmp_path / "disk", tmp_path / "scratch", Random(0)).make()
    assert left.exists()
    Rehearsal(tmp_path / "disk", tmp_path / "scratch", Random(0)).make()
    assert not left.exists()
