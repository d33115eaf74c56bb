"""A headless Chromium for tests, driven over its DevTools protocol, and the WebXR emulator that plays the headset."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parent.parent
PROGRAM = "chromium-headless-shell"
ITSELF = Path("/usr/lib/chromium") / PROGRAM
"""What Debian's command starts, as a child of its own: to end the command would leave this running."""

IWER = ROOT / ".cache" / "iwer-2.5.0.min.js"
LINE = "apt-get install -y --no-install-recommends chromium-headless-shell npm"
FETCH = "python3 tools/setup_env.py --browser"

SOFTLY = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""WebGL without a graphics card."""

WORN = """
window.headset = new IWER.XRDevice(IWER.metaQuest3);
headset.installRuntime({forceInstall: true});
headset.position.set(0, 1.6, 0);
window.guessed = false;
window.pulses = [];
Object.defineProperty(XRPose.prototype, "emulatedPosition", {get: () => guessed});
for (const [side, hand] of Object.entries(headset.controllers))
  for (const actuator of hand.inputSource.gamepad.hapticActuators)
    actuator.pulse = async (amplitude, ms) => { pulses.push([side, amplitude, ms]); };
"""
"""Of the emulator's own, every position is a guess, and a pulse is not to be felt."""


def needed() -> None:
    """Skip the test where there is no browser or no headset for it, and say what to type; fail in CI."""
    tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    if shutil.which(PROGRAM) is None:
        tell(f"There is no {PROGRAM}. Type: {LINE}")
    if not IWER.exists():
        tell(f"There is no emulated headset. Type: {FETCH}")


class Page:
    """One page of a browser. What goes wrong in it is the test's affair: ``errors`` holds it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session = ""
        self.errors: list[str] = []
        self._target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        self._call("Page.enable")
        self._call("Runtime.enable")
        self._call("Log.enable")
        for source in (IWER.read_text(), WORN):
            self._call("Page.addScriptToEvaluateOnNewDocument", source=source)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = ""
        self._call("Target.closeTarget", targetId=self._target)

    def open(self, address: str) -> None:
        """Go there, wearing an emulated headset."""
        failed = self._call("Page.navigate", url=address).get("errorText")
        if failed:
            raise ConnectionError(f"{address}: {failed}")

    def do(self, script: str) -> Any:
        """Run a script as if a person had clicked, wait for it, and return what it gives."""
        said = self._call(
            "Runtime.evaluate", expression=script, userGesture=True, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in said:
            raise RuntimeError(json.dumps(said["exceptionDetails"]))
        return said["result"].get("value")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(order | ({"sessionId": self._session} if self._session else {})))
        while True:
            said = json.loads(self._socket.recv(60))
            if said.get("id") == number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                result: dict[str, Any] = said["result"]
                return result
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(said["params"]["exceptionDetails"]))
            elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.errors.append(said["params"]["entry"]["text"])


@contextmanager
def browser(folder: Path, *options: str) -> Generator[ClientConnection]:
    """Run a browser whose profile is in an empty folder, and give what leads to it."""
    dying = shutil.which("setpriv")  # a browser whose test was killed ends too
    command = [*([dying, "--pdeathsig", "KILL"] if dying else []), str(ITSELF) if ITSELF.exists() else PROGRAM]
    settings = ["--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={folder}", *SOFTLY, *options]
    running = subprocess.Popen(
        [*command, *settings],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HOME": str(folder)},
        process_group=0,
    )
    assert running.stderr is not None
    try:
        lines: list[str] = []
        for line in running.stderr:
            lines.append(line)
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                break
        else:
            raise OSError(f"{PROGRAM} does not start: {''.join(lines)}")
        threading.Thread(target=running.stderr.read, daemon=True).start()
        with connect(found[1], max_size=None, compression=None, close_timeout=1) as socket:
            yield socket
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        running.stderr.close()
