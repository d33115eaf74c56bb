"""A policy's plans become commands: asked for in time, followed evenly, averaged fairly, handed over at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from collectors import Ended, Loop, PolicyAgent, Scripted, Takeover, Teleop
from collectors.agents import Warming, blend
from drivers import Guard, Limits, Row, Rows, StepClock, row_type, sensed
from drivers.kinematics import HIGH, LOW, SPEED, Chain
from drivers.twin import FrankaTable
from learners import windows
from learners.nearest import Nearest
from storage import Episode, EpisodeWriter, Observation, Sealed, Stale
from tests.toy import JOINTS, Gantry, SimOperator, SimRobot

torch.set_num_threads(1)

Floats = NDArray[np.float64]

MS = 1_000_000
TICK = 20 * MS
ACTION = row_type(("q", "<f8", (JOINTS,)), ("width", "<f8"))
JOINT_PLAN = np.dtype([("t", "<i8"), ("q", "<f8", (JOINTS,)), ("width", "<f8")])
TOOL_PLAN = np.dtype([("t", "<i8"), ("tool", "<f8", (7,)), ("width", "<f8")])
ARM = row_type(("q", "<f8", (JOINTS,)))
HOME = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])


@dataclass
class Said:
    """A policy that says what a function of the moment says, ``every`` nanoseconds a row, and counts."""

    says: Callable[[int], Rows]
    horizon: int = 100 * MS
    ensemble: float | None = None
    name: str = "said"
    asked: list[tuple[int, str]] = field(default_factory=list)

    def plan(self, seen: Observation, instruction: str) -> Rows:
        self.asked.append((seen.t, instruction))
        return self.says(seen.t)


def straight(at: Callable[[Floats], Floats], rows: int = 11, every: int = 50 * MS) -> Callable[[int], Rows]:
    """Plans whose joints and opening are a function of seconds."""

    def says(t: int) -> Rows:
        plan: Rows = np.zeros(rows, JOINT_PLAN)
        plan["t"] = t + np.arange(rows) * every
        plan["q"] = at(plan["t"] / 1e9)[:, None] * np.ones(JOINTS)
        plan["width"] = at(plan["t"] / 1e9) / 100
        return plan

    return says


def at(t: int, q: Floats | float = 0.0) -> Observation:
    """The arm at rest at a moment."""
    arm: Rows = np.zeros(1, ARM)
    arm["t"], arm["q"] = t, q
    return Observation(t, {"arm": arm})


def follow(agent: PolicyAgent, ticks: int, instruction: str = "go", start: int = 0) -> Rows:
    """What is commanded at each tick."""
    agent.reset(instruction)
    said = [agent.act(at(start + i * TICK)) for i in range(ticks)]
    return np.array(said, ACTION)


def agent_of(policy: Said) -> PolicyAgent:
    return PolicyAgent(policy, Gantry(), ACTION, 1e9 / TICK)


def test_it_asks_for_the_next_plan_when_it_has_followed_enough_of_this_one() -> None:
    policy = Said(straight(lambda s: s), horizon=100 * MS)
    follow(agent_of(policy), 16, "put it there")
    assert policy.asked == [(t * MS, "put it there") for t in (0, 100, 200, 300)]


def test_a_reset_forgets_the_plan_and_takes_the_new_instruction() -> None:
    policy = Said(straight(lambda s: s), horizon=400 * MS)
    agent = agent_of(policy)
    follow(agent, 3, "first")
    follow(agent, 3, "second", start=3 * TICK)
    assert policy.asked == [(0, "first"), (3 * TICK, "second")]


def test_between_two_rows_the_target_moves_evenly() -> None:
    """Rows are 50 ms apart and ticks 20 ms; each tick but the first asks for the moment of the next."""
    policy = Said(straight(lambda s: 3 * s, rows=5), horizon=200 * MS)
    said = follow(agent_of(policy), 8)
    ahead = np.array([0, 2, 3, 4, 5, 6, 7, 8]) * TICK / 1e9
    np.testing.assert_allclose(said["q"], np.repeat(3 * ahead[:, None], JOINTS, 1), atol=1e-12)
    np.testing.assert_allclose(said["width"], 3 * ahead / 100, atol=1e-12)
    assert said["t"].tolist() == [i * TICK for i in range(8)]


def test_a_bend_in_the_plan_is_passed_at_its_own_row() -> None:
    policy = Said(straight(lambda s: np.abs(s - 0.1), rows=5, every=100 * MS), horizon=400 * MS)
    said = follow(agent_of(policy), 12)
    ahead = np.array([0, *range(2, 13)]) * 0.02
    np.testing.assert_allclose(said["q"][:, 0], np.abs(ahead - 0.1), atol=1e-12)


def test_after_a_reset_the_first_command_is_where_the_robot_is_already_sent() -> None:
    """A pause between two calls is not taken for the length of a tick."""
    policy = Said(straight(lambda s: s, rows=5), horizon=100 * MS)
    agent = agent_of(policy)
    follow(agent, 3)
    assert follow(agent, 1, start=10_000 * MS)["q"][0, 0] == pytest.approx(10.0)


@pytest.mark.parametrize("late", [7 * MS, 170 * MS])
def test_a_late_tick_asks_the_plans_no_further_ahead_than_a_tick(late: int) -> None:
    """What it is asked for is never further from where it was sent than the loop's period makes it."""
    policy = Said(straight(lambda s: s), horizon=400 * MS)
    agent = agent_of(policy)
    agent.reset("go")
    moments = [0, TICK, 2 * TICK + late, 3 * TICK + late, 4 * TICK + late]
    said = np.array([agent.act(at(t)) for t in moments], ACTION)
    np.testing.assert_allclose(said["q"][1:, 0] * 1e9, np.array(moments[1:]) + TICK)


def test_a_policy_is_warm_once_it_has_planned_on_what_every_device_shows() -> None:
    """Nothing is commanded and nothing kept meanwhile, and the robot holds."""
    clock = StepClock()
    arm = SimRobot(clock)
    loop = Loop(arm, [SimOperator(clock, lambda _s: 0.5, hz=10)], clock, hz=50)
    policy = Said(replace_width(straight(lambda s: s)))
    warming = Warming(policy)
    for _ in range(2):
        assert loop.run(warming, "go", Nowhere(), 3, warming.done) is Ended.DONE
    assert policy.asked == [(100 * MS, "go"), (200 * MS, "go")]
    assert (arm.read(-1)["q_target"] == 0).all()
    clock.sleep_until(clock.now() + 1000 * MS)
    assert (arm.read(-1)["q"] == 0).all()


def test_it_stays_until_every_device_has_spoken_and_then_begins_where_the_robot_is() -> None:
    """The first picture arrives 45 ms after the start; a row that is read before its arrival is not yet known."""
    camera = sensed(("x", "<f8"))
    policy = Said(straight(lambda s: s), horizon=100 * MS)
    agent = agent_of(policy)
    agent.reset("go")
    said = []
    for tick in range(5):
        rows: Rows = np.zeros(tick // 2, camera)
        rows["t"], rows["received"] = 30 * MS, 45 * MS
        target = agent.act(Observation(tick * TICK, {**at(tick * TICK).streams, "front": rows}))
        said.append(None if target is None else float(target["q"][0]))
    assert said == [None, None, None, pytest.approx(0.06), pytest.approx(0.1)]
    assert policy.asked == [(60 * MS, "go")]


def numbered(t: int) -> Rows:
    """A plan of standing at a place that tells when it was made."""
    return straight(lambda s: np.full(len(s), t / (100 * MS)), rows=7, every=100 * MS)(t)


def test_plans_that_overlap_are_averaged_the_oldest_counting_most() -> None:
    """By hand: with a plan every 100 ms that lasts 600, the plans made at 0, 100, 200 and 300 ms all cover 340."""
    m = 0.3
    policy = Said(numbered, horizon=100 * MS, ensemble=m)
    said = follow(agent_of(policy), 17)
    weights = np.exp(-m * np.arange(4))
    expected = (weights * [0, 1, 2, 3]).sum() / weights.sum()
    np.testing.assert_allclose(said["q"][-1], np.full(JOINTS, expected), atol=1e-12)
    assert expected < 1.5


def test_a_plan_that_has_ended_has_no_say() -> None:
    """At 660 + 20 ms, the plan made at 0, which ended at 600, is gone; the next six remain."""
    policy = Said(numbered, horizon=100 * MS, ensemble=0.0)
    said = follow(agent_of(policy), 34)
    np.testing.assert_allclose(said["q"][-1], np.full(JOINTS, np.mean([1, 2, 3, 4, 5, 6])), atol=1e-12)


def test_without_averaging_the_newest_plan_is_followed_alone() -> None:
    policy = Said(numbered, horizon=100 * MS, ensemble=None)
    np.testing.assert_allclose(follow(agent_of(policy), 17)["q"][-1], np.full(JOINTS, 3.0))


@pytest.mark.parametrize("m", [0.0, 0.01, 3.0])
def test_the_average_of_one_plan_is_that_plan(m: float) -> None:
    alone = follow(agent_of(Said(straight(np.sin), horizon=400 * MS)), 15)
    averaged = follow(agent_of(Said(straight(np.sin), horizon=400 * MS, ensemble=m)), 15)
    np.testing.assert_allclose(averaged["q"], alone["q"], atol=1e-15)


@pytest.mark.parametrize("rows", [2, 4])
def test_a_plan_that_ends_before_the_next_is_due_is_stale(rows: int) -> None:
    agent = agent_of(Said(straight(lambda s: s, rows=rows), horizon=1000 * MS))
    agent.reset("go")
    covered = (rows - 1) * 50 * MS // TICK
    for tick in range(covered):
        assert agent.act(at(tick * TICK)) is not None
    with pytest.raises(Stale, match=r"^the plan has ended and the next is not due"):
        agent.act(at(covered * TICK))


def turned(*vector: float) -> Floats:
    """A rotation vector as a quaternion."""
    angle = float(np.linalg.norm(vector))
    return np.array([np.cos(angle / 2), *(np.sin(angle / 2) * np.array(vector) / angle)])


def test_quaternions_of_opposite_signs_blend_to_the_same_rotation() -> None:
    a, b = np.array([0.1, 0.2, 0.3, *turned(0, 0, 1.0)]), np.array([0.3, 0.2, 0.1, *turned(0, 0, 1.2)])
    mean = blend("tool", [a, b], np.array([1.0, 1.0]))
    np.testing.assert_allclose(mean, [0.2, 0.2, 0.2, *turned(0, 0, 1.1)], atol=1e-6)
    flipped = b * [1, 1, 1, -1, -1, -1, -1]
    np.testing.assert_allclose(blend("tool", [a, flipped], np.array([1.0, 1.0])), mean, atol=1e-12)
    np.testing.assert_allclose(blend("tool", [flipped, a], np.array([1.0, 1.0]))[3:], -mean[3:], atol=1e-12)


def test_a_blend_of_rotations_is_a_rotation() -> None:
    """Also of two tools at once, of which only one is flipped."""
    one, other = turned(0.5, 0, 0), turned(0, 0.5, 0)
    a, b = np.array([0, 0, 0, *one, 1, 1, 1, *other]), np.array([0, 0, 0, *-other, 1, 1, 1, *one])
    mean = blend("tool", [a, b], np.array([3.0, 1.0]))
    assert mean.shape == (14,)
    np.testing.assert_allclose(np.linalg.norm(mean.reshape(2, 7)[:, 3:], axis=-1), 1.0)
    assert mean[3:7] @ one > 0.9
    assert mean[10:] @ other > 0.9


def tool_plan(start: Floats, end: Floats, rows: int = 9, every: int = 50 * MS) -> Callable[[int], Rows]:
    """Plans from one tool pose to another, straight."""

    def says(t: int) -> Rows:
        plan: Rows = np.zeros(rows, TOOL_PLAN)
        plan["t"] = t + np.arange(rows) * every
        plan["tool"] = np.linspace(start, end, rows)
        plan["tool"][:, 3:] /= np.linalg.norm(plan["tool"][:, 3:], axis=-1, keepdims=True)
        plan["width"] = 0.04
        return plan

    return says


def test_plans_of_tool_poses_reach_the_pose_to_a_millimetre_without_a_jump() -> None:
    """Down to a cube and turned to it, through the kinematics of the real arm."""
    chain = Chain()
    start = chain.tool(HOME)
    end = np.array([0.5, 0.15, 0.05, 0.0, np.cos(0.2), np.sin(0.2), 0.0])
    agent = PolicyAgent(Said(tool_plan(start, end), horizon=1000 * MS), chain, ACTION, 50)
    agent.reset("go")
    said = np.array([agent.act(at(i * TICK, HOME)) for i in range(20)], ACTION)
    reached = chain.tool(said["q"][-1])
    assert np.linalg.norm(reached[:3] - end[:3]) < 1e-3
    assert abs(reached[3:] @ end[3:]) > 1 - 1e-6
    assert np.abs(np.diff(said["q"], axis=0)).max() < 0.15
    np.testing.assert_allclose(said["width"], 0.04)


def test_joints_are_sought_from_those_last_asked_for_and_after_a_reset_from_the_arms() -> None:
    """The toy's last joints stay as they were, so they tell where the search began."""
    still = np.eye(7)[3]
    agent = PolicyAgent(Said(tool_plan(still, still), horizon=300 * MS), Gantry(), ACTION, 50)
    began = []
    for tick, (q, anew) in enumerate([(0.5, True), (0.7, False), (0.7, True)]):
        if anew:
            agent.reset("go")
        target = agent.act(at(tick * TICK, q))
        assert target is not None
        began.append(float(target["q"][6]))
    assert began == [0.5, 0.5, 0.7]


class Hand:
    """A person's device, as an agent is shown it."""

    dtype = row_type(("q", "<f8", (JOINTS,)), ("clutch", "?"))

    def __init__(self, *closed: int) -> None:
        self._closed = closed

    def seen(self, tick: int) -> Observation:
        rows: Rows = np.zeros(1, self.dtype)
        rows["t"], rows["q"], rows["clutch"] = tick * TICK, 9.0, tick in self._closed
        return Observation(tick * TICK, {**at(tick * TICK).streams, "hand": rows})


def test_a_person_takes_over_while_the_clutch_is_closed_and_hands_back() -> None:
    """Back from the person, the policy looks anew instead of going on with a plan from before."""
    policy, hand = Said(straight(lambda s: s), horizon=400 * MS), Hand(3, 4, 5)
    both = Takeover(agent_of(policy), Teleop("hand", ACTION))
    both.reset("go there")
    drove, said = [], []
    for tick in range(9):
        target = both.act(hand.seen(tick))
        assert target is not None
        drove.append(both.driven_by)
        said.append(float(target["q"][0]))
    assert drove == ["policy"] * 3 + ["person"] * 3 + ["policy"] * 3
    assert said[3:6] == [9.0] * 3
    assert said[6] == pytest.approx(6 * TICK / 1e9), "it begins where the robot is"
    assert policy.asked == [(0, "go there"), (6 * TICK, "go there")]


def test_an_open_clutch_and_a_hand_not_yet_seen_ask_for_nothing() -> None:
    person = Teleop("hand", ACTION)
    assert person.act(Hand().seen(0)) is None
    assert person.act(Observation(0, {"hand": np.zeros(0, Hand.dtype)})) is None


def test_in_the_toy_cell_a_plan_is_carried_out_and_a_stale_one_ends_the_take_as_a_fault() -> None:
    clock = StepClock()
    arm = SimRobot(clock)
    loop = Loop(arm, [SimOperator(clock, lambda _s: 0.0)], clock, hz=50)
    plan = replace_width(straight(lambda s: np.minimum(s, 0.8), rows=21))
    ended = loop.run(PolicyAgent(Said(plan, horizon=500 * MS), Gantry(), arm.action, loop.hz), "", Nowhere(), 3, never)
    assert ended is Ended.TIMEOUT
    assert arm.read(-1)["q"][-1] == pytest.approx(np.full(JOINTS, 0.8), abs=0.01)
    short = Said(replace_width(straight(lambda s: s, rows=3)), horizon=500 * MS)
    assert loop.run(PolicyAgent(short, Gantry(), arm.action, loop.hz), "", Nowhere(), 3, never) is Ended.FAULT


def replace_width(says: Callable[[int], Rows]) -> Callable[[int], Rows]:
    """The same plan for an arm without a gripper."""

    def plan(t: int) -> Rows:
        rows = says(t)
        bare: Rows = np.zeros(len(rows), np.dtype([("t", "<i8"), ("q", "<f8", (JOINTS,))]))
        bare["t"], bare["q"] = rows["t"], rows["q"]
        return bare

    return plan


class Nowhere:
    """A sink that keeps nothing."""

    def append(self, stream: str, rows: Rows) -> None: ...


def never(_seen: Observation) -> bool:
    return False


INSTRUCTION = "put the red cube on the yellow pad"
LIMITS = Limits(LOW, HIGH, tuple(s / 2 for s in SPEED), (0.25, -0.45, 0.008), (0.8, 0.45, 0.7))


@pytest.fixture(scope="module")
def table() -> Iterator[FrankaTable]:
    with FrankaTable(image=(32, 32)) as table:
        yield table


def loop_of(table: FrankaTable) -> Loop:
    table.arrange({"seed": 0})
    return Loop(Guard(table.robot, LIMITS, table.clock), table.watching, table.clock, 50)


def demonstrate(table: FrankaTable, root: Path) -> Sealed:
    loop = loop_of(table)
    operator = Scripted(loop.robot.kinematics, loop.robot.action, 0)
    with EpisodeWriter(root, loop.streams(), {"instruction": INSTRUCTION}) as writer:
        assert loop.run(operator, INSTRUCTION, writer, 25, operator.done) is Ended.DONE
        return writer.seal()


def test_a_policy_learned_from_one_demonstration_repeats_it(table: FrankaTable, tmp_path: Path) -> None:
    """In the twin, through episode, windows, policy and loop: the red cube ends up on the yellow pad again."""
    taught = demonstrate(table, tmp_path)
    how = Nearest(image=32)
    policy = how.fit(windows(how, [Episode(taught.path)], [INSTRUCTION]))
    loop, saw = loop_of(table), Last()
    agent = PolicyAgent(policy, loop.robot.kinematics, loop.robot.action, loop.hz)
    assert loop.run(agent, INSTRUCTION, saw, taught.seconds + 1, never) is Ended.TIMEOUT
    truth = saw.rows["truth"]
    cube, pad = truth["red_cube"], truth["yellow_pad"]
    assert np.linalg.norm(cube[:2] - pad[:2]) < 0.03
    assert cube[2] < 0.025
    assert not truth["collided"]


class Last:
    """A sink that keeps the newest row of every stream."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def append(self, stream: str, rows: Rows) -> None:
        if len(rows):
            self.rows[stream] = rows[-1].copy()
