"""A lab that has no more than a headset with a browser: its hands drive the twin, and the take is graded."""

import re
from pathlib import Path

import pytest

from appliance import station
from appliance.collect import judged
from appliance.session import sitting
from appliance.sitting import place
from collectors import Ended, Event, Events, Scripted
from collectors.latency import report
from collectors.vr import agent
from collectors.ways import WAYS
from drivers import HostClock
from drivers.hosted import Hosted
from drivers.webxr import WebHands
from storage import Catalog, Episode, Outcome, Task
from tests.franka import tell
from tests.visitor import Worn
from tests.wearer import Wearer

TASK = Task(name="pick_place", instruction="put the red cube on the yellow pad")
EXAMPLE = re.compile(r"^# \[device\.hands\]\n# driver = \"drivers\.webxr:WebHands\".*\n(# \w+ = .*\n)*", re.MULTILINE)


def offered(name: str) -> str:
    """The station's file, with what it says of a headset's browser put in force."""
    text = station.text(name)
    found = EXAMPLE.search(text)
    assert found, f"{name} does not say how a headset's browser is added"
    said = re.sub(r"^# ", "", found[0], flags=re.MULTILINE)
    return text.replace(found[0], said).replace("# realtime = true", "realtime = true")


SIMULATED = {name for name in station.names() if name.startswith("gym-")} | {"aloha-sim"}
"""Time jumps there, so that no hand could follow."""


@pytest.mark.parametrize("name", sorted({*station.names()} - SIMULATED))
def test_what_a_station_file_says_of_a_headsets_browser_is_all_that_is_needed(name: str, tmp_path: Path) -> None:
    if name.startswith("aloha"):
        pytest.importorskip("mink", reason="the extra [hardware] is not installed")
    file = tmp_path / "mine.toml"
    file.write_text(offered(name))
    cell = station.load(file)
    here = place(cell, Events(), "vr")
    assert here.with_rows("grip") == ["hands"]
    assert isinstance(cell.clock, HostClock)
    assert [source.stream for source in WAYS["vr"].sources(here)] == ["hands"]
    assert agent(here).status == "waiting for the headset"


@pytest.mark.slow
def test_hands_in_a_browser_pick_and_place_and_the_take_is_graded(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    settings = f'port = 0\nfolder = "{tmp_path}"\nsilence = 5.0\n'
    file.write_text(offered("franka-sim").replace('WebHands"', f'WebHands"\n{settings}#'))
    cell = station.load(file)
    with Catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        catalog.add(TASK)
        with sitting(cell, catalog, tmp_path, "ada") as session:
            here = place(cell, session.events, "vr")
            session.sources = WAYS["vr"].sources(here)
            hosted = cell.drivers["hands"]
            assert isinstance(hosted, Hosted)
            page = WebHands("hands", port=int(hosted.ask("address").split(":")[2].strip("/")), folder=tmp_path)
            with Worn(page) as worn:
                script = Scripted(cell.robot.kinematics, cell.robot.action, seed=0, pace=0.5)
                person = Wearer(agent(here), script, cell.robot.kinematics, worn.put, [0.0])
                taken = session.run(person, "vr", TASK, 90, lambda _seen: False, condition={"seed": 0})
                felt = worn.felt
            assert session.ended is Event.SUCCESS
            assert judged(session, TASK, taken).outcome is Outcome.SUCCESS
            row = catalog.episode(taken)
            episode = Episode(tmp_path / row.path)
            tell(f"VR in a browser, franka-sim, {row.seconds:.0f} s: {report(episode)}; {len(felt)} pulses")
            assert row.ended_by == Ended.DONE
            assert report(episode).startswith("hand to command ")
            assert {pulse["pulse"][0] for pulse in felt} == {1}
            assert row.gap is not None
