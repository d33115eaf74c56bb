"""An emulator as a program of its own: a line of JSON asks it to do something, and a line answers.

It ends when the line is closed, and so with the program that started it, however that ends. A person who starts one at
a terminal types the same lines: ``{"do": "unplug", "side": "left"}``.
"""
# ruff: file-ignore[suspicious-subprocess-import, subprocess-without-shell-equals-true] - it starts parts of this program

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from drivers.device import DeviceError

STARTING, ENDING = 30.0, 5.0
"""Longest that one takes to start and to end, in seconds."""


class Program:
    """An emulator that runs beside this program. ``ready`` is what it said when it had started.

    Raises:
        DeviceError: it did not start. The message says why.
    """

    def __init__(self, name: str, module: str, *arguments: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        ours = Path(__file__).parent.parent.parent
        paths = os.pathsep.join(filter(None, (str(ours), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
            process_group=0,  # a Ctrl-C at the terminal is this program's affair
        )
        self.pid = self._process.pid
        try:
            self.ready = self._answer(STARTING)
        except BrokenPipeError as error:
            self.close()
            raise DeviceError(
                f"{self._name} has ended without a word; what it wrote to the terminal says why"
            ) from error
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, patience: float = 5.0, **values: Any) -> Any:
        """Have it do one thing, and return what comes of it.

        Raises:
            DeviceError: it does not do that, or not in time, or has ended. The message is its own.
        """
        line = self._process.stdin
        with self._lock:
            try:
                if line is None or line.closed:
                    raise BrokenPipeError
                line.write(json.dumps({"do": do, **values}).encode() + b"\n")
                line.flush()
                return self._answer(patience)
            except BrokenPipeError as error:
                raise DeviceError(f"{self._name} has ended; leave its devices and enter them again") from error

    def _answer(self, patience: float) -> Any:
        """Wait for what it says.

        Raises:
            BrokenPipeError: it has ended.
            DeviceError: it refuses, or says nothing.
        """
        lines = self._process.stdout
        if lines is None or not select.select([lines], [], [], patience)[0]:
            self._process.kill()  # a late answer would be taken for the next one's
            raise DeviceError(
                f"{self._name} did not answer within {patience:.0f} s, and was ended; is this machine so busy?"
            )
        said = lines.readline()
        if not said:
            raise BrokenPipeError
        answer = json.loads(said)
        if "refused" in answer:
            raise DeviceError(f"{self._name}: {answer['refused']}")
        return answer["done"]

    def close(self) -> None:
        """End it."""
        with self._lock:
            for line in (self._process.stdin, self._process.stdout):
                if line is not None:
                    with contextlib.suppress(BrokenPipeError):  # it has ended already
                        line.close()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def obey(can: Mapping[str, Callable[..., Any]], ready: Any) -> None:
    """Say that everything is ready, then do what every line of standard input asks, until there are no more."""
    say({"done": ready})
    for line in sys.stdin:
        say(_done(can, line))


def say(answer: Mapping[str, Any]) -> None:
    """Answer the program that started this one: ``done``, or why it is ``refused``."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _done(can: Mapping[str, Callable[..., Any]], line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
        do = values.pop("do")
        if do not in can:
            raise ValueError(f"it cannot {do!r}; it can {', '.join(can)}")
        return {"done": can[do](**values)}
    except (ValueError, TypeError, KeyError, AttributeError, DeviceError) as error:
        return {"refused": str(error)}
