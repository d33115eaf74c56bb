"""The unit says what systemd understands, and holds no secret."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.home import Home
from appliance.unit import unit
from ops.backup import remember
from tests.typed import Type

VERIFY = shutil.which("systemd-analyze")


def fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def home(folder: Path, database: str = "") -> Home:
    folder.mkdir(exist_ok=True)
    return Home(folder, database or str(folder / "catalog.db"))


@pytest.mark.skipif(VERIFY is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", ["data", "my data", '100% $HOME\'s "best"'])
def test_systemd_understands_it(tmp_path: Path, name: str) -> None:
    here = home(tmp_path / name)
    remember(here.folder, "backup", to="/mnt/the disk/backup", ok=True)
    path = tmp_path / "appliance.service"
    path.write_text(unit(here, ["--port", "8765"], [tmp_path / "the disk"], user="root"))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in said.stderr.splitlines() if "appliance.service" in line]
    assert (said.returncode, complaints) == (0, []), said.stderr


def written(path: Path | str) -> str:
    """A path as a unit has it: in quotes where it has a space, as this checkout's may."""
    return f'"{path}"' if " " in str(path) else str(path)


def test_it_restarts_after_a_fault_and_is_gone_within_five_seconds(tmp_path: Path) -> None:
    said = fields(unit(home(tmp_path / "data")))
    assert said["Restart"] == "on-failure"
    assert said["TimeoutStopSec"] == "5"
    assert said["KillMode"] == "mixed"
    assert said["NoNewPrivileges"] == "yes"
    assert said["ProtectSystem"] == "strict"
    assert said["PrivateTmp"] == "yes"
    assert said["ReadWritePaths"] == written(tmp_path / "data")
    assert "time-sync.target" in said["After"]
    assert said["ExecStart"] == f"{written(sys.executable)} -m appliance.cli serve"


def test_what_is_typed_beside_it_is_in_it(appliance: Type) -> None:
    said = appliance("serve", "--name", "desk 2", "--queues", "learn,twin", "--port", "9100", "--unit")
    assert said.code == 0
    command = '-m appliance.cli serve --name "desk 2" --queues learn,twin --port 9100'
    assert fields(said.out)["ExecStart"] == f"{written(sys.executable)} {command}"
    assert fields(appliance("serve", "--unit").out)["ExecStart"] == f"{written(sys.executable)} -m appliance.cli serve"


def test_what_systemd_would_replace_is_written_twice(tmp_path: Path) -> None:
    """A % begins a specifier anywhere, a $ a variable in the command."""
    text = unit(home(tmp_path / "100% $HOME"), python=Path("/opt/$x/100%/python"))
    assert not re.search(r"(?<!%)%(%%)*(?!%)", text)
    assert fields(text)["ExecStart"].startswith("/opt/$$x/100%%/python ")
    assert fields(text)["ReadWritePaths"] == f'"{tmp_path}/100%% $HOME"'


def test_it_may_write_to_where_the_last_backup_went(tmp_path: Path) -> None:
    here = home(tmp_path / "data")
    remember(here.folder, "backup", to="/mnt/the disk/backup", ok=True)
    assert fields(unit(here))["ReadWritePaths"] == f'{written(tmp_path / "data")} "-/mnt/the disk/backup"'


def test_a_password_is_not_in_a_file_that_everybody_reads(tmp_path: Path) -> None:
    text = unit(home(tmp_path / "data", "postgresql://mika:hunter2@db/lab"))
    assert "hunter2" not in text
    assert f"EnvironmentFile=-{tmp_path / 'data' / 'serve.env'}" in text
    assert "serve.env, chmod 600" in text
    assert "postgresql.service" in text


def test_a_catalog_that_lies_elsewhere_may_be_written_to(tmp_path: Path) -> None:
    said = unit(home(tmp_path / "data", str(tmp_path / "elsewhere" / "catalog.db")))
    assert fields(said)["ReadWritePaths"] == f"{written(tmp_path / 'data')} {written(tmp_path / 'elsewhere')}"
    assert f"APPLIANCE_DATABASE={tmp_path / 'elsewhere' / 'catalog.db'}" in said
    said = unit(home(tmp_path / "data", f"sqlite:///{tmp_path / 'elsewhere' / 'catalog.db'}"))
    assert fields(said)["ReadWritePaths"] == f"{written(tmp_path / 'data')} {written(tmp_path / 'elsewhere')}"
    assert f"APPLIANCE_DATABASE=sqlite:///{tmp_path / 'elsewhere' / 'catalog.db'}" in said
