"""One line of servos: what is asked is answered, retried a few times, or an error that names the servo."""

import contextlib
import errno
import termios
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from drivers.device import DeviceError, DeviceLost
from drivers.dynamixel.registers import BAUD_RATES, Register

ALERT = 0x80
"""The bit of every answer that says: look at the hardware error register."""

REFUSALS = {
    1: "it failed to do so",
    2: "it does not know that instruction",
    4: "the value is out of range",
    5: "the data is too short or too long",
    6: "the value is beyond its limits",
    7: "that register cannot be written now",
}


OUT = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF, None}
"""What the system says when a cable is out. pyserial says it without a number."""


class Silent(DeviceLost):
    """A servo that answered before does not answer any more."""


class Port(Protocol):
    """What the vendor's SDK needs of a line."""

    is_using: bool
    slack: float
    """Seconds that an answer may be late before it counts as lost."""

    def setBaudRate(self, baud: int) -> bool: ...  # ruff: ignore[invalid-function-name] - the SDK's own names
    def closePort(self) -> None: ...  # ruff: ignore[invalid-function-name]


Plug = Callable[[str, int], Any]
"""Opens a ``Port`` of a name at a baud rate."""


def serial(path: str, baud: int) -> Any:
    """Open a serial line for the SDK.

    Raises:
        DeviceError: the SDK is not installed, or the line cannot be had.
    """
    _need_sdk()
    from drivers.dynamixel import wire  # it imports the SDK

    return wire.serial(path, baud)


def _need_sdk() -> None:
    try:
        import dynamixel_sdk  # type: ignore[import-untyped]  # ruff: ignore[unused-import] - the SDK ships no types
    except ImportError as error:
        raise DeviceError("dynamixel-sdk is not installed: install the extra [hardware]") from error


class Answer(NamedTuple):
    """What one servo said."""

    data: bytes
    alert: bool
    """Whether its hardware error register is not zero."""


class Bus:
    """A line that one program owns. Its methods may be called from any thread, one after the other."""

    def __init__(self, name: str, port: str, plug: Plug, baud: int, retries: int, slack: float) -> None:
        _need_sdk()
        from drivers.dynamixel import wire  # it imports the SDK

        self.name = name
        self.retried = 0
        """How often something was asked again since the bus was opened."""
        self.fast = True
        """Whether the servos understand reads that all of them answer in one packet."""
        self._path, self._baud, self._retries = port, baud, retries
        self._packets = wire.packets()
        self._lock = threading.RLock()
        self._port: Any = plug(port, baud)
        self._port.slack = slack

    def close(self) -> None:
        """Let go of the line. What was sent before is done; nothing else happens to the servos."""
        with self._lock, contextlib.suppress(OSError, termios.error):
            self._port.closePort()

    def ping(self, id_: int) -> int | None:
        """Return the model number of a servo, or None where none answers.

        Raises:
            DeviceLost: the line is gone.
        """

        def ask() -> tuple[int, int]:
            model, code, _ = self._packets.ping(self._port, id_)
            return code, model

        try:
            return self._asked(ask, f"servo {id_}")
        except Silent:
            return None

    def read(self, id_: int, start: int, length: int) -> Answer:
        """Return ``length`` bytes of a servo's memory, from an address on.

        Raises:
            Silent: the servo does not answer.
            DeviceError: it refuses.
            DeviceLost: the line is gone.
        """

        def ask() -> tuple[int, tuple[list[int], int]]:
            data, code, error = self._packets.readTxRx(self._port, id_, start, length)
            late = code == 0 and not error & ~ALERT and len(data) != length  # it answers what was asked before
            return -1 if late else code, (data, error)

        data, error = self._asked(ask, f"servo {id_}")
        return self._answer(id_, data, error, length, f"read {length} bytes from address {start}")

    def get(self, id_: int, register: Register) -> int:
        """Return what stands in a servo's register. Raises what ``read`` raises."""
        return register.value(self.read(id_, register.address, register.size).data)

    def put(self, id_: int, register: Register, value: int) -> None:
        """Write a servo's register, and wait until the servo says it did. Raises what ``read`` raises."""

        def ask() -> tuple[int, int]:
            code, error = self._packets.writeTxRx(
                self._port, id_, register.address, register.size, list(register.bytes(value))
            )
            return code, error

        error = self._asked(ask, f"servo {id_}")
        if error & ~ALERT:
            reason = REFUSALS.get(error & ~ALERT, f"error {error}")
            raise DeviceError(f"{self.name}: servo {id_} refuses {value} at address {register.address}: {reason}")

    def read_all(self, ids: Sequence[int], start: int, length: int) -> dict[int, Answer]:
        """Return the same bytes of many servos, measured at one moment.

        Raises:
            Silent: a servo does not answer. The message names every one that does not.
            DeviceLost: the line is gone.
        """
        missing, fast = ids[0], self.fast

        def ask() -> tuple[int, dict[int, tuple[list[int], int]]]:
            nonlocal missing, fast
            found: dict[int, tuple[list[int], int]] = {}
            if fast:
                fast = False  # the next try, if any, is the older way, which tells who is missing
                found = self._read_fast(ids, start, length)
                return 0 if found else -1, found
            code = self._packets.syncReadTx(self._port, start, length, list(ids), len(ids), False)
            for id_ in ids if code == 0 else ():
                data, code, error = self._packets.readRx(self._port, id_, length)
                if code:
                    missing = id_
                    break
                found[id_] = data, error
            return code, found

        try:
            found = self._asked(ask, f"servo {missing}")
        except Silent as silent:
            quiet = [id_ for id_ in ids if self.ping(id_) is None]
            if not quiet:
                raise Silent(f"{self.name}: servo {missing} answers now and then only: check its cable") from silent
            raise Silent(self.complaint(quiet, ids)) from silent
        return {id_: self._answer(id_, data, error, length, "read") for id_, (data, error) in found.items()}

    def write_all(self, register: Register, values: Mapping[int, int]) -> None:
        """Write a register of many servos at once. None of them says whether it did.

        Raises:
            DeviceLost: the line is gone.
        """
        data = [byte for id_, value in values.items() for byte in (id_, *register.bytes(value))]
        with self._lock, self._line():
            code = self._packets.syncWriteTxOnly(self._port, register.address, register.size, data, len(data))
        if code:
            raise DeviceLost(f"{self.name}: {self._path} takes no more bytes (code {code})")

    def reboot(self, id_: int) -> None:
        """Switch a servo off and on, which clears its hardware error. Its torque goes off."""
        with self._lock, self._line():
            self._packets.reboot(self._port, id_)

    def knows_fast_reads(self, ids: Sequence[int]) -> bool:
        """Find out whether all these servos answer in one packet when asked to."""
        with self._lock, self._line():
            return bool(self._read_fast(ids, 0, 2))

    def complaint(self, quiet: Iterable[int], ids: Sequence[int]) -> str:
        """Say which servos do not answer, and what that may mean."""
        quiet = list(quiet)
        if len(quiet) < len(ids):
            which = f"servo {quiet[0]}" if len(quiet) == 1 else f"servos {', '.join(map(str, quiet))}"
            return (
                f"{self.name}: {which} no longer answers, others do: check the cable to it, and whether it is too hot"
            )
        for baud in BAUD_RATES:
            if baud != self._baud and self._answers_at(ids, baud):
                return (
                    f"{self.name}: the servos speak at {baud} baud, not at {self._baud}: set baud = {baud}, or theirs"
                )
        return f"{self.name}: no servo answers on {self._path}: is the arm's power on, and its cable in?"

    def _answers_at(self, ids: Sequence[int], baud: int) -> bool:
        with self._lock, self._line():
            try:
                return bool(self._port.setBaudRate(baud)) and self._packets.ping(self._port, ids[0])[1] == 0
            finally:
                self._port.setBaudRate(self._baud)

    def _read_fast(self, ids: Sequence[int], start: int, length: int) -> dict[int, tuple[list[int], int]]:
        """All answers in one packet; nothing if the packet is not what was asked for, or none came."""
        code = self._packets.syncReadTx(self._port, start, length, list(ids), len(ids), True)
        if code:
            return {}
        raw, code, _ = self._packets.fastSyncReadRx(self._port, 0xFE, (length + 4) * len(ids))
        parts = [raw[i : i + length + 4] for i in range(0, len(raw), length + 4)]
        if code or [part[1] for part in parts if len(part) == length + 4] != list(ids):
            return {}
        return {id_: (part[2 : 2 + length], part[0]) for id_, part in zip(ids, parts, strict=True)}

    def _answer(self, id_: int, data: list[int], error: int, length: int, what: str) -> Answer:
        if error & ~ALERT or len(data) != length:
            reason = REFUSALS.get(error & ~ALERT, f"error {error}, {len(data)} bytes")
            raise DeviceError(f"{self.name}: servo {id_} refuses to {what}: {reason}")
        return Answer(bytes(data), bool(error & ALERT))

    def _asked[T](self, ask: Callable[[], tuple[int, T]], whom: str) -> T:
        """Ask, and ask again if no whole answer comes, a few times."""
        for attempt in range(1 + self._retries):
            with self._lock, self._line():
                code, value = ask()
            if code == 0:
                return value
            self.retried += attempt < self._retries
        raise Silent(f"{self.name}: {whom} does not answer, though asked {1 + self._retries} times")

    @contextlib.contextmanager
    def _line(self) -> Any:
        """What the system says of a line that fails, in words."""
        try:
            yield
        except (OSError, termios.error) as error:
            what = f"the cable of {self._path} is out. Plug it in, and connect again"
            if isinstance(error, OSError) and error.errno not in OUT:
                what = f"{self._path} cannot be used any more ({error}). Connect again"
            raise DeviceLost(f"{self.name}: {what}") from error
        finally:
            self._port.is_using = False
