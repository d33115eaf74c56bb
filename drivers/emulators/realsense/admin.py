"""What a rehearsal does to an emulated camera from another program.

A line of JSON asks, ``{"do": "stall", "stream": "depth"}``, and a line answers. The channel has no file, is known by
the camera's serial, and answers this user only.
"""

import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from drivers.device import DeviceError

if TYPE_CHECKING:
    from drivers.emulators.realsense.camera import EmulatedCamera

DOES = ("plug", "unplug", "stall", "go", "skip", "repeat", "options")

log = logging.getLogger(__name__)


class Unwilling(DeviceError):
    """The emulated camera does not do that. The message is its own."""


def ask(serial: str, do: str, patience: float = 5.0, **values: Any) -> Any:
    """Have the emulated camera do one thing, e.g. ``ask("000000000001", "stall", stream="depth")``.

    Raises:
        Unwilling: it does not do that, or nobody answers.
    """
    try:
        with closing(socket.socket(socket.AF_UNIX)) as line:
            line.settimeout(patience)
            line.connect(_address(serial))
            line.sendall(json.dumps({"do": do, **values}).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise Unwilling(f"no emulated camera with serial {serial} answers ({error}); is it entered?") from error
    if "refused" in answer:
        raise Unwilling(answer["refused"])
    return answer["done"]


@contextmanager
def listening(camera: "EmulatedCamera") -> Generator[None]:
    """Do what others ask for meanwhile. Of several cameras with one serial the first is asked."""
    door = socket.socket(socket.AF_UNIX)
    try:
        door.bind(_address(camera.serial))
        door.listen()
    except OSError as error:
        log.warning("faults of the emulated camera %s cannot be asked for: %s", camera.serial, error)
        door.close()
        yield
        return
    thread = threading.Thread(target=_serve, args=(door, camera), name=f"{camera.serial} admin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        door.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closing alone does not
        door.close()
        thread.join()


def _address(serial: str) -> str:
    return f"\0emulated-realsense/{os.getuid()}/{serial}"


def _serve(door: socket.socket, camera: "EmulatedCamera") -> None:
    while True:
        try:
            line, _ = door.accept()
        except OSError:
            return
        try:
            with closing(line), line.makefile("rb") as questions:
                line.settimeout(5.0)
                _, user, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                for question in questions if user == os.getuid() else ():
                    line.sendall(json.dumps(_answer(camera, question)).encode() + b"\n")
        except OSError:  # whoever asked has left
            continue


def _answer(camera: "EmulatedCamera", question: bytes) -> dict[str, Any]:
    try:
        values = json.loads(question)
        do = values.pop("do")
        if do not in DOES:
            raise ValueError(f"an emulated camera cannot {do!r}; it can {', '.join(DOES)}")
        return {"done": getattr(camera, do)(**values)}
    except (ValueError, TypeError, KeyError, AttributeError, DeviceError) as error:
        return {"refused": str(error)}
