"""A plan of a served policy beside the same plan in this process: what the way there and back costs.

The server is another program on this machine. Both sides are asked of the same moment, in turns. Run by ``make bench``.
"""

import asyncio
import multiprocessing
import statistics
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from appliance.serving.contract import Contract
from appliance.serving.remote import Remote
from appliance.serving.server import Served
from drivers import Rows, row_type
from learners import ChunkPolicy, Senses
from learners.backbones import Words
from learners.body import ONE_ARM
from learners.ccol import CCoL, Net
from learners.transforms import VIEWS
from storage import Observation, PolicyRow
from tests.bench.beside import ROUNDS, Demand, in_turns, seconds, tell
from tests.lessons import INSTRUCTION, SECOND, arm_rows
from tests.serving import CODE

CAMERA = row_type(("rgb", "u1", (480, 640, 3)))
PLANS = 10
"""Of each side in a round."""

MOST = 2.0
"""Milliseconds that the way may cost, there and back: 0.9 ms were measured elsewhere for 338 KiB without deflate."""


class Nothing(torch.nn.Module):
    """Says zeros at once, so that only the way is measured."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(1, 16, 7))

    def steps(self, _images: Tensor, _state: Tensor, _instructions: list[str]) -> Tensor:
        return self.get_buffer("zeros")


def nothing() -> ChunkPolicy:
    """A policy that costs nothing, and looks at 2 x 240 x 240 pixels: 338 KiB."""
    senses = Senses(("front", "wrist"), 240, 2, 0.1)
    how: Any = SimpleNamespace(senses=senses, view=VIEWS["tool"], hz=10.0, k=16, replan=0.2, ensemble=None)
    return ChunkPolicy("nothing", how, Nothing(), ONE_ARM.facts)


def ccol() -> ChunkPolicy:
    """CCoL at its size for two cores, as it is before training."""
    torch.manual_seed(0)
    how = CCoL.preset("small")
    net = Net(how, ONE_ARM.facts | {"vocabulary": Words.vocabulary([INSTRUCTION])})
    return ChunkPolicy("ccol", how, net.eval(), net.facts)


POLICIES = {"nothing": nothing, "ccol small": ccol}


def contract(policy: ChunkPolicy) -> Contract:
    return Contract.of(PolicyRow(name="one", method=policy.method, task="-", path="-", digest="-"), policy)


def serve(name: str, line: Connection) -> None:
    """Serve a policy in this program until the other one hangs up."""
    torch.set_num_threads(1)
    policy = POLICIES[name]()

    async def run() -> None:
        async with await Served(contract(policy), policy.plan, CODE).open("127.0.0.1", 0) as server:
            line.send(server.sockets[0].getsockname()[1])
            await asyncio.to_thread(line.poll, None)

    asyncio.run(run())


def moment(policy: ChunkPolicy) -> Observation:
    """What a cell with cameras of 640 x 480 shows."""
    stamps = np.arange(SECOND, 3 * SECOND, SECOND // 100)
    streams = {"arm": arm_rows(stamps)}
    for name in policy.senses.cameras:
        frames: Rows = np.zeros(1, CAMERA)
        frames["t"], frames["rgb"] = stamps[-1], np.random.default_rng(0).integers(0, 256, frames["rgb"].shape)
        streams[name] = frames
    return Observation(int(stamps[-1]), streams)


def measure(name: str) -> bool:
    """Print what one policy costs on both sides."""
    context = multiprocessing.get_context("spawn")
    line, theirs = context.Pipe()
    program = context.Process(target=serve, args=(name, theirs), daemon=True)
    program.start()
    policy = POLICIES[name]()
    seen = moment(policy)
    with Remote(f"ws://127.0.0.1:{line.recv()}", CODE) as remote:
        for _ in range(3):
            if not np.array_equal(remote.plan(seen, INSTRUCTION), policy.plan(seen, INSTRUCTION)):
                raise ValueError(f"{name}: what is served is not what is here")

        def usual(plan: Callable[[Observation, str], Rows]) -> float:
            return statistics.median(seconds(lambda: plan(seen, INSTRUCTION)) for _ in range(PLANS))

        sides = {"served": lambda: usual(remote.plan), "here": lambda: usual(policy.plan)}
        found = in_turns(sides, 2 * ROUNDS)
    line.send(None)
    program.join(10)
    there, here = (statistics.median(times) * 1e3 for times in (found["served"], found["here"]))
    return tell(f"a plan of {name}, served", "ms", there, here, Demand("ours", "most", here + MOST))


def main() -> None:
    """Measure a policy that costs nothing and one that costs what a small one does."""
    torch.set_num_threads(1)
    held = [measure(name) for name in POLICIES]
    if not all(held):
        sys.exit(1)


if __name__ == "__main__":
    main()
