"""What a piece of background work is given beside its settings: somebody to tell, and a reason to stop."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.session import Flag


class Paused(Exception):
    """Somebody needs the machine. What was done until then is stored; asked again, the work goes on."""


class Doing(Protocol):
    """A job while it is done."""

    @property
    def job(self) -> str:
        """Its id; empty outside of the queue."""
        ...

    @property
    def stop(self) -> Flag:
        """Set once the machine is needed: store what was done, and raise `Paused` or return."""
        ...

    def tell(self, what: str, done: int, of: int, loss: float | None = None) -> None:
        """Say how far it came.

        Raises:
            Paused: somebody needs the machine. Whatever trains has stored its progress at that step.
        """
        ...

    def log(self, what: str, **facts: Any) -> None:
        """Write down what happened."""
        ...


@dataclass(frozen=True)
class Here:
    """Work that is done in this process; setting ``stop`` pauses it."""

    job: str = ""
    stop: Flag = field(default_factory=threading.Event)
    advance: Callable[[str, int, int], None] = lambda _what, _done, _of: None
    """Shows a person at a terminal how far it is, as `appliance.cli.shown.progress` does; else nobody listens."""

    def tell(self, what: str, done: int, of: int, loss: float | None = None) -> None:
        """Show it.

        Raises:
            Paused: ``stop`` is set.
        """
        if self.stop.is_set():
            raise Paused(what)
        said = f"{what}, loss {loss:.4f}" if loss is not None and math.isfinite(loss) else what
        self.advance(said, done, of)

    def log(self, what: str, **facts: Any) -> None:
        """Write nothing: what a person watches, its own rows keep."""
