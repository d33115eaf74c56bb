"""One or two hands drive arms: who moves what, what is felt, and how soon a hand that is lost stops the robot."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from collectors.differential import Differential, differential
from collectors.retarget import Clutch
from collectors.vr import BETWEEN, CALIBRATED, ENGAGED, LOST, TRACE, Settings, agent, sides
from collectors.ways import Lacking, Place
from drivers import Guard, Limits, Row, Rows, StepClock, row_type
from drivers.dual import Chains
from drivers.dynamixel.kinematics import Chain as Viper
from drivers.dynamixel.layout import Calibration
from drivers.kinematics import HIGH, LOW, SPEED, Chain
from drivers.openxr.rows import LOWER, UPPER
from storage import Observation
from tests.driven import PAIR
from tests.takes import ARM
from tests.wearer import Hands

Floats = NDArray[np.float64]

MS = 1_000_000
LIMITS = Limits(LOW, HIGH, tuple(s / 2 for s in SPEED), (0.25, -0.45, 0.008), (0.8, 0.45, 0.7))
HOME = np.array([0.0, -0.2, 0.0, -2.2, 0.0, 2.0, 0.785])
READY = np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0])
ONE = row_type(("q", "<f8", (7,)), ("width", "<f8"))
TWO = row_type(("q", "<f8", (12,)), ("width", "<f8", (2,)))
VIPER = Viper(Calibration().low, Calibration().high)
PAIRED = Limits(VIPER.low, VIPER.high, (3.0,) * 6, (0.1, -0.35, 0.008), (0.62, 0.35, 0.55), (0.0, 0.079))


@dataclass
class Robot:
    """As much of a robot as ``agent`` asks for."""

    kinematics: Any
    action: np.dtype[np.void]
    dtype: np.dtype[np.void]
    name: str = "arm"


@dataclass
class Bench:
    """An agent, hands 90 times a second, and an arm that is where it was told to be; time as the loop would have it."""

    pair: bool = False
    hz: float = 20
    settings: dict[str, Any] = field(default_factory=dict)
    limits: Limits = LIMITS

    def __post_init__(self) -> None:
        self.clock, self.felt = StepClock(), list[tuple[int, float, float]]()
        self.hands = Hands(self.clock)
        robot: Any = Robot(Chains((VIPER, VIPER)), TWO, PAIR) if self.pair else Robot(Chain(), ONE, ARM)
        limits = PAIRED if self.pair else self.limits
        self.place = Place(
            Guard(robot, limits, self.clock),
            {"arm": robot, "hands": self.hands},
            self.hz,
            pulse=lambda *pulse: self.felt.append(pulse),
            settings=self.settings,
        )
        self.vr = agent(self.place)
        self.arm: Any = np.zeros(1, robot.dtype)
        self.arm["q_target"] = np.tile(READY, 2) if self.pair else HOME
        self.arm["width_target"] = 0.04
        self.rows: list[Rows] = []
        self.vr.reset("")

    @property
    def tools(self) -> Floats:
        """Where the tools were told to be (arms, 7)."""
        return self.vr._kinematics.tool(self.arm["q_target"][0]).reshape(-1, 7)

    def tick(self, count: int = 1) -> Row | None:
        """Let ticks pass; return the last target."""
        target = None
        for _ in range(count):
            self.clock.sleep_until(self.clock.now() + round(1e9 / self.hz))
            now = self.clock.now()
            self.rows.append(self.hands.read(self.rows[-1]["t"][-1] if self.rows and len(self.rows[-1]) else 0))
            known = np.concatenate(self.rows)
            known = known[known["t"] > now - 1_000 * MS]
            self.rows = [known]
            self.arm["t"] = now
            target = self.vr.act(Observation(now, {"arm": self.arm, "hands": known}, now - 1_000 * MS))
            if target is not None:
                self.arm["q_target"], self.arm["width_target"] = target["q"], target["width"]
        return target

    def grasp(self) -> None:
        """Let go, then squeeze with both hands."""
        self.hands.now["squeeze"] = 0.0
        self.tick(2)
        self.hands.now["squeeze"] = 1.0
        assert self.tick(2) is not None

    def go(self, hand: int, x: float, y: float, z: float, ticks: int = 20) -> None:
        """Move a hand evenly, as the person sees it: right, up, towards the person."""
        for _ in range(ticks):
            self.hands.now["grip"][hand][:3] += np.array([x, y, z]) / ticks
            self.tick()
        self.tick(10)


def test_a_take_begins_uncoupled_even_when_a_hand_squeezes_already() -> None:
    bench = Bench()
    bench.hands.now["squeeze"] = 1.0
    assert bench.tick(3) is None
    assert bench.vr.status.startswith("let go, then squeeze")
    bench.grasp()
    bench.vr.reset("")
    assert bench.tick(3) is None


def test_the_only_arm_follows_the_right_hand_or_the_left_if_it_is_told_to() -> None:
    for settings, hand in (({}, 1), ({"hand": "left"}, 0)):
        bench = Bench(settings=settings)
        bench.grasp()
        before = bench.tools[0]
        bench.go(1 - hand, 0.0, 0.05, 0.0)
        assert bench.tools[0] == pytest.approx(before, abs=1e-4)
        bench.go(hand, 0.0, 0.0, -0.05)
        assert bench.tools[0][:3] - before[:3] == pytest.approx((0.05, 0, 0), abs=1e-3)
        assert re.fullmatch(r"follows, \d+ ms", bench.vr.status)


def test_what_a_person_sees_as_forward_is_so_for_arms_that_face_each_other() -> None:
    pytest.importorskip("mink", reason="the extra [hardware] is not installed")
    bench = Bench(pair=True, hz=50)
    bench.grasp()
    before = bench.tools
    bench.go(0, 0.0, 0.0, -0.04, ticks=40)
    bench.go(1, 0.0, 0.0, -0.04, ticks=40)
    bench.tick(40)
    assert bench.tools[0][:3] - before[0][:3] == pytest.approx((0, 0.04, 0), abs=2e-3)
    assert bench.tools[1][:3] - before[1][:3] == pytest.approx((0, -0.04, 0), abs=2e-3)


def test_an_arm_whose_hand_lets_go_stays_while_the_other_moves() -> None:
    pytest.importorskip("mink", reason="the extra [hardware] is not installed")
    bench = Bench(pair=True, hz=50)
    bench.grasp()
    bench.hands.now["squeeze"][0], bench.hands.now["trigger"] = 0.0, 1.0
    bench.tick(2)
    q = bench.arm["q_target"][0].copy()
    bench.go(1, 0.0, 0.05, 0.0)
    assert bench.arm["q_target"][0][:6] == pytest.approx(q[:6], abs=0)
    assert np.abs(bench.arm["q_target"][0][6:] - q[6:]).max() > 0.05
    assert bench.arm["width_target"][0] == pytest.approx([0.079, 0.0]), "what it holds it goes on holding"
    assert bench.vr.status.startswith("left open: squeeze to move; right follows, ")
    bench.hands.now["squeeze"] = 0.0
    assert bench.tick(2) is None, "nobody squeezes: the robot holds"


def test_while_the_headset_is_off_the_person_is_told_that_and_not_to_squeeze() -> None:
    bench = Bench()
    bench.grasp()
    bench.hands.now["focused"] = 0
    bench.tick(3)
    assert bench.vr.status == "the headset is off, or shows something else"
    bench.hands.now["focused"] = 1
    bench.tick(2)
    assert bench.vr.status.startswith("let go, then squeeze")


def silent(hands: Hands) -> None:
    hands.silent = True


def set_to(what: str, value: Any) -> Callable[[Hands], None]:
    def spoil(hands: Hands) -> None:
        hands.now[what][...] = value

    return spoil


def unfocused(hands: Hands) -> None:
    hands.now["focused"] = 0


@pytest.mark.parametrize("hz", [15, 20, 50])
@pytest.mark.parametrize(
    "spoil",
    [silent, unfocused, set_to("active", 0), set_to("valid", 0), set_to("tracked", 0), set_to("grip", np.nan)],
    ids=["Wi-Fi gap", "headset off", "controller off", "not valid", "guessed", "nan"],
)
def test_a_hand_that_is_lost_stops_the_robot_within_a_tenth_of_a_second(
    spoil: Callable[[Hands], None], hz: float
) -> None:
    bench = Bench(hz=hz)
    bench.grasp()
    good = bench.rows[-1]["t"][-1]
    bench.felt.clear()
    spoil(bench.hands)
    while bench.tick() is not None:
        assert bench.clock.now() - good < 100 * MS
    assert bench.clock.now() - good <= 100 * MS
    assert bench.felt == [(1, *LOST)]


def test_a_row_that_is_invalid_between_two_ticks_couples_the_hand_anew() -> None:
    bench = Bench()
    bench.grasp()
    bench.felt.clear()
    read = bench.hands.read
    spoilt: list[int] = []

    def blinking(since: int) -> Rows:
        rows = read(since)
        if not spoilt:
            rows["valid"][1], spoilt[:] = 0, [1]
        return rows

    bench.hands.read = blinking  # type: ignore[method-assign]  # a headset that blinks once
    before = bench.tools[0]
    assert bench.tick() is not None
    assert bench.tools[0] == pytest.approx(before, abs=1e-4)
    assert bench.felt == [(1, *LOST), (1, *ENGAGED)]


def test_a_row_that_comes_while_devices_are_read_counts_at_the_next_tick() -> None:
    bench = Bench()
    bench.grasp()
    read = bench.hands.read

    def early(since: int) -> Rows:
        rows = read(since)
        rows["t"][-1], rows["received"][-1] = bench.clock.now() + 2 * MS, bench.clock.now() + 3 * MS
        return rows

    bench.hands.read = early  # type: ignore[method-assign]  # it is later than the tick by now
    for _ in range(5):
        assert bench.tick() is not None
    assert bench.vr.trace()["source_t"][-1] < bench.clock.now()


@pytest.mark.parametrize("stall", [0.3, 0.9])
def test_a_loop_that_stood_still_moves_no_further_than_a_tenth_of_a_second(stall: float) -> None:
    """What the hand did meanwhile came in time, but nobody moved the robot, and the guard has stopped it."""
    bench = Bench()
    bench.grasp()
    before = bench.tools[0]
    end = bench.clock.now() + round(stall * 1e9)
    while bench.clock.now() < end:  # the headset goes on, 90 times a second
        bench.clock.sleep_until(bench.clock.now() + 11 * MS)
        bench.hands.now["grip"][1][2] -= 0.01
        bench.rows.append(bench.hands.read(bench.rows[-1]["t"][-1] if len(bench.rows[-1]) else 0))
        bench.rows = [rows for rows in bench.rows if len(rows)]
    bench.tick()
    assert np.linalg.norm(bench.tools[0][:3] - before[:3]) <= 0.25 * 0.1 + 1e-3


def test_after_the_loop_stood_still_the_arm_goes_on_from_where_it_was_stopped() -> None:
    bench = Bench()
    bench.grasp()
    bench.arm["q_target"] = stopped = HOME + 0.01
    bench.clock.sleep_until(bench.clock.now() + 500 * MS)
    bench.tick()
    assert bench.arm["q_target"][0] == pytest.approx(stopped, abs=1e-4)


def test_a_headset_that_was_silent_for_long_has_to_be_grasped_anew() -> None:
    bench = Bench()
    bench.grasp()
    bench.hands.silent = True
    bench.tick(40)
    assert bench.vr.status == "no word from the headset"
    bench.hands.silent = False
    assert bench.tick(3) is None
    bench.grasp()


def test_y_makes_forward_what_the_person_looks_at() -> None:
    bench = Bench()
    bench.grasp()
    looks_right = -math.pi / 2
    bench.hands.now["head"][3:] = 0, math.sin(looks_right / 2), 0, math.cos(looks_right / 2)
    bench.hands.now["buttons"][0] = UPPER
    bench.felt.clear()
    assert bench.tick(2) is None, "what was forward is not any more"
    assert bench.felt[0] == (0, *CALIBRATED)
    bench.hands.now["buttons"][0] = 0
    for _ in range(2):
        bench.grasp()
        before = bench.tools[0]
        bench.go(1, 0.05, 0.0, 0.0)
        assert bench.tools[0][:3] - before[:3] == pytest.approx((0.05, 0, 0), abs=1e-3)
        bench.vr.reset("the next take, and it is kept")
    bench.hands.now["space"] += 1  # recentered, where the person looks
    bench.hands.now["head"][3:] = 0, 0, 0, 1
    bench.grasp()
    before = bench.tools[0]
    bench.go(1, 0.0, 0.0, -0.05)
    assert bench.tools[0][:3] - before[:3] == pytest.approx((0.05, 0, 0), abs=1e-3)


def test_a_headset_that_was_connected_anew_knows_nothing_of_what_was_forward() -> None:
    """It counts its spaces from nothing again, so that the number may be the same."""
    bench = Bench()
    bench.grasp()
    looks_right = -math.pi / 2
    bench.hands.now["head"][3:] = 0, math.sin(looks_right / 2), 0, math.cos(looks_right / 2)
    bench.hands.now["buttons"][0] = UPPER
    bench.tick(2)
    bench.hands.now["buttons"][0] = 0
    bench.vr.reset("the next take")
    bench.hands.now["seq"] = 0
    bench.grasp()
    before = bench.tools[0]
    bench.go(1, 0.0, 0.0, -0.05)
    assert bench.tools[0][:3] - before[:3] == pytest.approx((0.05, 0, 0), abs=1e-3)


@pytest.mark.parametrize("head", [(math.nan,) * 7, (0, 1.6, 0, math.sqrt(0.5), 0, 0, math.sqrt(0.5))])
def test_who_looks_up_or_is_not_seen_says_no_direction(head: Sequence[float]) -> None:
    bench = Bench()
    bench.grasp()
    bench.hands.now["head"], bench.hands.now["buttons"][0] = head, UPPER
    bench.felt.clear()
    assert bench.tick(2) is not None
    assert bench.felt == [(0, *LOST)]


def test_other_buttons_are_not_the_agents() -> None:
    bench = Bench()
    bench.grasp()
    bench.hands.now["buttons"] = LOWER
    assert bench.tick(2) is not None


def test_a_hand_feels_what_becomes_of_it() -> None:
    bench = Bench()
    assert bench.felt == [(1, *BETWEEN)]
    bench.grasp()
    assert bench.felt[1:] == [(1, *ENGAGED)]
    bench.go(1, 0.0, 0.0, -0.6, ticks=80)
    held_back = len(bench.felt) - 2
    assert 2 <= held_back <= 6, "now and then, while it is"
    assert bench.vr.status.startswith("at a limit, ")
    bench.vr.leave()
    assert bench.felt[-1] == (1, *BETWEEN)


def test_what_was_followed_is_told_tick_by_tick() -> None:
    bench = Bench()
    bench.vr.trace()
    bench.grasp()
    bench.tick(3)
    traced = bench.vr.trace()
    assert traced.dtype == TRACE
    assert len(traced) == 7
    assert traced["engaged"].tolist() == [[0, 0]] * 2 + [[0, 1]] * 5
    assert (traced["t"] - traced["source_t"] < 12 * MS).all()
    assert not len(bench.vr.trace())


def test_the_box_is_the_guards_and_each_arm_has_its_own() -> None:
    first = sides(Bench().place, Settings())[0]
    assert first.feel.low == pytest.approx((0.251, -0.449, 0.009))
    assert first.feel.stale == pytest.approx(0.05), "a tick later it has been stopped for less than 0.1 s"
    assert first.feel.widest == pytest.approx(0.08)
    boxes = replace(PAIRED, box_low=(0.1, -0.3, 0.0, 0.2, -0.3, 0.0))
    place = Bench(pair=True).place
    place = replace(place, robot=Guard(cast("Guard", place.robot)._robot, boxes, StepClock()))
    assert [side.feel.low[0] for side in sides(place, Settings())] == pytest.approx([0.101, 0.201])
    assert [side.hand for side in sides(place, Settings())] == [0, 1]


def test_settings_that_cannot_be_are_refused_with_what_would_be_right() -> None:
    with pytest.raises(Lacking, match=r"\[by.vr\] has no \['sped'\]; it takes \['device', 'hand', 'turned'"):
        Bench(settings={"sped": 1})
    with pytest.raises(Lacking, match=r"\[by.vr\] speed: Input should be less than or equal to 1"):
        Bench(settings={"speed": 3})
    with pytest.raises(Lacking, match=r"turned has 2 numbers; arm takes 1"):
        Bench(settings={"turned": [0, 0]})
    with pytest.raises(Lacking, match=r"\[by.vr\] needs device = one of \['hands'\], not 'other'"):
        Bench(settings={"device": "other"})


def test_joints_on_the_way_to_a_tool_are_never_faster_than_they_may() -> None:
    pytest.importorskip("mink", reason="the extra [hardware] is not installed")
    found = differential(Chains((VIPER, VIPER)), PAIRED, 12, 0.02)
    assert isinstance(found, Differential)
    assert differential(Chain(), LIMITS, 7, 0.02) is None, "the Franka's own does not leap"
    q, rng = np.tile(READY, 2), np.random.default_rng(0)
    for _ in range(40):
        goal = found.tool(
            np.clip(np.tile(READY, 2) + rng.normal(0, 0.6, 12), np.tile(VIPER.low, 2), np.tile(VIPER.high, 2))
        )
        for _ in range(10):
            before, q = q, found.joints(q, goal)
            assert np.abs(q - before).max() <= 3.0 * 0.02 + 1e-6
            assert (np.tile(VIPER.low, 2) <= q).all()
            assert (q <= np.tile(VIPER.high, 2)).all()
    goal = found.tool(np.tile(READY, 2) + 0.1)
    for _ in range(100):
        q = found.joints(q, goal)
    assert found.tool(q).reshape(2, 7)[:, :3] == pytest.approx(goal.reshape(2, 7)[:, :3], abs=1e-3)


def test_whatever_the_rows_say_no_target_leaves_the_box_or_leaps() -> None:
    """What ``test_retarget`` does to one hand, with a robot's joints and ticks of several rows."""
    rng = np.random.default_rng(7)
    bench = Bench(hz=30)
    bench.grasp()
    clean = bench.hands.now.copy()
    moved, low, high = 0, np.array(LIMITS.box_low), np.array(LIMITS.box_high)
    for _ in range(2000):
        now = bench.hands.now
        for name in ("active", "valid", "tracked", "focused", "head"):
            now[name] = clean[name]
        clean["grip"][1][:3] = np.clip(clean["grip"][1][:3] + rng.normal(0, 0.01, 3), -1, 2)
        now["grip"][1] = clean["grip"][1]
        now["squeeze"][1] = rng.choice([1.0, 0.5, 0.0, np.nan], p=[0.93, 0.01, 0.04, 0.02])
        match rng.integers(0, 30):
            case 0:
                now["grip"][1] += rng.normal(0, 2, 7)
            case 1:
                now["grip"][1] = rng.choice([np.nan, np.inf, 0.0, 1e30])
            case 2:
                now[rng.choice(["valid", "active", "tracked", "focused"])] = 0
            case 3:
                now["space"] += rng.random() < 0.2
            case 4:
                now["buttons"][0] = rng.choice([0, UPPER])
            case _:
                bench.hands.silent = bool(rng.random() < 0.02)
        before, coupled = bench.tools[0], bench.vr._grasps[0].clutch is Clutch.CLOSED
        target = bench.tick()
        if target is None:
            continue
        moved += 1
        tool = bench.tools[0]
        assert np.isfinite(target["q"]).all()
        assert (low - 1e-4 <= tool[:3]).all()
        assert (tool[:3] <= high + 1e-4).all()
        assert np.linalg.norm(tool[:3] - before[:3]) <= 0.25 / 30 + 2e-4
        assert coupled or np.linalg.norm(tool[:3] - before[:3]) <= 0.25 / 90 * 3 + 2e-4
    assert moved > 700
