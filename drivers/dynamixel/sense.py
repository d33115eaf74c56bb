"""What a cycle learns of an arm: every servo's motion, and the health of one of them."""

from typing import NamedTuple

import numpy as np

from drivers.clock import Clock
from drivers.device import DeviceLost
from drivers.dynamixel import registers as at
from drivers.dynamixel.bus import Bus
from drivers.dynamixel.layout import Floats, Layout, Positions

MOTION = at.PRESENT_CURRENT.address
MOTION_BYTES = at.PRESENT_POSITION.address + at.PRESENT_POSITION.size - MOTION
"""Current, velocity and position stand side by side: one read gives all three."""

HEALTH = at.TORQUE.address
HEALTH_BYTES = at.TEMPERATURE.address + at.TEMPERATURE.size - HEALTH
"""So do torque, hardware error, bus watchdog, voltage and temperature, more or less."""


class Health(NamedTuple):
    """How one servo is."""

    id: int
    torque: bool
    error: int
    """The hardware error register; 0 is well."""
    watchdog: int
    voltage: float
    """In volts."""
    temperature: float
    """In degrees Celsius."""


class Sensed(NamedTuple):
    """What one cycle learned. Arrays have an entry per servo, in the order of the layout."""

    t: int
    positions: Positions
    velocities: Floats
    """In radians per second."""
    currents: Floats
    """In amperes; not a number where the servo does not measure it."""
    health: Health
    retries: int


def health(bus: Bus, id_: int) -> Health:
    """Ask one servo how it is. Raises what ``Bus.read`` raises."""
    block = bus.read(id_, HEALTH, HEALTH_BYTES).data
    return Health(
        id_,
        bool(at.TORQUE.of(block, HEALTH)),
        at.HARDWARE_ERROR.of(block, HEALTH),
        at.BUS_WATCHDOG.of(block, HEALTH),
        at.VOLTAGE.of(block, HEALTH) * at.VOLT,
        float(at.TEMPERATURE.of(block, HEALTH)),
    )


def sense(bus: Bus, layout: Layout, clock: Clock, turn: int) -> Sensed:
    """Read every servo's motion, and the health of the servo whose ``turn`` it is, or of one that raises an alert.

    Raises:
        DeviceLost: a servo does not answer, has a hardware error, or the line is gone. The message names the servo.
    """
    before, t = bus.retried, clock.now()
    answers = bus.read_all(layout.ids, MOTION, MOTION_BYTES)
    alerting = [id_ for id_, answer in answers.items() if answer.alert]
    polled = health(bus, alerting[0] if alerting else layout.ids[turn % len(layout.ids)])
    if polled.error:
        where = f"{bus.name}: servo {polled.id} ({layout.joint(polled.id)})"
        raise DeviceLost(
            f"{where} has switched itself off: {at.ailment(polled.error)}. Let it cool, free the arm, and reboot it"
        )
    amperes = np.array([at.MODELS[model].ampere for joint in layout.joints for model in joint.models], np.float64)
    blocks = [answers[id_].data for id_ in layout.ids]
    return Sensed(
        t,
        np.array([at.PRESENT_POSITION.of(block, MOTION) for block in blocks], np.int32),
        np.array([at.PRESENT_VELOCITY.of(block, MOTION) for block in blocks]) * at.SPEED,
        np.array([at.PRESENT_CURRENT.of(block, MOTION) for block in blocks]) * amperes,
        polled,
        bus.retried - before,
    )
