"""Tasks shown by hands: from a headset's rows to a graded episode."""

import math
from pathlib import Path

import numpy as np
import pytest

from appliance import station
from appliance.collect import judged
from appliance.session import Session
from collectors import Ended, Event, Loop, Scripted
from collectors.bimanual import Bimanual, lasted
from collectors.buttons import Buttons
from collectors.latency import measured, report
from collectors.vr import TRACE, agent
from collectors.ways import Place
from drivers import Guard
from drivers.openxr.rows import HANDS
from drivers.twin import FrankaTable
from drivers.twin.aloha import AlohaTable
from storage import Catalog, Episode, Outcome, Task
from tests.needs import needs_gym_aloha
from tests.test_scripted import LIMITS, Kept
from tests.wearer import Hands, Wearer

MS = 1_000_000
TASK = Task(name="pick_place", instruction="put the red cube on the yellow pad")


def test_a_hand_picks_and_places_and_the_take_is_graded(tmp_path: Path) -> None:
    with (
        FrankaTable(image=(24, 24)) as cell,
        Catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog,
    ):
        catalog.add(TASK)
        hands, robot = Hands(cell.clock), Guard(cell.robot, LIMITS, cell.clock)
        vr = agent(Place(robot, {"arm": cell.robot, "hands": hands}, 20))
        script = Scripted(robot.kinematics, robot.action, seed=0, pace=0.5)
        loop = Loop(robot, [*cell.watching, hands], cell.clock, 20)
        session = Session(loop, catalog, tmp_path, "ada", sources=[Buttons("hands")])
        cell.arrange({"seed": 0})
        with session.recorder:
            person = Wearer(vr, script, robot.kinematics, hands.put, [0.0])
            taken = session.run(person, "vr", TASK, 60, lambda _seen: False)
        assert session.ended is Event.SUCCESS
        assert judged(session, TASK, taken).outcome is Outcome.SUCCESS
        row = catalog.episode(taken)
        episode = Episode(tmp_path / row.path)
        assert row.ended_by == Ended.DONE
        assert report(episode) == "hand to command 6 ms, p99 6 ms (pose age 0 ms); led 98 %, held back 0 %"
        led = episode["following", "engaged"][:, 1]
        assert episode["following", "t"][led > 0].tolist() == episode["action", "t"].tolist()


def test_how_far_commands_are_behind_the_hand_is_told_from_what_was_recorded() -> None:
    following, hands = np.zeros(100, TRACE), np.zeros(100, HANDS)
    following["t"] = np.arange(100) * 20 * MS
    hands["t"] = following["source_t"] = following["t"] - np.where(np.arange(100) == 50, 40, 15) * MS
    hands["age"], hands["age"][::2] = 4 * MS, np.iinfo(np.int64).min
    following["engaged"][20:, 1], following["clamped"][20:40, 1] = 1, 1
    found = measured(following, hands)
    assert (found.led, found.clamped, found.age) == pytest.approx((0.8, 0.25, 0.004))
    assert found.gap[0] == pytest.approx(0.015)
    assert 0.015 < found.gap[1] <= 0.040
    assert math.isnan(measured(following[:20], hands).gap[0])


@pytest.mark.slow
@needs_gym_aloha
def test_two_hands_hand_a_cube_over() -> None:
    pytest.importorskip("mink", reason="the extra [hardware] is not installed")
    with AlohaTable(image=(24, 32), camera_hz=1) as cell:
        hands, robot = Hands(cell.clock), Guard(cell.robot, station.load("aloha-sim").robot.limits, cell.clock)
        vr = agent(Place(robot, {"arm": cell.robot, "hands": hands}, 50, settings={"speed": 0.5}))
        script = Bimanual(robot.kinematics, robot.action, pace=0.5)
        cell.arrange({"seed": 0})
        truth, kept = [device for device in cell.watching if device.name == "truth"], Kept()
        person = Wearer(vr, script, robot.kinematics, hands.put, [90.0, -90.0])
        loop = Loop(robot, [*truth, hands], cell.clock, 50)
        assert loop.run(person, "hand the cube to the other arm", kept, 30, script.done) is Ended.DONE
        assert lasted(kept["truth"]["t"], kept["truth"]["stage"])
