"""Taking an episode out of the data: one row of ours, beside LeRobot's rewriting of the data set."""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench import peer
from tests.bench.beside import ROUNDS, Demand, in_turns, seconds, tell_both
from tests.bench.content import BUILD

EPISODES = 4
ROWS = 100_000


def main() -> None:
    """Print how long each side takes until the episode is out, durably."""
    from lerobot.datasets.dataset_tools import delete_episodes

    from storage import Catalog
    from tests.bench.bench_catalog import edit_once, seed

    whole = peer.dataset(EPISODES)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder, Catalog(Path(folder) / "catalog.db") as catalog:
        seed(catalog, ROWS)

        def rewrite() -> float:
            out = Path(folder) / "without"
            shutil.rmtree(out, ignore_errors=True)
            dataset = peer.opened(whole, 1)
            return seconds(lambda: delete_episodes(dataset, [1], output_dir=out, repo_id="bench/without"))

        figures = in_turns({"ours": lambda: seconds(lambda: edit_once(catalog)), "peer": rewrite}, ROUNDS)
    tell_both("durable retire", "s", figures["ours"], figures["peer"], Demand("ours", "most", 0.02))
    sys.stdout.write(f"slowest of ours {max(figures['ours']):.3g} s, median {statistics.median(figures['ours']):.3g}\n")


if __name__ == "__main__":
    peer.prepare("tests.bench.bench_editing")
    main()
