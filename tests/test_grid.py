"""An episode at even steps shows what the agent was shown, and answers it with the targets that followed."""

from pathlib import Path

import numpy as np
import pytest

from drivers import Rows, row_type, sensed
from storage import Episode, EpisodeWriter, Lossless, Stale
from storage.grid import grid
from storage.layout import arrived
from tests.takes import TICKS

MS = 1_000_000
SECOND = 1_000_000_000
ARM = sensed(("q", "<f8"), ("q_target", "<f8"))
CAMERA = sensed(("rgb", "u1", (4, 4, 3)))
PLAIN = row_type(("q", "<f8"))


def measured(kind: np.dtype[np.void], hz: float, begin: int, delay: int) -> Rows:
    """Two seconds of rows, each received ``delay`` nanoseconds after it was measured."""
    t = np.arange(begin, begin + 2 * SECOND, round(SECOND / hz))
    rows: Rows = np.zeros(len(t), kind)
    rows["t"], rows["received"], rows["seq"] = t, t + delay, np.arange(len(t))
    return rows


@pytest.fixture
def episode(tmp_path: Path) -> Episode:
    """Pictures come 60 ms after they were taken, rows of the arm after 5 ms; a tick at every step of 20 a second."""
    arm, front = measured(ARM, 200, SECOND, 5 * MS), measured(CAMERA, 30, SECOND + 13 * MS, 60 * MS)
    ticks = np.zeros(39, TICKS)
    ticks["t"] = front["received"][0] + np.arange(len(ticks)) * 50 * MS
    with EpisodeWriter(tmp_path, {"arm": ARM, "front": CAMERA, "ticks": TICKS}, {}, Lossless()) as writer:
        for name, rows in {"arm": arm, "front": front, "ticks": ticks}.items():
            writer.append(name, rows)
        return Episode(writer.seal().path)


def test_a_step_shows_what_the_agent_was_shown(episode: Episode) -> None:
    over = grid(episode, 20, ["arm", "front"], 0.25)
    replayed = list(episode.replay(memory=64))
    assert over.at.tolist() == [seen.t for seen in replayed]
    for stream in ("arm", "front"):
        assert over.index[stream].tolist() == [int(seen.streams[stream]["seq"][-1]) for seen in replayed]


def test_the_answer_is_the_target_that_was_in_force_whenever_we_heard_of_it(episode: Episode) -> None:
    over = grid(episode, 20, ["arm", "front"], 0.25)
    t = episode["arm", "t"]
    assert (t[over.after["arm"][:-1]] <= over.at[1:]).all()
    assert (t[over.after["arm"][:-1] + 1] > over.at[1:]).all()
    assert over.after["arm"][-1] == len(t) - 1


def test_the_age_of_a_row_counts_from_when_it_was_measured(episode: Episode) -> None:
    """Pictures come every 33 ms and are 60 ms old then; every second step comes 17 ms after one."""
    grid(episode, 20, ["arm", "front"], 0.078)
    with pytest.raises(Stale, match=r"stream 'front' was silent for 0\.077 s"):
        grid(episode, 20, ["arm", "front"], 0.07)


def test_rows_arrive_when_they_are_received_and_those_that_do_not_say_when_they_are_measured() -> None:
    said = measured(ARM, 10, SECOND, 60 * MS)
    assert arrived(said, np.array([60 * MS - 1, 60 * MS, 160 * MS]) + SECOND).tolist() == [-1, 0, 1]
    plain: Rows = np.zeros(3, PLAIN)
    plain["t"] = [0, 10, 20]
    assert arrived(plain, np.array([-1, 9, 10, 25])).tolist() == [-1, 0, 1, 2]
