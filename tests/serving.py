"""A policy server of a test's own: a real one, in this process or another."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from appliance.serving.contract import Contract
from appliance.serving.server import Served
from learners.body import Body
from learners.senses import Senses
from storage import Observation
from storage.timeline import Rows

ROOT = Path(__file__).parent.parent
CODE = "told-2-the-robot"

CONTRACT = Contract(
    policy="said-1",
    digest="d1",
    task="reach",
    method="said",
    body=Body(7, 1),
    senses=Senses(("front", "wrist"), 16, 2, 0.1),
    hz=20.0,
    horizon=100_000_000,
    ensemble=None,
    fields={"q": (7,), "width": ()},
)


@contextmanager
def serving(
    plan: Callable[[Observation, str], Rows], contract: Contract = CONTRACT, port: int = 0, code: str = CODE
) -> Generator[str]:
    """Serve a function of what is seen, in a thread; yields the address."""
    ready, ended = threading.Event(), threading.Event()
    address: list[str] = []

    async def run() -> None:
        async with await Served(contract, plan, code).open("127.0.0.1", port) as server:
            address.append(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            ready.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield address[0]
    finally:
        ended.set()
        thread.join(10)


class Program:
    """``appliance policies serve``, as a person starts it."""

    def __init__(self, home: Path, policy: str, *words: str) -> None:
        environment = os.environ | {"APPLIANCE_HOME": str(home), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "appliance.cli", "policies", "serve", policy, *words]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.told = self.process.stdout.readline()
        found = re.match(r"(\S+) serves", self.told)
        assert found, f"it said {self.told!r}"
        self.url = found[1]

    @property
    def port(self) -> str:
        return self.url.partition("#")[0].rpartition(":")[2]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)

    def close(self) -> str:
        """End it as Ctrl-C or a service manager does; returns what else it said."""
        self.process.terminate()
        said, _ = self.process.communicate(timeout=20)
        return str(said)
