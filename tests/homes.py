"""Data folders for tests that do not type commands: ``home = pytest.fixture(opened)``."""

from pathlib import Path

from appliance.home import Home
from storage import Catalog


def opened(tmp_path: Path) -> Home:
    """A folder of this test's own, with a catalog that knows nothing."""
    home = Home(tmp_path, str(tmp_path / "catalog.db"))
    home.open(lambda _said: None).close()
    return home


def joined(home: Home) -> Catalog:
    """Its catalog."""
    return home.join()
