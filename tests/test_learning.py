"""The circle learns: from demonstrations in the twin to a policy that mostly succeeds where it has never been."""

from pathlib import Path

import pytest

from appliance.collect import Sitting, collect, starts
from appliance.evaluate import Trying, evaluate, plan
from appliance.home import Home
from appliance.settings import learner
from appliance.train import train
from ops import report

DEMONSTRATIONS, STEPS, TRIALS = 120, 900, 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ccol_learns_to_pick_and_place_and_the_baselines_do_not(tmp_path: Path) -> None:
    """With a budget far below the demo, it passes well over half; going by what was nearest, or blindly, does not."""
    home = Home(tmp_path, str(tmp_path / "catalog.db"))
    with home.open(print):
        chosen = starts(home, "pick_place", "franka-sim", DEMONSTRATIONS, seed=0)
    assert collect(Sitting(home, "pick_place", "franka-sim", "test", chosen), 2, lambda _took: None)
    rows = []
    for method, given in (("random", {}), ("nearest", {}), ("ccol", {"steps": str(STEPS)})):
        how = learner(method, "small", given)
        rows.append(train(home, "pick_place", method, "small", how, lambda _done, _of, _loss: None))
    batch, _ = plan(home, "pick_place", [row.name for row in rows], TRIALS, 0, "franka-sim")
    assert evaluate(Trying(home, batch.id, "franka-sim"), 2, lambda _turn: None)
    with home.join() as catalog:
        found = report.as_json(report.summarize(catalog, "pick_place"))
    rate = {policy["method"]: policy["success_rate"] for policy in found["policies"]}
    assert all(policy["trials"] == TRIALS for policy in found["policies"])
    assert rate["ccol"] >= 0.6
    assert rate["ccol"] > rate["nearest"] + 0.3
    assert rate["ccol"] > rate["random"] + 0.3
