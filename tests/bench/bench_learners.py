"""Methods beside each other: the same demonstrations, steps, windows, seeds and sizes, tried from the same starts.

``make bench-learners ARGS="--recipe few"``; a recipe's fields are options. What is done is kept in the bench's own data
folder (``build/learners``), and a second call only does what is missing. It writes ``table.txt``, ``table.json`` and
``table.png`` there, and says what is claimed of CCoL beside LeRobot's ACT and whether it holds.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from appliance import station
from appliance.cli.shown import progress
from appliance.home import Home
from appliance.refusal import Refusal
from appliance.station import StationError
from tests.bench.beside import Demand, tell, tell_both
from tests.bench.content import BUILD
from tests.bench.methods import table
from tests.bench.methods.measures import Pace, paces
from tests.bench.methods.recipes import CELLS, RECIPES, CannotCompare, Recipe, possible, recipe
from tests.bench.methods.rows import Done, Shelf, do, policy, rows, show, shown

ROUNDS = 5
"""Turns of every method when it is timed."""
SOME = 10
"""Demonstrations that are enough to time training on, or to compare plans with."""
SIGNIFICANT = 0.05


def main(arguments: Sequence[str]) -> int:
    """Follow a recipe; returns 0 when all of it was done and what is claimed holds."""
    asked = _asked(arguments)
    try:
        made = _recipe(asked)
        possible(made)
        _one_thread()
        return bench(made, _home(), asked.rounds)
    except (Refusal, StationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def bench(made: Recipe, home: Home, rounds: int) -> int:
    """Do what is missing, and write the table and the plot."""
    home.open(_say).close()
    shelf = Shelf(home.folder / "rows")
    names: dict[str, str] = {}
    for task in made.tasks:
        if (why := _lacks(task)) is None:
            names[task] = show(home, task, made.demos, made.workers, _say, progress)
            show(home, task, min(SOME, made.demos), made.workers, _say, progress, aside=True)
        else:
            _say(f"{task} is left out: {why}")
    done: list[Done] = []
    for row in rows(replace(made, tasks=tuple(names))):
        found = shelf.done(row)
        if found is None:
            found = do(home, shelf, row, names[row.task], _say, progress)
        done.append(found)
        _say(f"{row.name}: {found.successes} of {found.trials}")
    if not done:
        raise CannotCompare("nothing is left of this recipe")
    timed = _paces(made, home, names, done, rounds)
    found_lines, compared = table.lines(done, timed), table.comparisons(done)
    machine = _machine()
    told = table.text(made, found_lines, compared, machine)
    (home.folder / "table.txt").write_text(told)
    said = table.as_json(made, found_lines, compared, done, machine)
    (home.folder / "table.json").write_text(json.dumps(said, indent=1))
    table.plot(
        found_lines, f"{made.says}: {made.demos} demonstrations, preset {made.preset}", home.folder / "table.png"
    )
    _say("\n" + told)
    _say(f"Written: {home.folder / 'table.txt'}, table.json and table.png beside it.")
    return 0 if all(claims(compared, timed)) else 1


def claims(compared: Sequence[table.Beside], timed: dict[str, Pace]) -> list[bool]:
    """Say whether CCoL keeps what is claimed of it beside LeRobot's ACT."""
    held = []
    for one in compared:
        if (one.one, one.other) != ("ccol", "lerobot.act"):
            continue
        # Not worse: not fewer alone, or no more so than chance would have it.
        lost = one.p if one.only_one < one.only_other else 1.0
        said = f"{one.task}, CCoL beside LeRobot's ACT"
        held += [
            tell(f"{said}: chance of losing so", "p", lost, None, Demand("ours", "least", SIGNIFICANT)),
            tell(f"{said}: roughness of trials, as long", "times", one.paced.times, None, Demand("ours", "most", 1.0)),
            tell(f"{said}: roughness of plans", "times", one.plans_rougher, None, Demand("ours", "most", 1.0)),
        ]
    if {"ccol", "lerobot.act"} <= timed.keys():
        ours, peer = timed["ccol"].steps, timed["lerobot.act"].steps
        held.append(tell_both("training, CCoL beside ACT", "steps a second", ours, peer, Demand("ratio", "least", 1.0)))
    return held


def _paces(made: Recipe, home: Home, names: dict[str, str], done: Sequence[Done], rounds: int) -> dict[str, Pace]:
    """Every method in turns, at the first task; kept as long as nobody joins them."""
    first = done[0].task
    here = {one.entry: one for one in reversed(done) if one.task == first}
    kept = home.folder / "paces" / f"{_same([*sorted(one.policy for one in here.values()), rounds])}.json"
    if kept.exists():
        return {name: Pace(**one) for name, one in json.loads(kept.read_text()).items()}
    policies = {name: policy(home, one) for name, one in sorted(here.items())}
    with home.join() as catalog, progress("timing", rounds * len(policies)) as advance:
        episodes = shown(catalog, home, names[first], SOME)
        timed = paces(policies, episodes, CELLS[first].instruction, rounds, advance)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps({name: asdict(one) for name, one in timed.items()}, indent=1))
    return timed


def _same(what: Sequence[object]) -> str:
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()


def _lacks(task: str) -> str | None:
    """Why a task cannot be shown here; None when it can."""
    try:
        station.load(CELLS[task].station)
    except StationError as error:
        return str(error).splitlines()[0]
    return None


def _home() -> Home:
    folder = Path(os.environ.get("APPLIANCE_HOME") or BUILD.parent / "learners").absolute()
    return Home(folder, str(folder / "catalog.db"))


def _one_thread() -> None:
    """Threads that wait for each other on cores that others use cost more than they bring, and times by chance."""
    import torch

    torch.set_num_threads(1)


def _machine() -> str:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"machine: {os.cpu_count()} processor cores ({platform.machine()}), {gpu}, torch {torch.__version__}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-learners", description=__doc__)
    known = "; ".join(f"{name}: {made.says}" for name, made in RECIPES.items())
    parser.add_argument("--recipe", default="few", help=f"What to do. {known}.")
    parser.add_argument("--tasks", type=_names, help=f"Some of {', '.join(CELLS)}, with commas.")
    parser.add_argument("--methods", type=_names, help="Names with commas; ccol* means all that begin so.")
    parser.add_argument("--seeds", type=_numbers, help="Of training, with commas.")
    for name in ("demos", "steps", "batch", "trials", "image", "workers"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--preset", help="tiny, small or paper.")
    parser.add_argument("--limit", type=float, help="Seconds until a trial ends anyway.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="Turns of every method when it is timed.")
    return parser.parse_args(arguments)


def _recipe(asked: argparse.Namespace) -> Recipe:
    wishes = {name: wish for name, wish in vars(asked).items() if name not in {"recipe", "rounds"}}
    return recipe(asked.recipe).but(**wishes)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(","))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
