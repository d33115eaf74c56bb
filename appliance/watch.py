"""Metrics, health and the log of an appliance over HTTP: read-only, behind a code, of this machine unless asked.

``GET /metrics`` is what Prometheus reads, ``/health`` what `appliance health` finds, ``/log?job=ID`` lines of the
journal. ``/healthz`` needs no code, and says nothing but that somebody is there. Beyond this machine it speaks TLS.
"""

import hmac
import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from appliance.doctor.finding import examine
from appliance.health import Health, worst
from appliance.home import Home
from appliance.refusal import Refusal
from drivers.webxr import keys
from ops import metrics
from ops.journal import IDS, LOGS, Asked, Journal, Level, read

if TYPE_CHECKING:
    from ops.jobs import Job

LONGEST = 2048
"""Characters of an address that is answered."""

PATIENCE = 5.0
"""Seconds that a client may take to say what it wants, or to take the answer."""

AT_ONCE = 16
"""Clients that are answered at the same time; whoever comes then is not."""

WRONG = 1.0
"""Seconds that a wrong code is answered after, one wrong code after the other."""

FRESH = 10.0
"""Seconds for which nobody looks again how the appliance is."""

LINES = (200, 5000)
"""Lines of the log that are given, when nobody says how many, and at most."""

JOBS = 1000
"""Newest jobs that are counted."""


class CannotWatch(Refusal):
    """The address cannot be had. The message says why."""


class NotUnderstood(Exception):
    """What a client asked for. The message is for the client."""


@contextmanager
def serve(
    home: Home,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    wrong: float = WRONG,
    health: Health | None = None,
) -> Generator[str]:
    """Answer until the block ends. Port 0 is any that is free.

    Args:
        home: the appliance.
        host: beyond this machine, it speaks TLS with a certificate that is made on first use.
        port: where.
        token: what clients have to say; by default what is in ``watching/code`` of the data folder.
        wrong: seconds that a wrong code is answered after.
        health: how to look.

    Yields:
        What to tell a person: the address.

    Raises:
        CannotWatch: the address cannot be had.
    """
    folder = home.folder / "watching"
    answers = Answers(home, health or Health(home))
    tls, mark = None, ""
    if not _here(host):
        certificate = keys.certificate(folder, host)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        mark = f", with the certificate {keys.fingerprint(certificate)}"
    try:
        server = _Server((host, port), answers, token or keys.code(folder), tls, wrong)
    except OSError as error:
        raise CannotWatch(f"{host}:{port} cannot be listened on: {error.strerror or error}") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="watch", daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        where = f"{'https' if tls else 'http'}://{shown}:{server.server_address[1]}"
        code = "" if token else f"; the code is in {folder / 'code'}"
        yield f"{where} has /metrics, /health and /log{mark}{code}."
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        answers.close()


@dataclass
class Answers:
    """What is answered."""

    home: Home
    looking: Health
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _jobs: Any = None
    _seen: tuple[float, HTTPStatus, bytes] | None = None

    def close(self) -> None:
        """Let go of the jobs."""
        if self._jobs is not None:
            self._jobs.__exit__(None, None, None)

    def metrics(self) -> str:
        """Every figure."""
        with self._lock, self.home.join() as catalog:
            return metrics.text(metrics.measured(self.home.folder, catalog, self._newest(), self.now()))

    def health(self) -> tuple[HTTPStatus, bytes]:
        """How the appliance is; looked at not too often, however many ask."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > FRESH:
                found = examine(self.looking.checks())
                level = worst(found)
                said = {
                    "level": str(level),
                    "at": self.now().isoformat(),
                    "findings": [
                        {"id": one.about, "level": str(one.level), "what": one.what, "fix": one.fix} for one in found
                    ],
                }
                status = HTTPStatus.SERVICE_UNAVAILABLE if level == "bad" else HTTPStatus.OK
                self._seen = time.monotonic(), status, json.dumps(said, indent=2).encode() + b"\n"
            return self._seen[1:]

    def log(self, asked: dict[str, str]) -> bytes:
        """Lines of the journal, oldest first.

        Raises:
            NotUnderstood: something else was asked for.
        """
        if unknown := asked.keys() - {*IDS, "level", "since", "last"}:
            raise NotUnderstood(f"/log takes {', '.join(IDS)}, level, since and last; not {min(unknown)[:40]!r}")
        try:
            last = int(asked.get("last", LINES[0]))
            since = datetime.fromisoformat(asked["since"]).astimezone() if "since" in asked else None
            wanted = Asked(
                {name: asked[name] for name in IDS if name in asked}, Level(asked.get("level", "debug")), since
            )
        except ValueError as error:
            raise NotUnderstood(f"/log: {error}") from error
        if not 1 <= last <= LINES[1]:
            raise NotUnderstood(f"/log gives 1 to {LINES[1]} lines")
        found = deque(read(self.home.folder / LOGS, wanted), maxlen=last)
        return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in found)

    def _newest(self) -> "list[Job]":
        if self._jobs is None:
            there = self.home.database.startswith("postgres") or (self.home.folder / "jobs.db").exists()
            if not there:
                return []
            self._jobs = self.home.jobs().__enter__()
        found: list[Job] = self._jobs.list(JOBS)
        return found


class _Server(ThreadingHTTPServer):
    """Answers a few clients at a time, each in a thread that nobody waits for at the end."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(
        self, address: tuple[str, int], answers: Answers, token: str, tls: ssl.SSLContext | None, wrong: float
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answers, self.token, self.wrong = answers, token.encode(), wrong
        self.journal = Journal.of(answers.home.folder)
        self.guessing = threading.Lock()
        self._tls = tls
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer, if there are not too many at once."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Make place for the next one after this."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Agree on TLS within this client's thread: one that says nothing keeps nobody waiting."""
        request.settimeout(PATIENCE)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with self._tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone, slow, or speaks no TLS is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    timeout = PATIENCE
    server_version, sys_version = "appliance", ""

    def do_GET(self) -> None:
        """Answer, without telling a client more than it may know."""
        try:
            status, kind, content = self._answer()
        except NotUnderstood as error:
            status, kind, content = HTTPStatus.BAD_REQUEST, "text/plain", f"{error}\n".encode()
        except Exception as error:  # ruff: ignore[blind-except] - what broke is logged; the client is not told
            self.server.journal.error(f"{urlsplit(self.path).path} could not be answered: {error!r}"[:500])
            status, kind = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain"
            content = b"that could not be answered; the appliance's log says why\n"
        self._send(status, kind, content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse without a page that tells what runs here."""
        self._send(HTTPStatus(code), "text/plain", f"{HTTPStatus(code).phrase}\n".encode())

    def log_message(self, format: str, *args: Any) -> None:  # ruff: ignore[builtin-argument-shadowing] - its name there
        """Say nothing: who asks every few seconds would fill the log, and may have put a code into the address."""

    def _answer(self) -> tuple[HTTPStatus, str, bytes]:
        address = urlsplit(self.path)
        if len(self.path) > LONGEST:
            return HTTPStatus.REQUEST_URI_TOO_LONG, "text/plain", b"too long\n"
        if address.path == "/healthz":
            return HTTPStatus.OK, "text/plain", b"ok\n"
        if not self._known():
            return HTTPStatus.UNAUTHORIZED, "text/plain", b"the code is wrong, or missing\n"
        if address.path == "/metrics":
            return HTTPStatus.OK, metrics.TYPE, self.server.answers.metrics().encode()
        if address.path == "/health":
            status, content = self.server.answers.health()
            return status, "application/json", content
        if address.path == "/log":
            return HTTPStatus.OK, "application/x-ndjson", self.server.answers.log(_asked(address.query))
        return HTTPStatus.NOT_FOUND, "text/plain", b"there are /metrics, /health, /log and /healthz\n"

    def _known(self) -> bool:
        """Whether the client has said the code, and is no page in somebody's browser."""
        scheme, _, given = (self.headers.get("Authorization") or "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.server.token)
        if right and scheme == "Bearer" and self.headers.get("Origin") is None:
            return True
        self.server.journal.warn(
            "a client was refused", client=self.client_address[0], path=urlsplit(self.path).path[:100]
        )
        with self.server.guessing:
            time.sleep(self.server.wrong)
        return False

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        with suppress(OSError):
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind if ";" in kind else f"{kind}; charset=utf-8"),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
            ):
                self.send_header(name, value)
            if status is HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)


def _asked(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=16))
    except ValueError as error:
        raise NotUnderstood(f"{error}") from error


def _here(host: str) -> bool:
    """Whether that is this machine only."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
