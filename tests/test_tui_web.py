"""The screen in a browser: without the token nothing begins, and a page that is closed ends its screen safely."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from appliance.home import Home
from appliance.tui import web
from appliance.tui.web import NoPage, Pages, serving
from storage import Wanted
from tests.browser import Page, browser, needed
from tests.hosts import FarEnd
from tests.hosts import until as wait
from tests.test_tui_killed import bench

SCREEN = """
import os, pathlib, sys, threading
from textual.app import App
from textual.widgets import Static

folder, stubborn = pathlib.Path(sys.argv[1]), len(sys.argv) > 2

class Small(App):
    def compose(self):
        yield Static(f"{self.size}")

    def on_mount(self):
        (folder / f"{os.getpid()}.began").touch()

    def on_key(self, event):
        self.query_one(Static).update(f"pressed {event.key}")
        if event.key == "q":
            self.exit()
        if event.key == "x":
            os._exit(3)

try:
    Small().run()
finally:
    (folder / f"{os.getpid()}.ended").touch()
if stubborn:
    threading.Event().wait()
"""


@dataclass(frozen=True)
class Visitor:
    """Somebody's browser, before the door."""

    http: aiohttp.ClientSession
    address: URL
    """With the token."""
    pages: Pages
    folder: Path
    """Where screens note that they began and ended."""

    @property
    def door(self) -> URL:
        return self.address.with_query(None)

    async def get(self, url: URL | str, **headers: str) -> tuple[int, str]:
        async with self.http.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text(errors="replace")

    async def open(self, **headers: str) -> aiohttp.ClientWebSocketResponse:
        return await self.http.ws_connect(self.door / "ws" % {"width": "70", "height": "20"}, headers=headers)

    async def knock(self, **headers: str) -> int:
        """How a WebSocket that is refused is answered."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await self.open(**headers)
        return refused.value.status

    def noted(self, what: str) -> set[int]:
        return {int(path.stem) for path in self.folder.glob(f"*.{what}")}


def visiting(folder: Path, test: Callable[[Visitor], Awaitable[None]], *more: str) -> None:
    """Let somebody come to a server of small screens."""

    async def run() -> None:
        async with coming(folder, *more) as visitor:
            await test(visitor)

    asyncio.run(run())


@asynccontextmanager
async def coming(folder: Path, *more: str) -> AsyncGenerator[Visitor]:
    jar = aiohttp.CookieJar(unsafe=True)  # for addresses that are no names
    async with (
        serving([sys.executable, "-c", SCREEN, str(folder), *more]) as (address, pages),
        aiohttp.ClientSession(cookie_jar=jar) as http,
    ):
        yield Visitor(http, URL(address), pages, folder)


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def read(page: aiohttp.ClientWebSocketResponse, words: str, seconds: float = 20.0) -> None:
    """Read what the screen draws until these words have come."""
    drawn = ""
    async with asyncio.timeout(seconds):
        while words not in drawn:
            message = await page.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, f"{message} came before {words!r}: {drawn}"
            drawn += re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", message.data.decode())


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_the_token_nothing_is_shown_and_nothing_begins(tmp_path: Path) -> None:
    async def test(visitor: Visitor) -> None:
        for path in ("", "ws", "static/js/textual.js", "download/a", "nothing"):
            status, said = await visitor.get(visitor.door / path)
            assert status == 401, path
            assert "tui --web" in said
        assert (await visitor.get(visitor.door.with_query(token="guessed")))[0] == 401
        assert (await visitor.get(visitor.door.with_query(token="")))[0] == 401
        assert (await visitor.get(visitor.door / "ws" % {"token": visitor.address.query["token"]}))[0] == 401
        assert await visitor.knock() == 401
        assert await visitor.knock(Cookie=f"appliance-{visitor.pages.port}=guessed") == 401
        assert visitor.pages.screens == 0
        assert not visitor.noted("began")

    visiting(tmp_path, test)


def test_who_has_the_token_has_a_screen_and_the_address_forgets_it(tmp_path: Path) -> None:
    async def test(visitor: Visitor) -> None:
        async with visitor.http.get(visitor.address) as answer:
            assert str(answer.url) == str(visitor.door)
            page = await answer.text()
            assert visitor.address.query["token"] not in page
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            (cookie,) = visitor.http.cookie_jar
            assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
            assert cookie.value != visitor.address.query["token"]
        assert not re.findall(r"https?://", page), "nothing is fetched from elsewhere"
        for asset in re.findall(r'(?:src|href)="(/[^"]+\.\w+)"|url\("(.+?)"\)', page):
            assert (await visitor.get(visitor.door.join(URL("".join(asset)))))[0] == 200
        socket = re.search(r'websocket-url="(.+?)"', page)
        assert socket is not None
        assert socket[1] == f"ws://127.0.0.1:{visitor.pages.port}/ws"
        async with await visitor.open(Origin=str(visitor.door.origin())) as screen:
            await read(screen, "width=70, height=20")
            await screen.send_str(json.dumps(["stdin", "k"]))
            await read(screen, "pressed k")
        await until(lambda: visitor.pages.screens == 0)

    visiting(tmp_path, test)


def test_a_browser_shows_the_screen_and_finds_nothing_wrong_with_its_page(tmp_path: Path) -> None:
    needed()
    (tmp_path / "browser").mkdir()

    def look(address: URL) -> list[str]:
        with browser(tmp_path / "browser") as socket, Page(socket) as page:
            page.open(str(address))
            wait(lambda: page.do("document.body?.classList.contains('-first-byte') ?? false"), 30.0)
            assert page.do("location.search") == ""
            return page.errors

    async def test(visitor: Visitor) -> None:
        assert not await asyncio.to_thread(look, visitor.address)
        await until(lambda: visitor.pages.screens == 0)
        assert visitor.noted("ended") == visitor.noted("began") != set()

    visiting(tmp_path, test)


@pytest.mark.parametrize("closed", ["kindly", "torn"])
def test_a_page_that_is_closed_ends_its_screen_as_quitting_does(tmp_path: Path, closed: str) -> None:
    async def test(visitor: Visitor) -> None:
        await visitor.get(visitor.address)
        page = await visitor.open()
        await until(lambda: len(visitor.noted("began")) == 1)
        if closed == "kindly":
            await page.close()
        else:
            page._response.connection.transport.abort()  # type: ignore[union-attr]  # it has them: it is open
        await until(lambda: visitor.pages.screens == 0)
        assert visitor.noted("ended") == visitor.noted("began")
        assert not any(map(alive, visitor.noted("began")))

    visiting(tmp_path, test)


@pytest.mark.parametrize("key", ["q", "x"])
def test_a_screen_that_ends_or_breaks_closes_its_page(tmp_path: Path, key: str) -> None:
    async def test(visitor: Visitor) -> None:
        await visitor.get(visitor.address)
        page = await visitor.open()
        await read(page, "width=70")
        await page.send_str(json.dumps(["stdin", key]))
        async with asyncio.timeout(20):
            async for _ in page:
                pass
        assert page.closed
        await until(lambda: visitor.pages.screens == 0)

    visiting(tmp_path, test)


def test_what_a_page_no_longer_hears_is_dropped_so_that_its_screen_can_end() -> None:
    class Gone:
        async def send_bytes(self, _drawn: bytes) -> None:
            raise aiohttp.ClientConnectionResetError

        send_str = close = send_bytes

    page: Any = Gone()
    asyncio.run(web.Screen(["true"], page, Pages(["true"], "", 0)).on_data(b"drawn"))


def test_a_screen_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SAFELY", 0.2)
    monkeypatch.setattr(web, "BY_FORCE", 0.2)

    async def test(visitor: Visitor) -> None:
        await visitor.get(visitor.address)
        page = await visitor.open()
        await until(lambda: len(visitor.noted("began")) == 1)
        await page.close()
        await until(lambda: visitor.pages.screens == 0)
        assert not any(map(alive, visitor.noted("began")))

    visiting(tmp_path, test, "stubborn")


def test_what_another_page_or_another_name_asks_for_is_refused(tmp_path: Path) -> None:
    """Another page in the same browser, and a name that somebody else made to mean this machine, have the cookie."""

    async def test(visitor: Visitor) -> None:
        await visitor.get(visitor.address)
        port = visitor.pages.port
        for origin in ("http://evil.example", f"http://127.0.0.1:{port + 1}", f"https://127.0.0.1:{port}", "null"):
            assert await visitor.knock(Origin=origin) == 403, origin
            assert (await visitor.get(visitor.door, Origin=origin))[0] == 403
        for host in ("evil.example", f"evil.example:{port}", "0.0.0.0", "127.0.0.1.evil.example", "localhost:a", ""):
            assert await visitor.knock(Host=host) == 403, host
            assert (await visitor.get(visitor.address, Host=host))[0] == 403, host
        assert not visitor.noted("began")
        assert (await visitor.get(visitor.door, Host="localhost:9000"))[1].count("ws://localhost:9000/ws") == 1

    visiting(tmp_path, test)


def test_what_a_page_never_says_closes_it(tmp_path: Path) -> None:
    async def test(visitor: Visitor) -> None:
        await visitor.get(visitor.address)
        for said in ("{", "[]", '["stdin", 3]', '["resize", {"width": 3}]'):
            async with await visitor.open() as page:
                await page.send_str(said)
                async with asyncio.timeout(20):
                    async for _ in page:
                        pass
                assert page.close_code == 1007, said
        await until(lambda: visitor.pages.screens == 0)

    visiting(tmp_path, test)


def test_there_are_only_so_many_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST", 1)

    async def test(visitor: Visitor) -> None:
        await visitor.get(visitor.address)
        async with await visitor.open():
            assert await visitor.knock() == 503

    visiting(tmp_path, test)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    async def test(visitor: Visitor) -> None:
        with pytest.raises(NoPage, match=f"port {visitor.pages.port}: taken"):
            async with serving(["true"], visitor.pages.port):
                pass

    visiting(tmp_path, test)


def test_a_server_that_ends_ends_its_screens_and_one_that_is_killed_takes_them_along(tmp_path: Path) -> None:
    program = (
        "import sys; from appliance.tui.web import serve; "
        "serve([sys.executable, '-c', sys.argv[1], sys.argv[2]], 0, lambda said: print(said, flush=True))"
    )

    async def test(number: signal.Signals, folder: Path) -> None:
        folder.mkdir()
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, SCREEN, str(folder)), stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout is not None
        address = URL((await server.stdout.readline()).decode().strip())
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            await http.get(address)
            async with http.ws_connect(address.with_query(None) / "ws"):
                await until(lambda: any(folder.glob("*.began")))
                server.send_signal(number)
                await asyncio.wait_for(server.wait(), 20)
                await until(lambda: any(folder.glob("*.ended")))

    asyncio.run(test(signal.SIGTERM, tmp_path / "ended"))
    asyncio.run(test(signal.SIGKILL, tmp_path / "killed"))


@pytest.mark.timeout(300)
def test_a_page_that_is_closed_in_a_take_ends_it_with_a_robot_that_holds_and_the_take_sealed(
    tmp_path: Path, home: Path
) -> None:
    """The program itself: what is pressed in the browser counts, and nothing is lost with it."""

    async def test(far: FarEnd) -> None:
        jar = aiohttp.CookieJar(unsafe=True)
        words = [sys.executable, "-m", "appliance.cli", "tui", "--station", bench(tmp_path, far), "--operator", "ada"]
        async with serving(words) as (address, pages), aiohttp.ClientSession(cookie_jar=jar) as http:
            await http.get(address)
            page = await http.ws_connect(URL(address).with_query(None) / "ws", max_msg_size=0)
            await read(page, "DEVICES of", 100.0)
            for key, said in (("2", "by kinesthetic"), ("\r", "START: put")):
                await page.send_str(json.dumps(["stdin", key]))
                await read(page, said, 100.0)
            await page.send_str(json.dumps(["stdin", "\r"]))
            await read(page, "REC ", 100.0)
            far.heard()
            await page.close()
            await until(lambda: pages.screens == 0, 60.0)
            far.hear("hold")

    with FarEnd() as far:
        asyncio.run(test(far))
    with Home(home, str(home / "catalog.db")).join() as catalog:
        (one,) = catalog.find(Wanted())
        assert one.row.ended_by == "stopped"
        assert one.row.operator == "ada"
