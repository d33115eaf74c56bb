"""Serves a policy of the catalog until somebody ends it."""

import asyncio
import errno
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

import torch

from appliance import shared
from appliance.evaluate import load
from appliance.home import Home
from appliance.serving.contract import Contract
from appliance.serving.door import NoServer, code, place
from appliance.serving.server import Served
from drivers.webxr import keys
from learners import ChunkPolicy
from storage import PolicyRow, digest


def serve(home: Home, name: str, host: str, port: int, plain: bool, tell: Callable[[str], None]) -> None:
    """Serve a policy of that name at an address, until Ctrl-C or SIGTERM.

    Beyond this machine it speaks TLS, unless ``plain``, with a certificate that is made here on first use; its
    fingerprint is part of the address that is told.

    Raises:
        NoServer: the policy's folder is not what the catalog says, or the address cannot be had.
        CannotEvaluate: the policy cannot be read.
        Unknown: there is no such policy.
    """
    with home.join() as catalog:
        row = catalog.policy(name)
    shared.present(home, policies=[row])
    policy = load(home.folder, row)
    if (found := digest(home.folder / row.path)) != row.digest:
        raise NoServer(f"{home.folder / row.path} is {found}, and the catalog's {row.name} is {row.digest}")
    if torch.cuda.is_available():
        policy.net.to("cuda")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(home, row, policy, host, port, plain or _here(host), tell))


async def _serve(
    home: Home, row: PolicyRow, policy: ChunkPolicy, host: str, port: int, plain: bool, tell: Callable[[str], None]
) -> None:
    folder, tls, mark = place(home.folder), None, ""
    if not plain:
        path = keys.certificate(folder, host)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(path)
        mark = f"#{keys.fingerprint(path)}"
    served = Served(Contract.of(row, policy), policy.plan, code(home.folder))
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        opened = await served.open(host, port, tls)
    except OSError as error:
        raise NoServer(_explained(error, host, port)) from error
    async with opened:
        shown = f"[{host}]" if ":" in host else host
        tell(f"{'ws' if plain else 'wss'}://{shown}:{opened.sockets[0].getsockname()[1]}{mark} serves {row.name}.")
        await ended.wait()
    tell(f"{served.answered} questions were answered.")


def _explained(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program; choose another"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no address {host}; `ip addr` lists those that it has"
    return f"{host}:{port}: {error}"


def _here(host: str) -> bool:
    """Whether that is this machine only."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
