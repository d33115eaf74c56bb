"""Data folders for tests that do not type commands: ``home = pytest.fixture(opened)``."""

from pathlib import Path

from appliance.collect import Sitting, collect, starts
from appliance.home import STARTER, Home
from appliance.settings import learner
from appliance.train import train
from storage import Catalog


def opened(tmp_path: Path) -> Home:
    """A folder of this test's own, with a catalog that knows nothing."""
    home = Home(tmp_path, str(tmp_path / "catalog.db"))
    home.open(lambda _said: None).close()
    return home


def joined(home: Home) -> Catalog:
    """Its catalog."""
    return home.join()


def remembering(folder: Path, takes: int, cell: str = "franka-sim") -> Home:
    """A folder with so many scripted demonstrations in the twin, and the policy ``nearest-1``, which remembers them."""
    home = opened(folder)
    begun = starts(home, STARTER.name, cell, takes, 0)
    assert collect(Sitting(home, STARTER.name, cell, "script", begun), 1, lambda _took: None)
    how = learner("nearest", "tiny", {})
    train(home, STARTER.name, "nearest", "tiny", how, lambda _done, _of, _loss: None)
    return home
