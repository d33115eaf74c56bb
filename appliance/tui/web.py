"""The screen in a browser of this machine: textual-serve with a lock, for it has none of its own.

Every page that is open has a screen of its own, a process, which ends as if its operator had pressed quit when the page
is closed: a take is ended, held and sealed. The token is asked once, in the address; from then on a cookie says it. Two
limits: cookies know no ports, so what else the same browser opens at the same address hears it; and whoever may run
programs as this user needs no token at all.
"""

import asyncio
import ctypes
import errno
import hmac
import logging
import re
import secrets
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from appliance.refusal import Refusal

HERE = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
"""What a browser may call this machine. Any port, for a tunnel has its own."""

MOST = 8
"""Pages that are open at a time: each is a process."""

FEWEST, LARGEST = 20, 500
"""Columns and rows of a page."""

SAFELY = 40.0
"""Seconds that a screen may take to end the take in hand, before it is ended by force."""

BY_FORCE = 5.0
"""Seconds between asking a process to end and ending it."""

DYING = 1
"""``PR_SET_PDEATHSIG``: what Linux sends a process when the one that began it has died."""

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}

MAY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page runs what comes from here, and speaks to here; the terminal it draws writes styles into the page."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>appliance</title>
<link rel="stylesheet" href="/static/css/xterm.css">
<style>
@font-face {{
  font-family: "Roboto Mono"; font-weight: 100 700;
  src: url("/static/fonts/RobotoMono-VariableFont_wght.ttf");
}}
body {{ margin: 0; background: #101010; color: #e0e0e0; font: 1.2rem sans-serif }}
#ended {{ display: none; position: absolute; inset: 0; z-index: 9; padding: 20vh 10vw; background: #101010e0 }}
body.-closed #ended {{ display: block }}
a {{ color: inherit }}
</style>
<script src="/static/js/textual.js"></script>
</head>
<body>
<div class="textual-terminal" data-session-websocket-url="ws://{host}/ws" data-font-size="{size}"></div>
<p id="ended">This screen has ended; a take that was running is held and kept. <a href="/">Open another</a></p>
</body>
</html>
"""

UNKNOWN = "Open the address that `appliance tui --web` has printed: it holds the token.\n"

log = logging.getLogger(__name__)


class NoPage(Refusal):
    """The screen cannot be shown in a browser. The message says why."""


class Screen(AppService):
    """The process behind one page."""

    def __init__(self, words: Sequence[str], socket: web.WebSocketResponse, server: "Pages") -> None:
        super().__init__(
            words[0],
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=_closing(socket),
            download_manager=server.download_manager,
        )
        self._words = words

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        """Start it without a shell, out of reach of this terminal's Ctrl-C, and never to outlive this server."""
        self._process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._build_environment(width, height),
            process_group=0,
            preexec_fn=_ends_with(signal.SIGTERM),
        )
        self._stdin = self._process.stdin
        return self._process

    async def on_data(self, payload: bytes) -> None:
        """What the page no longer hears is dropped; were it not read, the process could not end."""
        with suppress(ConnectionError, RuntimeError):
            await super().on_data(payload)

    async def run(self) -> None:
        """Pass on what the process draws until it ends; then the page is closed, however it ended."""
        await super().run()
        await self.remote_close()

    async def stop(self) -> None:
        """Ask the process to end safely, then less and less kindly, and wait for that."""
        task, process = self._task, self._process
        if task is None or process is None:
            return
        self._task = None
        await self._download_manager.cancel_app_downloads(self.app_service_id)
        await self.send_meta({"type": "quit"})
        await asyncio.wait({task}, timeout=SAFELY)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if task.done():
                break
            log.warning("the screen of a page that was closed does not end: %s", number.name)
            with suppress(ProcessLookupError):
                process.send_signal(number)
            await asyncio.wait({task}, timeout=BY_FORCE)
        await process.wait()


class Pages(Server):
    """What is behind the address: pages for whoever knows the token."""

    def __init__(self, words: Sequence[str], token: str, port: int) -> None:
        super().__init__(words[0], "127.0.0.1", port, "appliance")
        self._words, self._token = words, token
        self._said, self._cookie = secrets.token_urlsafe(32), f"appliance-{port}"
        self._open: set[web.WebSocketResponse] = set()

    @property
    def screens(self) -> int:
        """How many pages are open."""
        return len(self._open)

    def application(self) -> web.Application:
        """What answers."""
        app = web.Application(middlewares=[self._admit])
        app.add_routes(
            [
                web.get("/", self.handle_index),
                web.get("/ws", self.handle_websocket),
                web.get("/download/{key}", self.handle_download),
                web.static("/static", self.statics_path),
            ]
        )
        app.on_response_prepare.append(_add_always)
        app.on_shutdown.append(self.on_shutdown)
        return app

    async def on_shutdown(self, _app: web.Application) -> None:
        """End every page, and with it its screen."""
        for page in [*self._open]:
            await page.close(code=1001, message=b"the server ends")

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in whoever knows the token and came by this machine's own address, from a page of it or from none.

        A WebSocket without an origin is no browser's; it is let in with the cookie like anybody else.
        """
        names, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
        if len(names) != 1 or not HERE.fullmatch(names[0]):
            return _refused(request, 403, f"this is for this machine's own browser, not {names}\n")
        if origins and origins != [f"http://{names[0]}"]:
            return _refused(request, 403, f"this is for this machine's own page, not {origins}\n")
        if request.path == "/" and (given := request.query.get("token")) is not None:
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return _refused(request, 401, UNKNOWN)
            answer = web.Response(status=303, headers={"Location": "/"})
            answer.set_cookie(self._cookie, self._said, path="/", httponly=True, samesite="Strict")
            return answer
        if not hmac.compare_digest(request.cookies.get(self._cookie, "").encode(), self._said.encode()):
            return _refused(request, 401, UNKNOWN)
        return await handler(request)

    async def handle_index(self, request: web.Request) -> web.Response:
        """The page; it opens a WebSocket by the name that the browser knows this machine by."""
        size = min(64, max(6, to_int(request.query.get("fontsize", "16"), 16)))
        rules = {"Content-Security-Policy": MAY.format(host=request.host)}
        return web.Response(text=PAGE.format(host=request.host, size=size), content_type="text/html", headers=rules)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run a screen for as long as its page is open."""
        if len(self._open) >= MOST:
            raise web.HTTPServiceUnavailable(text=f"{MOST} pages are open already; close one\n")
        page = web.WebSocketResponse(heartbeat=15, max_msg_size=1 << 20)
        self._open.add(page)
        try:
            await page.prepare(request)
            screen = Screen(self._words, page, self)
            await screen.start(_size(request, "width", 80), _size(request, "height", 24))
            try:
                await self._process_messages(page, screen)
            except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
                log.warning("a page said what it never says: %s", error)
                await page.close(code=1007)
            finally:
                await asyncio.shield(screen.stop())
        finally:
            self._open.discard(page)
        return page


def serve(words: Sequence[str], port: int, tell: Callable[[str], None]) -> None:
    """Show a screen in browsers of this machine until Ctrl-C or SIGTERM; the address with its token is told once.

    Args:
        words: the command of a screen.
        port: where; 0 is any that is free.
        tell: given the address.

    Raises:
        NoPage: the port cannot be had.
    """
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(words, port, tell))


async def _serve(words: Sequence[str], port: int, tell: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with serving(words, port) as (address, _):
        tell(address)
        await ended.wait()


@asynccontextmanager
async def serving(words: Sequence[str], port: int = 0) -> AsyncGenerator[tuple[str, Pages]]:
    """Listen as long as this lasts; gives the address with its token.

    Raises:
        NoPage: the port cannot be had.
    """
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "taken by another program; --port 0 is any that is free" if taken else str(error)
        raise NoPage(f"port {port}: {why}") from error
    port, token = listening.getsockname()[1], secrets.token_urlsafe(32)
    pages = Pages(words, token, port)
    runner = web.AppRunner(pages.application(), access_log=None, shutdown_timeout=SAFELY + 3 * BY_FORCE)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield f"http://127.0.0.1:{port}/?token={token}", pages
    finally:
        await runner.cleanup()


def _ends_with(number: signal.Signals) -> Callable[[], None]:
    """Have Linux send this to a process when whoever began it dies, however it dies. To be called in the process."""
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(DYING, int(number))


def _closing(page: web.WebSocketResponse) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        await page.close()

    return close


async def _add_always(_request: web.Request, answer: web.StreamResponse) -> None:  # ruff: ignore[unused-async] - awaited
    answer.headers.update(ALWAYS)


def _size(request: web.Request, name: str, usual: int) -> int:
    return min(LARGEST, max(FEWEST, to_int(request.query.get(name, ""), usual)))


def _refused(request: web.Request, status: int, why: str) -> web.Response:
    log.warning("refused %s %s: %s", request.method, request.path, why.strip())
    return web.Response(status=status, text=why)
