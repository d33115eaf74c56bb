"""A real browser, wearing an emulated headset, opens our page: what its hands do arrives, and nobody else's."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.sync.client import ClientConnection

from drivers import Row
from drivers.openxr import LOWER, STICK, UPPER
from drivers.webxr import WebHands, keys
from tests.browser import Page, browser, needed
from tests.visitor import says_nothing, served
from tests.wearing import until, wait

SLOW = 0.5
"""Seconds that a frame may take here: a browser without a graphics card on a busy machine is no headset."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientConnection]:
    """One browser for all tests, which trusts the certificate in the folder ``tls``."""
    needed()
    folder = tmp_path_factory.mktemp("browser")
    made = x509.load_pem_x509_certificate(keys.certificate(folder / "tls", "127.0.0.1").read_bytes())
    key = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    with browser(folder / "profile", f"--ignore-certificate-errors-spki-list={pin}") as socket:
        yield socket


@pytest.fixture
def page(chromium: ClientConnection) -> Iterator[Page]:
    with Page(chromium) as opened:
        yield opened


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[WebHands]:
    with served(tmp_path, gap=SLOW) as device:
        yield device


def address(hands: WebHands) -> str:
    return f"{hands.address}#{keys.code(hands.folder)}"


def said(page: Page) -> str:
    return str(page.do("document.getElementById('said')?.textContent ?? ''"))


def begun(page: Page, hands: WebHands) -> Row:
    """Click the button when it is there, and return the first row in which hands are heard."""
    until(lambda: said(page) == "Connected.")
    page.do("document.getElementById('enter').click()")
    return wait(hands, lambda row: row["valid"].all())


def test_what_the_hands_do_arrives(page: Page, hands: WebHands) -> None:
    page.open(address(hands))
    row = begun(page, hands)
    assert (row["active"].tolist(), row["tracked"].tolist(), row["focused"]) == ([1, 1], [1, 1], 1)
    assert 0 <= row["age"] < SLOW * 1e9
    page.do("""
        const {left, right} = headset.controllers;
        right.position.set(0.3, 1.2, -0.4);
        right.quaternion.set(0, 0, Math.SQRT1_2, Math.SQRT1_2);
        right.updateButtonValue("trigger", 0.75);
        right.updateButtonValue("a-button", 1);
        right.updateAxes("thumbstick", 0.5, -0.25);
        left.updateButtonValue("squeeze", 1);
        left.updateButtonValue("y-button", 1);
        left.updateButtonValue("thumbstick", 1);
    """)
    row = wait(hands, lambda row: row["buttons"].all() and row["trigger"][1] > 0.7)
    assert row["aim"][1] == pytest.approx((0.3, -0.4, -0.4, 0, 0, np.sqrt(0.5), np.sqrt(0.5)), abs=1e-5)
    assert np.linalg.norm(row["grip"][1][:3] - row["aim"][1][:3]) < 0.1
    assert row["head"][:3] == pytest.approx((0, 0, 0), abs=1e-5), "the space begins where the head is"
    assert row["trigger"].tolist() == [0.0, 0.75]
    assert row["squeeze"].tolist() == [1.0, 0.0]
    assert row["stick"][1] == pytest.approx((0.5, 0.25)), "right, and forward"
    assert row["buttons"].tolist() == [UPPER | STICK, LOWER]
    assert "Chrome" in hands.described["headset"]
    assert not page.errors


def test_what_is_not_known_of_a_hand_is_told(page: Page, hands: WebHands) -> None:
    page.open(address(hands))
    begun(page, hands)
    page.do("window.guessed = true")
    assert wait(hands, lambda row: not row["tracked"].any())["valid"].all()
    page.do("window.guessed = false; headset.controllers.right.connected = false")
    row = wait(hands, lambda row: row["tracked"][0] and not row["active"][1])
    assert row["valid"].tolist() == [1, 0]
    assert np.isnan(row["grip"][1]).all()
    assert np.isnan(row["squeeze"][1])
    page.do("headset.controllers.right.connected = true")
    wait(hands, lambda row: row["valid"].all())


def test_a_recenter_a_menu_and_an_end_are_told_and_a_pulse_is_felt_by_whom_it_is_for(
    page: Page, hands: WebHands
) -> None:
    page.open(address(hands))
    assert begun(page, hands)["space"] == 0
    hands.pulse(1, 0.25, 0.5)
    assert until(lambda: page.do("pulses")) == [["right", 0.5, 250]]
    page.do("headset.recenter()")
    assert wait(hands, lambda row: row["space"] == 1)["valid"].all()
    page.do("headset.updateVisibilityState('visible-blurred')")
    row = wait(hands, lambda row: not row["focused"])
    assert not row["active"].any()
    assert np.isnan(row["grip"]).all()
    page.do("headset.updateVisibilityState('visible')")
    wait(hands, lambda row: row["valid"].all())
    page.do(
        "Object.defineProperty(headset.activeSession, 'visibilityState', "
        "{get: () => 'visible-blurred', configurable: true})"
    )
    row = wait(hands, lambda row: not row["focused"])
    assert not row["active"].any(), "though the browser lists its controllers"
    hands.pulse(0, 0.25, 0.5)
    wait(hands, lambda later: later["t"] > row["t"] + 300_000_000)
    page.do("delete headset.activeSession.visibilityState")
    wait(hands, lambda row: row["valid"].all())
    assert len(page.do("pulses")) == 1, "a pulse is not felt without focus"
    page.do("headset.activeSession.end()")
    assert says_nothing(wait(hands, lambda row: not row["focused"]))
    assert said(page) == "Ended."
    page.do("document.getElementById('enter').click()")
    assert wait(hands, lambda row: row["valid"].all())["space"] == 2


def test_a_page_that_stands_still_gives_no_old_pose(page: Page, hands: WebHands) -> None:
    page.open(address(hands))
    begun(page, hands)
    page.do("const until = performance.now() + 1500; while (performance.now() < until);")
    rows = hands.read(0)
    assert says_nothing(rows[rows["focused"] == 0][-1])
    assert (np.diff(rows["t"][rows["focused"] == 1]) < 2e9).all()
    wait(hands, lambda row: row["valid"].all())


def test_a_wrong_code_is_refused_and_the_right_one_typed_is_kept(page: Page, hands: WebHands) -> None:
    page.open(f"{hands.address}#abcd-efgh")
    until(lambda: "Is the code right" in said(page))
    assert not hands.described["headset"]
    page.do(f"""
        document.getElementById('code').value = ' {keys.code(hands.folder).upper()} ';
        document.querySelector('#codes button').click();
    """)
    until(lambda: said(page) == "Connected.")
    assert page.do("location.href") == hands.address, "the code does not stay in sight"
    page.open(hands.address)
    until(lambda: said(page) == "Connected.")


def test_who_presses_twice_is_connected_once_and_begins_once(page: Page, hands: WebHands) -> None:
    page.open(hands.address)
    until(lambda: page.do("document.getElementById('codes')?.hidden === false"))
    page.do("""window.press = (what) => {
        const button = document.querySelector(what);
        if (!button.closest("[hidden]")) button.click();
    }""")
    page.do(f"""
        document.getElementById('code').value = '{keys.code(hands.folder)}';
        press("#codes button");
        press("#codes button");
    """)
    until(lambda: said(page) == "Connected.")
    page.do("press('#enter'); press('#enter')")
    row = wait(hands, lambda row: row["valid"].all())
    rows = wait(hands, lambda later: later["t"] > row["t"] + 1_000_000_000 and later["valid"].all())
    assert rows["space"] == row["space"]
    assert said(page) == "The hands are being told."
    assert not page.errors


def test_a_page_from_elsewhere_is_refused_though_it_knows_the_code(page: Page, hands: WebHands, tmp_path: Path) -> None:
    script = f"""new Promise(done => {{
        const socket = new WebSocket("{hands.address.replace("http", "ws")}hands",
                                     ["appliance", {json.dumps(keys.code(hands.folder))}]);
        socket.onopen = () => done("let in");
        socket.onclose = () => done("refused");
    }})"""
    assert page.do(script) == "refused", "a page without an origin"
    page.open(address(hands))
    until(lambda: said(page) == "Connected.")
    assert page.do(script) == "let in", "our own"


def test_a_page_comes_back_by_itself_when_the_server_does(page: Page, tmp_path: Path) -> None:
    with served(tmp_path, gap=SLOW) as hands:
        page.open(address(hands))
        begun(page, hands)
        port = int(hands.address.split(":")[2].strip("/"))
    until(lambda: "trying again" in said(page))
    with served(tmp_path, gap=SLOW, port=port) as again:
        assert wait(again, lambda row: row["valid"].all())["focused"]


def test_over_tls_the_hands_arrive_too(page: Page, chromium: ClientConnection, tmp_path_factory: Any) -> None:
    folder = next(tmp_path_factory.getbasetemp().glob("browser*/tls"))
    with served(folder, gap=SLOW, tls=True) as hands:
        page.open(address(hands))
        assert begun(page, hands)["valid"].all()
        assert hands.address.startswith("https://")
        assert hands.described["tls"]
