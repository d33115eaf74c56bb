"""What a rehearsal does to an emulated headset from another program.

A line of JSON asks, ``{"do": "focus", "on": false}``, and a line answers. The channel is open to every program of this
machine, and to no other machine.
"""

import json
import logging
import socket
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from drivers.device import DeviceError

if TYPE_CHECKING:
    from drivers.emulators.openxr.runtime import Runtime

HOST = "127.0.0.1"
DOES = (
    *("move", "see", "switch", "focus", "recenter", "quit", "lose_session", "lose_instance", "plug", "be", "offer"),
    *("stall", "fail", "mend", "status"),
)

log = logging.getLogger(__name__)


class Unwilling(DeviceError):
    """The emulated headset does not do that. The message is its own."""


def ask(port: int, do: str, patience: float = 5.0, **values: Any) -> Any:
    """Have the emulated headset at ``port`` do one thing, e.g. ``ask(port, "switch", hand=1, on=False)``.

    Raises:
        Unwilling: it does not do that, or nobody answers there.
    """
    try:
        with closing(socket.create_connection((HOST, port), timeout=patience)) as line:
            line.sendall(json.dumps({"do": do, **values}).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise Unwilling(f"no emulated headset answers at port {port} ({error}); is it running?") from error
    if "refused" in answer:
        raise Unwilling(answer["refused"])
    return answer["done"]


@contextmanager
def listening(runtime: "Runtime", port: int = 0) -> Generator[int]:
    """Do what others ask for meanwhile; yields the port, which the system chooses when it is 0.

    Raises:
        DeviceError: the port is taken.
    """
    try:
        door = socket.create_server((HOST, port))
    except OSError as error:
        raise DeviceError(f"the emulated headset cannot be asked at port {port}: {error}") from error
    thread = threading.Thread(target=_serve, args=(door, runtime), name="emulated headset", daemon=True)
    thread.start()
    try:
        yield int(door.getsockname()[1])
    finally:
        door.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closing alone does not
        door.close()
        thread.join()


def _serve(door: socket.socket, runtime: "Runtime") -> None:
    while True:
        try:
            line, _ = door.accept()
        except OSError:
            return
        try:
            with closing(line), line.makefile("rb") as questions:
                line.settimeout(5.0)
                for question in questions:
                    line.sendall(json.dumps(_answer(runtime, question)).encode() + b"\n")
        except OSError as error:
            log.debug("a visitor went away: %s", error)


def _answer(runtime: "Runtime", question: bytes) -> dict[str, Any]:
    try:
        values = json.loads(question)
        do = values.pop("do")
        if do not in DOES:
            raise ValueError(f"an emulated headset cannot {do!r}; it can {', '.join(DOES)}")
        return {"done": getattr(runtime, do)(**values)}
    except (ValueError, TypeError, KeyError, AttributeError, DeviceError) as error:
        return {"refused": str(error)}
