"""How much a terminal may be sent: over a link as much as that carries, on the machine itself what costs little."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LINK = 32_000
"""Bytes a second that pictures may need over a link; words are few beside that, 50 000 is the limit."""

HERE = 600_000
"""Bytes a second that pictures may need on the machine itself, where the robot's loop runs in the same program."""

OFTEN = 5.0
"""Pictures a second, at most."""


def remote(environment: Mapping[str, str]) -> bool:
    """Whether the terminal is at the other end of a link."""
    return any(environment.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))


@dataclass
class Pace:
    """Says when something may be sent."""

    most: float
    """Bytes a second."""
    clock: Callable[[], float]
    """In seconds."""

    def __post_init__(self) -> None:
        self._free = self.clock()

    @property
    def ready(self) -> bool:
        """Whether what was sent before has gone by now."""
        return self.clock() >= self._free

    def sent(self, size: int) -> None:
        """So many bytes are sent now."""
        self._free = max(self._free, self.clock() - 1 / OFTEN) + size / self.most
