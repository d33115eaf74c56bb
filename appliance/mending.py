"""Devices that were lost come back: they recover, or are connected anew."""

from collections.abc import Iterable
from contextlib import suppress

from collectors.ways import can, have
from drivers import Device, DeviceError, Overrun


def mend(devices: Iterable[Device], now: int) -> str:
    """Clear what stopped devices, or connect them anew; return what stays lost, in its own words.

    Only when a person has looked and says so: a robot that recovers moves with its next command.
    """
    trouble = []
    for device in devices:
        try:
            device.read(now)
        except Overrun:
            continue
        except DeviceError:
            try:
                _mend(device)
            except DeviceError as error:
                trouble.append(str(error))
    return "; ".join(trouble)


def _mend(device: Device) -> None:
    """Have a device recover, if it knows how to, or leave it and connect it anew."""
    if can(device, "recover"):
        with suppress(DeviceError):
            have(device, "recover")
            return
    device.__exit__(None, None, None)
    device.__enter__()
