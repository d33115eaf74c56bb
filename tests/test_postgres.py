"""The server that tests start is theirs alone, and gone when they are, however they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage import Catalog, Unavailable
from tests.postgres import installed, postgres

ROOT = Path(__file__).parent.parent
PROGRAM = "from tests.postgres import postgres\nwith postgres() as url:\n    print(url, flush=True)\n    input()"

pytestmark = pytest.mark.skipif(installed() is None, reason="the tests of the catalog say what to type")


def test_a_server_is_gone_when_its_test_is(server: str) -> None:
    """And two at once do not meet."""
    with postgres() as url:
        assert url != server
        with Catalog(url) as catalog:
            assert len(catalog.failure_modes()) == 13
    with pytest.raises(Unavailable):
        Catalog(url)


def test_a_server_is_gone_when_the_program_that_started_it_was_killed() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdin is not None
    url = program.stdout.readline().strip()
    Catalog(url).close()
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    program.stdin.close()
    program.stdout.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            Catalog(url).close()
        except Unavailable:
            return
        time.sleep(0.05)
    pytest.fail(f"the server at {url} is still there")
