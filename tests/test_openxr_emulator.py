"""The emulated runtime: what its person does, who may ask it for faults, and whether it keeps to OpenXR."""

import ctypes.util
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers import DeviceError, DeviceLost
from drivers.emulators.openxr import Emulated, Hand, Person, Pose, Unwilling, ask, circles, played
from drivers.emulators.openxr.admin import DOES, listening
from drivers.hosted import Hosted
from drivers.openxr import HANDS
from tests.wearing import focused, until, wait, worn

ROOT = Path(__file__).parent.parent
LAYERS = ("XR_APILAYER_LUNARG_core_validation", "XR_APILAYER_KHRONOS_best_practices_validation")


@pytest.fixture
def headset() -> Iterator[Emulated]:
    with worn() as device:
        yield device


def test_poses_follow_each_other() -> None:
    quarter = Pose((0, 0, 0), (0, 0, math.sqrt(0.5), math.sqrt(0.5)))
    there = Pose((1.0, 0.0, 0.0)) @ quarter @ Pose((1.0, 0.0, 0.0))
    assert there.p == pytest.approx((1.0, 1.0, 0.0))
    home = there @ there.inverse()
    assert (*home.p, *home.q) == pytest.approx((0, 0, 0, 0, 0, 0, 1))
    half = Pose().towards(quarter, 0.5)
    assert half.q == pytest.approx((0, 0, math.sin(math.pi / 8), math.cos(math.pi / 8)))
    with pytest.raises(ValueError, match="must have length 1, not 0"):
        Pose(q=(0, 0, 0, 0))


def test_a_script_is_played_evenly_and_buttons_at_once(tmp_path: Path) -> None:
    script = tmp_path / "reach.jsonl"
    lines = [
        {"t": 0.0, "right": {"grip": [0, 1, 0, 0, 0, 0, 1]}},
        {"t": 1.0, "right": {"squeeze": 1.0, "buttons": 1}, "head": [0, 1.7, 0, 0, 0, 0, 1]},
        {"t": 3.0, "right": {"grip": [0.2, 1, 0, 0, 0, 0, 1], "stick": [1, 0]}},
    ]
    script.write_text("\n".join(map(json.dumps, lines)))
    play = played(script)
    assert play(-1.0) == play(0.0) == Person(right=Hand(Pose((0, 1, 0))))
    assert play(0.5).right.squeeze == pytest.approx(0.5)
    assert play(0.5).right.buttons == 0
    assert play(0.5).head.p == pytest.approx((0, 1.65, 0))
    assert play(2.0).right.grip.p == pytest.approx((0.1, 1, 0))
    assert play(2.0).right.stick == pytest.approx((0.5, 0))
    assert play(99.0).right == Hand(Pose((0.2, 1, 0)), squeeze=1.0, stick=(1, 0), buttons=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; it takes a line of JSON per moment"),
        ('{"t": 1}\n{"t": 1}', "line 2: ValueError: t = 1.0 s does not come after 1.0 s"),
        ('{"right": {}}', "line 1: KeyError: 't'"),
        ('{"t": 0, "foot": {}}', "a person has a head, a left and a right hand, no 'foot'"),
        ('{"t": 0, "left": {"thumb": 1}}', "a hand has no 'thumb'; it has grip, aim, trigger"),
        ('{"t": 0, "head": [1, 2]}', "a pose is 7 numbers, x y z in metres and qx qy qz qw"),
        ("{", "line 1: JSONDecodeError"),
    ],
)
def test_a_script_that_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    script = tmp_path / "reach.jsonl"
    script.write_text(text)
    with pytest.raises(DeviceError) as refused:
        played(script)
    assert said in str(refused.value)
    with pytest.raises(DeviceError, match="cannot be read"):
        played(tmp_path / "none")


def test_a_station_may_play_a_script(tmp_path: Path) -> None:
    script = tmp_path / "still.jsonl"
    script.write_text('{"t": 0, "left": {"grip": [0, 1.6, -0.5, 0, 0, 0, 1], "trigger": 0.5}}')
    with worn(script=script) as device:
        row = wait(device, lambda row: row["valid"].all())
    assert row["grip"][0] == pytest.approx((0, 0, -0.5, 0, 0, 0, 1))
    assert row["trigger"][0] == pytest.approx(0.5)


def test_without_a_script_the_right_hand_squeezes_and_draws_circles(headset: Emulated) -> None:
    centre = circles(0.0).right.grip.p[0] - 0.1
    row = wait(headset, lambda row: row["squeeze"][1] > 0.9)
    x, y, z = row["grip"][1][:3]
    assert math.hypot(x - centre, y + 0.4) == pytest.approx(0.1, abs=1e-6)
    assert z == pytest.approx(-0.3)


def test_the_other_end_is_there_only_while_it_is_entered() -> None:
    device = Emulated("hands")
    with pytest.raises(DeviceError, match="hands has not been entered"):
        _ = device.runtime
    before = os.environ.get("XR_RUNTIME_JSON")
    with device:
        assert device.runtime.status()["connected"]
        assert os.environ["XR_RUNTIME_JSON"] != before
    assert os.environ.get("XR_RUNTIME_JSON") == before
    with pytest.raises(DeviceError, match="hands has not been entered"):
        _ = device.runtime


def test_nothing_of_it_is_left_in_a_folder(headset: Emulated) -> None:
    """Its manifest is in memory, so that nothing remains after kill -9."""
    assert os.environ["XR_RUNTIME_JSON"].startswith("/proc/self/fd/")
    assert headset.runtime.state.calls["negotiate"] > 0, "the loader asked it, through pyopenxr's own library"


def test_another_program_can_ask_for_faults(headset: Emulated) -> None:
    with listening(headset.runtime) as port:
        assert ask(port, "status")["state"] == "FOCUSED"
        ask(port, "move", right={"squeeze": 0.5, "grip": [0.1, 1.6, 0, 0, 0, 0, 1]})
        assert wait(headset, lambda row: 0.4 < row["squeeze"][1] < 0.6)["grip"][1][0] == pytest.approx(0.1)
        ask(port, "switch", hand=1, on=False)
        wait(headset, lambda row: not row["active"][1])
        ask(port, "see", hand=0, how="guessed")
        wait(headset, lambda row: not row["tracked"][0])
        ask(port, "focus", on=False)
        wait(headset, lambda row: not row["focused"])
        ask(port, "mend")
        assert wait(headset, lambda row: row["tracked"].all())["active"].all()


@pytest.mark.parametrize(
    ("do", "values", "said"),
    [
        ("dance", {}, "an emulated headset cannot 'dance'; it can move, see"),
        ("see", {"hand": 2}, "one can see hand 0 or 1"),
        ("fail", {"function": "xrFly"}, "there is no function 'xrFly'"),
        ("fail", {"function": "xrSyncActions", "result": "GREAT"}, "OpenXR has no result 'GREAT'"),
        ("move", {"right": {"grip": [1]}}, "a pose is 7 numbers"),
        ("focus", {}, "missing 1 required positional argument"),
    ],
)
def test_what_it_cannot_do_is_refused(headset: Emulated, do: str, values: dict[str, Any], said: str) -> None:
    with listening(headset.runtime) as port, pytest.raises(Unwilling) as refused:
        ask(port, do, **values)
    assert said in str(refused.value)


def test_where_nobody_answers_it_says_so(headset: Emulated) -> None:
    with listening(headset.runtime) as port, pytest.raises(DeviceError, match=f"cannot be asked at port {port}"):
        listening(headset.runtime, port).__enter__()
    with pytest.raises(Unwilling, match=f"no emulated headset answers at port {port}"):
        ask(port, "status")


def test_everything_that_can_be_asked_for_exists(headset: Emulated) -> None:
    assert all(callable(getattr(headset.runtime, do)) for do in DOES)


def test_a_kind_of_controller_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no kind of controller 'hoof'; there are /interaction_profiles/khr"):
        Emulated("hands", profile="hoof").__enter__()


def test_a_program_that_knows_nothing_of_it_runs_with_it() -> None:
    command = ["drivers.emulators.openxr", "drivers.openxr", "--seconds", "60", "--every", "0.1"]
    program = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout is not None
        assert program.stderr is not None
        port = int(program.stdout.readline().rpartition(" ")[2])
        assert "'runtime': 'Emulated OpenXR runtime'" in program.stdout.readline()
        assert "rows; focused, left [-0.2 -0.4 -0.3] squeeze 0.00" in program.stdout.readline()
        ask(port, "focus", on=False)
        assert any("rows; not focused" in line for line in program.stdout)
        ask(port, "stall", seconds=1.5)
        assert "the OpenXR runtime hangs; start it anew" in program.stderr.read()
    assert program.returncode == 1


def test_a_hosted_one_says_the_same_and_can_be_asked_for_faults() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    device = Hosted("hands", "drivers.emulators.openxr:Emulated", {"port": port, "silence": 1.0}, silence=20.0)
    assert device.dtype == HANDS
    with device:
        assert device.described["runtime"] == "Emulated OpenXR runtime"
        row = until(lambda: seen(device, "focused"))
        assert (row["valid"].tolist(), row["space"]) == ([1, 1], 0)
        ask(port, "stall", seconds=3.0)
        with pytest.raises(DeviceLost, match=r"hands: no row for .* the OpenXR runtime hangs; start it anew"):
            until(lambda: seen(device, "nothing"))


def seen(device: Hosted, what: str) -> Any:
    """The newest row in which something is so, or None."""
    rows = device.read(time.monotonic_ns() - 1_000_000_000)
    return rows[-1] if what in (HANDS.names or ()) and len(rows) and rows[-1][what] else None


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where Khronos' validation layers write what they think of the client."""
    report = tmp_path / "report.txt"
    pytest.importorskip("drivers.openxr.sdk", reason="the extra [hardware] is not installed")
    from xr.api_layer.layer_path import py_layer_library_path

    monkeypatch.setenv("XR_API_LAYER_PATH", str(Path(py_layer_library_path()).parent))
    monkeypatch.setenv("XR_ENABLE_API_LAYERS", ":".join(LAYERS))
    monkeypatch.setenv("XR_CORE_VALIDATION_EXPORT_TYPE", "text")
    monkeypatch.setenv("XR_CORE_VALIDATION_FILE_NAME", str(report))
    return report


def test_a_whole_day_of_the_headset_breaks_no_rule_of_openxr(judged: Path) -> None:
    with worn() as device:
        runtime = device.runtime
        device.pulse(0, 0.05, 1.0)
        until(lambda: runtime.pulses)
        for hand, how in ((0, "guessed"), (1, "not")):
            runtime.see(hand, how)
        runtime.switch(1, on=False)
        wait(device, lambda row: not row["active"][1])
        runtime.recenter([1, 1.6, 0, 0, 0, 0, 1])
        runtime.focus(on=False)
        wait(device, lambda row: not row["focused"])
        for number, fault in enumerate((runtime.quit, runtime.lose_session, runtime.lose_instance), 2):
            runtime.mend()
            focused(device)
            fault()
            again(device, number)
        if ctypes.util.find_library("EGL"):
            runtime.offer(["XR_KHR_opengl_enable", "XR_MNDX_egl_enable"])  # frames, and no time
            runtime.lose_session()
            again(device, 5)
    assert "VALID_ERROR" not in judged.read_text()
    assert judged.read_text().count("Core Validation Layer is initialized") >= 4, "it judged every session"


def again(device: Emulated, spaces: int) -> None:
    """Wait for the session after the ``spaces``th move of the space."""
    wait(device, lambda row: row["space"] == spaces and row["focused"])


def test_misuse_of_openxr_would_be_reported(judged: Path) -> None:
    with worn() as device:
        runtime = device.runtime
    from drivers.openxr.sdk import xr

    with runtime.installed():
        instance = xr.create_instance(xr.InstanceCreateInfo(enabled_extension_names=["XR_MND_headless"]))
        try:
            hands = xr.create_action_set(instance, xr.ActionSetCreateInfo("hands", "Hands", 0))
            xr.destroy_action_set(hands)
            with pytest.raises(xr.HandleInvalidError):
                xr.destroy_action_set(hands)
        finally:
            xr.destroy_instance(instance)
    assert "VALID_ERROR" in judged.read_text()
    assert "VUID-xrDestroyActionSet-actionSet-parameter" in judged.read_text()


def test_another_user_of_opengl_can_draw_beside_it() -> None:
    """Pyopenxr tells PyOpenGL to use GLX; MuJoCo, which needs EGL, could not draw any more."""
    pytest.importorskip("mujoco", reason="the extra [twin] is not installed")
    program = "from drivers.openxr.sdk import xr; import mujoco; mujoco.GLContext(8, 8).make_current(); print('drawn')"
    around = os.environ | {"MUJOCO_GL": "egl"}
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=around, capture_output=True, text=True)
    assert "drawn" in said.stdout, said.stderr


def test_reading_after_leaving_is_refused(headset: Emulated) -> None:
    headset.__exit__(None, None, None)
    with pytest.raises(DeviceLost, match="has not been entered"):
        headset.read(time.monotonic_ns())
