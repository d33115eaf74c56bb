"""A policy that plans on another machine: what is looked at goes there, and a plan comes back."""

import logging
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from appliance.refusal import Refusal
from appliance.serving.contract import Contract
from appliance.serving.wire import LARGEST, Malformed, pack, unpack
from collectors.agents import PolicyLost
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


class NoServer(Refusal):
    """There is no policy server at an address, or not the one that is meant. The message says which."""


class Remote:
    """Plans as the policy itself would, while the server is there.

    Use it as a context manager. A server that was lost is looked for again by `reach`, and not before: a take whose
    policy is lost is over.

    Args:
        url: ``ws://host:port``.
        code: what the server wants to know of whoever asks.
        patience: seconds that a plan may take; the first over a connection may take a minute.
    """

    def __init__(self, url: str, code: str, patience: float = 2.0) -> None:
        self.url, self._code, self._patience = url, code, patience
        self._socket: ClientConnection | None = None
        self._contract: Contract | None = None
        self._first = True
        if urlsplit(url).scheme not in {"ws", "wss"} or not urlsplit(url).hostname:
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
            PolicyLost: the server is gone, is silent, or says what it should not.
        """
        if self._socket is None:
            raise PolicyLost(f"{self.url} is not connected")
        question = pack(self.contract.question(self.glimpse(seen), instruction))
        patience = FIRST if self._first else self._patience
        try:
            self._socket.send(question)
            said = self._socket.recv(patience)
            if isinstance(said, str):
                raise PolicyLost(f"{self.name}: {said[:500]}")
            plan = self.contract.plan(unpack(said), seen)
        except TimeoutError as error:
            self.close()
            raise PolicyLost(f"{self.name} has said nothing for {patience:g} s") from error
        except (ConnectionClosed, OSError) as error:
            self.close()
            raise PolicyLost(f"{self.name} is gone: {error}") from error
        except Malformed as error:
            self.close()
            raise PolicyLost(f"{self.name} does not answer as it should: {error}") from error
        except PolicyLost:
            self.close()
            raise
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
            except (OSError, TimeoutError, ConnectionClosed) as error:
                if time.monotonic() >= until:
                    raise NoServer(
                        f"no policy server answers at {self.url}: {error or type(error).__name__}"
                    ) from error
                time.sleep(AGAIN)
            else:
                return

    def close(self) -> None:
        """Leave the server."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

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
        headers = {"Authorization": f"Bearer {self._code}"}
        try:
            socket = connect(self.url, additional_headers=headers, open_timeout=OPENING, **options)
        except InvalidStatus as error:
            if error.response.status_code == 401:
                raise NoServer(f"{self.url} knows another code; the machine that serves keeps it") from error
            raise NoServer(f"{self.url} is no policy server: {error}") from error
        except (InvalidHandshake, InvalidURI) as error:
            raise NoServer(f"{self.url} is no policy server: {error}") from error
        try:
            said = Contract.said(unpack(socket.recv(OPENING)))
        except Malformed as error:
            socket.close()
            raise NoServer(f"{self.url}: {error}") from error
        except BaseException:
            socket.close()
            raise
        if self._contract is not None and said != self._contract:
            socket.close()
            raise NoServer(f"{self.url} now serves {said.policy} ({said.digest}), not {self._contract.policy}")
        self._socket, self._contract, self._first = socket, said, True
        log.info("%s: %s, a policy of task %s", self.url, said.policy, said.task)
