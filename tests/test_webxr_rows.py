"""What becomes of a page's frames and of its clock, without any page; and the code and the certificate."""

import math
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import DeviceError
from drivers.openxr.rows import HANDS, LOWER, MENU, UPPER
from drivers.webxr import frames, keys
from drivers.webxr.clock import WINDOW, Offset
from tests.visitor import POSE, frame, says_nothing

MS = 1_000_000
NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, -1.0, 2.0, 1e300, math.nan, math.inf, -math.inf]), st.floats(width=64)
)


def row(**fields: Any) -> Any:
    return frames.row(frames.frame(frame(**fields).tobytes()))


def test_a_frame_says_what_a_headset_would() -> None:
    said = row(
        trigger=(0.25, 1.0), squeeze=(0.0, 0.5), stick=((0.1, -0.2), (1, -1)), buttons=(LOWER, UPPER), tracked=(0, 1)
    )
    assert said.dtype == HANDS
    assert said["grip"] == pytest.approx(np.array([POSE, POSE]))
    assert said["aim"] == pytest.approx(np.array([POSE, POSE]))
    assert said["head"] == pytest.approx(POSE)
    assert [said[name].tolist() for name in ("active", "valid", "tracked")] == [[1, 1], [1, 1], [0, 1]]
    assert said["trigger"].tolist() == [0.25, 1.0]
    assert said["squeeze"].tolist() == [0.0, 0.5]
    assert said["stick"] == pytest.approx(np.array([(0.1, -0.2), (1, -1)]))
    assert said["buttons"].tolist() == [LOWER, UPPER]
    assert said["focused"] == 1


def test_a_hand_that_has_no_pose_is_not_valid_and_what_it_has_not_is_not_known() -> None:
    said = row(grip=(POSE, [math.nan] * 7), trigger=(math.nan, 0.5))
    assert (said["valid"].tolist(), said["tracked"].tolist(), said["active"].tolist()) == ([1, 0], [1, 0], [1, 1])
    assert np.isnan(said["grip"][1]).all()
    assert np.isnan(said["trigger"][0])
    assert said["trigger"][1] == pytest.approx(0.5)


def test_a_controller_that_is_off_says_nothing_at_all() -> None:
    said = row(active=(0, 1), buttons=(LOWER, 0))
    assert [said[name][0] for name in ("active", "valid", "tracked", "buttons")] == [0, 0, 0, 0]
    assert all(np.isnan(said[name][0]).all() for name in ("grip", "aim", "trigger", "squeeze", "stick"))
    assert said["valid"][1]


def test_without_focus_no_hand_is_ours() -> None:
    said = row(focused=0, buttons=LOWER)
    assert said["head"] == pytest.approx(POSE)
    said["head"] = np.nan
    assert says_nothing(said)


@pytest.mark.parametrize(
    "pose", [(0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 1.1), (500, 0, 0, 0, 0, 0, 1), (0, math.inf, 0, 0, 0, 0, 1)]
)
def test_a_pose_that_is_none_is_not_valid(pose: tuple[float, ...]) -> None:
    said = row(grip=pose)
    assert not said["valid"].any()
    assert np.isnan(said["grip"]).all()


@given(st.lists(NUMBERS, min_size=52, max_size=52))
def test_whatever_numbers_come_a_row_can_be_trusted_or_is_refused(numbers: list[float]) -> None:
    """Nothing is valid that is not a pose, and nothing is beyond what a controller can say."""
    read = np.array(numbers, "<f8").view(frames.FRAME)[0]
    try:
        said = frames.row(frames.frame(read.tobytes()))
    except frames.Malformed:
        read["at"] = read["space"] = read["buttons"] = read["focused"] = read["active"] = 1.0
        read["tracked"] = 1.0
        said = frames.row(frames.frame(read.tobytes()))
    for hand in (0, 1):
        known = not np.isnan(said["grip"][hand]).any()
        assert known == bool(said["valid"][hand])
        assert known or np.isnan(said["grip"][hand]).all()
        assert said["tracked"][hand] <= said["valid"][hand] <= said["active"][hand] <= said["focused"]
        if known:
            assert np.linalg.norm(said["grip"][hand][3:]) == pytest.approx(1.0)
    for name, low in (("trigger", 0), ("squeeze", 0), ("stick", -1)):
        inside = said[name][~np.isnan(said[name])]
        assert ((low <= inside) & (inside <= 1)).all()
    assert not (said["buttons"] & MENU).any()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"at": math.nan}, "at is nan"),
        ({"at": -1.0}, "at is -1.0"),
        ({"space": math.inf}, "space is inf"),
        ({"focused": 2}, "focused is 2.0, neither 0 nor 1"),
        ({"active": (1, math.nan)}, "neither 0 nor 1"),
        ({"buttons": (0.5, 0)}, "buttons are"),
        ({"buttons": (0, 16)}, "buttons are"),
    ],
)
def test_what_no_page_says_is_refused_and_told(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(frames.Malformed, match=said):
        frames.frame(frame(**fields).tobytes())


def test_a_message_of_another_length_is_refused() -> None:
    with pytest.raises(frames.Malformed, match="415 bytes, not 416"):
        frames.frame(frame().tobytes()[:-1])


@given(st.lists(st.tuples(st.integers(0, 400 * MS), st.integers(0, 400 * MS)), min_size=1, max_size=80))
def test_a_row_is_never_taken_for_younger_than_it_is(ways: list[tuple[int, int]]) -> None:
    """However long questions and answers take, a stamp is never after the moment, and late by the quickest way only."""
    offset, now, behind = Offset(), 10**12, 7 * 10**11
    stamp: int | None = None
    for there, back in ways:
        asked, now = now, now + there
        offset.answered(asked, now - behind)
        now += back
        stamp = offset.stamp(now - behind)
        assert stamp is not None
        assert stamp <= now
    assert stamp is not None
    assert now - stamp >= min(there for there, _ in ways)
    assert now - stamp <= min(there for there, _ in ways[-WINDOW:])


def test_without_an_answer_no_moment_is_known() -> None:
    assert Offset().stamp(5) is None


def test_a_page_whose_clock_stood_still_is_followed_at_once() -> None:
    offset = Offset()
    offset.answered(10**9, 0)
    offset.answered(10 * 10**9, 10**9)
    assert offset.stamp(10**9) == 10 * 10**9


def test_a_page_whose_clock_runs_ahead_is_followed_when_old_answers_are_forgotten() -> None:
    offset = Offset()
    offset.answered(10**9, 0)
    for number in range(2 * WINDOW):
        offset.answered(10**9 + number, 5 * MS + number)
    assert offset.stamp(5 * MS) == 10**9


def test_the_code_is_made_once_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    code = keys.code(folder)
    assert keys.code(folder) == code
    assert len({keys.code(tmp_path / str(number)) for number in range(20)}) == 20
    assert (folder / "code").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["code"]


def test_a_code_that_others_may_read_is_refused(tmp_path: Path) -> None:
    keys.code(tmp_path)
    (tmp_path / "code").chmod(0o640)
    with pytest.raises(DeviceError, match=f"others may read {tmp_path}/code; type: chmod 600 "):
        keys.code(tmp_path)


@pytest.mark.parametrize("written", ["", "short", "with a space", "komma,komma"])
def test_what_is_no_code_is_refused(tmp_path: Path, written: str) -> None:
    keys.code(tmp_path)
    (tmp_path / "code").write_text(written)
    with pytest.raises(DeviceError, match=r"holds no code of 8 to 64 .* delete it"):
        keys.code(tmp_path)


def test_the_certificate_is_made_once_and_again_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LASTS", timedelta(days=20))
    path = keys.certificate(tmp_path, "192.168.1.20")
    old = keys.fingerprint(path)
    monkeypatch.undo()
    assert keys.certificate(tmp_path, "192.168.1.20") == path
    new = keys.fingerprint(path)
    keys.certificate(tmp_path, "192.168.1.20")
    assert old != new == keys.fingerprint(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.certificate(tmp_path, "cell.local") != path
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
