"""A weakness that was planted is found, ordered, cured and measured: the circle that an order goes round."""

import sys
from pathlib import Path

import pytest

from appliance import station
from appliance.begins import fits
from appliance.collect import Sitting, collect, starts
from appliance.evaluate import Trying, evaluate, plan
from appliance.home import STARTER, Home
from appliance.orders import again, brought, place, suggest
from appliance.settings import learner
from appliance.train import train
from ops.results import summarize
from ops.slices import Bound, Slice
from storage import PolicyRow, WorkOrder

CELL, TASK = "franka-sim", STARTER.name
RIGHT = WorkOrder(task=TASK, wanted=1, part=Slice((Bound("y", -0.14, -0.05, "right third"),)).facts)
"""Shown the whole right half, a policy of 80 demonstrations fails on the left no more than anywhere."""
SHOWN, WANTED, TRIALS = 30, 30, 24


def shown(home: Home, number: int, order: WorkOrder, seed: int, kept: int | None = None) -> None:
    """Have the script show the task from starts that an order asks for."""
    begun = starts(home, TASK, CELL, number, seed, fits(station.load(CELL), STARTER.instruction, order))
    assert collect(Sitting(home, TASK, CELL, "script", begun, order=kept), 2, lambda _took: None)


def learned(home: Home) -> PolicyRow:
    how = learner("ccol", "small", {"steps": "500", "tracker": "none"})
    return train(home, TASK, "ccol", "small", how, lambda _done, _of, _loss: None)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_was_never_shown_is_ordered_shown_and_measured_to_be_better(tmp_path: Path) -> None:
    """Demonstrations of the right third alone; what is ordered lies in the left half, and cures it."""
    home = Home(tmp_path, str(tmp_path / "catalog.db"))
    with home.open(lambda _: None):
        shown(home, SHOWN, RIGHT, seed=0)
    first = learned(home)
    batch, _ = plan(home, TASK, [first.name], TRIALS, 0, CELL)
    assert evaluate(Trying(home, batch.id, CELL), 2, lambda _turn: None)
    found = suggest(home, TASK, wanted=WANTED)
    best = found.proposals[0]
    with home.join() as catalog:
        (report,) = summarize(catalog, TASK).policies
        order = place(catalog, TASK, found)[0]
    lines = ["", f"{first.name}: {report.says}", *(one.words for one in found.proposals)]
    assert "left half" in best.where.words
    assert best.shown == 0
    shown(home, WANTED, order, seed=1, kept=order.id)
    second = learned(home)
    tried = again(home, order.id, second.name, 12, 1)
    assert evaluate(Trying(home, tried.id, CELL), 2, lambda _turn: None)
    with home.join() as catalog:
        measured = brought(catalog, tried)
        assert catalog.order_progress(order.id) >= WANTED * 0.9
        assert catalog.work_order(order.id).result["says"] == measured.says
    sys.stdout.write("\n".join([*lines, measured.says, ""]))
    assert measured.compared.decided == "better"
    assert measured.after.successes >= measured.before.successes + 6
