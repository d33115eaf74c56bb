"""Takes the pictures of the operator's screen that are in ``docs/screens``: the program itself, in a real terminal.

``.venv/bin/python -m tests.bench.pictures`` makes a data folder first, in the twin; ``--home FOLDER`` keeps one.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

from appliance.collect import Sitting, collect, starts
from appliance.evaluate import Trying, evaluate, plan
from appliance.home import STARTER, Home
from appliance.settings import learner
from appliance.train import train
from tests.drawn import HALF, svg
from tests.terminal import Terminal

FOLDER = Path(__file__).parent.parent.parent / "docs" / "screens"
CELL, TASK = "franka-sim", STARTER.name
SIZES = ((200, 60), (80, 24))

LARGEST = 150_000
"""Bytes of a picture, at most."""


def main() -> None:
    """Take every picture, in both sizes."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--home", type=Path, help="a data folder that is kept, and filled if it is empty")
    folder = asked.parse_args().home
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as other:
        home = Home(folder or Path(other), str((folder or Path(other)) / "catalog.db"))
        if not (home.folder / "catalog.db").exists():
            fill(home)
        for columns, rows in SIZES:
            batch, _ = plan(home, TASK, ["nearest-1", "nearest-2"], 10, 1, CELL)
            words = (sys.executable, "-m", "appliance.cli", "tui", "--operator", "ada")
            variables = {"APPLIANCE_HOME": str(home.folder), "OMP_NUM_THREADS": "1"}
            with Terminal(columns, rows, *words, **variables) as terminal:
                take(terminal, columns, rows, batch.id)


def fill(home: Home) -> None:
    """Collect, learn twice, and try both: so that there is something to see."""
    os.environ["MPLCONFIGDIR"] = str(home.folder / "cache")
    home.open(lambda _said: None).close()
    begun = starts(home, TASK, CELL, 6, 0)
    collect(Sitting(home, TASK, CELL, "script", begun), 1, lambda _took: None)
    for _ in range(2):
        train(home, TASK, "nearest", "tiny", learner("nearest", "tiny", {}), lambda *_: None)
    batch, _ = plan(home, TASK, ["nearest-1", "nearest-2"], 3, 0, CELL)
    evaluate(Trying(home, batch.id, CELL), 1, lambda _turn: None)


def take(terminal: Terminal, columns: int, rows: int, batch: str) -> None:
    """Go through the screens as an operator would."""

    def keep(name: str) -> None:
        drawn = svg(terminal.coloured, columns, rows)
        path = FOLDER / f"{name}-{columns}x{rows}.svg"
        path.write_text(drawn)
        sys.stdout.write(f"{path.name}: {len(drawn) / 1e3:.0f} kB\n")
        if len(drawn) > LARGEST:
            raise SystemExit(f"{path.name} is larger than {LARGEST / 1e3:.0f} kB")

    terminal.see("DEVICES of franka-sim")
    terminal.see("champion none yet")
    keep("cell")
    terminal.press("2")
    terminal.see("Enter: begin a sitting")
    terminal.press("Enter")
    terminal.see("START: put")
    terminal.press("Enter")
    terminal.wait(lambda: recorded(terminal), "a take")
    keep("collect")
    terminal.wait(lambda: judged(terminal), "the next take")
    terminal.press("q")
    terminal.see("Enter: begin a sitting")
    terminal.press("3")
    terminal.see("when task who")
    terminal.see("success")
    keep("episodes")
    terminal.press("4")
    terminal.see("what state how far")
    terminal.see("nearest done")
    keep("learn")
    terminal.press("5")
    terminal.see(f"{batch} pick_place")
    terminal.press("NPage")
    terminal.see("champion of pick_place")
    keep("batches")
    terminal.press("PPage")
    terminal.see("0 told them apart")
    terminal.press("Enter")
    terminal.see("trial 1 of 20")
    terminal.see("n=0: no valid trial")
    terminal.see("START: put")
    terminal.press("Enter")
    terminal.wait(lambda: recorded(terminal), "a trial")
    keep("evaluate")
    terminal.press("f")
    terminal.see("In which stage?")
    keep("failed")
    terminal.press("q")
    terminal.see(f"{batch} pick_place")
    terminal.press("?")
    terminal.see("n plans a batch")
    keep("help")
    terminal.press("Escape")
    terminal.wait(lambda: "Esc: back" not in terminal.screen, "the screen below")
    terminal.press("6")
    terminal.see("code failure")
    keep("orders")
    terminal.press("C-q")
    terminal.ended()


def judged(terminal: Terminal) -> bool:
    """Say that it went well, and whether the next take may begin."""
    terminal.press("s")
    return "START: put" in terminal.screen


def recorded(terminal: Terminal) -> bool:
    """Whether a take is being made, and what the cameras see is shown."""
    seen = terminal.screen
    return HALF * 9 in seen and re.search(r"REC \d", seen) is not None


if __name__ == "__main__":
    main()
