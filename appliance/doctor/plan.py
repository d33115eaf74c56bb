"""Which checks there are: those of the machine, and those of the devices that a station names."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from appliance.doctor import machine, software, store, usb, views, wires
from appliance.doctor.finding import Check, Finding, bad
from appliance.doctor.looking import eyes
from appliance.home import Home
from appliance.station import Station, StationError, load
from collectors.process import CAMERA, SENSOR
from storage import Lossless, Unavailable, Wanted
from storage.engine import version_at
from storage.layout import pictures
from storage.migrate import HEAD

SQUEEZED = {True: 0.5, False: 0.15}
"""The share of a picture's bytes that is written: without loss, and as a JPEG. A camera's are rarely smaller."""

RECENT = 20
"""So many of a station's newest episodes tell what an hour of it takes."""

EMULATED = "127.254.254.254"
"""An address like those that emulated robots are given."""


@dataclass(frozen=True)
class Named:
    """A device or a cell, as the station file names it."""

    name: str
    driver: str
    settings: Mapping[str, Any]

    def of(self, module: str) -> bool:
        """Whether its driver is in that module."""
        return self.driver.startswith(module)


def checks(home: Home, which: str | None, root: Path = Path("/")) -> list[Check]:
    """Everything there is to look at, of this machine and of a station, if one is named."""
    if which is None:
        return [*_machine(home, None, (), root)]
    try:
        station = load(which)
    except StationError as error:
        return [Check("station", partial(_refused, str(error))), *_machine(home, None, (), root)]
    except Exception as error:  # ruff: ignore[blind-except] - a driver that breaks as it is imported is a finding, too
        why = f"{which} names a driver that breaks: {type(error).__name__}: {error}"
        return [Check("station", partial(_refused, why)), *_machine(home, None, (), root)]
    entries = tuple(named(tomllib.loads(station.text)))
    return [*_machine(home, station, entries, root), *_devices(home, which, station, entries, root)]


def named(table: Mapping[str, Any], name: str = "") -> Iterator[Named]:
    """Every entry of a station file that names a driver, however deep it lies: ``arm.left`` for [device.arm.left]."""
    if isinstance(table.get("driver"), str):
        settings = {key: value for key, value in table.items() if key != "driver"}
        yield Named(name, table["driver"], settings)
    for key, value in table.items():
        if isinstance(value, dict):
            yield from named(value, key if not name or name == "device" else f"{name}.{key}")


def _machine(home: Home, station: Station | None, entries: tuple[Named, ...], root: Path) -> Iterator[Check]:
    needed = software.needed([one.driver for one in entries])
    franka = [one for one in entries if one.of("drivers.franka")]
    enforced = any(one.settings.get("realtime") == "enforce" for one in franka)
    slow = software.SLOW + 5
    yield Check("Python", software.interpreter)
    for sdk in software.SDKS:
        wanted = None if station is None else sdk in needed
        yield Check(f"SDK {sdk.package}", partial(software.sdk, sdk, wanted), slow)
    yield Check("GL for the twin's cameras", partial(software.drawing, software.MUJOCO in needed), slow)
    yield Check("torch", software.learning, slow)
    yield Check("real-time kernel", partial(machine.kernel, root, bool(franka), enforced))
    yield Check("real-time priority", partial(machine.priority, root, software.FRANKA in needed))
    yield Check("processor's speed", partial(machine.governor, root))
    yield Check("clock", partial(machine.synced, root))
    yield Check("clock's pace", machine.steady)
    yield Check("data folder", partial(store.folder, home.folder, root))
    yield Check("disk space", partial(_space, home, station))
    yield Check("disk speed", partial(store.speed, home.folder, None if station is None else estimate(station)), 60)
    yield Check("catalog", partial(store.catalog, home.database))
    yield Check("staging", partial(store.leftovers, home.folder))
    real = sum(one.of("drivers.realsense") for one in entries)
    yield Check("USB", partial(usb.buses, root, real))


def _devices(home: Home, which: str, station: Station, entries: tuple[Named, ...], root: Path) -> Iterator[Check]:
    for one in entries:
        if one.of("drivers.dynamixel") and "port" in one.settings:
            yield Check(f"port of {one.name}", partial(wires.port, one.name, one.settings["port"], root))
        if one.of("drivers.franka") and "host" in one.settings:
            hand = bool(one.settings.get("hand", True))
            yield Check(
                f"controller of {one.name}", partial(wires.controller, one.name, one.settings["host"], hand, root)
            )
        if one.of("drivers.openxr"):
            environment, here = dict(os.environ), str(Path.home())
            yield Check("OpenXR runtime", partial(wires.runtime, root, environment, here))
        if one.of("drivers.emulators.fci") and "host" not in one.settings:
            yield Check("ports", partial(wires.free, (wires.FCI, wires.HAND), EMULATED))
    if cameras := [camera.name for camera in eyes(station)]:
        look = partial(views.compare, which, station.name, cameras, home.folder, station.simulated)
        yield Check("cameras", look, views.LIMIT + 5)


def estimate(station: Station) -> float:
    """Bytes a second that a station writes at most, going by what its rows take."""
    total = 0.0
    for name, dtype in station.loop().streams().items():
        if fields := pictures(dtype):
            squeezed = SQUEEZED[isinstance(station.images.get(name), Lossless)]
            total += CAMERA * squeezed * sum(dtype[field].itemsize for field in fields)
        else:
            total += SENSOR * dtype.itemsize
    return total


def recorded(home: Home, station: str) -> float | None:
    """Bytes a second that a station's newest episodes took; None when there are none, or nobody can ask."""
    try:
        if version_at(home.database) != HEAD:
            return None
        with home.join() as catalog:
            rows = [found.row for found in catalog.find(Wanted(station=station, retired=None, purged=None), RECENT)]
    except Unavailable:
        return None
    seconds = sum(row.seconds for row in rows if row.bytes)
    return sum(row.bytes for row in rows) / seconds if seconds else None


def _space(home: Home, station: Station | None) -> list[Finding]:
    rate = None if station is None else recorded(home, station.name) or estimate(station)
    return store.space(home.folder, rate)


def _refused(why: str) -> list[Finding]:
    return [bad("station", why, "Correct the file, or name another station")]
