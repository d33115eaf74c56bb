"""What a step of gym-aloha costs: its own environment as LeRobot makes it, and ours, of the same physics.

Both take the same actions in turns, in one process; what counts is processor time. Run by ``make bench``.
"""

import importlib
import sys
import time
from typing import Any

import gymnasium
import numpy as np

from drivers.gymnasium.aloha import Aloha
from tests.bench.beside import Demand, in_turns, tell_both

SMALL = (224, 224)
STEPS = {"ours": 20, "peer": 2}
"""How many steps of each side make a round."""


def main() -> int:
    """Print milliseconds a step for both, with a picture for every step, at the suite's size and at 224 x 224."""
    importlib.import_module("gym_aloha")  # it registers its environments
    peer = gymnasium.make("gym_aloha/AlohaTransferCube-v0", obs_type="pixels_agent_pos", render_mode="rgb_array")
    whole, small = Aloha("transfer").make((480, 640)), Aloha("transfer").make(SMALL)
    for each in (peer, whole, small):
        _work(each, 1)
    figures = in_turns(
        {
            "peer": lambda: _work(peer, STEPS["peer"]),
            "ours": lambda: _work(whole, STEPS["ours"]),
            "small": lambda: _work(small, STEPS["ours"]),
        }
    )
    for each in (peer, whole, small):
        each.close()
    held = [
        tell_both("gym-aloha step, 640 x 480", "ms", figures["ours"], figures["peer"], Demand("ratio", "most", 1 / 12)),
        tell_both(
            "gym-aloha step, 224 x 224", "ms", figures["small"], figures["peer"], Demand("ratio", "most", 1 / 15)
        ),
    ]
    return 0 if all(held) else 1


def _work(environment: Any, steps: int) -> float:
    """Milliseconds of processor time a step, pictures looked at."""
    said, _ = environment.reset(seed=0)
    action = np.array(said["agent_pos"])
    began = time.process_time()
    for _ in range(steps):
        said, *_ = environment.step(action)
        np.asarray(said["pixels"]["top"])
    return (time.process_time() - began) / steps * 1e3


if __name__ == "__main__":
    sys.exit(main())
