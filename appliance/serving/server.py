"""Serves one policy to whoever knows the code: each connection asks, and gets a plan for each question."""

import asyncio
import hmac
import logging
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from appliance.serving.contract import Contract
from appliance.serving.wire import LARGEST, Malformed, pack, unpack
from storage import Observation, Stale
from storage.timeline import Rows

SCHEMES = ("Bearer", "Api-Key")
"""What may stand before the code in the header ``Authorization``: ours, and what openpi's client says."""

WRONG = 1.0
"""Seconds that a wrong code is answered after, one wrong code after the other."""

NOT_UNDERSTOOD, BROKEN = 1007, 1011
"""Why a connection is closed, as RFC 6455 has it."""

log = logging.getLogger(__name__)


class Served:
    """A policy behind an address. Plans are made one after the other, in a thread: who waits does not stop the rest.

    A question that cannot be understood, or answered, is answered with text that says why, and the connection is
    closed, as openpi's server does it.
    """

    def __init__(self, contract: Contract, plan: Callable[[Observation, str], Rows], code: str) -> None:
        self._contract, self._plan, self._code = contract, plan, code
        self._guessing = asyncio.Lock()
        self._planning = ThreadPoolExecutor(1, "planning")
        self.answered = 0
        """Questions, so far."""

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> Server:
        """Listen; port 0 is any that is free."""
        quiet = logging.Logger("websockets", logging.CRITICAL)  # ruff: ignore[direct-logger-instantiation] - for here
        return await serve(
            self._converse,
            host,
            port,
            ssl=tls,
            process_request=self._admit,
            compression=None,
            max_size=LARGEST,
            max_queue=2,
            open_timeout=5,
            close_timeout=1,
            ping_interval=5,
            ping_timeout=10,
            server_header=None,
            logger=quiet,
        )

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Say that all is well, refuse, or let a WebSocket be opened."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        known = scheme in SCHEMES and hmac.compare_digest(given.strip().encode(), self._code.encode())
        if not known or request.headers.get("Origin") is not None:
            log.warning("refused %s: %s", _who(connection), "a web page" if known else "a wrong code, or none")
            async with self._guessing:
                await asyncio.sleep(WRONG)
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the code is wrong\n")
        return None

    async def _converse(self, socket: ServerConnection) -> None:
        """Answer one robot until it goes."""
        log.info("%s has come", _who(socket))
        try:
            await socket.send(pack(self._contract.facts))
            async for message in socket:
                came = time.perf_counter()
                await socket.send(pack(await self._answered(message, came)))
                self.answered += 1
        except ConnectionClosed as error:
            log.warning("%s is gone: %s", _who(socket), error)
        except (Malformed, Stale) as error:
            log.warning("%s asked what cannot be answered: %s", _who(socket), error)
            await _close(socket, NOT_UNDERSTOOD, str(error))
        except Exception:  # one robot's question ends no other's; what broke is logged
            log.exception("no plan for %s", _who(socket))
            await _close(socket, BROKEN, "the policy has failed; the server's log says how")
        else:
            log.info("%s has gone", _who(socket))

    async def _answered(self, message: str | bytes, came: float) -> dict[str, Any]:
        """Plan, and say how long it took."""

        def answer() -> dict[str, Any]:
            begun = time.perf_counter()
            said = self._contract.answer(self._plan(*self._contract.heard(unpack(message))))
            took = time.perf_counter() - begun
            return said | {"server_timing": {"infer_ms": took * 1e3, "waited_ms": (begun - came) * 1e3}}

        return await asyncio.get_running_loop().run_in_executor(self._planning, answer)


async def _close(socket: ServerConnection, code: int, why: str) -> None:
    try:
        await socket.send(why)
        await socket.close(code, why.encode()[:120].decode(errors="ignore"))
    except ConnectionClosed:
        log.info("%s did not wait to be told", _who(socket))


def _who(connection: ServerConnection) -> str:
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if address else "somebody"
