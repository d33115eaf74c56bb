"""Show what the headset says, once a second: ``python -m drivers.openxr``. Ctrl-C ends it."""

import argparse
import sys
import time

import numpy as np

from drivers.device import DeviceError
from drivers.openxr.headset import Headset


def main() -> int:
    """Print a line a second; return 1 when the headset cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m drivers.openxr", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default %(default)s)")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two lines (default %(default)s)")
    given = parser.parse_args()
    end, since = time.monotonic() + given.seconds, time.monotonic_ns()
    try:
        with Headset("headset") as headset:
            sys.stdout.write(f"{headset.described}\n")
            while time.monotonic() < end:
                time.sleep(given.every)
                rows = headset.read(since)
                since = int(rows["t"][-1]) if len(rows) else since
                sys.stdout.write(f"{len(rows)} rows; {said(rows[-1]) if len(rows) else ''}\n")
                sys.stdout.flush()
    except DeviceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def said(row: np.void) -> str:
    """One row in words."""
    words = ["focused" if row["focused"] else "not focused"]
    for hand, name in enumerate(("left", "right")):
        place = np.array2string(row["grip"][hand][:3], precision=3)
        squeeze, trigger = row["squeeze"][hand], row["trigger"][hand]
        words.append(f"{name} {place} squeeze {squeeze:.2f} trigger {trigger:.2f} buttons {row['buttons'][hand]}")
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
