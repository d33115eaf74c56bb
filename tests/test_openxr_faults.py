"""What goes wrong with a headset: what the rows say meanwhile, what the person is told, and what comes back."""

import ctypes.util
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from drivers import DeviceError, DeviceLost, Row
from drivers.emulators.openxr import Emulated
from drivers.openxr import UNKNOWN, Headset
from tests.wearing import after, focused, until, wait, worn

POSES = ("grip", "aim")
FINGERS = ("trigger", "squeeze", "stick")


@pytest.fixture
def headset() -> Iterator[Emulated]:
    with worn() as device:
        yield device


def says_nothing(row: Row) -> bool:
    """Whether a row gives no pose, no controller and no focus."""
    silent = all(np.isnan(row[field]).all() for field in (*POSES, *FINGERS, "head"))
    return silent and not any(row[field].any() for field in ("valid", "tracked", "active", "buttons", "focused"))


@pytest.mark.parametrize(("how", "valid", "tracked"), [("guessed", 1, 0), ("turned", 0, 0), ("not", 0, 0)])
def test_a_hand_that_is_not_seen_is_told_and_has_no_old_pose(
    headset: Emulated, how: str, valid: int, tracked: int
) -> None:
    headset.runtime.see(1, how)
    row = wait(headset, lambda row: not row["tracked"][1])
    assert (row["valid"].tolist(), row["tracked"].tolist()) == ([1, valid], [1, tracked])
    assert np.isnan(row["grip"][1]).all() == np.isnan(row["aim"][1]).all() == (not valid)
    assert not np.isnan(row["grip"][0]).any(), "the other hand is seen as before"
    assert not np.isnan(row["squeeze"]).any(), "its buttons still work"
    headset.runtime.see(1)
    assert wait(headset, lambda row: row["tracked"][1])["valid"][1]


def test_a_controller_that_is_switched_off_says_nothing_at_all(headset: Emulated) -> None:
    headset.runtime.move(left={"trigger": 1.0, "buttons": 15})
    wait(headset, lambda row: row["trigger"][0] > 0.9)
    headset.runtime.switch(0, on=False)
    row = wait(headset, lambda row: not row["active"][0])
    assert [row[field][0] for field in ("valid", "tracked", "buttons")] == [0, 0, 0]
    assert all(np.isnan(row[field][0]).all() for field in (*POSES, *FINGERS))
    assert row["active"][1]
    headset.runtime.switch(0, on=True)
    assert wait(headset, lambda row: row["active"][0])["trigger"][0] > 0.9


def test_without_focus_the_hands_are_not_ours_and_no_pulse_is_felt(headset: Emulated) -> None:
    headset.runtime.focus(on=False)
    row = wait(headset, lambda row: not row["focused"])
    assert not row["active"].any()
    headset.pulse(1, 0.1, 1.0)
    wait(headset, lambda later: later["seq"] > row["seq"] + 2)
    headset.runtime.focus(on=True)
    row = focused(headset)
    wait(headset, lambda later: later["seq"] > row["seq"] + 2)
    assert headset.runtime.pulses == []
    assert row["space"] == 0, "nothing moved"


def test_a_recenter_counts_up_in_the_row_whose_poses_it_changed(headset: Emulated) -> None:
    headset.runtime.move(right={"grip": [0.3, 1.2, -0.4, 0, 0, 0, 1]})
    before = wait(headset, lambda row: row["grip"][1][0] == pytest.approx(0.3))
    headset.runtime.recenter([1.0, 1.6, 0.0, 0, 0, 0, 1])
    row = wait(headset, lambda row: row["space"] == 1)
    assert row["grip"][1][:3] == pytest.approx((-0.7, -0.4, -0.4), abs=1e-6)
    for row in headset.read(int(before["t"])):
        assert row["grip"][1][0] == pytest.approx(-0.7 if row["space"] else 0.3, abs=1e-6), "two spaces were mixed"


def test_a_recenter_that_is_announced_counts_from_its_moment_on(headset: Emulated) -> None:
    moment = time.monotonic_ns() + 200_000_000
    headset.runtime.recenter([0.0, 1.6, 0.0, 0, 0, 0, 1], later=0.2)
    row = wait(headset, lambda row: row["space"] == 1)
    assert row["t"] >= moment
    assert (headset.read(moment - 150_000_000)["space"][:3] == 0).all()


@pytest.mark.parametrize("fault", ["lose_session", "lose_instance", "quit"])
def test_a_lost_session_is_joined_again_and_meanwhile_nothing_is_said(
    headset: Emulated, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    headset.runtime.plug(headset=True)
    start = int(wait(headset, lambda row: row["valid"].all())["t"])
    with caplog.at_level(logging.INFO, "drivers.openxr"):
        getattr(headset.runtime, fault)()
        wait(headset, lambda row: row["space"] == 1 and row["valid"].all())
    rows = headset.read(start)
    assert (np.diff(rows["seq"]) == 1).all(), "rows went on"
    silent = rows[rows["focused"] == 0]
    assert len(silent)
    assert all(says_nothing(row) or row["space"] == 1 or fault == "quit" for row in silent)
    assert np.isnan(silent["grip"]).all(), "an old pose"
    assert rows["space"][-1] == 1, "its space may be another one"
    told = [record.message for record in caplog.records]
    assert len(told) == 2, told
    assert "hands: the session ended" in told[0]
    assert "hands: a new session" in told[1]


@pytest.mark.parametrize(
    "result", ["ERROR_SESSION_LOST", "ERROR_RUNTIME_FAILURE", "SESSION_LOSS_PENDING", "-1097363024"]
)
def test_whatever_a_call_ends_with_the_session_is_joined_again(headset: Emulated, result: str) -> None:
    headset.runtime.fail("xrSyncActions", result)
    assert wait(headset, lambda row: row["space"] == 1 and row["focused"])["valid"].all()


def test_a_pulse_may_find_the_session_gone(headset: Emulated) -> None:
    headset.runtime.fail("xrApplyHapticFeedback", "ERROR_SESSION_LOST")
    headset.pulse(0, 0.1, 1.0)
    assert wait(headset, lambda row: row["space"] == 1 and row["focused"])["valid"].all()


def test_a_time_that_the_runtime_does_not_take_costs_one_row_not_the_session(headset: Emulated) -> None:
    start = int(focused(headset)["t"])
    headset.runtime.fail("xrLocateSpace", "ERROR_TIME_INVALID")
    rows = after(headset, start, 20)
    assert (rows["focused"] == 0).sum() == 1
    assert (rows["space"] == 0).all()


def test_a_runtime_that_stays_away_is_lost_until_it_is_there_again() -> None:
    with worn(patience=1.0) as device:
        device.runtime.be(up=False)
        row = wait(device, lambda row: not row["focused"])
        assert says_nothing(row)
        assert row["age"] == UNKNOWN
        said = until(lambda: lost(device))
        assert "hands: the session ended" not in said
        assert (
            "hands: the runtime is going to stop, and no new session came in 1.0 s: no OpenXR runtime answers" in said
        )
        device.runtime.be(up=True)
        until(lambda: not lost(device))
        assert focused(device)["valid"].all()


def lost(device: Headset) -> str:
    """What reading says when it cannot."""
    try:
        device.read(time.monotonic_ns())
    except DeviceLost as error:
        return str(error)
    return ""


def test_a_headset_that_is_unplugged_is_lost_and_named() -> None:
    with worn(patience=0.3) as device:
        device.runtime.plug(headset=False)
        assert "no headset is connected to it: switch the headset on" in until(lambda: lost(device))
        device.runtime.plug(headset=True)
        until(lambda: not lost(device))


def test_a_runtime_that_hangs_is_told_and_goes_on_when_it_does() -> None:
    with worn() as device:
        device.silence = 0.3
        device.runtime.stall(1.0)
        said = until(lambda: lost(device))
        assert "the OpenXR runtime hangs; start it anew" in said
        assert 0.3 <= says_when(said) < 1.0
        device.silence = 5.0
        until(lambda: not lost(device))
        assert focused(device)["space"] == 0


def says_when(said: str) -> float:
    return float(said.partition("no row for ")[2].partition(" s")[0])


def test_leaving_a_runtime_that_hangs_does_not_hang(caplog: pytest.LogCaptureFixture) -> None:
    with worn(patience=0.1) as device:
        runtime, thread = device.runtime, device._thread
        runtime.stall(1.0)
        start = time.monotonic()
        Headset.__exit__(device, None, None, None)
        assert time.monotonic() - start < 0.9
        assert "hangs and keeps its session" in caplog.text
        with pytest.raises(DeviceError, match="keeps its session; end this program"):
            Headset.__enter__(device)
        assert thread is not None
        thread.join()


def test_a_headset_that_is_late_is_waited_for_and_one_that_never_comes_is_told() -> None:
    from drivers.emulators.openxr.runtime import Runtime

    runtime = Runtime()
    runtime.plug(headset=False)
    with runtime.installed():
        with pytest.raises(
            DeviceError, match=r"late: Emulated OpenXR runtime runs, but no headset .* switch the headset"
        ):
            Headset("late", patience=0.1).__enter__()
        waited = Headset("late", patience=20.0)
        asked = runtime.state.calls["xrGetSystem"]

        def come() -> None:
            until(lambda: runtime.state.calls["xrGetSystem"] > asked)
            runtime.plug(headset=True)

        friend = threading.Thread(target=come)
        friend.start()
        with waited:
            assert focused(waited)["valid"].all()
        friend.join()


def test_a_runtime_without_headless_sessions_gets_frames_instead() -> None:
    if not ctypes.util.find_library("EGL"):
        pytest.skip("libEGL is not installed")
    with worn() as device:
        runtime = device.runtime
        runtime.offer([name for name in runtime.state.extensions if name != "XR_MND_headless"])
        runtime.lose_session()
        row = wait(device, lambda row: row["space"] == 1 and row["focused"])
        assert not device.described["headless"]
        assert row["valid"].all()
        assert row["age"] != UNKNOWN
        frames = runtime.state.calls["xrEndFrame"]
        rows = after(device, int(row["t"]), 36)
        assert runtime.state.calls["xrEndFrame"] - frames >= 36, "an empty frame for every row"
        assert np.median(np.diff(rows["t"])) > 1e9 / 80, "the headset sets the pace, 72 Hz, and not our 90"


@pytest.mark.parametrize(
    ("headless", "offered", "said"),
    [
        ("yes", ["XR_KHR_opengl_enable"], 'has no sessions without pictures (XR_MND_headless); set headless = "auto"'),
        ("auto", ["XR_KHR_D3D11_enable"], "neither sessions without pictures (XR_MND_headless) nor OpenGL"),
        ("no", ["XR_MND_headless"], "XR_MND_headless; use WiVRn, Monado or SteamVR"),
    ],
)
def test_a_runtime_that_cannot_be_used_is_told_with_what_can(headless: str, offered: list[str], said: str) -> None:
    from drivers.emulators.openxr.runtime import Runtime

    runtime = Runtime(extensions=offered)
    with runtime.installed(), pytest.raises(DeviceError) as refused:
        Headset("hands", headless=headless).__enter__()  # type: ignore[arg-type]  # one of the three
    assert said in str(refused.value)
    assert "hands: " in str(refused.value)


def test_without_a_runtime_the_person_is_told_what_to_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("drivers.openxr.sdk", reason="the extra [hardware] is not installed")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("XR_RUNTIME_JSON", raising=False)
    assert "no OpenXR runtime answers: XR_RUNTIME_JSON is not set, and there is no" in refusal()
    assert "start WiVRn, SteamVR (with ALVR for a Quest) or Monado" in refusal()
    manifest = tmp_path / "openxr" / "1" / "active_runtime.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"file_format_version": "1.0.0", "runtime": {"library_path": "/nowhere.so"}}')
    assert f"{manifest} names a runtime that does not start" in refusal()
    monkeypatch.setenv("XR_RUNTIME_JSON", str(tmp_path / "none.json"))
    assert f"XR_RUNTIME_JSON names {tmp_path / 'none.json'}, which is not there" in refusal()
    monkeypatch.setenv("XR_RUNTIME_JSON", str(manifest))
    assert f"XR_RUNTIME_JSON names {manifest}, whose runtime does not start" in refusal()
    assert "XR_LOADER_DEBUG" in os.environ


def refusal() -> str:
    with pytest.raises(DeviceError) as refused:
        Headset("hands").__enter__()
    return str(refused.value)


class Faulty(Headset):
    """One with a mistake in the driver."""

    def _first(self) -> NoReturn:
        raise TypeError("no such session")


def test_a_mistake_in_the_driver_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("drivers.openxr.sdk", reason="the extra [hardware] is not installed")
    with pytest.raises(DeviceError, match="hands: its driver failed: TypeError: no such session"):
        Faulty("hands", patience=1.0).__enter__()
    assert "Traceback" in caplog.text


def test_without_pyopenxr_the_person_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "drivers.openxr.link", None)
    with pytest.raises(DeviceError, match=r"hands: pyopenxr cannot be used .* install the extra \[hardware\]"):
        Headset("hands").__enter__()
