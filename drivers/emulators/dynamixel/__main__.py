"""Run emulated arms in a program of their own.

One arm: ``python -m drivers.emulators.dynamixel /tmp/ttyDXL_left``. ALOHA's table with all four arms, in a folder:
``python -m drivers.emulators.dynamixel /tmp/aloha --pair``; it does what lines of JSON ask, until there are no more.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from drivers.clock import HostClock
from drivers.device import DeviceError
from drivers.emulators.dynamixel.arm import follower, leader, swing
from drivers.emulators.dynamixel.port import served
from drivers.emulators.program import obey, say
from drivers.urgent import EMULATED, urgently


def main(arguments: list[str]) -> None:
    """Serve one arm on a serial line until told to end, or ALOHA's table."""
    parser = argparse.ArgumentParser(prog="python -m drivers.emulators.dynamixel", description=__doc__)
    parser.add_argument("link", type=Path, help="what the serial line shall be called; with --pair, their folder")
    parser.add_argument("--leader", action="store_true", help="a leader arm that a hand swings; else a follower")
    parser.add_argument("--wire", action="store_true", help="answer no sooner than a real line could")
    parser.add_argument("--pair", type=json.loads, nargs="?", const={}, help="its settings, as JSON, if any")
    given = parser.parse_args(arguments)
    if given.pair is not None:
        return stand(given.link, given.pair)
    clock = HostClock()
    bus = leader(clock, swing()) if given.leader else follower(clock)
    with served(bus, given.link, given.wire) as path:
        sys.stdout.write(f"{path}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return None


def stand(folder: Path, settings: dict[str, Any]) -> None:
    """Have ALOHA's table, with its lines in a folder, do what standard input asks, until there is no more."""
    from drivers.emulators.dynamixel.pair import Pair  # it brings the physics

    urgently(EMULATED)
    try:
        folder.mkdir(exist_ok=True)
        with Pair(folder, **settings) as pair:
            obey(pair.can, sorted(pair.buses))
        folder.rmdir()
    except (OSError, DeviceError) as error:
        say({"refused": str(error)})


if __name__ == "__main__":
    # Threads take over the mask, so the signals wait for sigwait in the main one.
    if "--pair" not in sys.argv:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main(sys.argv[1:])
