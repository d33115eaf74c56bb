"""What the entries of a station file say becomes devices: each in a program of its own, unless it says otherwise."""

from collections.abc import Iterable, Mapping
from typing import Any

from appliance.refusal import Refusal
from drivers import Device
from drivers.hosted import Hosted
from drivers.settings import Unfit, filled, made


class StationError(Refusal):
    """The station file is wrong. The message says where, and what would be right."""


def fill[T](kind: type[T], settings: Mapping[str, Any], where: str) -> T:
    """Make a value from settings that a person wrote.

    Raises:
        StationError: it does not take them.
    """
    try:
        return filled(kind, settings)
    except Unfit as error:
        raise StationError(f"{where} {error}") from error


def build(entry: Mapping[str, Any], where: str) -> Any:
    """Make what ``entry["driver"]`` names.

    Raises:
        StationError: there is no such driver, or it does not take these settings.
    """
    try:
        return made(entry)
    except Unfit as error:
        raise StationError(f"{where} {error}") from error


def device(name: str, entry: Mapping[str, Any], where: str, watchdog: float) -> Any:
    """Make one device, and first the devices that it is made of: the entries in it that name a driver.

    What is made of others is here; each of them is in a program of its own.

    Args:
        name: what it is called, unless the entry says.
        entry: what the file says of it.
        where: where the file says so.
        watchdog: seconds without a command, while moving, after which a robot holds.

    Raises:
        StationError: an entry is wrong.
    """
    settings = {"name": name} | dict(entry)
    hosted = settings.pop("hosted", None)
    if not isinstance(hosted, bool | None):
        raise StationError(f"{where} hosted = {hosted!r}, but it is true or false")
    parts = {key: part for key, part in entry.items() if isinstance(part, Mapping) and "driver" in part}
    if parts and hosted:
        raise StationError(f"{where} cannot be hosted itself: its parts are, {sorted(parts)}")
    inner = where.removesuffix("]")
    for key, part in parts.items():
        settings[key] = device(f"{name}.{key}", part, f"{inner}.{key}]", watchdog)
    here = build(settings, where)
    if parts or hosted is False:
        return here
    called, driver = settings.pop("name"), settings.pop("driver")
    return Hosted(called, driver, settings, watchdog)


def addresses(devices: Iterable[Device]) -> dict[str, str]:
    """Where each device that is hosted, or whose parts are, can be watched by another program."""
    parts = (part for one in devices for part in (one, *getattr(one, "__dict__", {}).values()))
    return {part.name: part.address for part in parts if isinstance(part, Hosted)}
