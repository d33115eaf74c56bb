"""What is kept at which address of a Dynamixel servo of the X series, and in which units."""

import math
from typing import NamedTuple


class Register(NamedTuple):
    """A number in a servo's memory. Those below address 64 survive power cuts, and change only while torque is off."""

    address: int
    size: int
    signed: bool = False

    def value(self, data: bytes) -> int:
        """Return the number that these bytes mean."""
        return int.from_bytes(data, "little", signed=self.signed)

    def of(self, block: bytes, start: int) -> int:
        """Return the number within a block of memory that was read from address ``start`` on."""
        at = self.address - start
        return self.value(block[at : at + self.size])

    def bytes(self, value: int) -> bytes:
        """Return the bytes that mean this number, least first."""
        return (value & ((1 << 8 * self.size) - 1)).to_bytes(self.size, "little")


MODEL = Register(0, 2)
FIRMWARE = Register(6, 1)
ID = Register(7, 1)
BAUD_RATE = Register(8, 1)
RETURN_DELAY = Register(9, 1)
DRIVE_MODE = Register(10, 1)
OPERATING_MODE = Register(11, 1)
SECONDARY_ID = Register(12, 1)
HOMING_OFFSET = Register(20, 4, signed=True)
TEMPERATURE_LIMIT = Register(31, 1)
MAX_VOLTAGE = Register(32, 2)
MIN_VOLTAGE = Register(34, 2)
PWM_LIMIT = Register(36, 2)
CURRENT_LIMIT = Register(38, 2)
VELOCITY_LIMIT = Register(44, 4)
MAX_POSITION = Register(48, 4)
MIN_POSITION = Register(52, 4)
SHUTDOWN = Register(63, 1)
TORQUE = Register(64, 1)
STATUS_RETURN_LEVEL = Register(68, 1)
HARDWARE_ERROR = Register(70, 1)
BUS_WATCHDOG = Register(98, 1)
GOAL_PWM = Register(100, 2, signed=True)
GOAL_CURRENT = Register(102, 2, signed=True)
GOAL_VELOCITY = Register(104, 4, signed=True)
PROFILE_ACCELERATION = Register(108, 4)
PROFILE_VELOCITY = Register(112, 4)
GOAL_POSITION = Register(116, 4, signed=True)
PRESENT_CURRENT = Register(126, 2, signed=True)
PRESENT_VELOCITY = Register(128, 4, signed=True)
PRESENT_POSITION = Register(132, 4, signed=True)
VOLTAGE = Register(144, 2)
TEMPERATURE = Register(146, 1)

EEPROM_ENDS = 64
"""Registers below this address cannot be written while torque is on."""

REVERSED = 0x01
"""Bit of the drive mode: the servo counts the other way round."""

TRIPPED = 255
"""What the bus watchdog reads after it stopped a servo; 0 wakes the servo again."""

WATCHDOG = 0.02
"""Seconds per count of the bus watchdog."""

CURRENT, VELOCITY, POSITION, EXTENDED, CURRENT_POSITION, PWM = 0, 1, 3, 4, 5, 16
"""Operating modes."""

TURN = 4096
"""Positions in a turn."""

SPEED = 0.229 * 2 * math.pi / 60
"""Radians per second in a count of velocity."""

VOLT = 0.1
"""Volts in a count of voltage."""


class Model(NamedTuple):
    """A kind of servo."""

    name: str
    number: int
    ampere: float | None
    """Amperes in a count of current; None where the register holds an estimated load instead."""
    current: int
    """The largest current limit, in counts."""


MODELS = {
    model.name: model
    for model in (
        Model("XL430-W250", 1060, None, 1000),
        Model("XM430-W350", 1020, 0.00269, 1193),
        Model("XM540-W270", 1120, 0.00269, 2047),
    )
}
"""The servos this driver knows, by name."""

BAUD_RATES = {9600: 0, 57600: 1, 115200: 2, 1_000_000: 3, 2_000_000: 4, 3_000_000: 5, 4_000_000: 6}
"""How the baud rate register names each speed of the bus."""

ERRORS = {
    0x01: "the supply voltage is out of its limits",
    0x04: "it is too hot",
    0x08: "its encoder fails",
    0x10: "it had an electrical shock, or too little power",
    0x20: "it was overloaded",
}
"""What each bit of the hardware error register means."""


def ailment(bits: int) -> str:
    """Say in words what the hardware error register says in bits."""
    known = [text for bit, text in ERRORS.items() if bits & bit]
    rest = bits & ~sum(ERRORS)
    return " and ".join([*known, *([f"error bits {rest:#04x}"] if rest else [])])
