"""Of two arms each keeps its own limits, and one at its wall does not keep the other from moving."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from drivers import Guard, Limits, Refused, Row, Rows, StepClock, row_type, sensed
from drivers.dual import Chains
from tests.toy import JOINTS, Gantry

MS = 1_000_000
LIMITS = Limits(
    low=(-1.0,) * JOINTS,
    high=(1.0,) * JOINTS,
    speed=(2.0,) * JOINTS,
    box_low=(-0.5, -0.5, -0.5, -0.2, -0.9, -0.9),
    box_high=(0.5, 0.5, 0.5, 0.2, 0.9, 0.9),
    width=(0.01, 0.07, 0.02, 0.05),
)
ACTION = row_type(("q", "<f8", (2 * JOINTS,)), ("width", "<f8", (2,)))


class Pair:
    """Two gantries, side by side, that are at once where they are sent, and remember what they were told."""

    name = "arm"
    dtype = sensed(("q", "<f8", (2 * JOINTS,)))
    action = ACTION

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock
        self.kinematics = Chains((Gantry(), Gantry()))
        self.q = np.zeros(2 * JOINTS)
        self.told: list[Row] = []
        self.holds = 0

    def read(self, since: int) -> Rows:
        row = np.zeros(1, self.dtype)
        row["t"], row["q"] = self.clock.now(), self.q
        return row[row["t"] > since]

    def command(self, target: Row) -> None:
        self.q = target["q"].copy()
        self.told.append(target.copy())

    def hold(self) -> None:
        self.holds += 1

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
def pair(clock: StepClock) -> Pair:
    return Pair(clock)


@pytest.fixture
def guard(pair: Pair, clock: StepClock) -> Iterator[Guard]:
    with Guard(pair, LIMITS, clock) as guard:
        yield guard


def target(left: object, right: object, width: object = 0.03) -> Row:
    row = np.zeros(1, ACTION)
    row["q"][0, :JOINTS], row["q"][0, JOINTS:], row["width"] = left, right, width
    return row[0]  # type: ignore[no-any-return]  # a row of a structured array


def follow(guard: Guard, clock: StepClock, left: object, right: object, ticks: int = 60) -> None:
    for _ in range(ticks):
        clock.sleep_until(clock.now() + 20 * MS)
        guard.command(target(left, right))


def tools(pair: Pair, arm: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Everywhere an arm's tool was sent (n, 3)."""
    return np.array([row["q"][JOINTS * arm : JOINTS * arm + 3] for row in pair.told])


def test_each_tool_stays_in_its_own_box(guard: Guard, pair: Pair, clock: StepClock) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        follow(guard, clock, random.uniform(-1, 1, JOINTS), random.uniform(-1, 1, JOINTS), ticks=20)
    left, right = np.abs(tools(pair, 0)).max(axis=0), np.abs(tools(pair, 1)).max(axis=0)
    assert (left <= 0.5).all()
    assert (left > 0.499).all(), "the left tool never came near its walls"
    assert (right <= [0.2, 0.9, 0.9]).all()
    assert (right > [0.199, 0.6, 0.6]).all(), "the right tool was kept from what is its own"


def test_one_box_is_every_arms(pair: Pair, clock: StepClock) -> None:
    same = replace(LIMITS, box_low=(-0.5,) * 3, box_high=(0.5,) * 3)
    follow(Guard(pair, same, clock), clock, 0.9, 0.9)
    assert pair.told[-1]["q"][[0, 1, 2, 7, 8, 9]] == pytest.approx(np.full(6, 0.5), abs=2e-3)


@pytest.mark.parametrize("arm", [0, 1])
def test_an_arm_at_its_wall_does_not_keep_the_other_from_moving(
    guard: Guard, pair: Pair, clock: StepClock, arm: int
) -> None:
    out, free = [0.9, 0, 0, 0, 0, 0, 0], [0.0, 0.4, 0, 0.7, 0, 0, 0]
    follow(guard, clock, *((out, free) if arm == 0 else (free, out)))
    blocked, other = np.split(pair.told[-1]["q"], 2)[:: 1 if arm == 0 else -1]
    assert blocked[0] == pytest.approx((0.5, 0.2)[arm], abs=2e-3)
    assert other == pytest.approx(free)


@pytest.mark.parametrize("arm", [0, 1])
def test_along_its_wall_each_arm_slides(guard: Guard, pair: Pair, clock: StepClock, arm: int) -> None:
    out = [0.9, 0.4, 0, 0.2, 0, 0, 0]
    follow(guard, clock, *((out, 0.0) if arm == 0 else (0.0, out)))
    assert np.split(pair.told[-1]["q"], 2)[arm][:2] == pytest.approx([(0.5, 0.2)[arm], 0.4], abs=2e-3)


@pytest.mark.parametrize("arm", [0, 1])
def test_an_arm_outside_its_box_may_only_come_back_while_the_other_is_free(
    guard: Guard, pair: Pair, clock: StepClock, arm: int
) -> None:
    pair.q[JOINTS * arm] = 0.8
    out, free = [0.9, 0, 0, 0, 0, 0, 0], [0.1, 0, 0, 0, 0, 0, 0]
    follow(guard, clock, *((out, free) if arm == 0 else (free, out)))
    assert tools(pair, arm)[:, 0].max() == pytest.approx(0.8)
    assert pair.told[-1]["q"][JOINTS * (1 - arm)] == pytest.approx(0.1)
    follow(guard, clock, 0.0, 0.0)
    assert pair.told[-1]["q"] == pytest.approx(np.zeros(2 * JOINTS))


def test_each_hand_opens_as_far_as_its_own_limits(guard: Guard, pair: Pair, clock: StepClock) -> None:
    for asked, sent in (([0.5, 0.5], [0.07, 0.05]), ([-1, -1], [0.01, 0.02]), ([0.03, 0.04], [0.03, 0.04])):
        clock.sleep_until(clock.now() + 20 * MS)
        guard.command(target(0.0, 0.0, asked))
        assert pair.told[-1]["width"] == pytest.approx(sent)


def test_joints_and_speeds_of_the_second_arm_are_limited_too(pair: Pair, clock: StepClock) -> None:
    own = Limits((-1.0,) * 7 + (-0.3,) * 7, (1.0,) * 7 + (0.3,) * 7, (2.0,) * 7 + (4.0,) * 7)
    follow(Guard(pair, own, clock), clock, 5.0, 5.0)
    sent = np.array([np.zeros(14), *(row["q"] for row in pair.told)])
    assert sent[-1] == pytest.approx([1.0] * 7 + [0.3] * 7)
    assert (np.diff(sent, axis=0) / 0.02).max(axis=0) == pytest.approx([2.0] * 7 + [4.0] * 7)


@pytest.mark.parametrize("place", [0, 6, 7, 13])
def test_what_is_not_a_number_in_either_arm_stops_both(guard: Guard, pair: Pair, clock: StepClock, place: int) -> None:
    follow(guard, clock, 0.1, 0.1, ticks=3)
    row = target(0.1, 0.1)
    row["q"][place] = np.nan
    with pytest.raises(Refused, match="q must be finite"):
        guard.command(row)
    assert (len(pair.told), pair.holds) == (3, 1)


def test_when_commands_stop_both_hold(guard: Guard, pair: Pair, clock: StepClock) -> None:
    follow(guard, clock, 0.1, 0.1, ticks=3)
    clock.sleep_until(clock.now() + 260 * MS)
    guard.read(clock.now())
    assert pair.holds == 1


@pytest.mark.parametrize(
    ("wrong", "helps"),
    [
        ({"low": (-1.0,) * 6}, "low has 6 numbers; arm takes 7, or 14 for 2 arms"),
        ({"speed": (1.0,)}, "speed has 1 numbers; arm takes 7, or 14 for 2 arms"),
        ({"box_low": (0.0,) * 9}, "box_low has 9 numbers; arm takes 3, or 6 for 2 arms"),
        ({"width": (0.0, 0.08, 0.1)}, "width has 3 numbers; arm takes 2, or 4 for 2 arms"),
    ],
)
def test_limits_of_another_robot_are_refused_before_anything_moves(
    pair: Pair, clock: StepClock, wrong: dict[str, tuple[float, ...]], helps: str
) -> None:
    with pytest.raises(ValueError, match=helps):
        Guard(pair, replace(LIMITS, **wrong), clock)  # type: ignore[arg-type]  # every one of these is a tuple
