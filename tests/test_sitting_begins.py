"""How a person's sitting begins: with what the station has, or with the line that would add what it lacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from appliance import station
from appliance.home import Home
from appliance.sitting import Wish, at_terminal, attended, place, shaking
from collectors.buttons import Buttons, Grasped
from collectors.events import Event, Events
from collectors.ways import WAYS, Place, can, report
from drivers import Device
from drivers.hosted import Hosted
from drivers.openxr.rows import HANDS
from storage import Episode, Wanted
from tests import test_sitting as toy
from tests.hosts import WIRED, FarEnd
from tests.test_session import BLIND, REACH
from tests.test_station import LIMITS, TOP, Bench, Gauge, Lever, write
from tests.typed import Type

LED = f'{TOP}[cell]\ndriver = "tests.test_sitting_begins:Led"\n'


class Limp(Lever):
    """A lever that a hand can lead."""

    def guide(self) -> None: ...


class Led(Bench):
    """A bench with such a lever."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.robot = Limp("arm")


@dataclass
class Gloves(Gauge):
    """A headset, as far as it is heard and shaken."""

    dtype: ClassVar[np.dtype[np.void]] = HANDS
    shaken: list[tuple[int, float, float]] = field(default_factory=list)

    def pulse(self, hand: int, seconds: float, amplitude: float) -> None:
        self.shaken.append((hand, seconds, amplitude))


def at(name: str, more: Mapping[str, Device] | None = None, **said: Any) -> Place:
    cell = station.load(name)
    return Place(cell.robot, {**cell.drivers, **(more or {})}, cell.hz, **said)


@pytest.mark.parametrize(
    ("by", "where", "helps"),
    [
        ("vr", "franka", 'needs a headset; add\n[device.hands]\ndriver = "drivers.openxr:Headset"'),
        (
            "vr",
            "aloha-sim",
            "no more than a browser (python -m drivers.webxr says what to open in it),\n[device.hands]\n",
        ),
        ("leader", "franka", "needs 1 leader arm; add\n[device.left_leader]"),
        ("leader", "aloha-sim", "needs 2 leader arms; add\n[device.left_leader]"),
        ("leader", "aloha-emulated", "needs [cell] to say: leaders = true"),
        ("kinesthetic", "aloha", 'as [device.arm] use\ndriver = "drivers.franka:Franka"'),
    ],
)
def test_a_way_that_a_station_cannot_be_shown_says_which_line_would_add_what_is_missing(
    appliance: Type, by: str, where: str, helps: str
) -> None:
    said = appliance("collect", "--task", "pick_place", "--station", where, "--by", by)
    assert said.code == 1
    assert helps in said.err


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        (["--by", "replay"], "--of ID"),
        (["--by", "vr", "--of", "12"], "--of ID"),
        (["--by", "replay", "--of", "12", "--replay"], "repeats already"),
        (["--by", "vr", "--workers", "2"], "a person is at one table"),
        (["--replay"], "a script repeats nothing"),
        ([], "a script has to know what to show"),
    ],
)
def test_what_does_not_go_together_is_refused(appliance: Type, words: list[str], helps: str) -> None:
    said = appliance("collect", *(["--task", "pick_place"] if words else []), *words)
    assert said.code == 2
    assert helps in " ".join(said.err.replace("│", " ").split())


def test_the_stations_that_come_with_the_appliance_have_what_their_ways_need() -> None:
    headset = Hosted("hands", "drivers.openxr:Headset", {})
    assert WAYS["kinesthetic"].lacks(at("franka")) == ""
    assert WAYS["leader"].lacks(at("aloha")) == ""
    assert WAYS["vr"].lacks(at("franka", {"hands": headset})) == ""
    assert WAYS["replay"].lacks(at("franka")).startswith("an episode to repeat")


def test_each_way_hears_what_its_devices_have_to_press() -> None:
    (buttons,) = WAYS["vr"].sources(at("franka", {"hands": Hosted("hands", "drivers.openxr:Headset", {})}))
    (guiding,) = WAYS["kinesthetic"].sources(at("franka"))
    assert isinstance(buttons, Buttons)
    assert isinstance(guiding, Grasped)
    assert (buttons.stream, guiding.stream) == ("hands", "arm")
    assert [source.stream for source in WAYS["leader"].sources(at("aloha"))] == ["left_hand", "right_hand"]


def test_hands_shake_through_the_device_that_can_wherever_it_runs_and_even_if_it_is_gone() -> None:
    with FarEnd() as far:
        headset = Hosted("hands", WIRED, {"far": far.address})
        assert can(headset, "pulse")
        assert not can(headset, "guide")
        shake = shaking({"front": Hosted("front", "tests.toy:Eye", {}), "hands": headset})
        shake(1, 0.5, 0.3)
        with headset:
            shake(0, 0.1, 0.3)
            far.hear("pulse", 0, 0.1, 0.3)
        shake(1, 0.5, 0.3)
    shaking({})(1, 0.5, 0.3)


def test_of_two_headsets_the_one_that_the_station_file_names_is_heard_and_shaken(tmp_path: Path) -> None:
    two = "".join(
        f'[device.{name}]\ndriver = "tests.test_sitting_begins:Gloves"\nhosted = false\n' for name in ("old", "new")
    )
    cell = station.load(write(tmp_path, station.text("franka") + two + '[by.vr]\ndevice = "new"\n'))
    here = place(cell, Events(), "vr")
    assert [source.stream for source in WAYS["vr"].sources(here)] == ["new"]
    here.pulse(1, 0.1, 0.5)
    shaken = {name: cast("Gloves", cell.drivers[name]).shaken for name in ("old", "new")}
    assert shaken == {"old": [], "new": [(1, 0.1, 0.5)]}


def test_a_sitting_that_repeats_an_episode_says_so_in_each_of_its_own(tmp_path: Path) -> None:
    bench = str(write(tmp_path, LED + BLIND + LIMITS))
    home = Home(tmp_path / "data", str(tmp_path / "data" / "catalog.db"))
    with home.open() as catalog:
        catalog.add(REACH)
        wish = Wish(home, bench, "vr", "ada", "reach", takes=1, seed=3)
        with pytest.raises(Exception, match="needs a headset"), attended(wish, at_terminal, print):
            pass
        first = _shown(Wish(home, bench, "kinesthetic", "ada", "reach", takes=1, seed=3))
        again = _shown(Wish(home, bench, "replay", "ada", "reach", follows=str(first.id)))
        rows = [found.row for found in catalog.find(Wanted())]
    assert [(row.agent, row.follows) for row in rows] == [("kinesthetic", None), ("replay", first.id)]
    assert again.attributes["follows"] == str(first.id)
    assert [row.condition for row in rows] == [{"seed": 3000}, {"seed": 3001}]
    assert report("kinesthetic", first) == ""


def _shown(wish: Wish) -> Episode:
    """Sit through one take."""
    with attended(wish, at_terminal, print) as sitting:
        sitting.make = lambda _way, here: toy.Showing(here.events, here.robot.action, [[Event.SUCCESS]])
        with toy.Finger(sitting, [(toy.READY, Event.START)]):
            assert sitting.run()
        path = sitting.session.catalog.episode(sitting.view.shown[0].episode).path
        return Episode(wish.home.folder / path)
