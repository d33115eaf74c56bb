"""Say what to open in the headset's browser, and then, once a second, what it says: ``python -m drivers.webxr``."""

import argparse
import sys
import time
from pathlib import Path

from drivers.device import DeviceError, DeviceLost
from drivers.openxr.__main__ import said
from drivers.webxr import WebHands, keys


def main() -> int:
    """Print a line a second; return 1 when the page cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m drivers.webxr", description=__doc__)
    parser.add_argument("--host", default=WebHands.host, help="this machine, as the headset reaches it (%(default)s)")
    parser.add_argument("--port", type=int, default=WebHands.port, help="(default %(default)s)")
    parser.add_argument("--tls", action="store_true", help="with a certificate that is made here; the network needs it")
    parser.add_argument("--folder", type=Path, default=WebHands.folder, help="of code and certificate (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default %(default)s)")
    given = parser.parse_args()
    end, since = time.monotonic() + given.seconds, time.monotonic_ns()
    try:
        with WebHands("hands", given.host, given.port, given.tls, given.folder) as hands:
            sys.stdout.write(f"{_opened(hands)}\n")
            while time.monotonic() < end:
                sys.stdout.flush()
                time.sleep(1.0)
                try:
                    rows = hands.read(since)
                except DeviceLost as error:
                    sys.stdout.write(f"{error}\n")
                    since = time.monotonic_ns()
                    continue
                since = int(rows["t"][-1]) if len(rows) else since
                sys.stdout.write(f"{len(rows)} rows; {said(rows[-1]) if len(rows) else ''}\n")
    except (DeviceError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _opened(hands: WebHands) -> str:
    """What to do in the headset. The code is shown here, to whoever sits at this machine, and nowhere else."""
    folder = hands.folder.expanduser()
    lines = [f"In the headset's browser, open {hands.address}#{keys.code(folder)}"]
    if hands.tls:
        shown = keys.fingerprint(keys.certificate(folder, hands.host))
        lines.append(f"It warns, once, of a certificate with this fingerprint (SHA-256): {shown}")
    else:
        port = hands.address.rstrip("/").rpartition(":")[2]
        lines.append(f"over a USB cable, after typing here: adb reverse tcp:{port} tcp:{port}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
