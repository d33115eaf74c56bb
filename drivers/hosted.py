"""A device in a program of its own: its real-time priority, its use of Python's lock and its crashes stay there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np

from drivers.child import Child
from drivers.device import DeviceError, DeviceLost, Kinematics, Row, Rows, telling_last
from drivers.settings import made
from drivers.shared import Watcher, address


@dataclass
class Hosted:
    """The device that ``driver`` names, in a program of its own, which lasts as long as this is entered.

    Its rows come over memory that both programs see, and that any other may watch at ``address``. A robot there holds
    when commands stop coming, and when this program ends or is killed: at once, and then the device is left as its own
    ``__exit__`` leaves it. When the other program dies or stands still, the device is lost, and the message says why;
    to enter again starts another. Ctrl-C at the terminal is this program's affair.
    """

    name: str
    driver: str
    """Where its class is, ``module:Class``."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the device, but for its name, as JSON can say them."""

    watchdog: float = 0.25
    """Seconds without a command, while moving, after which the robot holds."""

    silence: float = 0.5
    """Seconds that the other program may stand still before the device counts as lost."""

    patience: float = 30.0
    """Seconds that the device may need to connect, to do what it is asked, and to be left."""

    def __post_init__(self) -> None:
        self._entry = {"name": self.name} | dict(self.settings) | {"driver": self.driver}
        self._device = made(self._entry)
        self._program: Child | None = None
        self.address = address(self.name)

    @property
    def dtype(self) -> np.dtype[np.void]:
        dtype: np.dtype[np.void] = self._device.dtype
        return dtype

    @property
    def serial(self) -> str:
        """Of a device that has one; else empty."""
        return str(getattr(self._device, "serial", ""))

    @property
    def action(self) -> np.dtype[np.void]:
        """Of a robot. Any other device has none."""
        action: np.dtype[np.void] = self._device.action
        return action

    @property
    def kinematics(self) -> Kinematics:
        """Of a robot. Any other device has none."""
        kinematics: Kinematics = self._device.kinematics
        return kinematics

    @property
    def described(self) -> dict[str, Any]:
        """What the device says of itself. Of a device that does."""
        return dict(self._told("described"))

    @property
    def clock_offset(self) -> int:
        """From the device's clock to the host's, in nanoseconds. Of a device that has a clock."""
        return int(self._told("clock_offset"))

    @property
    def pid(self) -> int | None:
        """The other program's; None when there is none."""
        program = self._program
        return None if program is None else program.process.pid

    def read(self, since: int) -> Rows:
        """Return the rows stamped after ``since``.

        Raises:
            Overrun: some of them are already gone.
            DeviceLost: the device is lost, or the program that runs it.
            DeviceError: the device refused the last command.
        """
        program = self._entered()
        with telling_last(program.watcher.kept, since):
            program.check()
            return program.watcher.read(since)

    def command(self, target: Row) -> None:
        """Aim to be at ``target`` by ``target["t"]``. Returns at once: a refusal is told by the next call.

        Raises:
            DeviceLost: the device is lost, or the program that runs it.
            DeviceError: the target is laid out in another way, or the device refused the one before.
        """
        program = self._entered()
        if target.dtype != self.action:
            self.hold()
            raise DeviceError(f"{self.name}: a target must be laid out as {self.action}, not {target.dtype}")
        program.check()
        program.command(target)

    def hold(self) -> None:
        """Stop moving and stay. Safe to call from any thread, at any time, twice; the other program may be dead."""
        program = self._program  # another thread may be leaving it
        if program is not None:
            program.hold()

    def ask(self, what: str, patience: float | None = None) -> Any:
        """Call the device's method of that name, or get what it has of that name; wait for it, and return what it says.

        The method takes nothing, and answers with what JSON can say. A command and a hold do not wait for it, and a
        robot that was told to hold meanwhile holds when it is done.

        Args:
            what: the name.
            patience: seconds to wait, if not as long as for everything else.

        Raises:
            DeviceError: the device cannot do that, or not now. The message is its own.
            DeviceLost: the device is lost, or the program that runs it.
        """
        return self._entered().ask(what, self.patience if patience is None else patience)

    def can(self, what: str) -> bool:
        """Whether the device has a method of that name."""
        return callable(getattr(type(self._device), what, None))

    def tell(self, what: str, **values: float | str | bool) -> None:
        """Call the device's method of that name with these values, and do not wait for it; what it refuses is logged.

        What is told and asked is done one after the other, in that order.

        Raises:
            AttributeError: the device has no such method.
            DeviceError: that is more than a message may hold.
            DeviceLost: the device is lost, or the program that runs it.
        """
        if not self.can(what):
            raise AttributeError(f"a {type(self._device).__name__} has no method {what}")
        self._entered().tell(what, values)

    def _told(self, what: str) -> Any:
        if not hasattr(type(self._device), what):
            raise AttributeError(f"a {type(self._device).__name__} has no {what}")
        return self.ask(what)

    def __enter__(self) -> Self:
        """Start the other program, and wait until it has connected the device.

        Raises:
            DeviceError: the device could not be connected. The message is its own.
        """
        if self._program is not None:
            if self._program.process.poll() is None:
                raise DeviceError(f"{self.name} has been entered already")
            self._program.close(0)
        watcher = Watcher(self.name, self.address, self.dtype, self.silence)
        self._program = Child(self.name, watcher, {"device": self._entry, "watchdog": self.watchdog}, self.patience)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        program, self._program = self._program, None
        if program is not None and (trouble := program.close(self.patience)) and kind is None:
            raise DeviceError(trouble)

    def _entered(self) -> Child:
        if self._program is None:
            raise DeviceLost(f"{self.name} has not been entered; use it as a context manager")
        return self._program
