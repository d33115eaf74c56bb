"""Training with several processes, here and on other machines: what is asked for as a file, and what starts them.

`accelerate launch` starts the processes, each of which runs this module with the file. They write down how far they
are, what is refused and which policy came of it, and end when nobody listens any more.
"""

# ruff: file-ignore[suspicious-subprocess-import, subprocess-without-shell-equals-true] - it starts accelerate, with a list of words
import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pydantic import TypeAdapter

from appliance.doing import Paused
from appliance.home import Home
from appliance.refusal import Refusal, refusal

FOLDER = Path("cache", "launch")
"""Where in the data folder the files are."""
TURN = 0.2
"""Seconds between two looks at what the processes wrote."""
PATIENCE = 60.0
"""Seconds that processes get to store what was learned once they were asked to."""

type Tell = Callable[[int, int, float], None]
type Prepare = Callable[[str, int, int], None]


class CannotLaunch(Refusal):
    """The processes cannot be started so, or one of them failed. The message says what it said last."""


@dataclass(frozen=True)
class Asked:
    """What `train` is to do, as JSON has it."""

    task: str
    method: str
    preset: str = "small"
    settings: dict[str, str] = field(default_factory=dict)
    """Fields of the method, as a person types them."""
    start: str | None = None
    hands: bool = False
    name: UUID | None = None
    """The policy's id."""
    among: list[UUID] | None = None


@dataclass(frozen=True)
class Spread:
    """Over which processes a training goes."""

    processes: int = 1
    """On each machine: one for each GPU, or on a machine without one for each share of its cores."""
    machines: int = 1
    rank: int = 0
    """Which of the machines this is, counted from 0; the first one says what is learned from."""
    main: str = ""
    """HOST:PORT, where the first machine is met by the others."""

    @property
    def alone(self) -> bool:
        return self.processes * self.machines == 1

    def line(self, asked: Path, told: Path | None = None) -> list[str]:
        """The words that start this machine's processes.

        Raises:
            CannotLaunch: the machines are not counted from 0, or do not say where they meet.
        """
        if not 0 <= self.rank < self.machines:
            raise CannotLaunch(f"machine {self.rank} of {self.machines}: they are counted from 0; say --rank of each")
        host, _, port = self.main.rpartition(":")
        if self.machines > 1 and not (host and port.isdecimal()):
            raise CannotLaunch("several machines meet where the first one listens: --main HOST:PORT, the same for all")
        settings: dict[str, Any] = {
            "num_processes": self.processes * self.machines,
            "num_machines": self.machines,
            "machine_rank": self.rank,
            "main_process_ip": host or "127.0.0.1",
            "main_process_port": port or 0,
            "num_cpu_threads_per_process": max(1, (os.cpu_count() or 1) // self.processes),
            "mixed_precision": "no",
            "dynamo_backend": "no",
        }
        words = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
        words += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        # How exactly numbers are kept is a setting of the method; --multi_gpu is how accelerate starts several of any.
        return [*words, "--module", "appliance.launch", str(asked), *([] if told is None else [str(told)])]


def shown(home: Home, spread: Spread, asked: Asked) -> str:
    """The line that would be run, for somebody to type; what is asked for is written to the file that it names."""
    surroundings = " ".join(shlex.join([f"{name}={value}"]) for name, value in _surroundings(home).items())
    return f"{surroundings} {shlex.join(spread.line(_written(home, asked)))}"


def run(
    home: Home, spread: Spread, asked: Asked, tell: Tell, prepare: Prepare = lambda _what, _done, _of: None
) -> UUID:
    """Train with several processes, and return the policy's id.

    ``tell`` and ``prepare`` hear what `train` tells; they may raise to end it: what was learned is stored before.

    Raises:
        CannotLaunch: a process refused, or failed.
        Paused: somebody else asked the processes to end, perhaps on another machine.
    """
    file = _written(home, asked)
    told = file.with_name(f"{uuid4().hex}.told")
    told.touch()
    said = told.with_suffix(".log")
    heard: dict[str, Any] = {}
    rest = ""
    with told.open() as written, _started(spread.line(file, told), _surroundings(home), said) as processes:
        ended = False
        while not ended:
            ended = processes.poll() is not None
            *lines, rest = (rest + written.read()).split("\n")
            for line in lines:
                heard |= _passed_on(json.loads(line), tell, prepare)
            time.sleep(0 if ended else TURN)
    if "stopped" in heard:
        raise Paused(heard["stopped"])
    if "policy" not in heard:
        raise CannotLaunch(str(heard.get("refused") or f"a process failed; it said last:\n{_last(said)}"))
    for leftover in (told, said):
        leftover.unlink()
    return UUID(heard["policy"])


def take_part(home: Home, asked: Asked, write: Callable[[dict[str, Any]], object], first: bool) -> None:
    """Be one of the processes; the ``first`` of a machine writes how far they are.

    Asked to end (SIGTERM), they store what was learned and end together.
    """
    from appliance.settings import learner
    from appliance.train import seeing, train
    from learners.train import StoppedElsewhere

    stop, last = threading.Event(), 0.0
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def told(what: str, done: int, of: int, also: Any) -> None:
        nonlocal last
        if stop.is_set():
            raise Paused("these processes were asked to end")
        if first and (done == of or time.monotonic() > last + TURN):
            last = time.monotonic()
            write({what: [done, of, also]})

    try:
        how = learner(asked.method, asked.preset, asked.settings)
        if "cameras" not in asked.settings:
            how = seeing(home, asked.task, how)
        row = train(
            *(home, asked.task, asked.method, asked.preset, how),
            functools.partial(told, "tell"),
            asked.start,
            lambda what, done, of: told("prepare", done, of, what),
            asked.hands,
            asked.name,
            asked.among,
        )
    except (Paused, StoppedElsewhere) as stopped:
        write({"stopped": str(stopped)})
        raise SystemExit(1) from stopped
    except Exception as error:
        if (said := refusal(error)) is not None:
            write({"refused": said})
        raise
    write({"policy": str(row.id)})


def main(file: str, told: str | None = None) -> None:
    """What each process runs: with a file to write to, it ends when whoever reads that has ended."""
    asked = TypeAdapter(Asked).validate_json(Path(file).read_bytes())
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if told is None:
        take_part(Home.from_environment(), asked, lambda said: print(json.dumps(said), flush=True), first)  # ruff: ignore[print] - a person started it
        return
    threading.Thread(target=_end_when_alone, daemon=True).start()
    with Path(told).open("ab", buffering=0) as out:
        take_part(Home.from_environment(), asked, lambda said: out.write(f"{json.dumps(said)}\n".encode()), first)


def _end_when_alone() -> None:
    """Whoever started the processes holds the other end of their input: it ends with them, however they do."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _passed_on(said: dict[str, Any], tell: Tell, prepare: Prepare) -> dict[str, Any]:
    """Tell how far the processes are, and return what else they said."""
    if "tell" in said:
        done, of, loss = said.pop("tell")
        tell(done, of, loss)
    if "prepare" in said:
        done, of, what = said.pop("prepare")
        prepare(what, done, of)
    return said


def _written(home: Home, asked: Asked) -> Path:
    """What is asked for as a file, whose name is made of it."""
    content = TypeAdapter(Asked).dump_json(asked, indent=1)
    path = home.folder / FOLDER / f"{blake2b(content, digest_size=8).hexdigest()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{uuid4().hex}.part")
    part.write_bytes(content)
    part.rename(path)
    return path


def _surroundings(home: Home) -> dict[str, str]:
    where = {"APPLIANCE_HOME": str(home.folder), "APPLIANCE_DATABASE": home.database}
    return where | ({"APPLIANCE_STORE": home.store} if home.store else {})


@contextmanager
def _started(line: Sequence[str], surroundings: dict[str, str], said: Path) -> Generator["subprocess.Popen[bytes]"]:
    """The processes while the block runs; whoever leaves it early gives them time to store what was learned."""
    with said.open("wb") as log:
        processes = subprocess.Popen(
            line,
            env=os.environ | surroundings,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for whoever started them
        )
    try:
        yield processes
    finally:
        if processes.poll() is None:
            processes.terminate()
            try:
                processes.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(processes.pid, signal.SIGKILL)
                processes.wait()
        if processes.stdin is not None:
            processes.stdin.close()


def _last(said: Path, lines: int = 20) -> str:
    return "\n".join(said.read_text(errors="replace").splitlines()[-lines:])


if __name__ == "__main__":
    main(*sys.argv[1:])
