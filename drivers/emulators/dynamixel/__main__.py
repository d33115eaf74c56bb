"""Run an emulated arm in a process of its own: ``python -m drivers.emulators.dynamixel /tmp/ttyDXL_left``."""

import argparse
import signal
import sys
from pathlib import Path

from drivers.clock import HostClock
from drivers.emulators.dynamixel.arm import follower, leader, swing
from drivers.emulators.dynamixel.port import served


def main(arguments: list[str]) -> None:
    """Serve one arm on a serial line until told to end."""
    parser = argparse.ArgumentParser(prog="python -m drivers.emulators.dynamixel", description=__doc__)
    parser.add_argument("link", type=Path, help="what the serial line shall be called")
    parser.add_argument("--leader", action="store_true", help="a leader arm that a hand swings; else a follower")
    parser.add_argument("--wire", action="store_true", help="answer no sooner than a real line could")
    given = parser.parse_args(arguments)
    clock = HostClock()
    bus = leader(clock, swing()) if given.leader else follower(clock)
    with served(bus, given.link, given.wire) as path:
        sys.stdout.write(f"{path}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    # Threads take over the mask, so the signals wait for sigwait in the main one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main(sys.argv[1:])
