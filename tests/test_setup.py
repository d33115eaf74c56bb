"""From a fresh checkout with one command: what can be tested of that without fetching gigabytes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import LINE as BROWSER
from tests.postgres import LINE
from tests.terminal import LINE as TERMINAL

ROOT = Path(__file__).parent.parent
INPUTS = ("requirements.lock", "pyproject.toml", "tools/uv.txt", "tools/setup_env.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the setup reads, in a folder with spaces in its name, where everything is already installed."""
    copy = tmp_path / "a folder with spaces"
    for name in INPUTS:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (copy / ".venv" / "ready").write_text(ask(copy, "print(wanted(), end='')").stdout)
    return copy


def ask(checkout: Path, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of Python with everything that the setup script defines."""
    line = f"import os; from setup_env import *; {program}"
    return subprocess.run(
        [sys.executable, "-c", line], cwd=checkout / "tools", capture_output=True, text=True, check=False
    )


def test_a_second_run_does_nothing_at_once(checkout: Path) -> None:
    script = [sys.executable, "-S", str(checkout / "tools" / "setup_env.py")]
    said = subprocess.run(script, capture_output=True, text=True, timeout=5, check=True, stdin=subprocess.DEVNULL)
    assert said.stdout == said.stderr == ""
    assert not (checkout / ".cache").exists()


@pytest.mark.parametrize("name", INPUTS)
def test_whatever_it_was_made_from_changes_it_is_made_again(checkout: Path, name: str) -> None:
    assert ask(checkout, "print(is_ready())").stdout == "True\n"
    with (checkout / name).open("a") as file:
        file.write("\n# changed\n")
    assert ask(checkout, "print(is_ready())").stdout == "False\n"


def test_a_moved_checkout_is_set_up_again(checkout: Path) -> None:
    (checkout / ".venv" / "bin" / "activate").write_text(f"VIRTUAL_ENV='{checkout}/.venv'\n")
    assert ask(checkout, "print(is_made_here())").stdout == "True\n"
    moved = checkout.rename(checkout.parent / "elsewhere")
    assert ask(moved, "print(is_ready(), is_made_here())").stdout == "False False\n"


def test_who_may_not_install_is_told_the_line_to_type(checkout: Path) -> None:
    become_nobody = "os.geteuid() or os.setuid(65534)"
    said = ask(checkout, f"{become_nobody}; apt(['libegl1', 'libgl1-mesa-dri'], 'the cameras need EGL')")
    assert said.returncode == 1
    assert "the cameras need EGL" in said.stderr
    assert "libegl1" in said.stderr
    assert "Traceback" not in said.stderr
    if shutil.which("apt-get"):
        assert "  sudo apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri\n" in said.stderr


def test_without_a_database_it_tells_the_line_to_type_and_goes_on(checkout: Path) -> None:
    nothing = "import setup_env; setup_env.SERVERS = Path('/nowhere'); os.environ['PATH'] = '/nowhere'"
    said = ask(checkout, f"{nothing}; os.geteuid() or os.setuid(65534); ensure_database(); print('went on')")
    assert (said.returncode, said.stdout) == (0, "went on\n")
    assert said.stderr.endswith(f"  sudo {LINE}\n")


def test_with_a_database_there_is_nothing_to_do(checkout: Path) -> None:
    (checkout / "15" / "bin").mkdir(parents=True)
    (checkout / "15" / "bin" / "initdb").touch()
    here = f"import setup_env; setup_env.SERVERS = Path({str(checkout)!r}); os.environ['PATH'] = '/nowhere'"
    said = ask(checkout, f"{here}; ensure_database()")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_tests_see_to_their_database_first() -> None:
    said = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.index("setup_env.py --database") < said.index("-m pytest")


def test_the_tests_see_to_their_browser_first() -> None:
    said = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.index("--browser") < said.index("-m pytest")


def test_without_a_browser_it_tells_the_line_to_type_and_goes_on(checkout: Path) -> None:
    nothing = "os.environ['PATH'] = '/nowhere'; os.geteuid = lambda: 65534"
    said = ask(checkout, f"{nothing}; ensure_browser(); print('went on')")
    assert (said.returncode, said.stdout) == (0, "went on\n")
    assert said.stderr.endswith(f"  sudo {BROWSER}\n")


def test_the_tests_see_to_their_terminal_first() -> None:
    said = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.index("--terminal") < said.index("-m pytest")


def test_without_a_terminal_it_tells_the_line_to_type_and_goes_on(checkout: Path) -> None:
    nothing = "os.environ['PATH'] = '/nowhere'; os.geteuid = lambda: 65534"
    said = ask(checkout, f"{nothing}; ensure_terminal(); print('went on')")
    assert (said.returncode, said.stdout) == (0, "went on\n")
    assert said.stderr.endswith(f"  sudo {TERMINAL}\n")


def test_an_emulated_headset_that_is_not_what_it_was_is_refused(checkout: Path) -> None:
    npm = checkout / "npm"
    npm.write_text('#!/bin/sh\necho other > "$6/iwer-2.5.0.tgz"\n')
    npm.chmod(0o755)
    other = f"os.environ['PATH'] = {str(checkout)!r}; fetch_emulated_headset()"
    said = ask(checkout, other)
    assert (said.returncode, said.stderr.splitlines()[-1]) == (
        1,
        "setup: iwer@2.5.0 is not what it was: its hash differs",
    )
    assert not list((checkout / ".cache").iterdir())


def test_this_machine_can_draw(checkout: Path) -> None:
    assert ask(checkout, "print(can_draw())").stdout == "True\n"


def test_this_machine_has_what_the_cameras_library_is_linked_against(checkout: Path) -> None:
    assert ask(checkout, "print(has_usb()); ensure_usb()").stdout == "True\n"


def test_without_libusb_it_tells_the_line_to_type(checkout: Path) -> None:
    nothing = "import setup_env; setup_env.has_usb = lambda: False; os.geteuid() or os.setuid(65534)"
    said = ask(checkout, f"{nothing}; setup_env.ensure_usb()")
    assert said.returncode == 1
    assert "RealSense" in said.stderr
    assert "libusb" in said.stderr


def test_the_lock_pins_every_package_with_a_hash_and_names_no_index() -> None:
    for name in ("requirements.lock", "tools/uv.txt"):
        lines = [line.strip() for line in (ROOT / name).read_text().splitlines() if line.strip()]
        packages = [line for line in lines if not line.startswith("--hash=sha256:")]
        assert packages
        assert all("==" in line and line.endswith("\\") for line in packages), name
        assert "://" not in (ROOT / name).read_text()


def test_make_lists_its_targets_and_the_readme_begins_with_two_of_them() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "check", "slow", "bench", "clean"):
        assert f"make {target} " in said
    top = (ROOT / "README.md").read_text().split("##")[0]
    assert "make demo" in top
    assert "make test" in top
