"""The computer itself: whether it keeps time, and lets a control loop have its turn."""

import ctypes
import getpass
import os
import time
from collections.abc import Callable
from pathlib import Path

from appliance.doctor.finding import Finding, bad, fine, warn
from appliance.doctor.kernel import text

PRIORITY = 99
"""The real-time priority that a Franka's control thread takes."""

NICE = 23
"""The bit of the capability that lets a process take any priority (capabilities(7), CAP_SYS_NICE)."""

UNSYNCED = 0x40
"""The kernel's own word for a clock that nobody disciplines (adjtimex(2), STA_UNSYNC)."""

SLEW = 1000e-6
"""Drift of the wall clock against the monotonic one beyond what NTP does to correct it, which is 500 ppm."""

GROUP = (
    "sudo groupadd -f realtime && sudo usermod -a -G realtime {user}, then these lines in {file}, then log in again:"
)

LIMITS = (
    *("@realtime soft rtprio 99", "@realtime soft priority 99", "@realtime soft memlock 102400"),
    *("@realtime hard rtprio 99", "@realtime hard priority 99", "@realtime hard memlock 102400"),
)
"""What the maker of the Franka asks for (libfranka's documentation, "Setting up the real-time kernel")."""


def kernel(root: Path, wanted: bool, enforced: bool = False) -> list[Finding]:
    """See whether the kernel is a real-time one, which only a Franka wants."""
    about = "real-time kernel"
    told = text(root / "sys/kernel/realtime")
    if told == "1":
        return [fine(about, "is running")]
    if not wanted:
        return [fine(about, "is not running; only a Franka arm wants one")]
    what = "is not running: a Franka's commands may come late, and the robot then stops with a communication error"
    fix = "sudo apt-get install linux-image-rt-amd64 (Debian), sudo pro enable realtime-kernel (Ubuntu), then reboot"
    if enforced:
        return [bad(about, f'{what}. The station says realtime = "enforce"', fix)]
    return [warn(about, what, fix)]


def priority(root: Path, wanted: bool, user: str = "") -> list[Finding]:
    """See whether a program may take real-time priority."""
    about = "real-time priority"
    capable = int(_after(root / "proc/self/status", "CapEff:") or "0", 16) >> NICE & 1
    limits = (_after(root / "proc/self/limits", "Max realtime priority") or "0").split()
    allowed = limits[0] if limits else "0"
    if capable or allowed == "unlimited" or int(allowed) >= PRIORITY:
        return [fine(about, f"a program may take {PRIORITY if capable else allowed}")]
    if not wanted:
        return [fine(about, f"a program may take at most {allowed}; only a Franka arm wants {PRIORITY}")]
    file = "/etc/security/limits.d/99-realtime.conf"
    fix = "\n".join((GROUP.format(user=user or getpass.getuser(), file=file), *LIMITS))
    return [warn(about, f"a program may take at most {allowed}; a Franka's control thread wants {PRIORITY}", fix)]


def governor(root: Path) -> list[Finding]:
    """See whether the processor slows down between the ticks of a control loop."""
    about = "processor's speed"
    found = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    governors = {text(path) for path in found}
    if not governors:
        return [fine(about, "this system does not manage it")]
    slow = sorted(governors - {"performance"})
    if not slow:
        return [fine(about, f"performance, on all {len(found)} cores")]
    fix = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    return [warn(about, f"{', '.join(slow)}: cores slow down between ticks, and wake up late", fix)]


def synced(root: Path, status: Callable[[], int] | None = None) -> list[Finding]:
    """See whether something keeps the wall clock right."""
    about = "clock"
    if (root / "run/systemd/timesync/synchronized").exists() or not (status or _kernel_status)() & UNSYNCED:
        return [fine(about, "is kept right by NTP")]
    what = "nothing keeps it right (NTP): episodes of two machines cannot be put in order"
    return [warn(about, what, "sudo timedatectl set-ntp true, or sudo apt-get install chrony")]


def steady(
    seconds: float = 1.0,
    wall: Callable[[], int] = time.time_ns,
    monotonic: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Finding]:
    """See whether somebody sets the wall clock while it runs. Rows are stamped with the monotonic one."""
    about = "clock's pace"
    before, began = _apart(wall, monotonic), monotonic()
    sleep(seconds)
    after, lasted = _apart(wall, monotonic), monotonic() - began
    drift = (after - before) / lasted
    if abs(drift) > SLEW:
        what = f"the wall clock moved {drift * lasted / 1e6:+.1f} ms against the monotonic one in {lasted / 1e9:.1f} s"
        return [warn(about, what, "Let one program set the clock: timedatectl, chronyc tracking; not two")]
    return [fine(about, f"wall and monotonic clock agree within {abs(drift) * 1e6:.0f} ppm")]


def _apart(wall: Callable[[], int], monotonic: Callable[[], int]) -> int:
    """How far two clocks are apart, read within as short a time as this busy machine grants."""
    tries = [(monotonic(), wall(), monotonic()) for _ in range(9)]
    first, between, last = min(tries, key=lambda read: read[2] - read[0])
    return between - (first + last) // 2


def _kernel_status() -> int:
    """The status word of the kernel's clock. Asking changes nothing."""
    said = (ctypes.c_long * 64)()  # struct timex begins with modes (0: only ask); all of it is smaller than this
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(said)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(ctypes.c_int.from_address(ctypes.addressof(said) + 5 * ctypes.sizeof(ctypes.c_long)).value)


def _after(path: Path, words: str) -> str:
    """What stands behind these words in such a file."""
    lines = text(path).splitlines()
    return next((line.removeprefix(words).strip() for line in lines if line.startswith(words)), "")
