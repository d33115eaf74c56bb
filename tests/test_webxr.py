"""A headset's page and the device behind it: who is let in, what the rows say, and what the person is told."""

import http.client
import logging
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from drivers import DeviceError, DeviceLost, Row
from drivers.hosted import Hosted
from drivers.openxr import HANDS, UNKNOWN, Headset
from drivers.webxr import WebHands, keys, server
from tests.visitor import Visitor, clock, frame, says_nothing, served
from tests.wearing import until, wait

MS = 1_000_000


def ours(row: Row) -> bool:
    """Whether somebody was heard."""
    return bool(row["focused"])


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[WebHands]:
    with served(tmp_path) as device:
        yield device


def test_its_rows_are_those_of_a_headset_before_anything_is_connected() -> None:
    assert WebHands("hands").dtype == Headset("hands").dtype == HANDS


@pytest.mark.parametrize(
    ("visit", "status", "logged"),
    [
        ({"code": ""}, 401, "no code"),
        ({"code": "abcd-efgh"}, 401, "a wrong code"),
        ({"origin": "http://evil.example"}, 403, "its page is of ['http://evil.example'], not of here"),
        ({"origin": "null"}, 403, "its page is of ['null'], not of here"),
        ({"origin": None}, 403, "its page is of [], not of here"),
        ({"code": "abcd-efgh", "origin": "http://evil.example"}, 403, "its page is of"),
    ],
)
def test_a_stranger_is_refused_and_says_nothing(
    hands: WebHands, visit: dict[str, Any], status: int, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        Visitor(hands, **visit)
    assert refused.value.response.status_code == status
    assert f"hands: refused 127.0.0.1: {logged}" in caplog.text
    assert keys.code(hands.folder) not in caplog.text
    assert not hands.described["headset"]


def test_a_page_of_another_port_or_scheme_of_this_machine_is_refused(hands: WebHands) -> None:
    for origin in ("http://127.0.0.1:1", hands.address.rstrip("/").replace("http", "https"), hands.address):
        with pytest.raises(InvalidStatus, match="403"):
            Visitor(hands, origin=origin)
    with Visitor(hands, origin=hands.address.rstrip("/").replace("127.0.0.1", "localhost")):
        pass


def test_guesses_wait_for_each_other_and_nobody_else_waits_for_them(
    hands: WebHands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRONG", 0.3)
    start = time.monotonic()
    guesses: list[float] = []

    def guess() -> None:
        with pytest.raises(InvalidStatus):
            Visitor(hands, code="abcd-efgh")
        guesses.append(time.monotonic() - start)

    guessing = [threading.Thread(target=guess) for _ in range(3)]
    for thread in guessing:
        thread.start()
    with Visitor(hands):
        assert len(guesses) < 3
    for thread in guessing:
        thread.join()
    assert max(guesses) >= 0.9


def fetched(hands: WebHands, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(hands.address.split("/")[2])
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_the_page_is_anybodys_runs_only_what_is_from_here_and_holds_no_secret(hands: WebHands) -> None:
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
        status, headers, body = fetched(hands, path)
        assert status == 200
        assert headers["Content-Type"].startswith(kind)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert keys.code(hands.folder).encode() not in body
    for path in ("/code", "/../code", "/..%2fcode", "//", "/page.js/..", "/hands.py", "/?"):
        assert fetched(hands, path)[0] in {400, 404}, path


def test_a_frame_is_a_row_of_its_own_moment(hands: WebHands) -> None:
    with Visitor(hands) as visitor:
        before = time.monotonic_ns()
        row = visitor.shows(squeeze=(0.0, 0.75), space=3)
        assert row["squeeze"].tolist() == [0.0, 0.75]
        assert row["valid"].all()
        assert row["t"] <= row["received"] <= time.monotonic_ns()
        assert row["t"] > before - 80 * MS
        assert 0 <= row["age"] <= 80 * MS
        assert row["space"] == 0
        assert hands.described["headset"].startswith("Python/")


def test_rows_say_nothing_until_somebody_comes_and_a_tenth_of_a_second_after_the_last_frame(tmp_path: Path) -> None:
    gaps = []
    with served(tmp_path) as hands:
        assert says_nothing(wait(hands, lambda row: True))
        with Visitor(hands) as visitor:
            for _ in range(3):
                seen = visitor.shows()
                silent = wait(hands, lambda row: not ours(row))
                assert says_nothing(silent)
                assert silent["age"] == UNKNOWN
                rows = hands.read(int(seen["t"]) - 1)
                last = int(np.flatnonzero(rows["focused"])[-1])
                gaps.append(int(rows["t"][last + 1] - rows["t"][last]))
            assert visitor.shows()["valid"].all()
        rows = hands.read(time.monotonic_ns() - 1_000 * MS)
    assert min(gaps) <= 100 * MS
    assert (np.diff(rows["t"]) > 0).all()
    assert (np.diff(rows["seq"]) >= 1).all()


def test_frames_that_come_late_are_left_out_and_leave_a_gap(hands: WebHands) -> None:
    """As after a hole in the Wi-Fi, when what was sent meanwhile comes all at once."""
    with Visitor(hands) as visitor:
        before = wait(hands, lambda row: True)
        for late in (0.5, 0.3, 0.2, 0.1):
            visitor.frame(late, trigger=1.0)
        visitor.shows(trigger=0.5)
        rows = hands.read(int(before["t"]) - 1)
        assert set(rows["trigger"][rows["focused"] == 1].ravel()) == {0.5}
        assert np.ptp(rows["seq"]) + 1 >= len(rows) + 4, "that there were others is told"


def test_frames_that_are_all_late_never_pass_for_fresh_ones(hands: WebHands) -> None:
    """A line that is slow for good is not taken for the page's clock."""
    with Visitor(hands) as visitor:
        before = wait(hands, lambda row: True)
        for _ in range(300):
            visitor.frame(0.2, trigger=1.0)
        last = visitor.shows(trigger=0.5)
        rows = hands.read(int(before["t"]))
        assert set(rows["trigger"][rows["focused"] == 1].ravel()) == {0.5}
        assert last["age"] < 80 * MS


@pytest.mark.parametrize("late", [0.015, 0.03, 0.06])
def test_over_a_slow_line_hands_are_heard_again_after_a_gap(hands: WebHands, late: float) -> None:
    """That nothing was known is said of a moment for which nothing can come any more."""
    with Visitor(hands) as visitor:
        for _ in range(2):
            wait(hands, lambda row: row["t"] > time.monotonic_ns() - 85 * MS and not ours(row))
            start = time.monotonic_ns()
            heard: list[Row] = []
            while not heard and time.monotonic_ns() < start + 2_000 * MS:
                visitor.frame(late)
                time.sleep(0.011)  # the headset's own beat
                heard = [row for row in hands.read(start - 60 * MS) if ours(row)]
            assert heard
            assert heard[0]["t"] <= heard[0]["received"] - round(late * 1e9) + 3 * MS


def test_frames_that_come_later_and_later_are_left_out_when_they_are_old(hands: WebHands) -> None:
    """As when a queue grows somewhere: each is newer than the one before, and yet old."""
    with Visitor(hands) as visitor:
        start = int(visitor.shows()["t"])
        for number in range(40):
            visitor.frame(0.005 * number)
            time.sleep(0.01)  # the headset's own beat
        wait(hands, says_nothing)
        rows = hands.read(start)
        heard = rows[rows["focused"] == 1]
        assert len(heard) > 1
        assert (heard["age"] <= 80 * MS).all()


def test_a_page_that_does_not_tell_its_clock_is_not_believed(hands: WebHands) -> None:
    with Visitor(hands, answers=False) as visitor:
        start = time.monotonic_ns()
        for _ in range(20):
            visitor.frame()
        wait(hands, lambda row: row["t"] > start + 100 * MS)
        assert not hands.read(start)["focused"].any()


def test_a_space_that_moves_is_counted_and_so_is_another_headset(hands: WebHands) -> None:
    with Visitor(hands) as first:
        assert [int(first.shows(space=space)["space"]) for space in (1, 1, 2)] == [0, 0, 1]
        with Visitor(hands) as second:
            assert second.shows(space=2)["space"] == 2
            first.frame(space=2)
            assert until(lambda: first.closed) == server.TAKEN_OVER
            assert second.shows(space=2)["space"] == 2


@pytest.mark.parametrize("message", [b"", b"12345678", b"x" * 415, "text", frame(focused=7).tobytes(), b"x" * 5000])
def test_a_page_that_talks_nonsense_is_left(hands: WebHands, message: bytes | str) -> None:
    with Visitor(hands) as visitor:
        visitor.say(message)
        assert until(lambda: visitor.closed) in {server.NOT_UNDERSTOOD, 1009}
    with Visitor(hands) as visitor:
        assert visitor.shows()["valid"].all()


def test_an_answer_to_what_was_not_asked_is_nonsense(hands: WebHands, caplog: pytest.LogCaptureFixture) -> None:
    with Visitor(hands) as visitor:
        visitor.say(np.array([1e6, clock()], "<f8").tobytes())
        assert until(lambda: visitor.closed) == server.NOT_UNDERSTOOD
    assert "an answer to 1000000, which was not asked" in caplog.text


def test_a_pulse_is_told_to_the_page(hands: WebHands) -> None:
    hands.pulse(0, 0.1, 0.5)
    with Visitor(hands) as visitor:
        hands.pulse(1, 0.25, 0.75)
        until(lambda: visitor.heard)
        assert visitor.heard == [{"pulse": [1, 0.25, 0.75]}]
    for wrong in ((2, 0.1, 0.5), (0, 0.0, 0.5), (0, 11, 0.5), (0, 0.1, 1.5)):
        with pytest.raises(ValueError, match="a pulse is for hand 0 or 1"):
            hands.pulse(*wrong)


def lost(device: WebHands) -> str:
    """What reading says when it cannot."""
    try:
        device.read(time.monotonic_ns())
    except DeviceLost as error:
        return str(error)
    return ""


def test_a_headset_that_does_not_come_or_goes_is_lost_and_what_to_do_is_told(tmp_path: Path) -> None:
    with served(tmp_path, patience=0.3) as hands:
        said = until(lambda: lost(hands))
        assert "hands: the headset's browser is not connected: put the headset on" in said
        assert f"open {hands.address} in it; its code is in {tmp_path / 'code'}" in said
        assert keys.code(tmp_path) not in said
        with Visitor(hands) as visitor:
            until(lambda: not lost(hands))
            assert visitor.shows()["valid"].all()
        assert "is not connected" in until(lambda: lost(hands))
        with Visitor(hands, answers=False):
            assert "does not answer" in until(lambda: lost(hands) if hands.described["headset"] else "")


def test_while_a_headset_is_lost_nothing_is_said_and_so_nothing_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for it hours later reads on from where they were."""
    monkeypatch.setattr("drivers.webxr.hands.KEPT", 0.5)
    with served(tmp_path, patience=0.2) as hands:
        since = int(wait(hands, lambda row: True)["t"])
        until(lambda: lost(hands))
        time.sleep(1.5)  # longer than rows are kept
        with Visitor(hands) as visitor:
            until(lambda: not lost(hands))
            assert len(hands.read(since))
            assert visitor.shows()["valid"].all()


def test_a_server_that_hangs_is_told_and_goes_on_when_it_does(tmp_path: Path) -> None:
    with served(tmp_path, silence=0.3) as hands:
        assert hands._loop is not None
        hands._loop.call_soon_threadsafe(time.sleep, 1.0)
        assert "its server hangs" in until(lambda: lost(hands))
        until(lambda: not lost(hands))


def test_what_cannot_be_opened_is_told_in_words(tmp_path: Path, hands: WebHands) -> None:
    port = int(hands.address.split(":")[2].strip("/"))
    with pytest.raises(DeviceError, match=f"again: port {port} is taken by another program; choose another"):
        WebHands("again", port=port, folder=tmp_path).__enter__()
    with pytest.raises(DeviceError, match=r"this machine has no address 192\.0\.2\.1; `ip addr` lists"):
        WebHands("far", "192.0.2.1", 0, tls=True, folder=tmp_path).__enter__()
    with pytest.raises(DeviceError, match="in use already"):
        hands.__enter__()
    hands.folder.joinpath("code").chmod(0o644)
    with pytest.raises(DeviceError, match="open: others may read"):
        WebHands("open", port=0, folder=tmp_path).__enter__()


@pytest.mark.parametrize(
    "content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_spoilt_certificate_is_told_at_once_with_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / "127.0.0.1.pem"
    path.write_text(content)
    start = time.monotonic()
    with pytest.raises(
        DeviceError, match=f"hands: {path} holds no certificate and key; delete it, and others are made"
    ):
        WebHands("hands", port=0, tls=True, folder=tmp_path).__enter__()
    assert time.monotonic() - start < 4


def test_a_certificate_without_its_key_is_told_too(tmp_path: Path) -> None:
    path = keys.certificate(tmp_path, "127.0.0.1")
    made = path.read_text()
    path.write_text(made[made.index("-----BEGIN CERTIFICATE") :])
    with pytest.raises(DeviceError, match="holds no certificate and key"):
        WebHands("hands", port=0, tls=True, folder=tmp_path).__enter__()


def test_without_its_package_the_person_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "drivers.webxr.server", None)
    with pytest.raises(DeviceError, match=r"hands: .*install the extra \[hardware\]"):
        WebHands("hands", port=0, folder=tmp_path).__enter__()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "192.168.1.20"}, "set tls = true, or host to 127.0.0.1"),
        ({"host": "cell.local"}, "browsers know no WebXR on http://cell.local"),
        ({"host": "0.0.0.0", "tls": True}, "the one address that the headset opens"),
        ({"hz": 1.0}, "hz must be between"),
        ({"port": 70000}, "port must be between"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WebHands("hands", **settings)


def test_over_tls_only_who_trusts_this_certificate_talks(tmp_path: Path) -> None:
    with served(tmp_path, tls=True) as hands:
        assert hands.address.startswith("https://127.0.0.1:")
        with Visitor(hands) as visitor:
            assert visitor.shows()["valid"].all()
        keys.certificate(tmp_path / "other", "127.0.0.1").rename(tmp_path / "127.0.0.1.pem")
        with pytest.raises(ssl.SSLCertVerificationError):
            Visitor(hands)


def test_in_a_program_of_its_own_it_says_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"port": 0, "folder": str(tmp_path)}
    caplog.set_level(logging.INFO)
    with Hosted("hands", "drivers.webxr:WebHands", settings, silence=5.0) as hosted:
        here = WebHands("hands", port=int(hosted.ask("address").split(":")[2].strip("/")), folder=tmp_path)
        with Visitor(here) as visitor:
            row = visitor.shows(hosted, squeeze=1.0)
            assert row["squeeze"].tolist() == [1.0, 1.0]
            hosted.tell("pulse", hand=1, seconds=0.1, amplitude=1.0)
            until(lambda: visitor.heard)
            assert hosted.described["headset"].startswith("Python/")
