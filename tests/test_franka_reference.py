"""The way a Franka is led along, its stamps and its poses: functions of numbers, without a robot."""

from typing import Any

import numpy as np
import pytest

from drivers.franka.reference import STOPPING, Reference
from drivers.franka.rows import pose
from drivers.kinematics import HIGH, LOW, Chain
from drivers.stamps import Stamps
from tests.franka import MS


def test_an_uneven_stream_of_targets_makes_an_even_motion() -> None:
    """Ticks that come up to 40 ms late, and then two at once, do not show in the speed."""
    reference = Reference(np.full(7, 2.0), np.full(7, 7.0))
    reference.begin(np.zeros(7), 0)
    random = np.random.default_rng(1)
    ticks = np.arange(1, 60) * 50 * MS + random.integers(0, 40 * MS, 59)
    speeds, due = [], list(ticks)
    for now in range(0, 3000 * MS, 5 * MS):
        while due and due[0] <= now:
            t = int(due.pop(0))
            reference.aim(t, np.full(7, 0.4 * t / 1e9), now)
        _, dq = reference.step(now)
        speeds.append(dq[0])
    settled = np.array(speeds[120:580])
    assert np.abs(settled - 0.4).mean() < 0.02
    assert settled.min() > 0.2
    assert settled.max() < 0.6


def test_a_target_in_the_future_is_reached_on_time() -> None:
    reference = Reference(np.full(7, 2.0), np.full(7, 7.0))
    reference.begin(np.zeros(7), 0)
    reference.aim(500 * MS, np.full(7, 0.3), 0)
    way = [reference.step(now)[0][0] for now in range(0, 560 * MS, 5 * MS)]
    assert way[-1] == pytest.approx(0.3, abs=0.01)
    assert max(way) < 0.303, "it went too far"


def test_a_reference_keeps_its_limits_whatever_it_is_told() -> None:
    reference = Reference(np.full(7, 1.0), np.full(7, 5.0))
    reference.begin(np.zeros(7), 0)
    random = np.random.default_rng(2)
    before: Any = np.zeros(7)
    for i in range(1000):
        if i % 97 == 0:
            reference.aim(i * 5 * MS, random.uniform(-2, 2, 7), i * 5 * MS)
        if i % 231 == 230:
            reference.stop(reference.q, 0.05)
        _, dq = reference.step(i * 5 * MS)
        assert np.abs(dq).max() <= 1.0
        assert np.abs(dq - before).max() <= STOPPING * 0.005 + 1e-9
        before = dq


def test_a_reference_that_stops_is_not_far_ahead_of_joints_that_were_held_back() -> None:
    reference = Reference(np.full(7, 1.0), np.full(7, 5.0))
    reference.begin(np.zeros(7), 0)
    reference.aim(1000 * MS, np.full(7, 0.5), 0)
    for now in range(0, 900 * MS, 5 * MS):
        reference.step(now)
    reference.stop(np.full(7, 0.1), 0.05)
    for now in range(900 * MS, 2000 * MS, 5 * MS):
        q, dq = reference.step(now)
    assert np.abs(q - 0.1).max() < 0.07
    assert np.abs(dq).max() == pytest.approx(0, abs=1e-3)


def test_stamps_never_run_backwards_or_ahead_and_follow_a_clock_that_stood_still() -> None:
    stamps, random, last, received = Stamps(), np.random.default_rng(3), -1, 0
    for i in range(2000):
        stood = 300 * MS if i >= 1000 else 0
        received = max(received + 1, 7_000 * MS + i * MS + stood + int(random.exponential(2 * MS)))
        t = stamps.stamp(i * MS, received)
        assert last < t <= received
        last = t
    assert stamps.offset == pytest.approx(7_300 * MS, abs=MS // 2)


def test_a_matrix_becomes_the_twins_pose() -> None:
    chain = Chain()
    for q in np.random.default_rng(4).uniform(LOW, HIGH, (50, 7)):
        x = chain.tool(q)
        w, i, j, k = x[3:]
        turn = np.array(
            [
                [1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
                [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
                [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)],
            ]
        )
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turn, x[:3]
        assert pose(matrix) == pytest.approx(x, abs=1e-6)
