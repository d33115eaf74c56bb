"""Run any program that uses OpenXR with an emulated headset: ``python -m drivers.emulators.openxr MODULE [ARGUMENTS]``.

Its admin line's port is the first thing printed.
"""

import argparse
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run a module in this program, under an emulated runtime."""
    parser = argparse.ArgumentParser(prog="python -m drivers.emulators.openxr", description=__doc__)
    parser.add_argument("--script", type=Path, help="what the person does, a line of JSON per moment")
    parser.add_argument("--port", type=int, default=0, help="of the admin line (default: any)")
    parser.add_argument("module", help="what to run, as after python -m")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the module")
    given = parser.parse_args()

    from drivers.emulators.openxr.admin import listening
    from drivers.emulators.openxr.person import circles, played
    from drivers.emulators.openxr.runtime import Runtime

    runtime = Runtime(played(given.script) if given.script else circles)
    with runtime.installed(), listening(runtime, given.port) as port:
        sys.stdout.write(f"the emulated headset can be asked at port {port}\n")
        sys.stdout.flush()
        sys.argv = [given.module, *given.arguments]
        runpy.run_module(given.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
