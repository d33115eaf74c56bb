"""Look before any torque: is this the arm that is meant, whole, powered, and where it can be?"""

import contextlib

import numpy as np

from drivers.clock import Clock
from drivers.device import DeviceError, DeviceLost
from drivers.dynamixel import registers as at
from drivers.dynamixel.bus import Bus, Silent
from drivers.dynamixel.layout import Calibration, Layout

ASTRAY = 40
"""Two servos that turn one joint may differ by this many positions; more, and they fight each other."""

OUTSIDE = 0.15
"""How far beyond its limits a joint may stand when it is connected, in radians: arms rest on their stops."""

HOT = 5
"""A servo this close to its temperature limit, in degrees, is not switched on."""

RAMP = 20
"""Steps in which an arm's strength is taken away."""


def inspect(bus: Bus, layout: Layout) -> dict[int, bytes]:
    """Return the memory of every servo, from address 0 to its temperature.

    Raises:
        DeviceLost: a servo is missing, or all are. The message says which, and what that may mean.
        DeviceError: a servo is another model than the layout says.
    """
    found = {id_: bus.ping(id_) for id_ in layout.ids}
    if quiet := [id_ for id_, model in found.items() if model is None]:
        raise DeviceLost(bus.complaint(quiet, layout.ids))
    names = {model.number: model.name for model in at.MODELS.values()}
    wrong = [
        f"servo {id_} ({joint.name}) is a {names.get(found[id_] or 0, f'model {found[id_]}')}, not a {model}"
        for joint in layout.joints
        for id_, model in zip(joint.ids, joint.models, strict=True)
        if found[id_] != at.MODELS[model].number
    ]
    if wrong:
        raise DeviceError(f"{bus.name} is no {layout.name}: {'; '.join(wrong)}. Is this the other arm's port?")
    return {id_: bus.read(id_, 0, at.TEMPERATURE.address + at.TEMPERATURE.size).data for id_ in layout.ids}


def problems(memory: dict[int, bytes], layout: Layout, calibration: Calibration) -> list[str]:
    """Say what speaks against switching this arm on. Nothing does if the list is empty."""
    found = []
    for id_, block in memory.items():
        where = f"servo {id_} ({layout.joint(id_)})"
        if error := at.HARDWARE_ERROR.of(block, 0):
            found.append(f"{where} has switched itself off: {at.ailment(error)}; reboot it")
        low, high = at.MIN_VOLTAGE.of(block, 0) * at.VOLT, at.MAX_VOLTAGE.of(block, 0) * at.VOLT
        if not low <= (voltage := at.VOLTAGE.of(block, 0) * at.VOLT) <= high:
            found.append(f"{where} has {voltage:.1f} V, and needs {low:.1f} to {high:.1f} V: look at the power supply")
        limit = at.TEMPERATURE_LIMIT.of(block, 0)
        if (hot := at.TEMPERATURE.of(block, 0)) > limit - HOT:
            found.append(f"{where} has {hot} degrees, and switches itself off at {limit}: let it cool")
        if at.STATUS_RETURN_LEVEL.of(block, 0) != 2:
            found.append(f"{where} does not acknowledge what is written: set its status return level to 2")
    for joint in layout.joints:
        if len(joint.ids) == 2:
            found += _quarrel(memory, joint.name, *joint.ids)
    masters = [at.PRESENT_POSITION.of(memory[id_], 0) for id_ in layout.masters[:-1]]
    for joint, angle, low, high in zip(
        layout.arm, calibration.angles(np.array(masters)), calibration.low, calibration.high, strict=True
    ):
        if not low - OUTSIDE <= angle <= high + OUTSIDE:
            found.append(
                f"{joint.name} stands at {angle:.2f} rad, and turns from {low:.2f} to {high:.2f}: "
                "move it there by hand, or calibrate the arm again"
            )
    return found


def _quarrel(memory: dict[int, bytes], joint: str, master: int, second: int) -> list[str]:
    """Whether two servos of one joint would turn against each other."""
    found = []
    if (follows := at.SECONDARY_ID.of(memory[second], 0)) != master:
        found.append(f"servo {second} ({joint}) follows {follows}, not servo {master}: set its secondary id")
    modes = [at.DRIVE_MODE.of(memory[id_], 0) & at.REVERSED for id_ in (master, second)]
    if modes[0] == modes[1]:
        found.append(f"servos {master} and {second} ({joint}) face each other, but turn alike: reverse one drive mode")
    positions = [at.PRESENT_POSITION.of(memory[id_], 0) for id_ in (master, second)]
    if abs(positions[0] - positions[1]) > ASTRAY:
        found.append(
            f"servos {master} and {second} ({joint}) say {positions[0]} and {positions[1]}, and would fight: "
            "set the homing offset of one"
        )
    return found


def settle(bus: Bus, memory: dict[int, bytes], wanted: dict[int, dict[at.Register, int]]) -> None:
    """Write the permanent registers that are not as wanted, of servos whose torque is off.

    Raises:
        DeviceError: a servo with torque on would have to let go for that.
    """
    for id_, values in wanted.items():
        for register, value in values.items():
            if register.of(memory[id_], 0) == value:
                continue
            if at.TORQUE.of(memory[id_], 0):
                raise DeviceError(
                    f"{bus.name}: servo {id_} needs {value} at address {register.address}, which cannot be written "
                    "while it holds the arm: support the arm, cut the power for a moment, and connect again"
                )
            bus.put(id_, register, value)


def let_go(bus: Bus, layout: Layout, clock: Clock, seconds: float) -> list[str]:
    """Take the torque from every servo, so slowly that the arm sinks, and say which servos could not be reached.

    Every servo is tried, whatever the others do and whatever is raised.
    """
    holding = []
    failed: dict[int, Exception] = {}
    for id_ in layout.ids:
        try:
            bus.put(id_, at.BUS_WATCHDOG, 0)
            holding += [id_] if bus.get(id_, at.TORQUE) else []
        except Silent as error:
            failed[id_] = error
        except Exception as error:  # ruff: ignore[blind-except] - the others must be let go of, and it is told below
            holding.append(id_)
            failed[id_] = error
    if all(isinstance(failed.get(id_), DeviceLost) for id_ in layout.ids):
        holding = []  # nobody hears how the arm is let down
    for step in range(RAMP - 1, -1, -1) if holding and seconds > 0 else ():
        with contextlib.suppress(Exception):  # whom it did not reach is told below
            bus.write_all(at.GOAL_PWM, dict.fromkeys(holding, 885 * step // RAMP))
        clock.sleep_until(clock.now() + round(seconds / RAMP * 1e9))
    for id_ in layout.ids:
        try:
            bus.put(id_, at.TORQUE, 0)
            if bus.get(id_, at.TORQUE):
                failed[id_] = DeviceError(f"{bus.name}: servo {id_} still has torque")
            else:
                failed.pop(id_, None)
        except Exception as error:  # ruff: ignore[blind-except] - as above
            failed[id_] = error
    return list(dict.fromkeys(_unsafe(bus, id_, error) for id_, error in failed.items()))


def _unsafe(bus: Bus, id_: int, error: Exception) -> str:
    """Say why a servo may still hold; a line that is gone is said once for all."""
    if not isinstance(error, DeviceError):
        return f"{bus.name}: servo {id_} may hold until the power is cut: {type(error).__name__}: {error}"
    if isinstance(error, DeviceLost) and not isinstance(error, Silent):
        return f"{error}. Its servos may hold until the power is cut"
    return str(error)
