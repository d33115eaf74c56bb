"""A program of its own that takes one picture with every camera of a station: ``looking STATION FOLDER``.

Where a program owns the whole cell, all of it is entered. On a real table only the cameras are: nothing moves.
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from appliance.station import Station, load
from drivers import Clock, Device, DeviceError, Rows

TOLD = "told.json"
"""Which cameras saw something, and what is wrong with the others."""

SETTLE = 1.5
"""Seconds that a camera has to find its exposure."""

WAIT, LOOK = 3.0, 0.05
"""Seconds until a camera counts as silent, and between two looks at it."""


def main(which: str, folder: Path) -> None:
    """Take the pictures: an array for every camera that saw something, and why the others did not."""
    station = load(which)
    trouble: dict[str, str] = {}
    with ExitStack() as stack:
        if station.simulated:
            for device in station.devices:
                stack.enter_context(device)
        seeing = [camera for camera in eyes(station) if _entered(camera, stack, trouble, station.simulated)]
        station.clock.sleep_until(station.clock.now() + round(SETTLE * 1e9))
        for camera in seeing:
            try:
                rows = _last(camera, station.clock)
            except DeviceError as error:
                trouble[camera.name] = str(error)
            else:
                np.save(folder / f"{camera.name}.npy", rows["rgb"][-1])
    (folder / TOLD).write_text(json.dumps(trouble))


def eyes(station: Station) -> list[Device]:
    """The cameras of a station."""
    return [device for device in station.watching if "rgb" in (device.dtype.names or ())]


def _entered(camera: Device, stack: ExitStack, trouble: dict[str, str], already: bool) -> bool:
    try:
        if not already:
            stack.enter_context(camera)
    except DeviceError as error:
        trouble[camera.name] = str(error)
        return False
    return True


def _last(camera: Device, clock: Clock) -> Rows:
    """The pictures since now, as soon as there is one.

    Raises:
        DeviceError: there is none for too long.
    """
    began = clock.now()
    while clock.now() < began + round(WAIT * 1e9):
        clock.sleep_until(clock.now() + round(LOOK * 1e9))
        if len(rows := camera.read(began)):
            return rows
    raise DeviceError(f"{camera.name} was connected, and sent no picture for {WAIT:g} s")


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except DeviceError as told:
        raise SystemExit(str(told)) from told
