"""Who may ask a served policy, and which servers have the policies that are meant."""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from appliance.refusal import Refusal
from drivers.webxr import keys
from storage import PolicyRow

if TYPE_CHECKING:
    from appliance.serving.remote import Remote

SAID = "APPLIANCE_POLICY_CODE"
"""The variable that holds the code on a machine that does not keep it."""


class NoServer(Refusal):
    """There is no policy server at an address, or not the one that is meant. The message says which."""


def place(folder: Path) -> Path:
    """Where a data folder keeps the code of its policy server, and the certificate."""
    return folder / "serving"


def code(folder: Path) -> str:
    """What whoever asks has to say: the variable's, else what the data folder keeps, drawn on first use.

    Raises:
        NoServer: the variable holds no code.
        DeviceError: what is kept is no code, or others may read it.
    """
    said = os.environ.get(SAID)
    if said is None:
        return keys.code(place(folder))
    if not keys.CODE.fullmatch(said):
        raise NoServer(f"{SAID} is to be 8 to 64 small letters, digits, - and _")
    return said


@contextmanager
def reached(folder: Path, servers: Sequence[str], rows: Sequence[PolicyRow]) -> Generator[Mapping[UUID, "Remote"]]:
    """Connections to the servers, by the policies that they serve.

    Raises:
        NoServer: one is not there, serves something else than these policies, or the same as another.
    """
    with ExitStack() as stack:
        yield dict(stack.enter_context(_reached(folder, server, rows)) for server in servers)


@contextmanager
def _reached(folder: Path, server: str, rows: Sequence[PolicyRow]) -> Generator[tuple[UUID, "Remote"]]:
    try:
        from appliance.serving.remote import Remote
    except ImportError as error:
        raise NoServer(f"{error}: install the extra [serve]") from error

    with Remote(server, code(folder)) as remote:
        here = {row.digest: row for row in rows}
        there = remote.contract
        if there.digest not in here:
            meant = ", ".join(f"{row.name} ({row.digest})" for row in rows)
            raise NoServer(f"{server} serves {there.policy} ({there.digest}), and what is to be tried is {meant}")
        yield here[there.digest].id, remote
