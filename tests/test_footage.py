"""Film of people as moments: which frames a moment shows, what is said of it, and what is never read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from collectors.human_video.episodes import head
from drivers import Rows, row_type
from learners import NoData
from learners.footage import Footage
from storage import Episode, EpisodeWriter, Lossless

MS = 1_000_000
TRUTH = row_type(("wrist", "<f8", (7,)))


def filmed(root: Path, pictures: int = 21, period: int = 100 * MS, gap: int = 0, size: int = 8, **said: Any) -> Episode:
    """A film whose n-th picture is all n; the truth beside it is not a number."""
    streams = {"head": head(size, size), "truth": TRUTH}
    with EpisodeWriter(root, streams, {"instruction": "stack", **said}, Lossless()) as writer:
        rows = np.zeros(pictures, streams["head"])
        rows["t"] = 5_000 * MS + np.arange(pictures) * period
        rows["t"][pictures // 2 :] += gap
        rows["received"] = rows["t"]
        rows["rgb"] = np.arange(pictures)[:, None, None, None]
        writer.append("head", rows)
        true = np.zeros(pictures, TRUTH)
        true["t"] = rows["t"]
        true["wrist"] = np.nan
        writer.append("truth", true)
        sealed = writer.seal()
    return Episode(sealed.path)


def cut(*episodes: Episode, **how: Any) -> Footage:
    usual: dict[str, Any] = {"image": 8, "hz": 10.0, "ahead": 0.5}
    return Footage.of(episodes, [each.attributes["instruction"] for each in episodes], **(usual | how))


def test_a_moment_shows_a_frame_and_the_one_ahead_of_it(tmp_path: Path) -> None:
    film = cut(filmed(tmp_path), filmed(tmp_path, pictures=9))
    batch = film.batch(np.array([0, 3, 20, 21, 24, 29]))
    assert batch.now[:, 0, 0, 0].tolist() == [0, 3, 20, 0, 3, 8]
    assert batch.later[:, 0, 0, 0].tolist() == [5, 8, 20, 5, 8, 8]
    assert batch.past_end.tolist() == [False, False, True, False, False, True]
    assert batch.now.shape == (6, 3, 8, 8)
    assert batch.now.dtype == torch.uint8
    assert batch.tokens is None


def test_moments_are_even_whatever_rate_was_filmed_at(tmp_path: Path) -> None:
    film = cut(filmed(tmp_path, pictures=61, period=33 * MS), hz=5.0)
    assert np.diff(film.moment).tolist() == [200 * MS] * 9
    # 200 ms are 6.06 pictures, of which the last that had arrived counts
    assert film.batch(np.arange(4)).now[:, 0, 0, 0].tolist() == [0, 6, 12, 18]
    assert film.frames.shape[0] < 61


def test_what_is_done_is_the_subtask_or_else_the_instruction(tmp_path: Path) -> None:
    film = cut(filmed(tmp_path, subtask="grasp the cup"), filmed(tmp_path))
    batch = film.batch(np.array([0, 21]))
    assert batch.subtasks == ["grasp the cup", "stack"]
    assert batch.instructions == ["stack", "stack"]


def test_both_hands_count_unless_the_film_says_which(tmp_path: Path) -> None:
    film = cut(filmed(tmp_path), filmed(tmp_path, arms=[True, False]))
    assert film.arms.tolist() == [[True, True], [True, False]]
    assert film.batch(np.array([0, 21])).arms.tolist() == [[True, True], [True, False]]
    with pytest.raises(NoData, match="says arms = 'both'"):
        cut(filmed(tmp_path, arms="both"))
    with pytest.raises(NoData, match=r"says arms = \['left'\]; right is \[left, right\]"):
        cut(filmed(tmp_path, arms=["left"]))
    with pytest.raises(NoData, match="no hand does anything"):
        cut(filmed(tmp_path, arms=[False, False]))


def test_a_robot_with_one_arm_learns_from_whichever_hand_acts(tmp_path: Path) -> None:
    film = cut(filmed(tmp_path), filmed(tmp_path, arms=[True, False]))
    assert film.within(np.array([False, True])).arms.tolist() == [[False, True], [False, True]]
    assert film.within(np.array([True, True])).arms.tolist() == [[True, True], [True, False]]


def test_whole_films_are_held_out_and_moments_whose_end_is_not_seen_are_left_out(tmp_path: Path) -> None:
    film = cut(*(filmed(tmp_path, pictures=9) for _ in range(4)))
    learn, check = film.split(0.25, 0)
    assert len(set(film.episode[check])) == 1
    assert not set(film.episode[check]) & set(film.episode[learn])
    assert len(learn) + len(check) == 4 * 4
    assert not film.past_end[learn].any()


def test_what_only_a_simulation_knows_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is what became of the hand in any other stream than the pictures'."""
    read: list[str] = []
    columns = Episode.columns

    def noting(self: Episode, stream: str, fields: Sequence[str]) -> Rows:
        read.append(stream)
        return columns(self, stream, fields)

    monkeypatch.setattr(Episode, "columns", noting)
    cut(filmed(tmp_path)).batch(np.arange(4))
    assert set(read) == {"head"}


def test_film_that_was_interrupted_or_shows_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="trim it or retire it"):
        cut(filmed(tmp_path, gap=600 * MS))
    with pytest.raises(NoData, match="no pictures of 'wrist'"):
        cut(filmed(tmp_path), camera="wrist")
    with pytest.raises(NoData, match="appliance imagine"):
        cut()
    with pytest.raises(NoData, match="ask for one size"):
        cut(filmed(tmp_path), filmed(tmp_path, size=10), image=None)


def test_labels_are_put_beside_the_moments_they_are_of(tmp_path: Path) -> None:
    one, other = filmed(tmp_path, pictures=7), filmed(tmp_path, pictures=8)
    film = cut(one, other)
    codes: dict[UUID, NDArray[np.uint16]] = {
        each.id: np.full((n, 2, 4), n, np.uint16) for each, n in ((one, 7), (other, 8))
    }
    batch = film.labelled(codes).batch(np.array([0, 7]))
    assert batch.tokens is not None
    assert batch.tokens[:, 0, 0].tolist() == [7, 8]
    assert batch.tokens.dtype == torch.int64
    codes[other.id] = codes[other.id][:3]
    with pytest.raises(NoData, match="has 8 moments and 3 labels"):
        film.labelled(codes)
    with pytest.raises(NoData, match="has 7 moments and no labels"):
        film.labelled({})


def test_trimmed_film_begins_where_it_is_used(tmp_path: Path) -> None:
    whole = filmed(tmp_path)
    film = cut(Episode(whole.path, (0.5, 1.5)))
    assert film.batch(np.array([0])).now[0, 0, 0, 0] == 5
    assert len(film) == 11


def test_a_batch_moves_as_one(tmp_path: Path) -> None:
    moved = cut(filmed(tmp_path)).batch(np.arange(3)).to(torch.device("meta"))
    assert {moved.now.device.type, moved.later.device.type, moved.arms.device.type} == {"meta"}
    assert replace(moved).instructions == ["stack"] * 3
