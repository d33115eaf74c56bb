"""What is done in the background, by its kind; and the process that does one job of it.

A job gets settings and gives a result, both JSON. Its process may be killed at any moment, and the job is then asked
for again: each kind finds out by itself what is done already.
"""

import ctypes
import json
import math
import os
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from appliance import shared
from appliance.doing import Doing, Paused
from appliance.home import Home
from appliance.kinds import QUEUES, YIELDING
from appliance.refusal import Refusal, refusal
from ops import leases

WORK = {
    "train": "appliance.work:train",
    "trials": "appliance.work:trials",
    "label": "appliance.work:label",
    "verify": "appliance.work:verify",
    "backup": "appliance.backup:backup",
    "restore-check": "appliance.backup:restore_check",
    "keep": "appliance.keeping:keep",
    "share": "appliance.shared:share",
}
"""Who does it, as an import path, so that choosing one loads no other; a night's steps are `appliance.night.STEPS`."""

SECONDS = 0.5
"""Between two lines of progress, except for points of a curve."""

POINTS = 100
"""Points of a loss curve."""

NICE = 10
"""How far background work steps back, as ``nice`` counts."""

PATIENCE = 30.0
"""Seconds that the process of an earlier attempt at the same job gets to be gone."""


class UnknownWork(Refusal):
    """There is no such kind of job, or its settings are not what it takes."""


def do(home: Home, kind: str, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Do one job.

    Raises:
        UnknownWork: there is no such kind.
        Paused: somebody needs the machine; asked again, it goes on.
    """
    if kind.startswith("night."):
        from appliance.night import do as step

        return step(home, kind, settings, doing)
    if kind not in WORK:
        raise UnknownWork(f"there is no job {kind!r}; there are: {', '.join(sorted(WORK))}")
    done: dict[str, Any] = pkgutil.resolve_name(WORK[kind])(home, settings, doing)
    if kind == "trials":
        # What was recorded here is for others to look at, too.
        shared.push(home, doing.tell)
    return done


def train(home: Home, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Fit a learner: ``task``, ``method``, ``preset``; ``settings`` as typed; ``start``: the policy to go on from.

    With ``processes``, that many of this machine.
    """
    from uuid import NAMESPACE_OID, uuid5

    from appliance import launch
    from appliance.settings import learner
    from appliance.train import seeing
    from appliance.train import train as run

    task, method, preset = settings["task"], settings["method"], settings.get("preset", "small")
    given, start, hands = dict(settings.get("settings", {})), settings.get("start"), bool(settings.get("hands"))
    name = uuid5(NAMESPACE_OID, doing.job) if doing.job else None
    spread = launch.Spread(int(settings.get("processes", 1)))

    def tell(done: int, of: int, loss: float) -> None:
        doing.tell("training", done, of, loss)

    if not spread.alone:
        asked = launch.Asked(task, method, preset, given, start, hands, name)
        made = launch.run(home, spread, asked, tell, doing.tell)
        with home.join() as catalog:
            row = catalog.policy(made)
        return {"policy": row.name, "metrics": row.metrics}
    how = learner(method, preset, given)
    if "cameras" not in given:
        how = seeing(home, task, how)
    row = run(home, task, method, preset, how, tell, start, doing.tell, hands, name=name)
    return {"policy": row.name, "metrics": row.metrics}


def trials(home: Home, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Run trials of a ``batch`` that nobody has taken, at its station."""
    from appliance.evaluate import Trying, evaluate, resume

    with home.join() as catalog:
        batch = catalog.batch(settings["batch"])
        if batch.closed is not None:
            return {"batch": batch.id, "trials": 0}
    _, _, free = resume(home, batch.task, batch.id, batch.station)
    ran = []

    def tell(turn: Any) -> None:
        ran.append(turn)
        doing.tell("trials", len(ran), free)

    trying = Trying(home, batch.id, batch.station, until_decided=bool(settings.get("until_decided")))
    if free and not evaluate(trying, int(settings.get("workers", 1)), tell):
        raise Paused("trials")
    return {"batch": batch.id, "trials": len(ran)}


def label(home: Home, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Infer what people do on a ``task``'s film with a ``policy``'s vocabulary, where nobody has yet."""
    from appliance.label import label as run

    there, new = [0], [0]

    def tell(one: Any) -> None:
        new[0] += one.new
        doing.tell("films", new[0], there[0])

    def begin(number: int) -> None:
        there[0] = number

    if not run(home, settings["task"], settings["policy"], int(settings.get("workers", 1)), tell, begin):
        raise Paused("films")
    return {"labelled": new[0], "of": there[0]}


def verify(home: Home, _settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Check that the disk holds exactly what the catalog says."""
    from ops.verify import verify as check

    with home.join() as catalog:
        found = [str(finding.what) for finding in shared.amiss(home, check(catalog, home.folder))]
    for what in found:
        doing.log(what, level="error")
    return {"wrong": found}


@dataclass
class Telling:
    """Tells a worker, by lines of JSON."""

    job: str
    out: IO[str]

    def __post_init__(self) -> None:
        self.stop = threading.Event()
        self._told, self._point = 0.0, -1

    def tell(self, what: str, done: int, of: int, loss: float | None = None) -> None:
        """Say how far it came: not too often, but each point of a curve, and its end.

        Raises:
            Paused: somebody needs the machine.
        """
        now, point = time.monotonic(), done * POINTS // max(1, of)
        number = None if loss is None or not math.isfinite(loss) else loss
        if number is not None and (point != self._point or done == of):
            self._point = point
            self.log("loss", done=done, of=of, loss=number)
        if now - self._told >= SECONDS or done == of:
            self._told = now
            self.say(progress={"what": what, "done": done, "of": of, "loss": number})
        if self.stop.is_set():
            raise Paused(what)

    def log(self, what: str, **facts: Any) -> None:
        """Write into the journal."""
        self.say(log={"what": what, **facts})

    def say(self, **said: Any) -> None:
        """One line."""
        self.out.write(json.dumps(said, default=str) + "\n")
        self.out.flush()


def main() -> None:
    """Do the job that stands on the standard input; see `ops.worker.Command` for what is told."""
    _die_with(int(os.environ["APPLIANCE_WORKER"]))
    # What libraries print is no word of the job: it goes where errors go.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    doing, home = Telling(asked["job"], out), Home.from_environment()

    def make_way(_number: int, _frame: FrameType | None) -> None:
        doing.stop.set()
        if signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, signal.SIG_DFL, signal.SIG_IGN):
            signal.raise_signal(signal.SIGINT)  # whoever hears Ctrl-C at the moment ends safely by it

    signal.signal(signal.SIGTERM, make_way)
    try:
        with (
            leases.sole(home.folder, f"job-{doing.job}", "a worker", PATIENCE),
            _in_the_background(home, asked["kind"]),
        ):
            doing.say(result=do(home, asked["kind"], asked["settings"], doing))
    except Paused:
        raise SystemExit(leases.PAUSED) from None
    except leases.Held as held:
        doing.log(f"is not done twice at once: {held}", level="warn")
        raise SystemExit(leases.PAUSED) from None
    except Exception as error:
        said = refusal(error)
        if said is None:
            raise
        doing.say(refused=said)
        raise SystemExit(1) from error


@contextmanager
def _in_the_background(home: Home, kind: str) -> Generator[None]:
    """Whoever waits for the machine sees that this uses it, and until it has made way it comes last."""
    if QUEUES[kind] not in YIELDING:
        yield
        return
    os.nice(NICE)
    with suppress(OSError):  # a session of its own has a share of its own on Linux: niceness alone would mean nothing
        Path("/proc/self/autogroup").write_text(str(NICE))
    with leases.learning(home.folder, kind):
        yield


def _die_with(parent: int) -> None:
    """End when the worker does, however that ends: a job must not be done twice at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        raise SystemExit("the worker is gone")


def command() -> Sequence[str]:
    """How a process is started that does one job."""
    return [sys.executable, "-m", "appliance.work"]


if __name__ == "__main__":
    main()
