"""What the station's devices hang on: serial ports, the controller's network, the headset's runtime, free ports."""

import fcntl
import ipaddress
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.doctor.finding import Finding, bad, fine, warn
from appliance.doctor.kernel import text

QUICK, SLOWEST = 1, 4
"""Milliseconds that a serial adapter should keep bytes back, and those with which the driver still starts."""

FCI, DESK, HAND = 1337, 80, 1338
"""The ports of a Franka's controller: commands, its web page, and the hand."""

RULES = "/etc/udev/rules.d/99-dynamixel.rules"

AGAIN = "sudo udevadm control --reload && sudo udevadm trigger"


def port(name: str, path: str, root: Path) -> list[Finding]:
    """See whether a serial port is there, ours to open, free, and quick."""
    about = f"port of {name}"
    here = root / path.lstrip("/")
    if not here.exists():
        return [bad(about, f"{path} is not there{_others(root)}", _link(path))]
    node = here.resolve()
    try:
        line = os.open(node, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except PermissionError:
        group = "sudo usermod -a -G dialout $USER, then log in again"
        return [bad(about, f"{path} belongs to somebody else", group)]
    except OSError as error:
        return [bad(about, f"{path} cannot be opened: {error.strerror}", "Unplug its adapter, and plug it in again")]
    try:
        fcntl.flock(line, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = "End the other program, or wait until its sitting is over; two on one bus garble each other"
        return [warn(about, f"{path} is in use by another program", who)]
    finally:
        os.close(line)
    return [_latency(about, path, node.name, root)]


def _latency(about: str, path: str, tty: str, root: Path) -> Finding:
    """See for how long the adapter keeps bytes back."""
    device = root / "sys/class/tty" / tty
    told = text(device / "device/latency_timer")
    if not told:
        return fine(about, f"{path} is there, and ours; its adapter has no latency timer")
    if int(told) <= QUICK:
        return fine(about, f"{path} is there, and ours; latency_timer is {told} ms")
    serial = _serial(device)
    which = f', ATTRS{{serial}}=="{serial}"' if serial else ""
    rule = f'SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio"{which}, ATTR{{latency_timer}}="1"'
    now = f"echo 1 | sudo tee /sys/class/tty/{tty}/device/latency_timer"
    fix = f"{now}\nfor good, this line in {RULES}, then {AGAIN}:\n{rule}"
    if int(told) <= SLOWEST:
        return warn(about, f"{path} keeps bytes back for {told} ms (latency_timer); 1 is right", fix)
    return bad(about, f"{path} keeps bytes back for {told} ms (latency_timer): the driver refuses it; 1 is right", fix)


def _others(root: Path) -> str:
    """The serial ports that there are, as a person may know them."""
    found = sorted(path.name for path in root.glob("dev/serial/by-id/*")) or sorted(
        path.name for kind in ("ttyUSB", "ttyACM") for path in root.glob(f"dev/{kind}*")
    )
    return f"; there are: {', '.join(found)}" if found else "; no serial adapter is plugged in"


def _link(path: str) -> str:
    """How a port gets the name that the station gives it."""
    name = Path(path).name
    if name.startswith(("ttyUSB", "ttyACM")):
        return "Plug the arm's adapter in, and switch the arm on"
    rule = f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="0403", ATTRS{{serial}}=="SERIAL", SYMLINK+="{name}"'
    ask = "udevadm info --attribute-walk /dev/ttyUSB0 | grep -m1 serial"
    return (
        "Plug the arm's adapter in. If it never had this name, this line with the adapter's own SERIAL "
        f"({ask}) in {RULES}, then {AGAIN}:\n{rule}"
    )


def _serial(device: Path) -> str:
    """The serial number of the USB adapter that a port is a part of."""
    above = device.resolve().parents if device.exists() else ()
    linked = (device / "device").resolve().parents if (device / "device").exists() else ()
    return next((found for folder in (*linked, *above) if (found := text(folder / "serial"))), "")


def controller(name: str, host: str, hand: bool, root: Path, desk: int = DESK, patience: float = 1.0) -> list[Finding]:
    """See whether a Franka's controller answers, and whether it takes commands."""
    about = f"controller of {name}"
    took = _answers(host, FCI, patience)
    if took is None and _answers(host, desk, patience) is None:
        fix = (
            "Switch the controller on, and connect this computer straight to its LAN port (not to the arm's); give "
            f"this computer an address of the same net, e.g. sudo ip address add {_beside(host)}/24 dev eth0"
        )
        return [bad(about, f"nothing answers at {host}", fix)]
    if took is None:
        fix = f"Open https://{host} in a browser, unlock the joints, and activate FCI"
        return [bad(about, f"{host} answers, but takes no commands (port {FCI})", fix)]
    if hand and _answers(host, HAND, patience) is None:
        fix = f"Open https://{host}, Settings, End Effector: Franka Hand, initialise it; or set hand = false"
        return [bad(about, f"{host} takes commands, its hand does not (port {HAND})", fix)]
    if gateway := _gateway(host, root):
        fix = f"Connect this computer straight to the controller, with an address of its net, e.g. {_beside(host)}"
        return [warn(about, f"{host} is reached through a router ({gateway}); an answer has to come within 1 ms", fix)]
    return [fine(about, f"{host} takes commands, and answered after {took * 1e3:.1f} ms")]


def _answers(host: str, port: int, patience: float) -> float | None:
    """Seconds until somebody answers there; None when nobody does."""
    began = time.monotonic()
    try:
        with socket.create_connection((host, port), patience):
            return time.monotonic() - began
    except OSError:
        return None


def _gateway(host: str, root: Path) -> str:
    """The router on the way to an address; empty when it is in a net of this machine, or nobody knows."""
    try:
        there = int(ipaddress.IPv4Address(socket.gethostbyname(host)))
    except OSError:
        return ""
    ways = [(0xFF000000, 127 << 24, 0)]
    for line in text(root / "proc/net/route").splitlines()[1:]:
        _, to, through, _, _, _, _, mask, *_ = line.split()
        ways.append((_swapped(mask), _swapped(to), _swapped(through)))
    router = max(((net, by) for net, at, by in ways if there & net == at), default=(0, 0))[1]
    return str(ipaddress.IPv4Address(router)) if router else ""


def _swapped(number: str) -> int:
    """An address as the kernel's table of routes writes it: its bytes backwards."""
    return int.from_bytes(bytes.fromhex(number), "little")


def _beside(host: str) -> str:
    """An address in the net of another one."""
    parts = host.split(".")
    return ".".join([*parts[:3], "1" if parts[-1] != "1" else "2"]) if len(parts) == 4 else "172.16.0.1"


def free(ports: Sequence[int], host: str) -> list[Finding]:
    """See whether what the station starts can listen."""
    taken = []
    for number in ports:
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((host, number))
            except OSError as error:
                taken.append(f"{number} ({error.strerror})")
    if taken:
        fix = f"See who has it, and end that: sudo ss -ltnp 'sport = :{taken[0].split()[0]}'"
        return [bad("ports", f"an emulator cannot listen at {host}, port {', '.join(taken)}", fix)]
    return [fine("ports", f"{', '.join(map(str, ports))} are free at {host}")]


def runtime(root: Path, environment: Mapping[str, str], home: str) -> list[Finding]:
    """See which OpenXR runtime a headset's driver would find."""
    about = "OpenXR runtime"
    start = (
        "Start what serves the headset: WiVRn or Monado (Linux), or SteamVR with ALVR, and set it as the OpenXR runtime"
    )
    named = environment.get("XR_RUNTIME_JSON")
    usual = [f"{home}/.config", "/etc/xdg", "/usr/local/share", "/etc", "/usr/share"]
    files = [named] if named else [f"{folder}/openxr/1/active_runtime.json" for folder in usual]
    found = next((root / file.lstrip("/") for file in files if (root / file.lstrip("/")).is_file()), None)
    if found is None:
        what = f"XR_RUNTIME_JSON names {named}, which is not there" if named else "none is set: no active_runtime.json"
        return [bad(about, what, start)]
    try:
        told = json.loads(found.read_text())["runtime"]
        return [fine(about, f"{told.get('name') or Path(told['library_path']).name} ({found})")]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return [bad(about, f"{found} names no runtime ({type(error).__name__}: {error})", start)]
