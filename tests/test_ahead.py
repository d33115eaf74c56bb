"""A plan made while the one before is followed is entered where it belongs, and what came late is counted."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from collectors import Ended, Loop, PolicyAgent
from collectors.ahead import Ahead, InStep, Planner, PolicyLost
from collectors.loop import FOLLOWING
from drivers import HostClock, Row, Rows, StepClock
from ops import cadence
from storage import Episode, EpisodeWriter, Observation, Stale
from tests.test_agents import ACTION, MS, TICK, Nowhere, Said, at, never, replace_width, straight
from tests.toy import Gantry, SimOperator, SimRobot


def agent_of(policy: Said, planner: Planner) -> PolicyAgent:
    agent = PolicyAgent(policy, Gantry(), ACTION, 1e9 / TICK, planner)
    agent.reset("go")
    return agent


def steps(agent: PolicyAgent, first: int, last: int) -> list[float | None]:
    """Where the first joint is told to go at each of these ticks; None where the robot stays."""
    said = [agent.act(at(tick * TICK)) for tick in range(first, last)]
    return [None if target is None else round(float(target["q"][0]), 9) for target in said]


def counted(policy: Said) -> Callable[[int], Rows]:
    """The plans of a policy, each beginning at the number of those before, so that one tells them apart."""

    def says(t: int) -> Rows:
        plan = straight(lambda s: s)(t)
        plan["q"] = len(policy.asked) * 10 - 10 + (plan["t"] - t)[:, None] / 1e9
        return plan

    return says


def numbered(horizon: int = 100 * MS, rows: int | None = None) -> Said:
    """The plan with number n says 10 n + the seconds since it was asked for."""
    policy = Said(straight(lambda s: s), horizon=horizon)
    policy.says = counted(policy)
    if rows is not None:
        whole = policy.says
        policy.says = lambda t: whole(t)[:rows]
    return policy


def test_a_plan_that_comes_late_is_entered_at_the_row_of_the_moment() -> None:
    """The robot stands until the first comes, and follows that from its beginning; the next is entered at its age."""
    policy = numbered()
    said = steps(agent_of(policy, InStep(policy, 0.06)), 0, 15)
    assert said[:3] == [None] * 3
    assert said[3:8] == [0.0, 0.04, 0.06, 0.08, 0.1], "asked for at 0, begun at 60 ms"
    assert said[8:13] == [10.08, 10.1, 10.12, 10.14, 10.16], "asked for at 100 ms, entered at 160"
    assert said[13:] == [20.08, 20.1]
    assert [t for t, _ in policy.asked] == [0, 100 * MS, 200 * MS]


def test_without_a_delay_planning_in_step_is_what_it_was() -> None:
    policy = numbered()
    assert steps(agent_of(policy, InStep(policy)), 0, 7) == [0.0, 0.04, 0.06, 0.08, 0.1, 10.02, 10.04]
    assert steps(PolicyAgent(policy, Gantry(), ACTION, 50), 0, 1) == [20.0]


def test_what_came_later_than_the_next_was_due_is_late() -> None:
    policy = numbered()
    agent = agent_of(policy, InStep(policy, 0.15))
    steps(agent, 0, 30)
    rows = agent.trace()
    assert ((rows["t"] - rows["asked"]) == 160 * MS).all()
    assert ((rows["ready"] - rows["asked"]) == 150 * MS).all()
    assert rows["late"].all()
    assert rows["used"].all()
    assert np.diff(rows["asked"]).tolist() == [160 * MS] * (len(rows) - 1)
    assert len(agent.trace()) == 0
    in_time = agent_of(policy, InStep(policy, 0.1))
    steps(in_time, 0, 12)
    assert not in_time.trace()["late"].any()


def test_a_policy_slower_than_its_plans_last_stops_and_goes() -> None:
    """Plans last 100 ms and come after 140: one made while the robot moved is over when it comes, and is not used."""
    policy = numbered(horizon=60 * MS, rows=3)
    agent = agent_of(policy, InStep(policy, 0.14))
    said = steps(agent, 0, 25)
    assert said[:7] == [None] * 7
    assert said[7:12] == [0.0, 0.04, 0.06, 0.08, 0.1]
    assert said[12:21] == [None] * 9, "the plan asked for at 140 ms is over at 240; another is asked for at 280"
    assert said[21:] == [20.0, 20.04, 20.06, 20.08]
    rows = agent.trace()
    assert rows["used"].tolist() == [True, False, True]
    assert rows["late"].all()


def test_a_plan_that_ends_before_the_next_is_due_is_still_the_policy_s_fault() -> None:
    policy = numbered(horizon=400 * MS, rows=3)
    with pytest.raises(Stale, match="the plan has ended"):
        steps(agent_of(policy, InStep(policy, 0.02)), 0, 10)


def test_a_reset_forgets_the_plan_that_is_on_its_way() -> None:
    policy = numbered()
    agent = agent_of(policy, InStep(policy, 0.06))
    steps(agent, 0, 2)
    agent.reset("other")
    assert steps(agent, 2, 6) == [None] * 3 + [10.0]
    assert [words for _, words in policy.asked] == ["go", "other"]


class Fresh(HostClock):
    """The host's clock, which begins at zero: a simulated arm has had rows since."""

    def __init__(self) -> None:
        self._began = super().now()

    def now(self) -> int:
        return super().now() - self._began


@dataclass
class Slow(Said):
    """Plans once it is let, and remembers what it saw by then."""

    let: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    saw: list[float] = field(default_factory=list)

    def plan(self, seen: Observation, instruction: str) -> Rows:
        assert self.let.acquire(timeout=10)
        self.saw.append(float(seen.streams["arm"][-1]["q"][0]))
        return super().plan(seen, instruction)


def wait(planner: Ahead) -> None:
    """Until its thread has made what was asked for."""
    until = time.monotonic() + 10
    while planner._coming is not None and not planner._coming.done():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_ahead_the_loop_goes_on_while_the_policy_thinks() -> None:
    policy = Slow(straight(lambda s: s))
    policy.says = counted(policy)
    with Ahead(policy) as planner:
        agent = agent_of(policy, planner)
        assert steps(agent, 0, 3) == [None] * 3
        policy.let.release()
        wait(planner)
        assert steps(agent, 3, 9) == [0.0, 0.04, 0.06, 0.08, 0.1, 0.12]
        assert planner.busy
        policy.let.release()
        wait(planner)
        assert steps(agent, 9, 11) == [10.1, 10.12], "asked for at 100 ms, entered at 180"
        policy.let.release()


def test_ahead_a_policy_sees_what_was_there_when_it_was_asked() -> None:
    """The memory of the cell is overwritten while it thinks."""
    policy = Slow(straight(lambda s: s))
    with Ahead(policy) as planner:
        seen = at(0, 0.5)
        planner.ask(seen, "go")
        seen.streams["arm"]["q"] = 9.0
        policy.let.release()
        wait(planner)
        made = planner.ready(0)
    assert policy.saw == [0.5]
    assert made is not None
    assert made.took == made.ready - made.asked > 0


def test_ahead_a_plan_of_the_take_before_is_never_followed() -> None:
    policy = Slow(straight(lambda s: s))
    policy.says = counted(policy)
    with Ahead(policy) as planner:
        agent = agent_of(policy, planner)
        assert steps(agent, 0, 2) == [None] * 2
        agent.reset("other")
        assert steps(agent, 2, 4) == [None] * 2
        policy.let.release(2)
        wait(planner)
        assert steps(agent, 4, 5) == [10.0]
    assert [words for _, words in policy.asked] == ["go", "other"]
    with pytest.raises(ValueError, match="context manager"):
        planner.ask(at(0), "go")


def test_leaving_waits_for_the_plan_in_hand_and_makes_no_other() -> None:
    policy = Slow(straight(lambda s: s))
    with Ahead(policy) as planner:
        planner.ask(at(0), "in hand")
        until = time.monotonic() + 10
        while planner._coming is not None and not planner._coming.running():
            assert time.monotonic() < until
            time.sleep(0.001)
        planner.forget()
        planner.ask(at(0), "never")
        threading.Timer(0.1, policy.let.release, [2]).start()
    assert [words for _, words in policy.asked] == ["in hand"]
    assert not planner.busy


class Losing(Said):
    """Plans once, and is lost then."""

    def plan(self, seen: Observation, instruction: str) -> Rows:
        if self.asked:
            raise PolicyLost("said at ws://elsewhere is gone")
        return super().plan(seen, instruction)


@pytest.mark.parametrize("ahead", [False, True])
def test_losing_a_policy_ends_the_take_as_a_fault_and_holds_the_robot(ahead: bool) -> None:
    clock = Fresh() if ahead else StepClock()
    arm = SimRobot(clock)
    loop = Loop(arm, [SimOperator(clock, lambda _s: 0.5)], clock, hz=50)
    policy = Losing(replace_width(straight(lambda s: 0 * s + 0.4)))
    why: list[str] = []
    with Ahead(policy) as thread:
        planner = thread if ahead else InStep(policy)
        agent = PolicyAgent(policy, arm.kinematics, arm.action, 50, planner)
        assert loop.run(agent, "go", Nowhere(), 5, never, why.append) is Ended.FAULT
    assert why == ["PolicyLost: said at ws://elsewhere is gone"]
    stopped = arm._q.copy()
    assert 0 < stopped[0] < 0.4
    np.testing.assert_array_equal(arm._target, stopped)


def test_a_slow_policy_makes_no_tick_late_when_it_plans_ahead(tmp_path: Path) -> None:
    """Real time, 300 ms a plan: in step every plan makes the ticks after it late; ahead, none does."""
    behind, told = {}, {}
    for name in ("in step", "ahead"):
        clock = Fresh()
        arm = SimRobot(clock)
        policy = Sleepy(replace_width(straight(lambda s: 0 * s + 0.4, rows=30)), horizon=500 * MS)
        loop = Loop(arm, [], clock, hz=50)
        with Ahead(policy) as thread:
            agent = PolicyAgent(policy, arm.kinematics, arm.action, 50, thread if name == "ahead" else InStep(policy))
            with EpisodeWriter(tmp_path, loop.streams(agent), {}) as writer:
                assert loop.run(agent, "go", writer, 2, never) is Ended.TIMEOUT
                episode = Episode(writer.seal().path)
        behind[name] = int((episode["ticks", "late"] > 150 * MS).sum())
        told[name] = cadence.of(episode)
        assert FOLLOWING in episode.streams
    assert behind["ahead"] <= 2
    assert behind["in step"] >= 10
    found = told["ahead"]
    assert found is not None
    assert found["took_ms"][0] >= 300
    assert found["delay_ms"][0] >= 300
    assert found["plans"] >= 3
    assert found["unused"] == 0


class Sleepy(Said):
    def plan(self, seen: Observation, instruction: str) -> Rows:
        time.sleep(0.3)
        return super().plan(seen, instruction)


def test_what_is_not_recorded_of_plans_is_not_told(tmp_path: Path) -> None:
    """Neither of a take that a person drove, nor of one in which no plan was made."""
    clock = StepClock()
    arm = SimRobot(clock)
    loop = Loop(arm, [], clock, hz=50)
    policy = numbered()
    idle = PolicyAgent(policy, arm.kinematics, arm.action, 50)
    for agent in (Still(), idle):
        with EpisodeWriter(tmp_path, loop.streams(agent), {}) as writer:
            loop.run(Still(), "go", writer, 0.2, never)
            assert cadence.of(Episode(writer.seal().path)) is None


class Still:
    """Never moves."""

    def reset(self, instruction: str) -> None: ...

    def act(self, _seen: Observation) -> Row | None:
        return None


def test_trials_are_told_together_by_the_usual_and_the_worst() -> None:
    one = {"plans": 30, "late": 0, "unused": 0, "took_ms": [10.0, 12.0], "delay_ms": [20.0, 40.0]}
    other = {"plans": 10, "late": 4, "unused": 1, "took_ms": [30.0, 90.0], "delay_ms": [40.0, 100.0]}
    found = cadence.together([one, None, other, one])
    assert found is not None
    assert (found.plans, found.late) == (70, 4 / 70)
    assert found.took == (0.01, 0.09)
    assert found.delay == (0.02, 0.1)
    assert found.says == ("5.7% of 70", "10 / 90 ms", "20 / 100 ms")
    assert cadence.together([None]) is None
