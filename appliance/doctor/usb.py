"""How the cameras are plugged in, as the kernel tells it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.doctor.finding import Finding, bad, fine, warn
from appliance.doctor.kernel import text

INTEL = "8086"
"""The maker of RealSense cameras, as USB numbers makers."""

FAST = 5000
"""Megabits a second of USB 3."""

BUFFER = 128
"""Megabytes of USB buffers below which two cameras starve each other; Linux gives 16."""

RULES = "https://github.com/IntelRealSense/librealsense/blob/master/config/99-realsense-libusb.rules"


@dataclass(frozen=True)
class Camera:
    """A RealSense on a bus."""

    where: str
    product: str
    speed: float
    node: Path
    """The file through which a program talks to it."""


def cameras(root: Path) -> Iterator[Camera]:
    """Every RealSense that the kernel sees."""
    for device in sorted(root.glob("sys/bus/usb/devices/*")):
        product = text(device / "product")
        if text(device / "idVendor").lower() != INTEL or "realsense" not in product.lower():
            continue
        bus, number = int(text(device / "busnum") or 0), int(text(device / "devnum") or 0)
        node = root / f"dev/bus/usb/{bus:03}/{number:03}"
        yield Camera(device.name, product, float(text(device / "speed") or 0), node)


def buses(root: Path, expected: int) -> list[Finding]:
    """Look at every RealSense on a bus, where the station expects so many of them."""
    found = list(cameras(root))
    looked = [_look(camera) for camera in found]
    if len(found) < expected:
        there = f"{len(found)} RealSense on USB, the station has {expected}"
        fix = "Plug it in, at both ends; `lsusb -d 8086:` has to show every camera"
        looked.append(bad("USB", there, fix))
    return [*looked, *_buffers(root, max(expected, len(found)))]


def _look(camera: Camera) -> Finding:
    about = f"USB {camera.where}"
    if camera.speed < FAST:
        what = f"{camera.product} runs at {camera.speed:g} Mbit/s, as on USB 2: too slow for colour and depth"
        return bad(about, what, "Use a blue USB 3 port and the cable of the maker, and turn the plug around once")
    if camera.node.exists() and not os.access(camera.node, os.R_OK | os.W_OK):
        fix = (
            "sudo cp 99-realsense-libusb.rules /etc/udev/rules.d/ && sudo udevadm control --reload && "
            f"sudo udevadm trigger; the file is {RULES}"
        )
        return bad(about, f"{camera.product}: its owner is somebody else ({camera.node})", fix)
    return fine(about, f"{camera.product} runs at {camera.speed:g} Mbit/s")


def _buffers(root: Path, number: int) -> list[Finding]:
    file = root / "sys/module/usbcore/parameters/usbfs_memory_mb"
    size = text(file)
    if number < 2 or not size:
        return []
    if 0 < int(size) < BUFFER:
        fix = (
            "echo 1000 | sudo tee /sys/module/usbcore/parameters/usbfs_memory_mb; for good: add "
            "usbcore.usbfs_memory_mb=1000 to GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, then sudo update-grub"
        )
        return [warn("USB buffers", f"{size} MB are too few for {number} cameras: frames get lost", fix)]
    return [fine("USB buffers", f"{size} MB" if int(size) else "as large as they need to be")]
