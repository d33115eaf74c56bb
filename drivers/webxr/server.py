"""Serves the page, lets in whoever knows the code, and listens to one headset at a time."""

import asyncio
import hmac
import json
import logging
import ssl
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from http import HTTPStatus
from importlib.resources import files

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from drivers.device import Row
from drivers.webxr.clock import ASKED, Offset
from drivers.webxr.frames import ANSWER, Malformed, answer, frame

PROTOCOL = Subprotocol("appliance")
"""The second protocol that a page offers is the code: a browser lets a page say nothing else with a WebSocket."""

TAKEN_OVER, NOT_UNDERSTOOD = 4001, 1007
"""Why a connection is closed, as page.js knows it and as RFC 6455 has it."""

WRONG = 1.0
"""Seconds that a wrong code is answered after, one wrong code after the other."""

PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}

ALWAYS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Connection": "close",
}
"""The page runs what comes from here, speaks to here, and is shown in no other page."""

log = logging.getLogger(__name__)


class Door:
    """What is behind the address that the headset's browser opens.

    Every frame of the headset that came last is given to ``hear``, with the clock of its page. The code is needed by
    whoever tells hands, the page itself is anybody's: it holds no secret.
    """

    def __init__(self, name: str, code: str, hear: Callable[[Row, Offset], None]) -> None:
        self._name, self._code, self._hear = name, code, hear
        self.origins: Collection[str] = ()
        """What a browser says the page is from when it had it from here."""
        self._pages = {path: _page(*page) for path, page in PAGES.items()}
        self._guessing = asyncio.Lock()
        self._speaking: ServerConnection | None = None
        self.heard = 0
        """When the headset last said anything, on the host's clock in nanoseconds."""

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None) -> Server:
        """Listen; port 0 is any that is free."""
        quiet = logging.Logger("websockets", logging.CRITICAL)  # ruff: ignore[direct-logger-instantiation] - for here
        return await serve(
            self._converse,
            host,
            port,
            ssl=tls,
            process_request=self._answer,
            subprotocols=[PROTOCOL],
            compression=None,
            max_size=4096,
            open_timeout=5,
            close_timeout=1,
            ping_interval=2,
            ping_timeout=5,
            server_header=None,
            logger=quiet,
        )

    @property
    def headset(self) -> str:
        """What the headset's browser calls itself; empty while there is none."""
        request = None if self._speaking is None else self._speaking.request
        return "" if request is None else request.headers.get("User-Agent", "unnamed")

    @property
    def round_trip(self) -> float:
        """Seconds to the headset's browser and back, as last measured; 0 before that."""
        return 0.0 if self._speaking is None else self._speaking.latency

    async def pulse(self, hand: int, seconds: float, amplitude: float) -> None:
        """Ask the page to let a controller shake, if there is one."""
        if self._speaking is not None:
            with suppress(ConnectionClosed):
                await self._speaking.send(json.dumps({"pulse": [hand, seconds, amplitude]}))

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Give a page, refuse, or let a WebSocket be opened."""
        if request.path in self._pages:
            status, headers, body = self._pages[request.path]
            return Response(status.value, status.phrase, headers, body)
        if request.path != "/hands":
            return connection.respond(HTTPStatus.NOT_FOUND, "there is nothing here\n")
        origins = request.headers.get_all("Origin")
        if len(origins) != 1 or origins[0] not in self.origins:
            log.warning("%s: refused %s: its page is of %s, not of here", self._name, _who(connection), origins)
            return connection.respond(HTTPStatus.FORBIDDEN, "this is for this machine's own page\n")
        offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
        given = offered[1].strip() if len(offered) == 2 else ""
        if not hmac.compare_digest(given.encode(), self._code.encode()):
            log.warning("%s: refused %s: %s", self._name, _who(connection), "a wrong code" if given else "no code")
            async with self._guessing:
                await asyncio.sleep(WRONG)
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the code is wrong\n")
        return None

    async def _converse(self, socket: ServerConnection) -> None:
        """Listen to one headset until it goes, or another one comes."""
        self._speaking, self.heard = socket, time.monotonic_ns()
        log.info("%s: %s, from %s", self._name, self.headset, _who(socket))
        clock, asked = Offset(), dict[int, int]()
        asking = asyncio.create_task(_ask(socket, asked))
        try:
            async for message in socket:
                if self._speaking is not socket:
                    await socket.close(TAKEN_OVER, "another headset has taken over")
                    return
                self._take(message, clock, asked)
        except Malformed as error:
            log.warning("%s: the page said what it never says: %s", self._name, error)
            await socket.close(NOT_UNDERSTOOD, str(error)[:100])
        except ConnectionClosed as error:
            log.warning("%s: the headset's browser is gone: %s", self._name, error)
        finally:
            asking.cancel()
            if self._speaking is socket:
                self._speaking = None

    def _take(self, message: str | bytes, clock: Offset, asked: dict[int, int]) -> None:
        if isinstance(message, str):
            raise Malformed("text")
        self.heard = time.monotonic_ns()
        if len(message) != ANSWER.itemsize:
            self._hear(frame(message), clock)
            return
        number, own = answer(message)
        if number not in asked:
            raise Malformed(f"an answer to {number}, which was not asked")
        clock.answered(asked.pop(number), own)


async def _ask(socket: ServerConnection, asked: dict[int, int]) -> None:
    """Ask for the page's clock, now and then."""
    with suppress(ConnectionClosed):
        for number in range(1 << 30):
            asked[number] = time.monotonic_ns()
            await socket.send(json.dumps({"ask": number}))
            await asyncio.sleep(ASKED)


def _page(file: str, kind: str) -> tuple[HTTPStatus, Headers, bytes]:
    body = files(__package__).joinpath("page", file).read_bytes()
    return HTTPStatus.OK, Headers(ALWAYS | {"Content-Type": kind, "Content-Length": str(len(body))}), body


def _who(connection: ServerConnection) -> str:
    address = connection.remote_address
    return str(address[0]) if address else "somebody"
