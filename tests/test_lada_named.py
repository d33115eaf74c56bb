"""Typing at what robots did: an episode is named in words, once for each way to name, and a policy says its own."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from appliance.home import Home
from appliance.primitives import KIND
from learners.body import ONE_ARM
from learners.lada.lada import LaDA
from learners.lada.net import Net
from learners.lada.primitives import Primitives
from learners.lada.words import read
from learners.policy import ChunkPolicy
from storage import Catalog, EpisodeRow, PolicyRow
from storage.manifest import digest
from tests.lada import HANDED
from tests.lessons import SECOND, camera_rows, pair_rows, record
from tests.takes import Take
from tests.typed import Type

torch.set_num_threads(1)

MORNING = datetime(2026, 5, 1, 9, tzinfo=UTC)


@pytest.fixture
def catalog(home: Path) -> Iterator[Catalog]:
    """The catalog of the folder that commands use."""
    with Home(home, str(home / "catalog.db")).open() as opened:
        yield opened


def kept(home: Path, catalog: Catalog, sealed: Any) -> str:
    row = EpisodeRow(
        id=sealed.id,
        task="pick_place",
        agent="scripted",
        digest=sealed.digest,
        path=f"episodes/{sealed.path.name}",
        seconds=sealed.seconds,
        started=MORNING,
    )
    catalog.add(row)
    return str(sealed.id)


@pytest.fixture
def take(home: Path, catalog: Catalog) -> str:
    """Two seconds forward, the hand closes, two seconds up."""
    return kept(home, catalog, Take().go(0.55, 0, 0.3, 2.0).close(grip=False).go(0.55, 0, 0.5, 2.0).record(home))


def test_what_was_done_is_told_in_the_order_it_was_done(appliance: Type, take: str) -> None:
    said = appliance("primitives", take, "--steps", "5", "--json").json
    texts = [row["words"] for row in said["rows"]]
    motions = [read(text)[0] for text in texts]
    assert (motions[0].way, motions[0].hand) == ("forward", "open")
    assert (motions[-1].way, motions[-1].hand) == ("up", "close") or motions[-1].way == ""
    ways = [each.way for each in motions if each.way]
    assert ways == sorted(ways), "forward, and only then up"
    # In 0.5 s it goes 0.05 m.
    assert motions[0].distance == pytest.approx(0.05)
    assert said["rows"][0]["seconds"] == pytest.approx(0.0)
    assert len(appliance("primitives", take, "--steps", "5", "--all", "--json").json["rows"]) > len(texts)


def test_a_table_is_what_a_person_sees(appliance: Type, take: str) -> None:
    said = appliance("primitives", take[:8]).out
    assert "seconds" in said
    assert "meters forward, keep the orientation, and open the gripper" in said


def test_it_is_kept_and_each_way_to_name_has_a_row_of_its_own(appliance: Type, catalog: Catalog, take: str) -> None:
    first = appliance("primitives", take, "--json").json
    again = appliance("primitives", take, "--json").json
    assert (first["new"], again["new"]) == (True, False)
    assert first["rows"] == again["rows"]
    other = appliance("primitives", take, "--least-way", "0.5", "--json").json
    assert other["new"]
    assert other["artefact"] != first["artefact"]
    assert all(row["words"].startswith("stay") for row in other["rows"])
    for options in (["--hz", "5"], ["--steps", "3"], ["--frame", "tool"]):
        assert appliance("primitives", take, *options, "--json").json["new"]
    key = catalog.episode(take).id
    row = catalog.labelling(first["artefact"], key)
    assert row is not None
    assert row.kind == KIND
    assert row.facts["steps"] == 16
    assert row.period == SECOND // 10
    assert Primitives.said(row.facts).least_way == pytest.approx(0.005)
    codes = np.frombuffer(row.codes, "<u2").reshape(row.shape)
    assert codes.shape[1:] == (1, 5)
    assert Primitives.said(row.facts).words(codes)[0] == first["rows"][0]["words"]


def test_what_is_wrong_is_said(appliance: Type, home: Path, catalog: Catalog, take: str) -> None:
    def told(*words: str) -> str:
        said = appliance("primitives", *words)
        assert said.code
        return said.err

    assert "naming has no nonsense; it takes: closed, frame" in told(take, "--nonsense", "3")
    assert "frame" in told(take, "--frame", "hand")
    assert "whole" in told(take, "--steps", "many")
    assert "more than nothing" in told(take, "--hz", "0")
    assert "no policy" in told(take, "--policy", "lada-9")
    assert "no episode" in told("00000000")
    catalog.add(PolicyRow(name="bc-1", method="bc", task="pick_place", path="policies/1", digest="0"))
    assert "policy bc-1 is of method bc; those of method lada name motions" in told(take, "--policy", "bc-1")
    stamps = np.arange(0, SECOND, SECOND // 50)
    film = kept(home, catalog, record(home, pair_rows(stamps)[:0], {"front": camera_rows(stamps)}))
    assert "no rows of its robot" in told(film)


def test_two_arms_are_named_side_by_side(appliance: Type, home: Path, catalog: Catalog) -> None:
    stamps = np.arange(0, 2 * SECOND, SECOND // 50)
    pair = kept(home, catalog, record(home, pair_rows(stamps), {}))
    rows = appliance("primitives", pair, "--json").json["rows"]
    assert all(len(read(row["words"])) == 2 for row in rows)


def test_a_policy_says_what_it_takes_its_own_motion_to_be(appliance: Type, home: Path, catalog: Catalog) -> None:
    how = replace(LaDA.preset("tiny"), cameras=("front",))
    net = Net(how, ONE_ARM.facts | HANDED.facts, ["put the red cube on the yellow pad"]).eval()
    policy = ChunkPolicy("lada", how, net, net.facts)
    policy.save(home / "policies" / "1")
    name = digest(home / "policies" / "1")
    catalog.add(PolicyRow(name="lada-1", method="lada", task="pick_place", path="policies/1", digest=name))
    take = kept(home, catalog, Take().go(0.55, 0, 0.3, 2.0).record(home, camera=True))
    rows = appliance("primitives", take, "--policy", "lada-1", "--all", "--json").json["rows"]
    assert all(read(row["words"])[0].way == "forward" for row in rows[:3])
    said = [row["policy says"] for row in rows if row["policy says"]]
    assert len(said) >= len(rows) - 1
    assert all("meters" not in text and len(read(text)) == 1 for text in said)
    refused = appliance("primitives", take, "--policy", "lada-1", "--hz", "5")
    assert refused.code
    assert "leave out hz" in refused.err
