"""What two hands do with small arms, the robot's arms do: real drivers on emulated buses, in stepped time."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance import station
from appliance.session import Session
from collectors import Agent, Ended, ways
from collectors.agents import nearer
from collectors.events import Event, Events
from collectors.leader import agent, report
from collectors.loop import FOLLOWING, Loop
from collectors.ways import WAYS, Lacking, Place
from drivers import Device, Guard, Limits, Row, Rows, StepClock
from drivers.dual import Dual
from drivers.dynamixel import BY_HAND, Leader
from drivers.settings import Unfit
from storage import Catalog, Episode, Observation, Task, Wanted
from tests.dynamixel import arm, in_hand
from tests.needs import needs_gym_aloha
from tests.test_aloha import Kept

pytest.importorskip("dynamixel_sdk", reason="the extra [hardware] is not installed")

TASK = Task(name="wave", instruction="wave with both arms")
SIDES = ("left", "right")
COUNT = 4096 / math.tau
LIMITS = Limits(
    low=(-3.1, -1.85, -1.76, -3.1, -1.86, -3.1),
    high=(3.1, 1.25, 1.60, 3.1, 2.23, 3.1),
    speed=(3.0,) * 6,
    width=(0.0, 0.079),
)

type Hand = Mapping[int, Callable[[float], float]]


def turned(joint: int, path: Callable[[float], float]) -> Hand:
    """A hand that turns one joint, by so many radians after seconds."""
    return {joint: lambda s: 2048 + path(s) * COUNT}


def gripping(path: Callable[[float], float]) -> Hand:
    """A hand that opens a leader's gripper, from 0 to 1."""
    return {6: lambda s: BY_HAND.closed + path(s) * (BY_HAND.open - BY_HAND.closed)}


class Table:
    """Two followers, and two leaders in hands."""

    def __init__(self, hands: tuple[Hand, Hand] = ({}, {}), hz: float = 100.0) -> None:
        self.clock = StepClock()
        left, right = (arm(self.clock, side)[0] for side in SIDES)
        self.robot = Guard(Dual("arm", left, right), LIMITS, self.clock)
        leaders = [in_hand(self.clock, hand, f"{side}_leader")[0] for side, hand in zip(SIDES, hands, strict=True)]
        self.leaders: list[Leader] = [replace(one, hz=hz) for one in leaders]
        self.loop = Loop(self.robot, self.leaders, self.clock, 50)
        devices: list[Device] = [self.robot, *self.leaders]
        self.place = Place(self.robot, {one.name: one for one in devices}, 50, Events())
        self._open = ExitStack()

    def __enter__(self) -> "Table":
        for device in self.place.devices.values():
            self._open.enter_context(device)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, who: Agent, seconds: float) -> Kept:
        kept = Kept()
        assert self.loop.run(who, "", kept, seconds, lambda _seen: False) is Ended.TIMEOUT
        return kept


@pytest.fixture
def table() -> Iterator[Table]:
    """The left waist is led to and fro, and the right gripper opened and closed."""
    waving = turned(0, lambda s: 0.3 * math.sin(2 * s)), gripping(lambda s: 0.5 - 0.5 * math.cos(2 * s))
    with Table(waving) as table:
        yield table


def rows(kept: Kept, stream: str) -> Rows:
    return np.concatenate(kept.rows[stream])


def test_the_arms_go_where_the_hands_go_and_the_trace_says_whose_hand_it_was(table: Table) -> None:
    kept = table.run(agent(table.place), 3.0)
    arm, left, right = (rows(kept, name) for name in ("arm", "left_leader", "right_leader"))
    led = np.interp(arm["t"] - 60_000_000, left["t"], left["q"][:, 0])
    assert np.abs(arm["q"][50:, 0] - led[50:]).max() < 0.05
    assert np.ptp(arm["q"][:, 0]) > 0.5
    assert np.abs(arm["q"][:, 1:]).max() < 0.01
    gripped = np.interp(arm["t"] - 60_000_000, right["t"], right["width"])
    assert np.abs(arm["width"][50:, 1] - gripped[50:]).max() < 0.02
    assert np.ptp(arm["width"][50:, 1]) > 0.06
    trace = rows(kept, FOLLOWING)
    assert len(trace) == 150
    followed = trace[trace["engaged"].all(axis=1)]
    assert len(followed) > 145
    assert (followed["t"] - followed["source_t"] >= 0).all()
    assert (followed["t"] - followed["source_t"] <= 20_000_000).all()
    assert not followed["clamped"][10:].any()
    assert set(followed["source_t"]) <= {*left["t"], *right["t"]}


def test_what_an_open_gripper_means_can_be_said(table: Table) -> None:
    kept = table.run(agent(replace(table.place, settings={"grip": (0.04, 0.06)})), 3.0)
    widths = rows(kept, "action")["width"][:, 1]
    assert (widths.min(), widths.max()) == (0, pytest.approx(0.079))
    assert ((widths > 0.001) & (widths < 0.078)).mean() < 0.35, "between 40 and 60 mm of the leader's way"


def never(_seen: Observation) -> bool:
    return False


def test_a_loop_that_stood_still_is_no_leap_towards_the_leaders(table: Table) -> None:
    """Where a hand has gone meanwhile, the arm comes up to it slowly."""
    kept, ticks = Kept(), 0

    def stands_still(_seen: Observation) -> bool:
        nonlocal ticks
        ticks += 1
        if ticks == 100:
            table.clock.sleep_until(table.clock.now() + 200_000_000)
        return False

    table.loop.run(agent(table.place), "", kept, 4.0, stands_still)
    sent = rows(kept, "action")["q"][:, 0]
    assert np.abs(np.diff(sent[5:])).max() < 0.6 * 0.02 + 0.5 * 0.02, "a hand's 0.6 rad/s, and coming up at 0.5"


def test_before_a_take_the_robot_is_brought_to_its_leaders_slowly() -> None:
    with Table((turned(2, lambda _s: -0.8), turned(0, lambda _s: 0.4))) as table:
        nearing, kept = agent(table.place).approach, Kept()
        said: list[str] = []

        def done(seen: Observation) -> bool:
            said.append(nearing.status)
            return nearing.done(seen)

        assert table.loop.run(nearing, "", kept, 5.0, done) is Ended.DONE
    arm = rows(kept, "arm")
    assert arm["q"][-1, [2, 6]] == pytest.approx([-0.8, 0.4], abs=0.1)
    sent = np.vstack([arm["q_target"][0], rows(kept, "action")["q"]])
    assert np.abs(np.diff(sent, axis=0)).max() <= 0.5 * 0.02 + 1e-9, "half a radian a second"
    assert any(line.startswith("aligning: left elbow 4") for line in said)


def test_a_joint_that_cannot_be_aligned_is_named_and_no_take_begins() -> None:
    """A leader's elbow bends further than a follower's."""
    with Table(({}, turned(2, lambda _s: -2.1))) as table:
        nearing = agent(table.place).approach
        assert table.loop.run(nearing, "", Kept(), 6.0, nearing.done) is Ended.TIMEOUT
    sentence = r"aligning: right elbow (19|20)\.\d deg off, for its leader is where the robot may not go: lead it back"
    assert re.fullmatch(sentence, nearing.status)


def test_in_a_take_a_joint_stops_at_its_limit_and_the_trace_and_the_status_say_so() -> None:
    with Table((turned(2, lambda s: -0.9 * s), {})) as table:
        following = agent(table.place)
        kept = table.run(following, 2.3)
    assert rows(kept, "arm")["q_target"][-1, 2] == pytest.approx(-1.76, abs=0.01)
    assert rows(kept, FOLLOWING)["clamped"][-1].tolist() == [1, 0]
    assert following.status == "following, left elbow at its limit"


def seen_now(table: Table) -> Observation:
    devices: list[Device] = [table.robot, *table.leaders]
    now = table.clock.now()
    return Observation(now, {one.name: one.read(now - 200_000_000) for one in devices}, now - 200_000_000)


def test_where_a_leader_says_nothing_the_robot_holds_and_then_comes_up_to_it_slowly() -> None:
    with Table((turned(0, lambda s: 0.0 if s < 0.5 else 0.6), {})) as table:
        following = agent(table.place)
        table.clock.sleep_until(400_000_000)
        early = seen_now(table)
        following.reset("")
        assert following.act(early) is not None
        assert following.trace()["engaged"].tolist() == [[1, 1]]
        silent = replace(early, t=early.t + 150_000_000)
        assert following.act(silent) is None, "its newest row is 150 ms old"
        assert following.trace()["engaged"].tolist() == [[0, 0]]
        assert following.status == "holding: the leaders say nothing"
        targets = []
        for tick in range(100):
            table.clock.sleep_until(600_000_000 + tick * 20_000_000)
            targets.append(float(led(following.act(seen_now(table)))["q"][0]))
    steps = np.diff([0.0, *targets])
    assert (steps.min(), steps.max()) == (pytest.approx(0, abs=1e-3), pytest.approx(0.01, abs=1e-3)), "0.5 rad/s"
    assert targets[-1] == pytest.approx(0.6, abs=1e-3)


def led(row: Row | None) -> Row:
    assert row is not None
    return row


def test_between_two_poses_the_joint_with_the_furthest_way_sets_the_pace() -> None:
    assert nearer(np.zeros(2), np.array([1.0, 0.5]), 0.1).tolist() == [0.1, 0.05]
    assert nearer(np.zeros(2), np.array([1.0, 0.5]), 2.0).tolist() == [1.0, 0.5]
    assert nearer(np.ones(2), np.ones(2), 0.0).tolist() == [1.0, 1.0]


def test_what_a_place_lacks_is_said_with_what_would_be_right(table: Table) -> None:
    place = table.place
    with pytest.raises(Lacking, match="20 times a second cannot reach 42; say hz = 50"):
        agent(replace(place, hz=20))
    one = {name: device for name, device in place.devices.items() if name != "right_leader"}
    with pytest.raises(Lacking, match="2 arms need as many leaders, but there is left_leader"):
        agent(replace(place, devices=one))
    with pytest.raises(Unfit, match=r"has no \['pace'\]; it takes .*'tolerance'"):
        agent(replace(place, settings={"pace": 2}))


def test_closing_both_grippers_begins_a_take(tmp_path: Path) -> None:
    closing = (gripping(lambda s: max(0.0, 1 - s)), gripping(lambda s: max(0.0, 1 - s / 2)))
    with Table(closing) as table:
        session = Session(
            table.loop, Catalog(tmp_path / "catalog.db"), tmp_path, "ada", sources=WAYS["leader"].sources(table.place)
        )
        heard: list[int] = []
        while table.clock.now() < 2_500_000_000:
            table.clock.sleep_until(table.clock.now() + 50_000_000)
            assert not session.listen()
            heard += [table.clock.now()] * (session.events.take(Event.START) is not None)
    assert len(heard) == 1
    assert heard[0] == pytest.approx(1_450_000_000, abs=60_000_000), "the later of both, at 0.3 of its way"


@needs_gym_aloha
def test_stations_with_leaders_can_be_led_and_others_say_what_they_lack(tmp_path: Path) -> None:
    (tmp_path / "led.toml").write_text(station.text("aloha-emulated").replace("# leaders = true", "leaders = true"))
    for name in ("aloha", tmp_path / "led.toml"):
        cell = station.load(name)
        place = Place(cell.robot, cell.drivers, cell.hz, settings=cell.ways.get("leader", {}))
        assert ways.agent("leader", place)
    bare = station.load("aloha-emulated")
    with pytest.raises(Lacking, match=r"needs 2 leader arms; add\n\[device.left_leader\]"):
        ways.agent("leader", Place(bare.robot, bare.drivers, bare.hz))


@pytest.mark.parametrize(("hz", "short"), [(100.0, ""), (30.0, "something new 30"), (40.0, "something new 40")])
def test_a_mean_below_42_hz_is_put_aside_and_told(hz: float, short: str, tmp_path: Path) -> None:
    """A leader's bus that is too slow for a loop that is not."""
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(TASK)
    waving = turned(0, lambda s: 0.3 * math.sin(2 * s)), turned(0, lambda s: 0.1 * math.sin(2 * s))
    with Table(waving, hz) as table:
        session = Session(table.loop, catalog, tmp_path, "ada")
        session.run(agent(table.place), "leader", TASK, 4.0, never)
    assert len(catalog.find(Wanted(task="wave", quarantined=True))) == (1 if short else 0)
    episode = Episode(tmp_path / catalog.find(Wanted(task="wave"))[0].row.path)
    assert str(episode.attributes["quarantine"]).startswith(short)
    assert episode.attributes["demands"] == {"rate": 42.0}
    assert "50.0 Hz" in report(episode)
    assert report(episode).endswith("ms")
