"""Training that watches film of people: which film, what is remembered of it, and that nobody takes it away."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from appliance.film import film
from appliance.home import Home
from appliance.settings import WrongSetting, learner
from appliance.train import CannotTrain, demonstrations, train
from collectors.human_video.episodes import head
from learners.clap.vd_vae import VdVaeNet
from storage import Catalog, Edit, EditKind, EpisodeRow, EpisodeWriter, Lossless, Outcome, PolicyRow, Sealed, Verdict
from storage.reading import NOTES, BeingRead, unread
from tests.homes import joined, opened
from tests.lessons import SECOND, arm_rows, camera_rows, record

TASK = "pick_place"
QUICK = {
    "cameras": '["front"]',
    "k": "8",
    "act_vae.steps": "2",
    "act_vae.patch": "4",
    "act_vae.entries": "16",
    "vd_vae.steps": "2",
    "ntp.steps": "2",
    "steps": "2",
    "adapt.steps": "2",
    "batch": "4",
    "save_every": "1",
    "tracker": "none",
}

home = pytest.fixture(opened)
catalog = pytest.fixture(joined)


def bring(home: Home, catalog: Catalog, agent: str, outcome: Outcome | None = None) -> UUID:
    """Add a demonstration, or film."""
    if agent == "person":
        stamps = np.arange(SECOND, 3 * SECOND, SECOND // 100)
        sealed = record(home.folder, arm_rows(stamps), {"front": camera_rows(stamps[::3])})
    else:
        sealed = filmed(home.folder)
    row = EpisodeRow(
        id=sealed.id,
        task=TASK,
        agent=agent,
        path=str(sealed.path.relative_to(home.folder)),
        digest=sealed.digest,
        seconds=sealed.seconds,
        started=datetime.now(UTC),
    )
    catalog.add(row)
    if outcome is not None:
        failure = "DROP" if outcome is Outcome.FAILURE else None
        catalog.add(Verdict(episode=sealed.id, by="me", outcome=outcome, failure=failure))
    return sealed.id


def filmed(root: Path) -> Sealed:
    """Two seconds of film, in which the picture grows brighter."""
    streams = {"head": head(24, 40)}
    with EpisodeWriter(root, streams, {"instruction": "reach for the cube"}, Lossless()) as writer:
        rows = np.zeros(60, streams["head"])
        rows["t"] = rows["received"] = SECOND + np.arange(60) * (SECOND // 30)
        rows["rgb"] = np.arange(60)[:, None, None, None]
        writer.append("head", rows)
        return writer.seal()


def learn(home: Home, start: str | None = None, heard: Any = lambda *_: None, **more: str) -> PolicyRow:
    how = learner("clap", "tiny", QUICK | more)
    return train(home, TASK, "clap", "tiny", how, lambda *_: None, start, heard)


def test_film_is_what_people_did_and_nobody_judged_bad(home: Home, catalog: Catalog) -> None:
    shown = bring(home, catalog, "person", Outcome.SUCCESS)
    fresh, good = bring(home, catalog, "human"), bring(home, catalog, "synthetic_human", Outcome.SUCCESS)
    for outcome in (Outcome.FAILURE, Outcome.INVALID):
        bring(home, catalog, "human", outcome)
    for kind in (EditKind.RETIRE, EditKind.QUARANTINE):
        name = bring(home, catalog, "human")
        catalog.edit(Edit(episode=name, kind=kind, value={}, by="me", why="a test"))
    assert [one.row.id for one in film(catalog, TASK)] == [fresh, good]
    assert [one.row.id for one in demonstrations(catalog, TASK)] == [shown]


def test_what_was_watched_is_in_the_snapshot_and_read_until_nothing_is_read_of_it_any_more(
    home: Home, catalog: Catalog
) -> None:
    shown = [bring(home, catalog, "person", Outcome.SUCCESS) for _ in range(2)]
    watched = [bring(home, catalog, "synthetic_human") for _ in range(2)]
    said = []

    def heard(what: str, _done: int, _of: int) -> None:
        if what not in said:
            said.append(what)
        if what == "reading film":
            with pytest.raises(BeingRead, match="training clap on pick_place"), unread(home.folder, watched[:1]):
                pytest.fail("it is read")

    row = learn(home, None, heard)
    assert list((home.folder / NOTES).iterdir()) == []
    assert {recall.id for name in [*shown, *watched] for recall in catalog.recall(episode=name).policies} == {row.id}
    assert (row.metrics["episodes"], row.metrics["films"]) == (2, 2)
    stages = [each.partition(",")[0] for each in said if each[1:2] == "/"]
    assert list(dict.fromkeys(stages)) == [
        "1/5 action vocabulary",
        "2/5 reading actions off film",
        "3/5 labelling film",
        "4/5 token policy",
        "5/5 continuous head",
    ]
    assert any("loss" in each for each in said)


def test_a_policy_goes_on_from_another_and_reports_it(home: Home, catalog: Catalog) -> None:
    bring(home, catalog, "person", Outcome.SUCCESS)
    first = learn(home)
    bring(home, catalog, "human")
    with pytest.raises(CannotTrain, match="the parent has another vd_vae"):
        learn(home, first.name, **{"vd_vae.blocks": "1"})
    second = learn(home, first.name)
    assert second.parent == first.id
    assert (first.metrics["films"], second.metrics["films"]) == (0, 1)
    assert (home.folder / second.path / "vd_vae" / "policy.json").exists()
    third = learn(home, second.name, drive="ntp")
    assert third.settings["drive"] == "ntp"
    # The same encoder reads the film of all three, so its labels are kept once.
    reader = VdVaeNet.load(home.folder / third.path / "vd_vae")
    assert len(catalog.labelled(reader.digest, [one.row.id for one in film(catalog, TASK)])) == 1


def test_a_field_of_a_part_is_named_with_it(home: Home) -> None:
    how = learner("clap", "tiny", {"head.width": "64", "act_vae.steps": "7", "lr": "0.5", "vd_vae.training.lr": "0.1"})
    assert (how.head.width, how.act_vae.training.steps, how.training.lr, how.vd_vae.training.lr) == (64, 7, 0.5, 0.1)
    with pytest.raises(WrongSetting, match=r"clap has width in several parts; say which: act_vae.width, vd_vae.width"):
        learner("clap", "tiny", {"width": "64"})
    with pytest.raises(WrongSetting, match=r"clap\.head has no widht; it takes: .*width"):
        learner("clap", "tiny", {"head.widht": "64"})
    with pytest.raises(WrongSetting, match=r"clap has no haed\.width"):
        learner("clap", "tiny", {"haed.width": "64"})
    with pytest.raises(WrongSetting, match="drive = 'rocket'"):
        learner("clap", "tiny", {"drive": "rocket"})
