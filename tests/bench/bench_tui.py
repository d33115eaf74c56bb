"""What the operator's screen costs, and how soon it answers, while two 640 x 480 cameras record at 30 Hz on two cores.

The program runs in a terminal of its own; a key is a byte written to it, and its answer the first bytes that come back
and hold what the key brings. Beside it the same take is made at the plain terminal, for what the loop feels.
"""

import fcntl
import os
import pty
import random
import re
import signal
import struct
import sys
import tempfile
import termios
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from appliance.home import STARTER, Home
from drivers import HostClock, Ring, Rows, sensed
from storage import Episode, Wanted
from tests.bench.beside import Demand, tell
from tests.bench.content import BUILD, CAMERAS, FPS, HEIGHT, WIDTH, frames

CORES = 2
HZ = 20
KEYS = 40
"""Presses of each kind."""
FIRST = 2.0
"""Seconds of a take in which what it is remembered in is touched for the first time: told apart from what follows."""

SIZES = ((80, 24), (200, 60))
LINK = {"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.1 22"}
PATIENCE = 90.0
CODES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[PX^_\]].*?(?:\x1b\\|\x07)|[^\[PX^_\]])", re.DOTALL)
"""What a terminal is told beside letters."""
NEAR = 500
"""Letters among the last of which words are looked for."""


@dataclass
class Film:
    """A camera in a program of its own: pictures that were drawn before, with noise in them, thirty a second."""

    name: str
    of: str = "top"
    hz: float = float(FPS)

    def __post_init__(self) -> None:
        self._ring, self._number = Ring(self.dtype, 8), 0

    @property
    def dtype(self) -> np.dtype[np.void]:
        return sensed(("rgb", "u1", (HEIGHT, WIDTH, 3)))

    def read(self, since: int) -> Rows:
        return self._ring.since(since)

    def _sample(self) -> None:
        row = np.zeros(1, self.dtype)
        row["t"] = row["received"] = time.monotonic_ns()
        row["seq"] = self._number = self._number + 1
        row["rgb"] = self._frames[self._number % len(self._frames)]
        self._ring.push(row)

    def __enter__(self) -> Self:
        self._frames = frames(0, self.of)
        self._end = HostClock().every(round(1e9 / self.hz), self._sample)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()


class Screen:
    """A terminal in which the program runs, and all that it was sent, with when."""

    def __init__(self, columns: int, rows: int, *words: str, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
        environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LINES": "", "COLUMNS": ""} | variables
        self.process, self._ours = pty.fork()
        if self.process == 0:
            os.execve(sys.executable, [sys.executable, "-m", "appliance.cli", *words], environment)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.sent: list[tuple[float, bytes]] = []
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while heard := os.read(self._ours, 1 << 16):
                self.sent.append((time.perf_counter(), heard))

    @property
    def size(self) -> int:
        return sum(len(part) for _, part in self.sent)

    def press(self, key: bytes) -> tuple[float, int]:
        """Press, and return when, and how much had been sent before."""
        here = len(self.sent)
        now = time.perf_counter()
        os.write(self._ours, key)
        return now, here

    def see(self, words: bytes, since: int = 0) -> float:
        """Wait until these letters were sent, one after the other; return when the last of them came."""
        end, text, broken = time.perf_counter() + PATIENCE, b"", b""
        while time.perf_counter() < end:
            if since == len(self.sent):
                time.sleep(0.002)
                continue
            moment, part = self.sent[since]
            since += 1
            letters = CODES.sub(b"", broken + part)
            letters, code, rest = letters.partition(b"\x1b")  # what was cut in two is looked at with what follows
            broken = code + rest
            text = (text + letters)[-NEAR - len(part) :]
            if words in b" ".join(text.split()):
                return moment
        raise TimeoutError(f"{words!r} never came: {text!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGTERM)
        end = time.monotonic() + 20
        while os.waitpid(self.process, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(self.process, signal.SIGKILL)
            time.sleep(0.05)
        os.close(self._ours)


def main() -> None:
    """Print how soon keys are answered, what is sent, and how late the loop is with the screen and without."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    for camera in CAMERAS:
        frames(0, camera)  # drawn before the clock runs
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        station = _station(Path(folder))
        for columns, rows in SIZES:
            size = f"{columns}x{rows}"
            echo, switch, rate = _answers(Path(folder), station, columns, rows)
            for name, took in (("a press in a take is answered", echo), ("another screen is shown in a take", switch)):
                p50, p95 = np.percentile(took, (50, 95))
                sys.stdout.write(f"    {name}, {size}: p50 {p50 * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms, n={len(took)}\n")
                tell(f"{name}, {size}, p95", "s", float(p95), None, Demand("ours", "most", 0.1))
            sys.stdout.write(f"    sent to a terminal here, {size}: {rate / 1e3:.1f} kB/s\n")
            _, _, rate = _answers(Path(folder), station, columns, rows, keys=0, **LINK)
            tell(f"sent over a link, {size}", "B/s", rate, None, Demand("ours", "most", 50_000))
        with_screen = _late(Path(folder), "screen")
        _plain(Path(folder), station)
        without = _late(Path(folder), "plain")
        tell("ticks are late in a take, p99", "s", with_screen, without, Demand("ours", "most", 0.02))


def _answers(
    folder: Path, station: str, columns: int, rows: int, keys: int = KEYS, **variables: str
) -> tuple[list[float], list[float], float]:
    """Seconds until presses and other screens are answered in a take, and bytes a second while nothing is pressed."""
    chance, echo, switch = random.Random(0), list[float](), list[float]()
    words = ("tui", "--station", station, "--operator", "screen", "--task", STARTER.name)
    with Screen(columns, rows, *words, APPLIANCE_HOME=str(folder / "home"), **variables) as screen:
        screen.see(b"TASKS")
        time.sleep(8)  # every screen is loaded
        _, here = screen.press(b"2")
        screen.see(b"by kinesthetic", here)
        screen.press(b"\r")
        screen.see(b"START: put the red cube", here)
        _, here = screen.press(b"\r")
        screen.see(b"REC 2.", here)
        before, since = screen.size, time.perf_counter()
        time.sleep(10)
        rate = (screen.size - before) / (time.perf_counter() - since)
        for k in range(keys):
            time.sleep(chance.uniform(0.15, 0.4))
            key, answer = ((b"o", b"GRIP_OPEN"), (b"c", b"GRIP_CLOSE"))[k % 2]
            begun, here = screen.press(key)
            echo.append(screen.see(answer, here) - begun)
        for k in range(keys):
            time.sleep(chance.uniform(0.3, 0.6))
            key, answer = ((b"]", b"verdict"), (b"[", b"0 good"))[k % 2]
            begun, here = screen.press(key)
            switch.append(screen.see(answer, here) - begun)
        screen.press(b"s")
        time.sleep(1)
    return echo, switch, rate


def _plain(folder: Path, station: str) -> None:
    """The same take at the plain terminal."""
    words = ("collect", "--by", "kinesthetic", "--station", station, "--operator", "plain", "--task", STARTER.name)
    with Screen(80, 24, *words, APPLIANCE_HOME=str(folder / "home")) as screen:
        screen.see(b"START: put the red cube")
        _, here = screen.press(b"\r")
        screen.see(b"REC 2.", here)
        time.sleep(30)
        screen.press(b"s")
        screen.see(b"1 of 1 succeeded", here)


def _late(folder: Path, operator: str) -> float:
    """How late ticks of somebody's takes came: 99 in 100 came no later, in the worst take."""
    home = Home(folder / "home", str(folder / "home" / "catalog.db"))
    with home.join() as catalog:
        found = [Episode(home.folder / one.row.path) for one in catalog.find(Wanted(operator=operator))]
    begun = round(FIRST * HZ)
    late = [np.percentile(one["ticks", "late"][begun:], (50, 95, 99)) / 1e9 for one in found]
    first = max(one["ticks", "late"][:begun].max() for one in found) / 1e9
    p50, p95, p99 = np.max(late, axis=0)
    said = f"{p50 * 1e3:.1f}, {p95 * 1e3:.1f}, {p99 * 1e3:.1f} ms"
    said += f"; the latest in the first {FIRST:.0f} s: {first * 1e3:.0f} ms"
    sys.stdout.write(f"    ticks of {len(found)} takes, by {operator}, late p50, p95, p99 (worst take): {said}\n")
    return float(p99)


def _station(folder: Path) -> str:
    file = folder / "bench.toml"
    cameras = "".join(
        f'[device.{name}]\ndriver = "tests.bench.bench_tui:Film"\nof = "{of}"\n'
        for name, of in zip(("front", "wrist"), CAMERAS, strict=True)
    )
    file.write_text(
        f'name = "bench"\nhz = {HZ}\nrobot = "arm"\n[device.arm]\ndriver = "tests.test_tui_killed:Limb"\n{cameras}'
        '[limits]\nlow = [-1.0]\nhigh = [1.0]\nspeed = [100.0]\n[images]\ncodec = "jpeg"\n'
    )
    return str(file)


if __name__ == "__main__":
    main()
