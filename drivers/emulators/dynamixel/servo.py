"""One servo: its memory, what may be written where, and how that makes its joint move."""

import math

from drivers.dynamixel import registers as at
from drivers.dynamixel.registers import MODELS, Register
from drivers.emulators.dynamixel import wire
from drivers.emulators.dynamixel.joint import Drive, Plant

SIZE = 1000
"""Bytes of memory."""

READ_ONLY = (range(7), range(69, 71), range(120, 147))
"""Addresses that cannot be written: what the servo is, what it suffers from, and what it senses."""

INDIRECT = ((168, 224, 28), (578, 634, 28))
"""Tables of addresses, the data they lead to, and how many there are: data there is what stands at the address."""


class Servo:
    """A servo of the X series on a joint. Positions in memory are the joint's, plus the homing offset.

    What it does is what the maker's manual says. How a real servo behaves at the edges (which error code a locked
    register gives, what a tripped watchdog does with torque) was not compared with one.
    """

    def __init__(self, id_: int, model: str, joint: Plant, *, baud: int = 1_000_000, master: int = 255) -> None:
        kind = MODELS[model]
        self.joint = joint
        self.dead = False
        """Does not answer, and no longer drives its joint."""
        self.tripped: int | None = None
        """When the bus watchdog last stopped it."""
        self.waiting: tuple[int, bytes] | None = None
        """An address and data that wait for the instruction to act."""
        self._memory = bytearray(SIZE)
        for register, value in {
            at.MODEL: kind.number,
            at.FIRMWARE: 47,
            at.ID: id_,
            at.BAUD_RATE: at.BAUD_RATES[baud],
            at.RETURN_DELAY: 250,
            at.OPERATING_MODE: at.POSITION,
            at.SECONDARY_ID: master,
            at.TEMPERATURE_LIMIT: 80,
            at.MAX_VOLTAGE: 160,
            at.MIN_VOLTAGE: 95,
            at.PWM_LIMIT: 885,
            at.CURRENT_LIMIT: kind.current,
            at.VELOCITY_LIMIT: 200,
            at.MAX_POSITION: 4095,
            at.SHUTDOWN: 0x34,
            at.STATUS_RETURN_LEVEL: 2,
            at.GOAL_PWM: 885,
            at.GOAL_CURRENT: kind.current,
            at.VOLTAGE: 120,
            at.TEMPERATURE: 32,
        }.items():
            self.put(register, value)
        self._measures_current = kind.ampere is not None
        for table, data, count in INDIRECT:
            for i in range(count):
                self.put(Register(table + 2 * i, 2), data + i)
        self.sense()
        self.put(at.GOAL_POSITION, self.get(at.PRESENT_POSITION))

    def get(self, register: Register) -> int:
        """Return what stands in a register."""
        return register.value(bytes(self._memory[register.address : register.address + register.size]))

    def put(self, register: Register, value: int) -> None:
        """Write a register as the servo itself does: no rule applies."""
        self._memory[register.address : register.address + register.size] = register.bytes(value)

    @property
    def id(self) -> int:
        return self.get(at.ID)

    @property
    def listens_to(self) -> set[int]:
        """The ids it acts on. It answers to its own only."""
        return {self.id, self.get(at.SECONDARY_ID)} - {255}

    @property
    def error(self) -> int:
        """The alert that goes with every answer while the hardware error register is not zero."""
        return wire.ALERT if self.get(at.HARDWARE_ERROR) else 0

    @property
    def patience(self) -> int | None:
        """Nanoseconds without an instruction after which its bus watchdog trips, or None."""
        counts = self.get(at.BUS_WATCHDOG)
        watched = self.get(at.TORQUE) and 0 < counts < at.TRIPPED
        return round(counts * at.WATCHDOG * 1e9) if watched else None

    def trip(self, t: int) -> None:
        """Stop where the joint is, at ``t``, and take no goals until the watchdog is cleared."""
        self.tripped = t
        self.put(at.BUS_WATCHDOG, at.TRIPPED)
        if self.get(at.OPERATING_MODE) == at.CURRENT:
            self.put(at.GOAL_CURRENT, 0)
        self.stay()
        self.act()

    def ail(self, bits: int) -> None:
        """Suffer a hardware error. Torque goes off where the shutdown register says so, until a reboot."""
        self.put(at.HARDWARE_ERROR, bits)
        if bits & self.get(at.SHUTDOWN):
            self.put(at.TORQUE, 0)
        self.act()

    def reboot(self) -> None:
        """Begin again: torque off, errors and everything above the permanent registers forgotten."""
        for register in (at.TORQUE, at.HARDWARE_ERROR, at.BUS_WATCHDOG, at.PROFILE_ACCELERATION, at.PROFILE_VELOCITY):
            self.put(register, 0)
        self.put(at.GOAL_PWM, self.get(at.PWM_LIMIT))
        self.put(at.GOAL_CURRENT, self.get(at.CURRENT_LIMIT))
        self.act()

    def read(self, address: int, length: int) -> tuple[int, bytes]:
        """Return an error, 0 for none, and the memory from an address on."""
        if address + length > SIZE or not length:
            return wire.LENGTH, b""
        return 0, bytes(self._memory[self._lead(address + i)] for i in range(length))

    def write(self, address: int, data: bytes) -> int:
        """Write memory, if the rules allow it, and return an error, 0 for none."""
        if self._lead(address) != address:
            for i, byte in enumerate(data):
                self._memory[self._lead(address + i)] = byte
            self.act()
            return 0
        error = self._refusal(address, data)
        if error:
            return error
        was_on = self.get(at.TORQUE)
        self._memory[address : address + len(data)] = data
        if self.get(at.TORQUE) and not was_on and self.get(at.OPERATING_MODE) != at.CURRENT:
            self.stay()
        if address < at.EEPROM_ENDS:
            self.sense()  # e.g. a homing offset moves what is read at once
        self.act()
        return 0

    def act(self) -> None:
        """Drive the joint as memory says."""
        turns_per_second = (self.get(at.PROFILE_VELOCITY) or self.get(at.VELOCITY_LIMIT)) * at.SPEED
        weak = abs(self.get(at.GOAL_PWM)) / self.get(at.PWM_LIMIT)
        drive = Drive(bool(self.get(at.TORQUE)) and not self.dead)
        drive.goal = self.get(at.GOAL_POSITION) - self.get(at.HOMING_OFFSET)
        drive.speed = weak * turns_per_second / math.tau * at.TURN
        drive.current = self.get(at.CURRENT_LIMIT)
        match self.get(at.OPERATING_MODE):
            case at.CURRENT_POSITION:
                drive.current = min(drive.current, abs(self.get(at.GOAL_CURRENT)))
            case at.CURRENT:
                drive.steers, drive.current = "current", self.get(at.GOAL_CURRENT)
            case at.VELOCITY:
                drive.steers = "velocity"
                drive.speed = self.get(at.GOAL_VELOCITY) * at.SPEED / math.tau * at.TURN
        self.joint.drive(self.id, drive)

    def sense(self) -> None:
        """Bring what it measures up to date."""
        feel = self.joint.feel(self.id)
        self.put(at.PRESENT_POSITION, round(feel.position) + self.get(at.HOMING_OFFSET))
        self.put(at.PRESENT_VELOCITY, round(feel.velocity / at.TURN * math.tau / at.SPEED))
        self.put(at.PRESENT_CURRENT, round(feel.current) if self._measures_current else 0)
        self._memory[122] = int(abs(feel.velocity) > 20)

    def stay(self) -> None:
        """Aim where it stands: after torque comes on, or when somebody has put the joint elsewhere."""
        self.sense()
        self.put(at.GOAL_POSITION, self.get(at.PRESENT_POSITION))

    def _lead(self, address: int) -> int:
        for table, data, count in INDIRECT:
            if data <= address < data + count:
                return self.get(Register(table + 2 * (address - data), 2))
        return address

    def _refusal(self, address: int, data: bytes) -> int:
        """Why this cannot be written: an error of the protocol, or 0."""
        register = range(address, address + len(data))
        if address < at.EEPROM_ENDS and self.get(at.TORQUE):
            return wire.ACCESS
        if any(byte in area for area in READ_ONLY for byte in register if byte != at.ID.address):
            return wire.ACCESS
        goals = range(at.GOAL_PWM.address, at.PROFILE_ACCELERATION.address)
        moves = address in goals or address == at.GOAL_POSITION.address
        if moves and self.get(at.BUS_WATCHDOG) == at.TRIPPED:
            return wire.RANGE
        value = int.from_bytes(data, "little", signed=True)
        if address == at.TORQUE.address:
            broken = value == 1 and self.get(at.HARDWARE_ERROR) & self.get(at.SHUTDOWN)
            return wire.RANGE if value not in (0, 1) else wire.FAILED if broken else 0
        if address == at.OPERATING_MODE.address:
            modes = {at.VELOCITY, at.POSITION, at.EXTENDED, at.PWM}
            modes |= {at.CURRENT, at.CURRENT_POSITION} if self._measures_current else set()
            return 0 if value in modes else wire.RANGE
        if address == at.GOAL_POSITION.address and self.get(at.OPERATING_MODE) == at.POSITION:
            within = self.get(at.MIN_POSITION) <= value <= self.get(at.MAX_POSITION)
            return 0 if within else wire.LIMIT
        limits = {at.GOAL_CURRENT.address: at.CURRENT_LIMIT, at.GOAL_PWM.address: at.PWM_LIMIT}
        if address in limits and abs(value) > self.get(limits[address]):
            return wire.LIMIT
        return 0
