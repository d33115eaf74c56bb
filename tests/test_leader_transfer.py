"""Two leader arms in hands hand a cube over: real drivers, emulated buses, the twin's table, and a graded episode."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.collect import judged, say
from appliance.home import Home
from appliance.session import Session
from appliance.settings import learner
from appliance.train import seeing, train
from collectors import leader
from collectors.bimanual import OPEN, Bimanual
from collectors.events import Event, Events
from collectors.loop import Loop
from collectors.ways import WAYS, Place
from drivers import Device, Guard, newest
from drivers.dynamixel import BY_HAND
from drivers.emulators.dynamixel.table import AlohaBench
from storage import Episode, Observation, Outcome, Task
from tests.dynamixel import in_hand
from tests.needs import needs_gym_aloha
from tests.test_leader import COUNT, LIMITS

pytestmark = needs_gym_aloha
pytest.importorskip("dynamixel_sdk", reason="the extra [hardware] is not installed")

TASK = Task(name="transfer", instruction="hand the cube to the other arm")
ELSEWHERE = 0.25
"""How far from the robot's start a person holds every joint of the leaders before a take, in radians."""


@dataclass
class Person:
    """Holds two leaders away from where the robot is, closes their grippers, and shows what ``plan`` says."""

    q: NDArray[np.float64]
    """Joint angles of both arms (n, 12), every 20 ms."""
    width: NDArray[np.float64]
    """Openings (n, 2), in metres."""
    begun: Callable[[], bool]
    since: float | None = None

    def holds(self, joint: int, seconds: float) -> float:
        """Where a joint of the 14 is, in positions."""
        if self.since is None and self.begun():
            self.since = seconds
        arm, i = divmod(joint, 7)
        shown = 0.0 if self.since is None else seconds - self.since
        share = max(0.0, 1 - shown) ** 2 * (1 + 2 * shown)
        if i < 6:
            angle: float = self._along(self.q[:, 6 * arm + i], shown) + share * ELSEWHERE * (-1) ** joint
            return float(2048 + angle * COUNT)
        resting = 1.0 if seconds < 0.5 else 0.0
        opening = (1 - share) * self._along(self.width[:, arm], shown) / OPEN + share * resting
        return float(BY_HAND.closed + opening * (BY_HAND.open - BY_HAND.closed))

    @staticmethod
    def _along(values: NDArray[np.float64], seconds: float) -> float:
        return float(np.interp(seconds, np.arange(len(values)) * 0.02, values))


def plan(bench: AlohaBench) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the operator that needs no hands would do here, for 7 s."""
    scene = {device.name: device.read(0)[-1:] for device in (bench.robot, *bench.watching) if device.name in KNOWN}
    operator, rows = Bimanual(bench.robot.kinematics, bench.robot.action), []
    for tick in range(350):
        row = operator.act(Observation(tick * 20_000_000, scene, 0))
        assert row is not None
        rows.append(row.copy())
    return np.array([row["q"] for row in rows]), np.array([row["width"] for row in rows])


KNOWN = ("arm", "truth")


@pytest.mark.slow
def test_leaders_hand_a_cube_over_in_a_graded_episode(tmp_path: Path) -> None:
    home, events = Home(tmp_path, str(tmp_path / "catalog.db")), Events()
    catalog = home.open()
    catalog.add(TASK)
    with ExitStack() as stack:
        bench = stack.enter_context(AlohaBench(image=(24, 32), camera_hz=10))
        bench.arrange({"seed": 1})
        bench.clock.sleep_until(bench.clock.now() + 100_000_000)
        begun: list[bool] = []
        person = Person(*plan(bench), begun=lambda: bool(begun))
        hands = [{i: lambda s, i=i: person.holds(i, s) for i in range(arm, arm + 7)} for arm in (0, 7)]
        leaders = [
            in_hand(bench.clock, {i % 7: path for i, path in hand.items()}, f"{side}_leader")[0]
            for side, hand in zip(("left", "right"), hands, strict=True)
        ]
        for one in leaders:
            stack.enter_context(one)
        robot = Guard(bench.robot, LIMITS, bench.clock)
        devices: list[Device] = [robot, *bench.watching, *leaders]
        place = Place(robot, {one.name: one for one in devices}, 50, events)
        loop = Loop(robot, [*bench.watching, *leaders], bench.clock, 50)
        sources = WAYS["leader"].sources(place)
        session = Session(loop, catalog, tmp_path, "ada", events=events, sources=sources)
        while session.events.take(Event.START) is None:
            assert bench.clock.now() < 3e9, "both grippers close after half a second"
            bench.clock.sleep_until(bench.clock.now() + 50_000_000)
            assert not session.listen()
        driver = leader.agent(place)

        def over(seen: Observation) -> bool:
            begun.append(True)
            truth = newest(seen.streams["truth"])
            since = 0.0 if person.since is None else bench.clock.now() / 1e9 - person.since
            return since > 6.8 or (since > 6.4 and truth is not None and truth["stage"] == 4)

        episode = session.run(driver, "leader", TASK, 12, over)
        judgement = judged(session, TASK, episode)
        say(session, judgement)
    recorded = Episode(tmp_path / catalog.episode(episode).path)
    sys.stdout.write(leader.report(recorded) + "\n")
    assert judgement.outcome is Outcome.SUCCESS, judgement.evidence
    assert catalog.episode(episode).agent == "leader"
    assert not recorded.attributes["quarantine"]
    assert recorded.attributes["grade"]["rate"] > 42
    assert recorded["truth", "stage"].max() == 4
    how = seeing(home, "transfer", learner("nearest", "tiny", {}))
    policy = train(home, "transfer", "nearest", "tiny", how, lambda *_: None)
    assert policy.name == "nearest-1", "and it can be learned from"
    first = recorded["left_leader", "q"][0] - recorded["arm", "q"][0, :6]
    assert np.abs(first).max() < 0.12, "it was brought to its leaders before the take"
