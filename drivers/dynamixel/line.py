"""An arm's line of servos while the arm is entered: opened, read at a beat, and left without torque."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from drivers.clock import Clock, HostClock
from drivers.device import DeviceError
from drivers.dynamixel import check
from drivers.dynamixel.bus import Bus, Plug
from drivers.dynamixel.layout import Layout
from drivers.dynamixel.pump import Pump
from drivers.dynamixel.sense import Sensed, sense
from drivers.urgent import BUS, urgently

log = logging.getLogger(__name__)


class Settings(Protocol):
    """What arms of every kind say of their line."""

    name: str
    port: str
    baud: int
    hz: float
    retries: int
    slack: float
    clock: Clock

    @property
    def plug(self) -> Plug: ...


class Line:
    """One arm's line. Between ``open`` and ``close``, every beat makes a row of ``pump``."""

    def __init__(self, arm: Settings, layout: Layout, dtype: np.dtype[np.void]) -> None:
        self._arm, self._layout = arm, layout
        self.pump = Pump(arm.name, dtype, arm.clock, arm.hz, arm.slack)
        self._bus: Bus | None = None
        self._turn = 0

    def open(self, prepare: Callable[[Bus], None], cycle: Callable[[Bus, Sensed], tuple[Any, ...]]) -> None:
        """Take the line for this process, have the arm prepared, and begin to read it.

        ``cycle`` is given what was sensed at each beat, and gives a row's fields after the first three.

        Raises:
            DeviceError: the line cannot be had, or what ``prepare`` raises. The line is then let go of.
        """
        arm = self._arm
        bus = Bus(arm.name, arm.port, arm.plug, arm.baud, arm.retries, arm.slack)
        try:
            prepare(bus)
        except BaseException:
            bus.close()
            raise
        self._bus, self._turn = bus, 0

        def turn() -> tuple[int, tuple[Any, ...]]:
            if self._turn == 0 and isinstance(arm.clock, HostClock):
                urgently(BUS)
            sensed = sense(bus, self._layout, arm.clock, self._turn)
            self._turn += 1
            return sensed.t, cycle(bus, sensed)

        self.pump.start(turn)

    def close(self, seconds: float, failing: bool) -> None:
        """Read no more, let the arm down within ``seconds``, take the torque from every servo, let go of the line.

        Raises:
            DeviceError: a servo could not be made safe, and nobody knew of it: the caller is not ``failing``, and
                nobody was told that the arm is lost. It is logged in any case.
        """
        bus, self._bus = self._bus, None
        if bus is None:
            return
        self.pump.stop()
        try:
            failed = check.let_go(bus, self._layout, self._arm.clock, seconds)
        finally:
            bus.close()
        for reason in failed:
            log.error("not safe: %s", reason)
        if failed and not failing and not self.pump.told:
            raise DeviceError("; ".join(failed))
