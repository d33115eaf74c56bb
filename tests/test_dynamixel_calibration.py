"""Finding out what an arm's positions mean: sweep first, then home; and back."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers import DeviceError, Rows, StepClock
from drivers.dynamixel import BY_HAND, FOLLOWER, LEADER, Calibration, Leader, calibrate
from drivers.dynamixel.registers import TURN
from drivers.emulators.dynamixel import leader, plug
from tests.dynamixel import MS

ZERO = np.array([2100, 2000, 2150, 2048, 1990, 2070])
"""Where this arm's horns really sit."""

HOME = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0)
"""The pose that a jig holds the arm in, in radians."""

SWEEP, PAUSE = 10.0, 0.5
"""Seconds of sweeping, and of going home."""


def held(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(ZERO + angles * TURN / (2 * np.pi) * BY_HAND.sign)


def hand(lazy: int | None = None, shaky: int | None = None) -> dict[int, Callable[[float], float]]:
    """A person who sweeps every joint from stop to stop, then brings the arm home."""
    low, high = held(np.array(BY_HAND.low)), held(np.array(BY_HAND.high))
    lows, highs = np.append(low, BY_HAND.closed + 20), np.append(high, BY_HAND.open - 30)
    home = np.append(held(np.array(HOME)), 1900)

    def path(i: int) -> Callable[[float], float]:
        share = 0.2 if i == lazy else 1.0

        def at(s: float) -> float:
            if s < SWEEP:
                middle, half = (lows[i] + highs[i]) / 2, (highs[i] - lows[i]) / 2
                return float(middle + share * half * np.sin(2 * np.pi * s / SWEEP * 2))
            return float(home[i]) + (30 * np.sin(9 * s) if i == shaky else 0.0)

        return at

    return {i: path(i) for i in range(7)}


def taken(person: dict[int, Callable[[float], float]]) -> tuple[Rows, Rows]:
    """The rows of a sweep and of a pose, read from a leader over the SDK."""
    clock = StepClock()
    arm = Leader(
        "left", "memory", clock=clock, plug=plug(leader(clock, person, [round(person[i](0)) for i in range(7)]))
    )
    read = []
    with arm:
        for until in (SWEEP, SWEEP + 2):
            start, rows = clock.now() + int(PAUSE * 1e9), []
            clock.sleep_until(start)
            while clock.now() < until * 1e9:
                since = clock.now()
                clock.sleep_until(since + 500 * MS)
                rows.append(arm.read(since))
            read.append(np.concatenate(rows))
    return read[0][read[0]["t"] < SWEEP * 1e9], read[1]


@pytest.fixture(scope="module")
def rows() -> tuple[Rows, Rows]:
    return taken(hand())


def test_a_sweep_and_a_pose_give_zero_limits_and_gripper(rows: tuple[Rows, Rows]) -> None:
    found = calibrate(LEADER, *rows, angles=HOME, like=BY_HAND, id_=7)
    assert found.zero == pytest.approx(ZERO, abs=1)
    assert np.array(found.low)[[1, 2, 4]] == pytest.approx(np.array(BY_HAND.low)[[1, 2, 4]] + 0.02, abs=0.02)
    assert np.array(found.high)[[1, 2, 4]] == pytest.approx(np.array(BY_HAND.high)[[1, 2, 4]] - 0.02, abs=0.02)
    assert found.closed == pytest.approx(BY_HAND.closed + 20, abs=3)
    assert found.open == pytest.approx(BY_HAND.open - 30, abs=3)
    assert found.id == 7


def test_the_calibration_is_applied_to_what_is_read_next(rows: tuple[Rows, Rows]) -> None:
    found = calibrate(LEADER, *rows, angles=HOME, like=BY_HAND)
    clock = StepClock()
    person = {i: (lambda _s, at=float(at): at) for i, at in enumerate(held(np.array(HOME)))}
    bus = leader(clock, person, [*held(np.array(HOME)).astype(int), 1900])
    with Leader("left", "memory", calibration=found, clock=clock, plug=plug(bus)) as arm:
        clock.sleep_until(100 * MS)
        assert arm.read(0)["q"][-1] == pytest.approx(HOME, abs=2e-3)


def test_a_calibration_survives_json(rows: tuple[Rows, Rows]) -> None:
    found = calibrate(LEADER, *rows, angles=HOME, like=BY_HAND, id_=3)
    kept = json.loads(json.dumps(found.values()))
    assert Calibration.of(kept, 3) == found
    with pytest.raises(DeviceError, match="a calibration has"):
        Calibration.of({"zero": [1]})


def test_angles_and_positions_undo_each_other() -> None:
    odd = Calibration(zero=(2100, 2000, 2150, 2048, 1990, 2070), sign=(1, -1, 1, 1, -1, -1))
    random = np.random.default_rng(1)
    for q in random.uniform(odd.low, odd.high, (100, 6)):
        assert odd.angles(odd.positions(q)) == pytest.approx(q, abs=np.pi / TURN)
    for width in (0.0, 0.03, 0.079):
        assert odd.width(odd.grip(width, 0.079), 0.079) == pytest.approx(width, abs=1e-4)
    assert odd.angles(odd.positions(np.full(6, 9.0))) == pytest.approx(odd.high, abs=np.pi / TURN)


def test_a_joint_that_was_hardly_swept_is_named() -> None:
    with pytest.raises(DeviceError, match=r"elbow was turned by .* degrees, of about 214: sweep it"):
        calibrate(LEADER, *taken(hand(lazy=2)), angles=HOME, like=BY_HAND)


def test_a_joint_that_shakes_at_home_is_named() -> None:
    with pytest.raises(DeviceError, match="wrist_angle moved while the arm should have stood at home"):
        calibrate(LEADER, *taken(hand(shaky=4)), angles=HOME, like=BY_HAND)


def shifted(rows: Rows, joint: int, by: int, wrap: bool) -> Rows:
    """Rows of an arm whose horn sits elsewhere."""
    changed = rows.copy()
    column = LEADER.ids.index(LEADER.masters[joint])
    moved = changed["positions"][:, column] + by
    changed["positions"][:, column] = moved % TURN if wrap else moved
    return changed


def test_an_encoder_that_rolls_over_within_reach_is_found_by_the_sweep(rows: tuple[Rows, Rows]) -> None:
    """No single pose could show it: home looks fine."""
    swept, home = (shifted(part, 1, 1500, wrap=True) for part in rows)
    with pytest.raises(DeviceError, match="shoulder's encoder rolls over within its reach"):
        calibrate(LEADER, swept, home, angles=HOME, like=BY_HAND)


def test_a_pose_outside_of_the_sweep_is_named(rows: tuple[Rows, Rows]) -> None:
    with pytest.raises(DeviceError, match=r"shoulder stood at .*, outside of its sweep"):
        calibrate(LEADER, rows[0], shifted(rows[1], 1, -900, wrap=False), angles=HOME, like=BY_HAND)


def test_nothing_read_is_said(rows: tuple[Rows, Rows]) -> None:
    with pytest.raises(DeviceError, match="needs rows of a sweep and of a pose"):
        calibrate(LEADER, rows[0][:0], rows[1], angles=HOME, like=BY_HAND)


@pytest.mark.parametrize("wrong", [{"sign": (2,) * 6}, {"zero": (1,) * 5}, {"open": 1643}, {"low": (9.0,) * 6}])
def test_a_calibration_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DeviceError, match="a calibration"):
        Calibration.of(Calibration().values() | wrong)


def test_a_follower_is_calibrated_by_hand_too() -> None:
    """With its torque off it is an arm like any other: opened as a leader of its own kind."""
    assert Leader("left", "x", arm="ViperX 300 S").layout == FOLLOWER
