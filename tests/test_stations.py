"""The stations that come along: they load, their limits suit their robots, and losing a device ends a take safely."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance import station
from appliance.collect import script
from appliance.home import Home
from appliance.session import sitting
from appliance.station import Station, StationError
from collectors.scripts import SCRIPTS, Script
from drivers import StepClock
from storage import Catalog, Episode, Observation, Task
from tests.needs import needs_gym_aloha
from tests.typed import Type

pytestmark = needs_gym_aloha

SIMULATED = ("franka-sim", "aloha-sim")
EMULATED = ("franka-emulated", "aloha-emulated")
SUITES = ("gym-aloha-transfer", "gym-aloha-insertion", "gym-kitchen", "gym-libero")
TASKS = {
    "franka": Task(name="pick_place", instruction="put the red cube on the yellow pad"),
    "aloha": Task(name="transfer", instruction="hand the cube to the other arm"),
}


@pytest.mark.parametrize("name", station.names())
def test_every_station_loads_and_its_limits_suit_its_robot(name: str) -> None:
    cell = station.load(name)
    assert cell.name == name
    row = cell.robot.action
    assert row["q"].shape == ((12,) if "aloha" in name else (7,))
    assert len(cell.robot.limits.low) * (2 if "aloha" in name else 1) == row["q"].shape[0]
    assert {"gap", "lost", "skew", "late"} <= cell.demands.keys()
    assert cell.images, "it has no cameras"
    assert cell.simulated == (name in SIMULATED + EMULATED + SUITES)


@pytest.mark.parametrize("kind", ["franka", "aloha"])
def test_a_rehearsal_has_the_cameras_rates_and_limits_of_the_real_cell(kind: str) -> None:
    """So that a policy goes from one to the other."""
    sim, emulated, real = (station.load(name) for name in (f"{kind}-sim", f"{kind}-emulated", kind))
    assert sim.robot.limits == emulated.robot.limits == real.robot.limits
    assert sim.hz == emulated.hz == real.hz
    assert sim.images.keys() == emulated.images.keys() == real.images.keys()
    assert sim.robot.action == emulated.robot.action == real.robot.action


def test_limits_of_another_robot_are_refused_with_what_would_be_right(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(station.text("aloha-sim").replace("low = [-3.1, -1.85, -1.76, -3.1, -1.86, -3.1]", "low = [-3.1]"))
    with pytest.raises(StationError, match=r"\[limits\] low has 1 numbers; arm takes 6, or 12 for 2 arms"):
        station.load(wrong)


def test_stations_are_listed_shown_and_copied_to_be_edited(appliance: Type, tmp_path: Path) -> None:
    listed = appliance("stations", "list", "--json").json
    assert [one["name"] for one in listed] == station.names()
    assert all(len(one["about"]) > 20 for one in listed)
    shown = appliance("stations", "show", "franka").out
    mine = tmp_path / "mine.toml"
    assert appliance("stations", "copy", "franka", str(mine)).code == 0
    assert mine.read_text() == shown
    assert "EDIT" in shown
    assert station.load(mine).name == "franka"
    again = appliance("stations", "copy", "aloha", str(mine))
    assert (again.code, "is there already" in again.err) == (1, True)
    assert mine.read_text() == shown
    assert "is called NAME.toml" in appliance("stations", "copy", "aloha", str(tmp_path / "mine")).err
    assert "there is no station 'franca'" in appliance("stations", "show", "franca").err
    assert (
        "there is no station file your.toml; appliance stations copy NAME your.toml"
        in appliance("stations", "show", "your.toml").err
    )


@pytest.mark.parametrize("name", [*SIMULATED, *EMULATED, *SUITES[:-1]])
def test_somebody_can_show_a_task_without_a_person_wherever_things_are_known(name: str) -> None:
    cell = station.load(name)
    assert script(cell) in SCRIPTS


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Home(tmp_path, str(tmp_path / "catalog.db")).open(lambda _said: None) as opened:
        opened.add(TASKS["aloha"])
        yield opened


def _pull(cell: Station, name: str, device: str) -> None:
    """Pull a cable."""
    built: Any = cell.cell
    if name in SIMULATED:
        built.fail(device)
    elif name == "franka-emulated":
        from drivers.emulators.fci.admin import ask

        ask(built._address, "hang_up")
    else:
        built.fault("unplug", which="follower_left")


def _stands(cell: Station, name: str) -> Callable[[], np.ndarray[Any, Any]]:
    """Where the joints are, though their device is lost: who plays them knows."""
    built: Any = cell.cell
    if name in SIMULATED:
        built.mend()
        return lambda: np.array(built.robot.read(cell.clock.now() - 50_000_000)[-1]["q"])
    if name == "franka-emulated":
        from drivers.emulators.fci.admin import ask

        return lambda: np.array(ask(built._address, "trace", milliseconds=1)["q"][-1])
    return lambda: np.concatenate(
        [built.fault("status", which=f"follower_{side}")["q"][-1] for side in ("left", "right")]
    )


def _pass_time(cell: Station, seconds: float) -> None:
    if isinstance(cell.clock, StepClock):
        cell.clock.sleep_until(cell.clock.now() + round(seconds * 1e9))
    else:
        time.sleep(seconds)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("franka-sim", "arm"),
        ("franka-sim", "front"),
        ("aloha-sim", "arm"),
        ("aloha-sim", "truth"),
        *(pytest.param(name, "arm", marks=pytest.mark.slow) for name in EMULATED),
    ],
)
def test_a_device_that_is_unplugged_in_a_take_ends_it_as_a_fault_and_the_robot_holds(
    name: str, device: str, catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cell = station.load(name)
    how: Script = script(cell)
    with sitting(cell, catalog, tmp_path, "a test") as session:
        agent = how.make(cell.robot, 0)
        pulled: list[int] = []

        def done(seen: Observation) -> bool:
            moving = np.abs(seen.streams["arm"]["dq"][-1]).max() > 0.1 if len(seen.streams["arm"]) else False
            if moving and not pulled:
                pulled.append(seen.t)
                _pull(cell, name, device)
            return agent.done(seen)

        task = TASKS[name.partition("-")[0]]
        episode = session.run(agent, "scripted", task, 20.0, done, condition={"seed": 0})
        assert pulled, "it never moved"
        assert catalog.episode(episode).ended_by == "fault"
        assert device in caplog.text
        assert device in Episode(tmp_path / catalog.episode(episode).path).attributes["fault"]
        stands = _stands(cell, name)
        _pass_time(cell, 0.6)
        stood = stands()
        _pass_time(cell, 0.6)
        assert stands() == pytest.approx(stood, abs=2e-3), "it went on"
