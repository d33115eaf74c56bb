"""Alignment never looks ahead, and never passes off something old as new."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import Stale, latest


def test_alignment_never_looks_ahead() -> None:
    stamps = np.array([0, 10, 20])
    assert latest(stamps, np.array([0, 9, 10, 25]), max_age=10).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("at", [-1, 31])
def test_nothing_recent_enough_is_an_error(at: int) -> None:
    with pytest.raises(Stale, match=f"t={at}"):
        latest(np.array([0, 10, 20]), np.array([at]), max_age=10)


def test_a_row_that_has_not_arrived_is_not_known_and_its_age_counts_from_when_it_was_measured() -> None:
    measured, arrived = np.array([0, 100]), np.array([60, 160])
    assert latest(arrived, np.array([60, 100, 159, 160]), 159, measured).tolist() == [0, 0, 0, 1]
    with pytest.raises(Stale, match="nothing within 159 ns before t=59"):
        latest(arrived, np.array([59]), 159, measured)
    with pytest.raises(Stale, match="nothing within 158 ns before t=159"):
        latest(arrived, np.array([60, 159]), 158, measured)


def test_no_stamps_at_all_is_an_error() -> None:
    with pytest.raises(Stale):
        latest(np.zeros(0, np.int64), np.array([5]), max_age=1_000_000)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20), st.lists(st.integers(0, 120), min_size=1, max_size=20))
def test_it_is_the_newest_stamp_not_after_each_moment(stamps: list[int], moments: list[int]) -> None:
    ordered = np.array(sorted(stamps))
    at = np.array([moment + int(ordered[0]) for moment in moments])
    expected = [max(i for i, stamp in enumerate(ordered) if stamp <= moment) for moment in at]
    assert latest(ordered, at, max_age=1000).tolist() == expected
