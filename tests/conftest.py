"""What several tests need: an empty database of either kind, a catalog, a data folder to type commands in, LeRobot."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when it is first imported: no test waits for a network

from storage import Catalog
from tests.postgres import LINE, installed, postgres
from tests.said import REACH
from tests.typed import Type, typing_on
from tests.urgency import urgency


@pytest.fixture(autouse=True)
def nobody_goes_first() -> Iterator[None]:
    """No test may leave this thread more urgent than it was: every later one, and all programs it starts, would be."""
    before = urgency()
    yield
    assert urgency() == before


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A PostgreSQL server of our own, one for all tests of a process."""
    if installed() is None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(f"PostgreSQL is not installed. Type: {LINE}")
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/fresh.db"
        return
    url: str = request.getfixturevalue("server")
    yield url
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture
def catalog(where: str) -> Iterator[Catalog]:
    """A catalog that knows one task, on either database."""
    with Catalog(where) as opened:
        opened.add(REACH)
        yield opened


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of this test's own, which commands will use."""
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("APPLIANCE_DATABASE", raising=False)
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(tmp_path)))
    return tmp_path / "home"


@pytest.fixture
def appliance(home: Path, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type a command, in a data folder of this test's own."""
    return typing_on(capsys)


@pytest.fixture(scope="session")
def lerobot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """LeRobot as its users have it, without a network and with its caches out of the way. Loading it takes seconds."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hugging")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        warnings.simplefilter("ignore")
        from lerobot.configs import DepthEncoderConfig, RGBEncoderConfig
        from lerobot.datasets import compute_stats
        from lerobot.datasets.lerobot_dataset import LeRobotDataset
        from lerobot.scripts import convert_dataset_v21_to_v30

        yield SimpleNamespace(
            open=lambda folder: LeRobotDataset("ours/data", root=folder, video_backend="pyav", return_uint8=True),
            create=LeRobotDataset.create,
            rgb=RGBEncoderConfig,
            depth=DepthEncoderConfig,
            aggregate=compute_stats.aggregate_stats,
            stats_of=compute_stats.get_feature_stats,
            convert=convert_dataset_v21_to_v30.convert_dataset,
        )
