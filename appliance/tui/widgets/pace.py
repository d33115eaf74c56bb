"""How much a terminal may be sent: on the machine itself as much as it likes, over a link as much as that carries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LINK = 40_000
"""Bytes a second that pictures may need over a link; words are few beside that, 50 000 is the limit."""

OFTEN = 5.0
"""Pictures a second, at most."""


def remote(environment: Mapping[str, str]) -> bool:
    """Whether the terminal is at the other end of a link."""
    return any(environment.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))


@dataclass
class Pace:
    """Says whether something may be sent now."""

    link: float | None
    """Bytes a second; None for any number."""
    clock: Callable[[], float]
    """In seconds."""

    def __post_init__(self) -> None:
        self._free = self.clock()

    def may(self, size: int) -> bool:
        """Whether so many bytes may be sent; if so, they count as sent."""
        if self.link is None:
            return True
        now = self.clock()
        if now < self._free:
            return False
        self._free = max(self._free, now - 1 / OFTEN) + size / self.link
        return True
