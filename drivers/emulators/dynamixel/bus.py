"""A line with servos on it: bytes in, bytes out, at a given moment. Faults are injected here."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from drivers.clock import Clock
from drivers.dynamixel import registers as at
from drivers.emulators.dynamixel import wire
from drivers.emulators.dynamixel.servo import Servo
from drivers.emulators.dynamixel.wire import Ear, Instruction


@dataclass
class Faults:
    """What goes wrong on the line, from now on."""

    drop: int = 0
    """So many of the next answers are lost."""
    corrupt: int = 0
    """So many of the next answers have a wrong bit."""
    late: bytes = b""
    """An answer to what nobody waits for any more; it comes before the next one."""
    unplugged: bool = False
    """The cable to the computer is out."""
    old: bool = False
    """The servos' firmware is too old to know fast sync reads, and ignores them."""


@dataclass
class Bus:
    """Servos that share a line. Joints move as time passes on the clock, and at no other time."""

    servos: list[Servo]
    clock: Clock
    faults: Faults = field(default_factory=Faults)
    asked: dict[int, int] = field(default_factory=dict)
    """How often each instruction came."""
    last: int = 0
    """When the last instruction came; bus watchdogs count from here."""
    took: float = 0.0
    """Seconds the last instruction and its answers spent on the wire."""
    busy: float = 0.0
    """Seconds that all of them did."""
    taken: bool = False
    """Whether a program has opened it as a port in memory."""
    ear: Ear = field(default_factory=Ear)
    _looked: int = -1
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)
    """On the host's clock, whoever serves the line and whoever looks after watchdogs are two threads."""

    def __getitem__(self, id_: int) -> Servo:
        """Return the servo of that id."""
        for servo in self.servos:
            if servo.id == id_:
                return servo
        raise KeyError(f"there is no servo {id_}; there are {[servo.id for servo in self.servos]}")

    def kill(self, *ids: int) -> None:
        """Let servos die: they answer nothing, and no longer hold their joints."""
        with self._lock:
            self.pass_time()
            for id_ in ids:
                self[id_].dead = True
                self[id_].act()

    def revive(self) -> None:
        """Mend every dead servo; each begins as after a reboot."""
        with self._lock:
            for servo in self.servos:
                if servo.dead:
                    servo.dead = False
                    servo.reboot()

    def ail(self, id_: int, bits: int) -> None:
        """Give a servo a hardware error, e.g. 0x20 for overload."""
        with self._lock:
            self.pass_time()
            self[id_].ail(bits)

    def pass_time(self) -> None:
        """Let joints move up to now. A watchdog trips at its own moment, whenever somebody looks."""
        with self._lock:
            self._pass_time()

    def _pass_time(self) -> None:
        now = self.clock.now()
        trips = sorted(
            (self.last + servo.patience, i) for i, servo in enumerate(self.servos) if servo.patience is not None
        )
        for moment, i in trips:
            if moment <= now:
                self._move(moment)
                self.servos[i].trip(moment)
        self._move(now)
        for servo in self.servos:
            servo.sense()

    def exchange(self, data: bytes, baud: int) -> list[bytes]:
        """Take bytes from the line, and return the answers to them, in order.

        Who listens at another baud rate hears nothing. What an answer costs in time is kept in ``took``.
        """
        with self._lock:
            return self._exchange(data, baud)

    def _exchange(self, data: bytes, baud: int) -> list[bytes]:
        if self._looked != self.clock.now():  # on a stepped clock, a whole cycle is one moment
            self.pass_time()
            self._looked = self.clock.now()
        answers, self.faults.late = [self.faults.late] if self.faults.late else [], b""
        for instruction in self.ear.hear(data):
            self.last = self.clock.now()
            self.asked[instruction.code] = self.asked.get(instruction.code, 0) + 1
            hearing = [s for s in self.servos if not s.dead and at.BAUD_RATES.get(baud) == s.get(at.BAUD_RATE)]
            said = [self._disturb(answer) for answer in self._answer(instruction, hearing)]
            delay = sum(servo.get(at.RETURN_DELAY) * 2e-6 for servo in hearing[: len(said)])
            self.took = (instruction.length + sum(map(len, said))) * 10 / baud + delay
            self.busy += self.took
            answers += filter(None, said)
        return answers

    def _move(self, t: int) -> None:
        joints = {id(servo.joint): servo.joint for servo in self.servos}
        for joint in joints.values():
            joint.pass_time(t)

    def _disturb(self, answer: bytes) -> bytes:
        if self.faults.drop:
            self.faults.drop -= 1
            return b""
        if self.faults.corrupt:
            self.faults.corrupt -= 1
            return answer[:-3] + bytes([answer[-3] ^ 0x10]) + answer[-2:]
        return answer

    def _answer(self, asked: Instruction, hearing: list[Servo]) -> Iterator[bytes]:
        """What the servos that hear this instruction say to it, one packet after the other."""
        parameters = asked.parameters
        match asked.code:
            case wire.SYNC_WRITE | wire.BULK_WRITE:
                for id_, address, data in _written(asked):
                    for servo in _listening(hearing, id_):
                        servo.write(address, data)
            case wire.SYNC_READ | wire.BULK_READ:
                for id_, address, length in _read(asked):
                    servos = _answering(hearing, id_)
                    if not servos:
                        return  # each waits for the one before it, so nobody after a missing servo says a word
                    error, data = servos[0].read(address, length)
                    yield wire.status(id_, error | servos[0].error, data)
            case wire.FAST_SYNC_READ | wire.FAST_BULK_READ:
                yield from self._fast(asked, hearing)
            case wire.PING:
                for servo in _answering(hearing, asked.id):
                    what = servo.get(at.MODEL).to_bytes(2, "little") + bytes([servo.get(at.FIRMWARE)])
                    yield wire.status(servo.id, servo.error, what)
            case wire.READ:
                address, length = _number(parameters[:2]), _number(parameters[2:4])
                for servo in _answering(hearing, asked.id):
                    error, data = servo.read(address, length)
                    yield wire.status(servo.id, error | servo.error, data)
            case _:
                for servo in _listening(hearing, asked.id):
                    error = self._obey(servo, asked)
                    if servo.id == asked.id and servo.get(at.STATUS_RETURN_LEVEL) == 2:
                        yield wire.status(servo.id, error | servo.error)

    def _obey(self, servo: Servo, asked: Instruction) -> int:
        address, data = _number(asked.parameters[:2]), asked.parameters[2:]
        match asked.code:
            case wire.WRITE:
                return servo.write(address, data)
            case wire.REG_WRITE:
                servo.waiting = address, data
            case wire.ACTION:
                waiting, servo.waiting = servo.waiting, None
                return servo.write(*waiting) if waiting else 0
            case wire.REBOOT:
                servo.reboot()
            case wire.CLEAR | wire.FACTORY_RESET:
                pass
            case _:
                return wire.UNKNOWN
        return 0

    def _fast(self, asked: Instruction, hearing: list[Servo]) -> Iterator[bytes]:
        answers = []
        for id_, address, length in _read(asked):
            servos = _answering(hearing, id_)
            if not servos or self.faults.old:
                return
            error, data = servos[0].read(address, length)
            answers.append((id_, error | servos[0].error, data))
        yield wire.fast_status(answers)


def _listening(servos: Iterable[Servo], id_: int) -> list[Servo]:
    return [servo for servo in servos if id_ == wire.EVERYONE or id_ in servo.listens_to]


def _answering(servos: Iterable[Servo], id_: int) -> list[Servo]:
    return [servo for servo in servos if id_ in {wire.EVERYONE, servo.id}]


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _read(asked: Instruction) -> Iterator[tuple[int, int, int]]:
    """Which servo is asked for how many bytes from which address, of an instruction to several."""
    data = asked.parameters
    if asked.code in {wire.SYNC_READ, wire.FAST_SYNC_READ}:
        for id_ in data[4:]:
            yield id_, _number(data[:2]), _number(data[2:4])
    else:
        for i in range(0, len(data) - 4, 5):
            yield data[i], _number(data[i + 1 : i + 3]), _number(data[i + 3 : i + 5])


def _written(asked: Instruction) -> Iterator[tuple[int, int, bytes]]:
    """Which servo is given which bytes from which address on, of an instruction to several."""
    data = asked.parameters
    i = 4 if asked.code == wire.SYNC_WRITE else 0
    while i < len(data):
        if asked.code == wire.SYNC_WRITE:
            address, length, start = _number(data[:2]), _number(data[2:4]), i + 1
        else:
            address, length, start = _number(data[i + 1 : i + 3]), _number(data[i + 3 : i + 5]), i + 5
        yield data[i], address, data[start : start + length]
        i = start + length
