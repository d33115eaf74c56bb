"""A hand moves a tool: only while it squeezes, never by a jump, and never out of the box or faster than allowed."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]  # scipy ships no types

from collectors.retarget import Clutch, Feel, Filter, Grasp, facing, pressed, step, width
from drivers import Row
from drivers.openxr.rows import LOWER, UPPER, unseen

Floats = NDArray[np.float64]

MS = 1_000_000
HOME = np.array([0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0])
FEEL = Feel(low=(0.2, -0.4, 0.05), high=(0.7, 0.4, 0.6))
LIVELY = replace(FEEL, calm=1e6)
"""Without the filter's delay, for exact figures."""


def row(t: int, place: Any = (0.0, 0.0, 0.0), turn: Any = (0.0, 0.0, 0.0, 1.0), squeeze: float = 1.0) -> Row:
    """What a well tracked right hand says."""
    said = unseen()
    said["t"], said["focused"] = t, 1
    for what in ("active", "valid", "tracked"):
        said[what] = 1
    said["grip"][1] = (*place, *turn)
    said["squeeze"][1], said["trigger"][1] = squeeze, 0.0
    return said


@dataclass
class Sitting:
    """A person and a tool that goes where it is told, 50 times a second."""

    feel: Feel = LIVELY
    yaw: float = 0.0
    tool: Floats = field(default_factory=HOME.copy)
    grasp: Grasp = field(default_factory=Grasp)
    now: int = 1_000_000_000

    def say(self, said: Row, delay: int = 0) -> Floats | None:
        """One tick: the tool goes where the hand wants it."""
        self.now += 20 * MS
        said["t"] = self.now - delay
        self.grasp, target = step(self.grasp, said, 1, self.tool, self.now, self.feel, self.yaw)
        if target is not None:
            self.tool = target
        return target

    def go(self, *place: float, ticks: int = 100, **rest: Any) -> Floats | None:
        """Move the hand evenly to a place from wherever it is."""
        start = np.zeros(3) if self.grasp.raw is None else self.grasp.raw[0]
        target = None
        for tick in range(1, ticks + 1):
            target = self.say(row(0, start + tick / ticks * (np.array(place) - start), **rest))
        return target


def test_the_tool_follows_only_a_hand_that_squeezes() -> None:
    sitting = Sitting()
    assert sitting.say(row(0, squeeze=0.5)) is None, "not hard enough to begin"
    assert sitting.say(row(0, squeeze=0.7)) == pytest.approx(HOME), "it begins where the tool is"
    assert sitting.say(row(0, squeeze=0.5)) is not None, "hard enough to go on"
    assert sitting.say(row(0, squeeze=0.3)) is None
    assert sitting.grasp.clutch is Clutch.OPEN
    assert sitting.say(row(0, squeeze=0.5)) is None


@pytest.mark.parametrize(
    ("hand", "tool"), [((0, 0, -0.1), (0.1, 0, 0)), ((-0.1, 0, 0), (0, 0.1, 0)), ((0, 0.1, 0), (0, 0, 0.1))]
)
def test_forward_left_and_up_are_the_robots(hand: Any, tool: Any) -> None:
    sitting = Sitting()
    sitting.say(row(0))
    sitting.go(*hand)
    assert sitting.tool[:3] - HOME[:3] == pytest.approx(tool, abs=1e-6)
    assert np.abs(sitting.tool[3:]) == pytest.approx(np.abs(HOME[3:]), abs=1e-6)


def test_the_way_is_scaled_and_the_turn_is_not() -> None:
    sitting = Sitting(replace(LIVELY, scale=0.5, turn=3.0))
    sitting.say(row(0))
    for tick in range(101):
        turn = Rotation.from_euler("y", 0.5 * tick / 100).as_quat()
        sitting.say(row(0, (0.0, 0.0, -0.1 * tick / 100), turn))
    sitting.go(0.0, 0.0, -0.1, ticks=20, turn=turn)
    assert sitting.tool[:3] - HOME[:3] == pytest.approx((0.05, 0, 0), abs=1e-3)
    turned = Rotation.from_quat(np.roll(sitting.tool[3:], -1)) * Rotation.from_quat(np.roll(HOME[3:], -1)).inv()
    assert turned.as_rotvec() == pytest.approx((0, 0, 0.5), abs=1e-3), "up is the robot's z"


def test_whichever_way_the_person_faces_forward_is_the_robots_forward() -> None:
    looks_right = np.array([0, 0, 0, *Rotation.from_euler("y", -math.pi / 2).as_quat()])
    sitting = Sitting(yaw=facing(looks_right))
    sitting.say(row(0))
    sitting.go(0.1, 0.0, 0.0)
    assert sitting.tool[:3] - HOME[:3] == pytest.approx((0.1, 0, 0), abs=1e-6)
    assert facing(np.array([0, 0, 0, 0, 0, 0, 1.0])) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="point it forward"):
        facing(np.array([0, 0, 0, *Rotation.from_euler("x", math.pi / 2).as_quat()]))


def test_letting_go_and_grasping_again_moves_nothing() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    sitting.go(0.0, 0.0, -0.1)
    before = sitting.tool.copy()
    sitting.say(row(0, (0.0, 0.0, -0.1), squeeze=0.0))
    target = sitting.say(row(0, (0.5, 0.5, 0.5)))
    assert target == pytest.approx(before)
    sitting.go(0.5, 0.5, 0.4)
    assert sitting.tool[0] == pytest.approx(before[0] + 0.1, abs=1e-6)


SPOILT: list[tuple[str, Any]] = [
    ("active", 0),
    ("valid", 0),
    ("grip", np.nan),
    ("grip", 0.0),
    ("grip", (np.nan, 0, 0, 0, 0, 0, 1)),
]


@pytest.mark.parametrize(("what", "value"), SPOILT)
def test_a_hand_that_is_not_seen_stops_the_tool_and_is_coupled_anew_when_it_is(what: str, value: Any) -> None:
    sitting = Sitting()
    sitting.say(row(0))
    sitting.go(0.0, 0.0, -0.05)
    before = sitting.tool.copy()
    spoilt = row(0, (0.0, 0.0, -0.05))
    spoilt[what][1] = value
    assert sitting.say(spoilt) is None
    assert sitting.grasp.clutch is Clutch.WAITING
    assert sitting.say(row(0, (0.3, 0.3, 0.3))) == pytest.approx(before), "the tool does not jump after the hand"


def test_a_guessed_pose_is_used_for_a_tenth_of_a_second() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    answers = []
    for _ in range(10):
        guessed = row(0)
        guessed["tracked"][1] = 0
        answers.append(sitting.say(guessed) is not None)
    assert answers == [True] * 5 + [False] * 5


def test_an_old_row_moves_nothing() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    assert sitting.say(row(0), delay=90 * MS) is not None
    assert sitting.say(row(0), delay=110 * MS) is None
    assert sitting.say(row(0), delay=-MS) is None, "nor one from the future"


def test_a_row_from_the_future_does_not_make_guesses_good_for_later() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    sitting.say(row(0), delay=-1_000 * MS)
    answers = []
    for _ in range(10):
        guessed = row(0)
        guessed["tracked"][1] = 0
        answers.append(sitting.say(guessed) is not None)
    assert not any(answers[5:])


def test_a_hand_whose_squeeze_is_not_known_moves_nothing_and_is_coupled_anew_when_it_is() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    before = sitting.tool.copy()
    assert sitting.say(row(0, squeeze=math.nan)) is None, "it may have let go"
    assert sitting.grasp.clutch is Clutch.WAITING
    assert sitting.say(row(0, (0.3, 0.3, 0.3))) == pytest.approx(before)


def test_a_squeeze_from_before_the_focus_came_couples_nothing() -> None:
    """Whoever puts a headset on has the controllers in a firm grip."""
    sitting = Sitting()
    sitting.say(row(0, squeeze=0.0))
    off = unseen()
    sitting.say(off)
    assert sitting.say(row(0)) is None
    assert sitting.say(row(0, squeeze=0.0)) is None
    assert sitting.say(row(0)) is not None


def test_a_gap_between_rows_couples_anew_even_when_nobody_looked_meanwhile() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    before = sitting.tool.copy()
    sitting.now += 200 * MS
    assert sitting.say(row(0, (0.0, 0.0, -0.1))) is None
    assert sitting.say(row(0, (0.0, 0.0, -0.1))) == pytest.approx(before)


@pytest.mark.parametrize("what", ["focus", "recenter", "jump", "spin"])
def test_what_a_person_must_notice_has_to_be_grasped_anew(what: str) -> None:
    sitting = Sitting()
    sitting.say(row(0))
    strange = row(0)
    if what == "focus":
        strange["focused"] = 0
    elif what == "recenter":
        strange["space"] = 1
    elif what == "jump":
        strange["grip"][1][:3] = 0.0, 0.0, -0.1
    else:
        strange["grip"][1][3:] = Rotation.from_euler("y", 1.0).as_quat()
    assert sitting.say(strange) is None
    assert sitting.grasp.clutch is Clutch.OWED
    space = int(strange["space"])
    for squeeze, answers in ((1.0, False), (0.3, False), (1.0, True)):
        again = row(0, squeeze=squeeze)
        again["space"] = space
        assert (sitting.say(again) is not None) == answers


def test_the_tool_stays_in_the_box_and_slides_along_it() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    sitting.go(-0.3, 0.0, -1.0, ticks=400)
    assert sitting.tool[:3] == pytest.approx((0.7, 0.3, 0.3), abs=1e-6)
    assert sitting.grasp.limited, "the person can be told"


def test_a_tool_that_is_outside_the_box_stays_until_the_hand_brings_it_back_and_goes_no_further_out() -> None:
    """As after an arm was led by hand: nobody expects it to go home by itself when they squeeze."""
    outside = HOME.copy()
    outside[0] = 0.8
    sitting = Sitting(tool=outside.copy())
    for _ in range(30):
        sitting.say(row(0))
    assert sitting.tool == pytest.approx(outside)
    sitting.go(0.0, 0.0, -0.1)
    assert sitting.tool == pytest.approx(outside)
    sitting.go(0.0, 0.0, 0.2)
    assert sitting.tool[0] == pytest.approx(0.6, abs=1e-6)


def test_the_tool_is_no_faster_than_allowed_and_catches_up() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    sitting.go(0.0, 0.0, -0.2, ticks=20)
    assert sitting.tool[0] - HOME[0] == pytest.approx(0.25 * 20 * 0.02, abs=1e-6), "0.4 s at 0.25 m/s"
    assert sitting.grasp.limited
    sitting.go(0.0, 0.0, -0.2, ticks=30)
    assert sitting.tool[0] - HOME[0] == pytest.approx(0.2, abs=1e-6)


def test_a_tick_that_comes_late_moves_no_further_than_a_tenth_of_a_second() -> None:
    sitting = Sitting(replace(LIVELY, stale=5.0))
    sitting.say(row(0))
    sitting.go(0.0, 0.0, -0.2, ticks=10)
    before = sitting.tool[0]
    sitting.now += 900 * MS
    sitting.say(row(0, (0.0, 0.0, -0.2)))
    assert sitting.tool[0] - before == pytest.approx(0.25 * 0.1, abs=1e-6)


def test_a_tick_without_a_new_row_goes_on_to_where_the_last_one_led() -> None:
    sitting = Sitting()
    sitting.say(row(0))
    said = row(0, (0.0, 0.0, -0.02))
    first = sitting.say(said)
    grasp, second = step(sitting.grasp, said, 1, sitting.tool, sitting.now + 20 * MS, LIVELY)
    assert first is not None
    assert second is not None
    assert first[0] < second[0] < HOME[0] + 0.021
    assert grasp.clutch is Clutch.CLOSED


def test_the_filter_calms_a_trembling_hand_and_follows_a_quick_one() -> None:
    rng = np.random.default_rng(0)
    still = Filter(0, np.zeros(3), Rotation.identity())
    trembling = []
    for tick in range(1, 1000):
        p = rng.normal(0, 1e-3, 3)
        still = still.step(tick * 11 * MS, p, Rotation.identity(), replace(FEEL, calm=1.0))
        trembling.append(still.p)
    assert np.std(trembling[100:]) < 0.25e-3
    quick = Filter(0, np.zeros(3), Rotation.identity())
    for tick in range(1, 100):
        quick = quick.step(tick * 11 * MS, np.array([0.011 * tick, 0, 0]), Rotation.identity(), FEEL)
    assert 1.089 - quick.p[0] < 0.02, "20 ms behind at 1 m/s"
    assert quick.step(5, np.ones(3), Rotation.identity(), FEEL) is quick, "an older row changes nothing"


def test_the_trigger_closes_the_fingers_and_one_that_is_silent_leaves_them() -> None:
    said = row(0)
    assert width(said, 1, 0.0, FEEL) == pytest.approx(0.08)
    said["trigger"][1] = 0.75
    assert width(said, 1, 0.0, FEEL) == pytest.approx(0.02)
    said["trigger"][1] = np.nan
    assert width(said, 1, 0.033, FEEL) == pytest.approx(0.033)


def test_a_button_counts_when_it_goes_down() -> None:
    before, now = row(0), row(0)
    before["buttons"][1], now["buttons"][1] = LOWER, LOWER | UPPER
    assert pressed(before, now, 1) == UPPER
    assert pressed(now, before, 1) == 0


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="the box must be longer"):
        Feel((0, 0, 0), (1, 1, 0))
    with pytest.raises(ValueError, match="0 < opens < closes < 1"):
        Feel((0, 0, 0), (1, 1, 1), opens=0.7)


def test_whatever_the_rows_say_the_tool_stays_in_the_box_and_never_jumps() -> None:
    """10,000 ticks of invalid, stale, jumping, recentred, unfocused and NaN rows, with a hand that mostly squeezes."""
    rng = np.random.default_rng(4)
    sitting = Sitting(FEEL)
    hand: Floats = np.zeros(3)
    space = moved = stayed = 0
    for _ in range(10_000):
        hand = np.clip(hand + rng.normal(0, 0.01, 3), -1, 1)
        turn = Rotation.from_rotvec(rng.normal(0, 0.02, 3)).as_quat()
        said = row(0, hand, turn, squeeze=rng.choice([1.0, 0.5, 0.0, np.nan], p=[0.9, 0.02, 0.06, 0.02]))
        space += rng.random() < 0.003
        said["space"] = space
        match rng.integers(0, 40):
            case 0:
                said["grip"][1] += rng.normal(0, 2, 7)
            case 1:
                said["grip"][1] = rng.choice([np.nan, np.inf, 0.0, 1e30])
            case 2:
                said[rng.choice(["valid", "active", "tracked"])][1] = 0
            case 3:
                said["focused"] = 0
            case 4:
                said["grip"][1] *= -1
            case _:
                pass
        before, clutch = sitting.tool.copy(), sitting.grasp.clutch
        target = sitting.say(said, delay=int(rng.choice([0, 10, 500], p=[0.6, 0.38, 0.02])) * MS)
        if target is None:
            stayed += 1
            continue
        moved += 1
        assert np.isfinite(target).all()
        assert (np.array(FEEL.low) - 1e-9 <= target[:3]).all()
        assert (target[:3] <= np.array(FEEL.high) + 1e-9).all()
        assert np.linalg.norm(target[:3] - before[:3]) <= FEEL.speed * 0.02 + 1e-9
        turned = Rotation.from_quat(np.roll(target[3:], -1)) * Rotation.from_quat(np.roll(before[3:], -1)).inv()
        assert turned.magnitude() <= FEEL.turn * 0.02 + 1e-6
        if clutch is not Clutch.CLOSED:
            assert target == pytest.approx(before), "it was coupled anew, and moved at once"
    assert moved > 3000
    assert stayed > 1000
