"""The doctor looks at everything at once, and says what to type beside each finding."""

import re
import threading
from pathlib import Path

import pytest

from appliance.cli.doctor import tell
from appliance.doctor.finding import Check, Level, bad, examine, fine, warn
from appliance.doctor.plan import checks, estimate, named, recorded
from appliance.home import Home
from appliance.station import load
from tests.doctored import STATION
from tests.typed import Type


def test_findings_come_in_the_order_of_the_checks_and_say_how_long_they_took() -> None:
    found = examine([Check(name, lambda name=name: [fine(name, "well")]) for name in "cab"])  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    assert [one.about for one in found] == ["c", "a", "b"]
    assert all(0 <= one.seconds < 10 for one in found)


def test_checks_look_at_the_same_time() -> None:
    """Two that wait for each other come back only if both are looking."""
    both = threading.Barrier(2)

    def meet() -> list[object]:
        both.wait(5)
        return []

    assert examine([Check("one", meet), Check("other", meet)]) == []  # type: ignore[arg-type]  # it finds nothing


def test_a_check_that_hangs_is_a_finding_and_delays_no_other() -> None:
    never = threading.Event()

    def hang() -> list[object]:
        never.wait()
        return []

    hung, other = examine([Check("cable", hang, limit=0.1), Check("other", lambda: [fine("other", "well")])])  # type: ignore[arg-type]  # it finds nothing
    never.set()
    assert (hung.about, hung.level, hung.what) == ("cable", Level.BAD, "no answer within 0.1 s")
    assert hung.fix
    assert other.level is Level.OK


def test_a_check_that_fails_is_a_finding() -> None:
    def fail() -> list[object]:
        raise ZeroDivisionError("of a kind nobody thought of")

    (found,) = examine([Check("sum", fail)])  # type: ignore[arg-type]  # it finds nothing
    assert found.level is Level.BAD
    assert "ZeroDivisionError: of a kind nobody thought of" in found.what


def test_a_person_reads_the_worst_last_and_what_to_type_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    long = "echo 1 | sudo tee " + "/sys/class/tty/ttyUSB0/device/latency_timer " * 5
    tell(
        [
            bad("left", "is slow", f"{long}\nfor good: a rule"),
            fine("disk", "is fast"),
            warn("clock", "is wrong", "set it"),
        ]
    )
    ok, unsure, fix, wrong, first, second, last = capsys.readouterr().out.splitlines()
    assert ok == "OK   disk   is fast"
    assert unsure == "WARN clock  is wrong"
    assert fix.strip() == "set it"
    assert wrong == "BAD  left   is slow"
    assert first.strip() == long.strip(), "a line to be copied is not broken"
    assert second.strip() == "for good: a rule"
    assert last == "1 bad, 1 to look at, 1 fine."


DEVICES = """
name = "pair"
robot = "arm"
hz = 50
[device.arm]
driver = "drivers.franka:Franka"
host = "127.31.1.1"
[device.teacher]
driver = "drivers.dynamixel:Leader"
port = "/dev/ttyDXL_leader"
[limits]
low = [-1, -1, -1, -1, -1, -1, -1]
high = [1, 1, 1, 1, 1, 1, 1]
speed = [1, 1, 1, 1, 1, 1, 1]
box_low = [-1, -1, -1]
box_high = [1, 1, 1]
width = [0.0, 0.08]
"""


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", str(tmp_path / "home/catalog.db"))


def test_every_device_that_a_station_names_is_looked_at(tmp_path: Path, place: Home) -> None:
    (tmp_path / "pair.toml").write_text(DEVICES)
    looked = {check.about: check for check in checks(place, str(tmp_path / "pair.toml"), tmp_path)}
    assert {"controller of arm", "port of teacher", "real-time kernel", "disk speed", "catalog"} <= looked.keys()
    assert looked["port of teacher"].look()[0].level is Level.BAD
    assert looked["controller of arm"].look()[0].level is Level.BAD
    assert looked["real-time kernel"].look()[0].level is Level.WARN


def test_entries_within_entries_are_found() -> None:
    arm = {"driver": "drivers.dual:Dual", "left": {"driver": "drivers.dynamixel:Follower", "port": "/dev/l"}}
    found = list(named({"device": {"arm": arm}, "cell": {"driver": "a:B"}, "limits": {"low": [0]}}))
    assert [one.name for one in found] == ["arm", "arm.left", "cell"]
    assert found[1].settings == {"port": "/dev/l"}


def test_without_a_station_only_the_machine_is_looked_at(place: Home) -> None:
    assert not {"cameras", "ports", "controller of arm"} & {check.about for check in checks(place, None)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STATION.replace("tests.doctored:Arm", "no.such:Arm"), "No module named 'no'"),
        (STATION.replace("hz = 20", "hertz = 20"), "hertz"),
        (STATION.replace("tests.doctored:Arm", "tests.broken:Arm"), "ZeroDivisionError"),
    ],
)
def test_a_wrong_station_is_a_finding_and_the_machine_is_looked_at_all_the_same(
    tmp_path: Path, place: Home, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.setattr("tests.__path__", [str(Path(__file__).parent), str(tmp_path)])
    (tmp_path / "wrong.toml").write_text(text)
    first, *others = checks(place, str(tmp_path / "wrong.toml"))
    (found,) = first.look()
    assert (found.about, found.level) == ("station", Level.BAD)
    assert said in found.what
    assert "disk space" in {check.about for check in others}


def test_what_a_station_writes_is_guessed_before_anything_was_recorded(place: Home) -> None:
    """Two lossless cameras of 96 x 96 at 30 Hz, at half their bytes, and rows of up to 1 kHz."""
    station = load("franka-sim")
    pictures = 2 * 30 * 0.5 * 96 * 96 * 3
    assert pictures < estimate(station) < pictures + 1.5e6
    assert recorded(place, "franka-sim") is None
    assert not place.folder.exists()


def test_the_doctor_sees_a_whole_station_from_the_command_line(appliance: Type, home: Path) -> None:
    kept = appliance("doctor", "--station", "franka-sim", "--reference")
    assert kept.code == 0
    assert len(list(home.glob("views/franka-sim/*/*.png"))) == 2
    said = appliance("doctor", "--station", "franka-sim", "--json")
    level = {one["id"]: one["level"] for one in said.json}
    assert len(level) == len(said.json), "every finding has a name of its own"
    assert level["SDK mujoco"] == level["GL for the twin's cameras"] == "ok"
    assert level["camera front"] == level["view of front"] == level["view of wrist"] == "ok"
    assert all(one["fix"] for one in said.json if one["level"] != "ok")
    assert said.code == (1 if "bad" in level.values() else 0)
    assert [path.name for path in home.iterdir()] == ["views"], "it changes nothing else"


@pytest.mark.slow
def test_something_bad_is_an_exit_of_1(appliance: Type) -> None:
    said = appliance("doctor", "--station", "no-such-station")
    assert said.code == 1
    assert re.search(r"BAD +station +there is no station 'no-such-station'; there are: .*franka-sim", said.out)


def test_a_reference_is_of_a_station(appliance: Type) -> None:
    assert appliance("doctor", "--reference").code == 2
