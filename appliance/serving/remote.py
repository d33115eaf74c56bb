"""A policy that plans on another machine: what is looked at goes there, and a plan comes back."""

import hashlib
import hmac
import logging
import ssl
import time
from contextlib import ExitStack
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from appliance.serving.contract import Contract
from appliance.serving.door import NoServer
from appliance.serving.wire import LARGEST, Malformed, pack, unpack
from collectors.ahead import PolicyLost
from learners.body import Body
from learners.senses import Senses
from storage import Observation
from storage.timeline import Rows

OPENING = 5.0
"""Seconds for a server to answer at all."""

FIRST = 60.0
"""Seconds that the first plan over a connection may take."""

AGAIN = 0.2
"""Seconds between two tries to reach a server."""

log = logging.getLogger(__name__)


class Remote:
    """Plans as the policy itself would, while the server is there.

    Use it as a context manager. A server that was lost is looked for again by `reach`, and not before: a take whose
    policy is lost is over.

    Args:
        url: ``ws://host:port``, or ``wss://host:port#`` and the fingerprint of the certificate, as the server tells it.
        code: what the server wants to know of whoever asks.
        patience: seconds that a plan may take; the first over a connection may take a minute.
    """

    def __init__(self, url: str, code: str, patience: float = 2.0) -> None:
        self.url, _, self._mark = url.partition("#")
        self._code, self._patience = code, patience
        self._socket: ClientConnection | None = None
        self._leaving = ExitStack()
        self._contract: Contract | None = None
        self._first = True
        if not _address(url):
            raise NoServer(f"{url!r} is no address of a policy server; one is ws://HOST:PORT")

    @property
    def contract(self) -> Contract:
        """What the server says of its policy."""
        if self._contract is None:
            raise NoServer(f"{self.url} has not been reached yet; use it as a context manager")
        return self._contract

    @property
    def name(self) -> str:
        return f"{self.contract.policy} at {self.url}"

    @property
    def horizon(self) -> int:
        return self.contract.horizon

    @property
    def ensemble(self) -> float | None:
        return self.contract.ensemble

    @property
    def body(self) -> Body:
        """The robot that it moves."""
        return self.contract.body

    @property
    def senses(self) -> Senses:
        """What it looks at."""
        return self.contract.senses

    @property
    def memory(self) -> float:
        """Seconds that it looks back."""
        return self.senses.memory

    def glimpse(self, seen: Observation) -> Observation:
        """The little of it that a plan is made from, as a copy."""
        return self.senses.glimpse(seen)

    def plan(self, seen: Observation, instruction: str) -> Rows:
        """Targets from now on, as the policy there says them.

        Raises:
            PolicyLost: the server is gone, is silent, or says what it should not. Its message names no policy: whoever
                stands beside a trial reads it, and is not to know.
        """
        if self._socket is None:
            raise PolicyLost(f"{self.url} is not connected")
        question = pack(self.contract.question(self.glimpse(seen), instruction))
        patience = FIRST if self._first else self._patience
        try:
            self._socket.send(question)
            plan = self.contract.plan(unpack(self._socket.recv(patience)), seen)
        except (OSError, ConnectionClosed, Malformed) as error:
            self.close()
            raise PolicyLost(f"{self.url}: {error}") from error
        self._first = False
        return plan

    def reach(self, patience: float = 0.0) -> None:
        """Make sure that the server is there; one that is not is looked for again, for ``patience`` seconds.

        Raises:
            NoServer: it is not, it knows another code, or it serves another policy than before.
        """
        if self._socket is not None and self._there():
            return
        self.close()
        until = time.monotonic() + patience
        while True:
            try:
                self._open()
            except (OSError, ConnectionClosed) as error:
                if time.monotonic() >= until:
                    raise NoServer(
                        f"no policy server answers at {self.url}: {error or type(error).__name__}"
                    ) from error
                time.sleep(AGAIN)
            else:
                return

    def close(self) -> None:
        """Leave the server."""
        self._socket = None
        self._leaving.close()

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            NoServer: there is no such server.
        """
        self.reach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _there(self) -> bool:
        """Whether the connection still stands, as far as a ping can tell."""
        try:
            return self._socket is not None and self._socket.ping().wait(OPENING)
        except (ConnectionClosed, OSError):
            return False

    def _open(self) -> None:
        """Connect once, and hear what is served."""
        options: dict[str, Any] = {"compression": None, "max_size": LARGEST, "proxy": None, "close_timeout": 1}
        if urlsplit(self.url).scheme == "wss":
            options["ssl"] = self._trusted()
        options["additional_headers"] = {"Authorization": f"Bearer {self._code}"}
        try:
            with ExitStack() as stack:
                socket = stack.enter_context(connect(self.url, open_timeout=OPENING, **options))
                said = Contract.said(unpack(socket.recv(OPENING)))
                if self._contract is not None and said != self._contract:
                    raise NoServer(f"{self.url} now serves another policy than before")
                self._leaving = stack.pop_all()
        except InvalidStatus as error:
            if error.response.status_code == HTTPStatus.UNAUTHORIZED:
                raise NoServer(f"{self.url} knows another code; the machine that serves keeps it") from error
            raise NoServer(f"{self.url} is no policy server: {error}") from error
        except (InvalidHandshake, InvalidURI, Malformed) as error:
            raise NoServer(f"{self.url} is no policy server: {error}") from error
        self._socket, self._contract, self._first = socket, said, True
        log.info("%s: %s, a policy of task %s", self.url, said.policy, said.task)

    def _trusted(self) -> ssl.SSLContext:
        """What trusts the server's own certificate, and no other: the code is told to nobody else.

        Raises:
            NoServer: the certificate there is another.
        """
        where = urlsplit(self.url)
        shown = ssl.get_server_certificate((where.hostname or "", where.port or 443), timeout=OPENING)
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()
        if not hmac.compare_digest(found.encode(), self._mark.encode()):
            raise NoServer(
                f"{self.url} shows a certificate with the fingerprint {found}, not {self._mark or 'a known one'}"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=shown)
        return context


def _address(url: str) -> bool:
    """Whether that is the address of a WebSocket."""
    try:
        where = urlsplit(url)
        return where.scheme in {"ws", "wss"} and bool(where.hostname) and where.port != 0
    except ValueError:
        return False
