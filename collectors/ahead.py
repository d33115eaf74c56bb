"""What a policy promises, and when its next plan is made: in the loop, or ahead, while the last is still followed."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from drivers import Rows, row_type
from storage import Observation

PLANS = row_type(("asked", "<i8"), ("ready", "<i8"), ("took", "<i8"), ("late", "?"), ("used", "?"))
"""Of each plan: ``t`` is the tick from which it was followed. When it was ``asked`` for, of what was seen then, when it
was ``ready``, and how many nanoseconds making it ``took``. ``late``: the next was due before it came. Not ``used``: it
had ended before it came.
"""


class Policy(Protocol):
    """A trained function from what was seen to where to go, for a while ahead."""

    @property
    def name(self) -> str: ...

    @property
    def horizon(self) -> int:
        """Nanoseconds of a plan that are followed before the next one is asked for."""
        ...

    @property
    def ensemble(self) -> float | None:
        """Decay of the weights with which plans that overlap are averaged; None follows the newest alone."""
        ...

    def plan(self, seen: Observation, instruction: str) -> Rows:
        """Return targets with stamps in the future, earliest first."""
        ...


class PolicyLost(Exception):
    """A policy gives no plan any more, through no fault of its own. The station must hold, and the episode ends."""


@dataclass(frozen=True)
class Planned:
    """A plan, and how it came about; moments are the loop clock's, in nanoseconds."""

    rows: Rows
    asked: int
    """Of the observation that it was made from."""
    ready: int
    took: int
    """Nanoseconds of computing, or of waiting for whoever computes."""


@runtime_checkable
class Glimpsing(Protocol):
    """A policy that knows what little of an observation it looks at."""

    def glimpse(self, seen: Observation) -> Observation:
        """That little, as a copy: the cell's memory overwrites its rows."""
        ...


class Planner(Protocol):
    """Makes one plan at a time for whoever follows them."""

    @property
    def busy(self) -> bool:
        """Whether a plan was asked for that `ready` has not given yet."""
        ...

    def ask(self, seen: Observation, instruction: str) -> None:
        """Have the next plan made from what is seen now."""
        ...

    def ready(self, now: int) -> Planned | None:
        """The plan that was asked for, once, when it is there.

        Raises:
            Exception: what the policy raised instead.
        """
        ...

    def forget(self) -> None:
        """Never give the plan that was asked for, if one was."""
        ...


class InStep:
    """Plans in the loop itself, which waits. What comes of it does not depend on how fast the machine is.

    In simulated time no planning takes any: a ``delay`` has a plan come so many seconds of the loop's clock after it
    was asked for, as if it had been made ahead on a machine that needs as long.
    """

    def __init__(self, policy: Policy, delay: float = 0.0) -> None:
        self._policy, self._delay = policy, round(delay * 1e9)
        self._made: Planned | None = None

    @property
    def busy(self) -> bool:
        return self._made is not None

    def ask(self, seen: Observation, instruction: str) -> None:
        begun = time.perf_counter_ns()
        rows = self._policy.plan(seen, instruction)
        self._made = Planned(rows, seen.t, seen.t + self._delay, time.perf_counter_ns() - begun)

    def ready(self, now: int) -> Planned | None:
        if self._made is None or now < self._made.ready:
            return None
        made, self._made = self._made, None
        return made

    def forget(self) -> None:
        self._made = None


class Ahead:
    """Plans in a thread of its own, while the loop goes on. Its clock is the host's. Use it as a context manager.

    A policy is asked one thing at a time: a plan that was forgotten is finished before the next one begins.
    """

    def __init__(self, policy: Policy) -> None:
        self._glimpse: Callable[[Observation], Observation] = (
            policy.glimpse if isinstance(policy, Glimpsing) else _copied
        )
        self._policy = policy
        self._thread: ThreadPoolExecutor | None = None
        self._coming: Future[Planned] | None = None

    @property
    def busy(self) -> bool:
        return self._coming is not None

    def ask(self, seen: Observation, instruction: str) -> None:
        if self._thread is None:
            raise ValueError("there is no thread to plan in; use it as a context manager")
        self._coming = self._thread.submit(self._plan, self._glimpse(seen), instruction, time.perf_counter_ns())

    def ready(self, now: int) -> Planned | None:
        if self._coming is None or not self._coming.done():
            return None
        coming, self._coming = self._coming, None
        return coming.result()

    def forget(self) -> None:
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.cancel()

    def _plan(self, glimpse: Observation, instruction: str, begun: int) -> Planned:
        rows = self._policy.plan(glimpse, instruction)
        took = time.perf_counter_ns() - begun
        return Planned(rows, glimpse.t, glimpse.t + took, took)

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "ahead")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()


def _copied(seen: Observation) -> Observation:
    """All that is seen, where nobody knows what is looked at."""
    return Observation(seen.t, {name: rows.copy() for name, rows in seen.streams.items()}, seen.since)
