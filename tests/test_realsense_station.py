"""An emulated RealSense in a station: in a program of its own, in a take's attributes, filmed and played again."""

import time
from pathlib import Path

import mujoco  # type: ignore[import-untyped]  # MuJoCo ships no type information
import numpy as np
import pytest

from appliance import station
from appliance.session import sitting
from collectors import Ended
from drivers import DeviceError, DeviceLost, Row, Rows
from drivers.emulators.fci.emulator import Emulator
from drivers.emulators.realsense import Emulated, admin
from drivers.hosted import Hosted
from drivers.realsense import Recording
from drivers.twin.scene import HOME, build
from storage import Catalog, Episode, Observation, Task, Wanted
from tests.loopback import address
from tests.realsense import HZ, SIZE, before, camera, rows, until

STATION = """
name = "cameras"
hz = 20
robot = "arm"
recorder = "thread"

[device.arm]
driver = "tests.toy:Wired"
hosted = false

[device.front]
driver = "drivers.emulators.realsense:Emulated"
hosted = false
serial = "{serial}"
rgb = [48, 64]
hz = 60
exposure = 0.01
silence = 0.1
reconnect = 3.0

[limits]
low = [-1.0]
high = [1.0]
speed = [10.0]

[grade]
gap = 0.2
"""


class Watching:
    """Does nothing, but has the camera's cable pulled for a moment."""

    def __init__(self, device: Emulated) -> None:
        self._camera = device.camera
        self._ticks = 0

    def reset(self, instruction: str) -> None: ...

    def act(self, seen: Observation) -> Row | None:
        self._ticks += 1
        if self._ticks == 5:
            self._camera.unplug()
        if self._ticks == 13:
            self._camera.plug()
        return None


def test_a_take_knows_its_camera_and_a_cable_that_was_out_is_a_graded_gap(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(STATION.format(serial="episode"))
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add(task := Task(name="watch", instruction="watch"))
    bench = station.load(file)
    (front,) = bench.watching
    assert isinstance(front, Emulated)
    with sitting(bench, catalog, tmp_path, "ada") as session:
        session.run(Watching(front), "person", task, 1.5, lambda _seen: False)
    episode = Episode(tmp_path / catalog.find(Wanted(task="watch"))[-1].row.path)
    assert episode.attributes["ended_by"] == Ended.TIMEOUT
    assert episode.attributes["serials"]["front"] == "episode"
    said = episode.attributes["devices"]["front"]
    assert said["serial"] == "episode"
    assert said["options"]["RGB Camera"]["exposure"] == 100
    assert said["colour"]["fx"] == pytest.approx(0.96 * 64)
    graded = episode.attributes["grade"]["streams"]["front"]
    assert 0.3 < graded["gap"] < 1.0
    assert graded["lost"] > 15
    assert episode["front", "depth"].shape[1:] == SIZE
    assert (np.diff(episode["front", "seq"]) >= 1).all()


def test_a_camera_runs_in_a_program_of_its_own_and_fails_when_it_is_told_to() -> None:
    settings = {"serial": "hosted", "rgb": list(SIZE), "hz": HZ, "silence": 0.1, "reconnect": 0.3}
    with Hosted("front", "drivers.emulators.realsense:Emulated", settings) as device:
        since = time.monotonic_ns()
        until(lambda: len(device.read(since)) >= 20, "twenty rows")
        taken = device.read(since)
        assert (np.diff(taken["seq"]) == 1).all()
        assert device.described["serial"] == "hosted"
        assert taken["t"][-1] - taken["device_t"][-1, 0] * 1e6 == pytest.approx(device.clock_offset, abs=30e6)
        admin.ask("hosted", "unplug")
        with pytest.raises(DeviceLost, match=r"front \(serial hosted\): no picture for \d+\.\d s; is its USB cable in"):
            until(lambda: len(device.read(since)) < 0, "lost")
        admin.ask("hosted", "plug")
        until(lambda: _reads(device), "back by itself")
        with pytest.raises(admin.Unwilling, match="cannot 'explode'; it can plug, unplug"):
            admin.ask("hosted", "explode")
        with pytest.raises(admin.Unwilling, match="colour and depth, not 'sound'"):
            admin.ask("hosted", "stall", stream="sound")
    with pytest.raises(admin.Unwilling, match="no emulated camera with serial hosted answers"):
        admin.ask("hosted", "plug")


def _reads(device: Hosted) -> bool:
    try:
        return len(device.read(time.monotonic_ns() - 100_000_000)) > 0
    except DeviceLost:
        return False


def test_two_stations_may_have_emulated_cameras_of_one_serial(caplog: pytest.LogCaptureFixture) -> None:
    with Emulated("front", "same", SIZE, hz=HZ) as first, Emulated("front", "same", SIZE, hz=HZ) as second:
        for device in (first, second):
            until(lambda device=device: len(device.read(0)) > 1, "rows")  # type: ignore[misc]  # bound on purpose
        assert "faults of the emulated camera same cannot be asked for" in caplog.text


def film(folder: Path) -> tuple[str, Rows]:
    """A second of frames in a file, and the rows they were."""
    file = str(folder / "front.db3")
    with camera() as seen, before(seen, record=file) as device:
        return file, rows(device, 20, 0)


def test_a_film_that_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    file = str(tmp_path / "nowhere" / "front.db3")
    with camera() as seen, pytest.raises(DeviceError, match=f"front cannot be recorded to {file}"):
        before(seen, record=file).__enter__()


def test_a_film_shows_every_frame_bit_for_bit_at_its_pace(tmp_path: Path) -> None:
    file, live = film(tmp_path)
    with Recording("film", file, SIZE, hz=HZ) as device:
        assert device.dtype == live.dtype
        first = int(live["number"][0, 0])
        until(lambda: bool(len(found := device.read(0))) and bool(found["number"][-1, 0] >= first + 19), "the film")
        found = device.read(0)
        both, here, there = np.intersect1d(found["number"][:, 0], live["number"][:, 0], return_indices=True)
        assert both[0] <= first + 1, "it begins with all its streams"
        assert len(both) > 14, "as a camera, a film loses frames only where the machine is too busy"
        for field in ("rgb", "depth", "device_t", "number", "domain"):
            np.testing.assert_array_equal(found[field][here], live[field][there])
        assert np.ptp(found["t"][here]) == pytest.approx(np.ptp(live["t"][there]), abs=50e6)
        assert device.described["file"] == "front.db3"
        assert device.described["colour"]["fx"] == pytest.approx(0.96 * 64)
        with pytest.raises(DeviceLost, match=r"film: the film .*front.db3 is over"):
            until(lambda: len(device.read(0)) < 0, "the end")


def test_a_film_may_begin_again_at_its_end(tmp_path: Path) -> None:
    file, _ = film(tmp_path)
    settings = {"file": file, "rgb": list(SIZE), "hz": HZ, "again": True}
    with Hosted("film", "drivers.realsense:Recording", settings) as device:
        seen: set[int] = set()

        def twice() -> bool:
            found = device.read(time.monotonic_ns() - 300_000_000)
            seen.update(found["seq"].tolist())
            return max(seen, default=0) > 80

        until(twice, "its second showing")


@pytest.mark.parametrize(
    ("name", "told"), [("none.db3", "there is no file"), ("text.db3", "is no film of a RealSense")]
)
def test_a_file_that_is_no_film_is_told(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "text.db3").write_text("nothing")
    with pytest.raises(DeviceError, match=told):
        Recording("film", str(tmp_path / name), SIZE).__enter__()


def test_a_film_of_another_size_is_told_with_its_own(tmp_path: Path) -> None:
    file, _ = film(tmp_path)
    with pytest.raises(DeviceError, match=r"no color of 480 x 640 at 60 Hz.*; it has: 48 x 64 at 60 Hz"):
        Recording("film", file, (480, 640), hz=HZ).__enter__()


def test_a_camera_that_comes_back_goes_on_in_another_film(tmp_path: Path) -> None:
    file = tmp_path / "front.db3"
    with camera() as seen, before(seen, record=str(file), silence=0.2, reconnect=3.0) as device:
        since = int(rows(device, 3)["t"][-1])
        seen.unplug()
        until(lambda: not seen.options("colour"), "out")
        seen.plug()
        rows(device, 5, since + 200_000_000)
    assert sorted(path.name for path in tmp_path.iterdir())[-2:] == ["front.2.db3", "front.db3"]


def test_a_camera_sees_an_emulated_frankas_table_in_colour_and_depth() -> None:
    """The distances of the depth are those of the scene: where the picture's middle looks at, a ray meets the table."""
    host = address(3)
    with Emulator(host, table=True, lockstep=False), Emulated("front", "table", (96, 128), table=host) as device:
        until(lambda: bool((device.read(0)["depth"] > 0).any(axis=(1, 2)).any()), "a view")
        row = device.read(0)[-1]
        lens = device.described["colour"]
    model = build((96, 128))
    data = mujoco.MjData(model)
    data.qpos[: len(HOME)] = HOME
    mujoco.mj_forward(model, data)
    view = data.cam_xmat[model.camera("front").id].reshape(3, 3)
    for v, u in ((70, 30), (80, 100), (90, 10)):
        ray = view @ [(u + 0.5 - lens["ppx"]) / lens["fx"], -(v + 0.5 - lens["ppy"]) / lens["fy"], -1.0]
        length = np.linalg.norm(ray)
        away = mujoco.mj_ray(
            model,
            data,
            data.cam_xpos[model.camera("front").id],
            ray / length,
            np.array([1, 1, 1, 0, 0, 0], np.uint8),
            1,
            -1,
            np.zeros(1, np.int32),
        )
        assert row["depth"][v, u] == pytest.approx(1e3 * away / length, abs=2)
    assert row["rgb"].std() > 10


def test_a_table_has_its_own_cameras() -> None:
    with pytest.raises(DeviceError, match=r"the cameras front, wrist, not 'side'"):
        Emulated("side", "table", SIZE, table="127.0.0.2").__enter__()
    with pytest.raises(DeviceError, match="nobody publishes it"):
        Emulated("front", "table", SIZE, table="127.0.0.77").__enter__()
