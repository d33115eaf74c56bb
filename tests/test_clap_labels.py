"""Words for film: inferred once, kept, found again by time, and shared by whoever labels."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import torch

from appliance.home import Home
from appliance.label import CannotLabel, Labelled, Noted, label, labeller
from learners import NoData
from learners.clap.act_vae import ActVaeNet
from learners.clap.labels import Labels, Shelf, infer
from learners.clap.labels import label as words_of
from learners.clap.vd_vae import VdVaeNet
from learners.footage import Footage
from storage import Catalog, Episode, PolicyRow, rows_of
from tests.test_clap_vd_vae import ACT, film, net_of, robot
from tests.test_footage import filmed
from tests.typed import Type

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def act() -> ActVaeNet:
    return ACT.fit(robot())


@pytest.fixture(scope="module")
def vd(act: ActVaeNet) -> VdVaeNet:
    return net_of(act).eval()


@pytest.fixture
def studio(tmp_path: Path, act: ActVaeNet, vd: VdVaeNet) -> Home:
    """A home with six films and a policy that reads film."""
    home = Home(tmp_path / "home", str(tmp_path / "home" / "catalog.db"))
    with home.open(lambda _line: None) as catalog:
        for _ in range(6):
            said: dict[str, Any] = {"task": "pick_place", "agent": "human", "operator": "ada"}
            shot = filmed(home.folder, 15, size=32, started="2026-01-02T12:00:00+00:00", ended_by="done", **said)
            catalog.add(*rows_of(Episode(shot.path), home.folder))
        folder = home.folder / "policies" / "1"
        vd.save(folder / "vd_vae")
        act.save(folder / "act_vae")
        catalog.add(PolicyRow(name="clap-1", method="clap", task="pick_place", path="policies/1", digest="0"))
    return home


def labelled(home: Home, vd: VdVaeNet) -> set[UUID]:
    with home.join() as catalog:
        return catalog.labelled(vd.digest, _films(catalog))


def _films(catalog: Catalog) -> list[UUID]:
    from appliance.film import film as film_of

    return [one.row.id for one in film_of(catalog, "pick_place")]


def every(home: Home, tell: Callable[[Labelled], None] = lambda _one: None, processes: int = 1) -> bool:
    return label(home, "pick_place", "clap-1", processes, tell, lambda _films: None)


def test_words_are_the_models_own_moment_by_moment(vd: VdVaeNet) -> None:
    seen = film(films=2, each=40)
    labels = infer(seen, 1, vd)
    one = seen.batch(np.arange(40, 80))
    assert labels.words.dtype == np.uint16
    assert np.array_equal(labels.words, vd.tokens(one.now, one.later).numpy())
    assert (labels.start, labels.period) == (0, 100_000_000)
    assert labels.facts["vocabulary"]["act_vae"] == vd.vocabulary.act_vae
    assert labels.facts["vocabulary"]["arms"] == ["left", "right"]


def test_film_cut_for_another_chunk_is_refused(vd: VdVaeNet) -> None:
    with pytest.raises(NoData, match=r"done in 1\.000 s, and the film is cut to show 2\.000 s"):
        infer(replace(film(), ahead=2.0), 0, vd)


def test_trimmed_film_finds_the_nearest_words_and_never_beyond_them() -> None:
    labels = Labels(1000, 100, np.arange(5, dtype=np.uint16)[:, None, None] * np.ones((1, 2, 3), np.uint16))
    assert labels.at(np.array([1000, 1140, 1160, 1400]))[:, 0, 0].tolist() == [0, 1, 2, 4]
    with pytest.raises(NoData, match="tell of 1000 to 1400 ns"):
        labels.at(np.array([1500]))


def test_what_is_kept_is_not_inferred_again(vd: VdVaeNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, shelf = film(), Shelf(tmp_path / "labels")
    asked: list[int] = []

    def counting(film: Footage, number: int, vd: VdVaeNet) -> Labels:
        asked.append(number)
        return infer(film, number, vd)

    monkeypatch.setattr("learners.clap.labels.infer", counting)
    first = words_of(seen, vd, kept=shelf)
    shelf.folder.joinpath(f"{seen.ids[1]}.safetensors").unlink()
    again = words_of(seen, vd, kept=shelf)
    assert asked == [0, 1, 2, 1]
    assert all(np.array_equal(first[name], again[name]) for name in seen.ids)
    assert seen.labelled(first).batch(np.arange(4)).tokens is not None
    shelf.folder.joinpath(f"{seen.ids[1]}.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(NoData, match="is damaged"):
        words_of(seen, vd, kept=shelf)


def test_every_film_gets_its_words_in_the_catalog_once(studio: Home, vd: VdVaeNet) -> None:
    told: list[Labelled] = []
    assert every(studio, told.append)
    assert len(told) == 6
    assert all(one.new for one in told)
    with studio.join() as catalog:
        films, noted = _films(catalog), Noted(catalog, vd)
        assert catalog.labelled(vd.digest, films) == set(films)
        found = Episode(studio.folder / catalog.standing(films[0]).path)
        seen = Footage.of([found], ["stack"], image=32, hz=10.0, ahead=1.0)
        kept = noted.get(films[0])
        assert kept is not None
        assert np.array_equal(kept.words, infer(seen, 0, vd).words)
        assert np.array_equal(words_of(seen, vd, kept=noted)[films[0]], kept.words)
    told.clear()
    assert every(studio, told.append)
    assert told == []


def _label_and_die(home: Home) -> None:
    done: list[Labelled] = []

    def tell(one: Labelled) -> None:
        done.append(one)
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    every(home, tell)


def test_labelling_goes_on_after_a_kill(studio: Home, vd: VdVaeNet) -> None:
    process = get_context("spawn").Process(target=_label_and_die, args=(studio,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = labelled(studio, vd)
    assert len(before) == 2
    told: list[Labelled] = []
    assert every(studio, told.append)
    assert {one.episode for one in told} == labelled(studio, vd) - before
    assert len(labelled(studio, vd)) == 6


def _label(home: Home) -> None:
    every(home)


@pytest.mark.slow
def test_several_programs_label_the_same_film_without_doubling(studio: Home, vd: VdVaeNet) -> None:
    programs = [get_context("spawn").Process(target=_label, args=(studio,)) for _ in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    assert [program.exitcode for program in programs] == [0, 0, 0]
    assert len(labelled(studio, vd)) == 6
    with studio.join() as catalog:
        assert every(studio, processes=2)
        assert len(_films(catalog)) == 6


def test_film_that_another_program_labelled_meanwhile_is_left_as_it_is(studio: Home, vd: VdVaeNet) -> None:
    with studio.join() as catalog:
        noted, name = Noted(catalog, vd), _films(catalog)[3]
        mine = Labels(1, 2, np.zeros((3, 2, 8), np.uint16))
        assert noted.keep(name, mine)
        assert not noted.keep(name, replace(mine, start=7))
        found = noted.get(name)
        assert found is not None
        assert found.start == 1


def test_film_that_cannot_be_labelled_is_told_and_the_rest_goes_on(studio: Home, vd: VdVaeNet) -> None:
    with studio.join() as catalog:
        said: dict[str, Any] = {
            "task": "pick_place",
            "agent": "human",
            "started": "2026-01-02T12:00:00+00:00",
            "ended_by": "done",
        }
        shot = filmed(studio.folder, 15, size=32, gap=900_000_000, **said)
        catalog.add(*rows_of(Episode(shot.path), studio.folder))
    told: list[Labelled] = []
    assert every(studio, told.append)
    assert [one.episode for one in told if one.why_not] == [shot.id]
    assert len(labelled(studio, vd)) == 6


def test_a_policy_that_reads_no_film_says_so(studio: Home, tmp_path: Path) -> None:
    with pytest.raises(CannotLabel, match="infers nothing from film"):
        labeller(tmp_path)


def test_the_command_tells_how_many(
    studio: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.typed import typing_on

    monkeypatch.setenv("APPLIANCE_HOME", str(studio.folder))
    monkeypatch.delenv("APPLIANCE_DATABASE", raising=False)
    type_: Type = typing_on(capsys)
    said = type_("label", "--task", "pick_place", "--policy", "clap-1")
    assert "6 films of pick_place were labelled" in said.out
    assert "0 films" in type_("label", "--task", "pick_place", "--policy", "clap-1").out
