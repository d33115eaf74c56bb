"""Run one emulated Franka as a process of its own: ``python -m drivers.emulators.fci --host 127.0.0.2``."""

import argparse
import signal
import sys

from drivers.device import DeviceError
from drivers.emulators.fci.emulator import Emulator
from drivers.emulators.program import obey, say
from drivers.urgent import EMULATED, urgently


def main() -> None:
    """Emulate until asked to stop."""
    parser = argparse.ArgumentParser(prog="python -m drivers.emulators.fci", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="its address, 127.x.y.z (default %(default)s)")
    parser.add_argument("--alone", action="store_true", help="only the arm; otherwise it stands at the twin's table")
    parser.add_argument("--no-lockstep", action="store_true", help="wait for no client, as a real robot")
    parser.add_argument("--urgent", action="store_true", help="go first on a busy machine, where the system allows it")
    parser.add_argument("--lines", action="store_true", help="talk in lines of JSON, and end when they do")
    chosen = parser.parse_args()
    if chosen.urgent:
        urgently(EMULATED)
    try:
        emulator = Emulator(chosen.host, table=not chosen.alone, lockstep=not chosen.no_lockstep)
    except (OSError, DeviceError) as error:
        if not chosen.lines:
            raise
        return say({"refused": str(error)})
    if chosen.lines:
        with emulator:
            return obey({}, chosen.host)
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: emulator.stop())
    sys.stdout.write(f"an emulated Franka listens at {chosen.host}\n")
    sys.stdout.flush()
    try:
        emulator.run()
    finally:
        emulator.close()
    return None


if __name__ == "__main__":
    main()
