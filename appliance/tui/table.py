"""The table that the operator sits at: one sitting at a time, in a thread of its own, whoever drives in it."""

import enum
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from appliance.asking import Hears, Typing, View
from appliance.refusal import Refusal, said
from appliance.session import Session, State
from appliance.tui.manners import sweep
from collectors import Event
from collectors.events import Press

if TYPE_CHECKING:
    from appliance.tui.room import Room

TOLD = 50
"""How many of the last lines that a sitting told are kept."""


class Word(enum.StrEnum):
    """How the robot is, in a word."""

    READY = "READY"
    """Nothing moves; the operator may begin."""
    RUNNING = "RUNNING"
    """It moves, or may at any moment."""
    HELD = "HELD"
    """It holds, and first something is to be said or decided."""
    FAULT = "FAULT"
    """Something is lost, or could not begin."""


class Taken(Refusal):
    """Somebody sits at the table already."""


class Sits(Protocol):
    """A sitting, as far as the screen knows it: `Attended`, or `Trials`."""

    @property
    def session(self) -> Session: ...

    @property
    def view(self) -> View: ...

    def run(self) -> bool:
        """Go on until all is done; return whether it is, and was not stopped before."""
        ...


type Tell = Callable[[str], None]

type Seat = Callable[[Hears, Tell], AbstractContextManager[Sits]]
"""Connects a station for a sitting, given how the operator is heard and told; e.g.
``lambda hears, tell: attended(wish, hears, tell)``."""


class Writing:
    """What the operator writes into a field of the screen. The sitting reads it from its thread."""

    def __init__(self) -> None:
        self._said: tuple[str, bool] | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for more of a text."""
        return self._said is not None and not self._said[1]

    def put(self, text: str, whole: bool = False) -> None:
        """So much is written; ``whole`` says that it is all."""
        if self._said is not None:
            self._said = text, whole

    def begin(self) -> None:
        self._said = "", False

    def typed(self) -> tuple[str, bool]:
        return self._said or ("", False)

    def end(self) -> None:
        self._said = None


class Table:
    """Where sittings take place: the screen looks at it and presses; the sitting itself runs beside, in one thread."""

    def __init__(self, room: "Room") -> None:
        self.room = room
        self.writing = Writing()
        self.keys: Mapping[str, Press] = {}
        """What keys mean at this station beside the usual."""
        self.told: deque[str] = deque(maxlen=TOLD)
        """What was told, oldest first."""
        self.where = ""
        """The title of the screen that somebody sat down at last."""
        self.refused = ""
        """Why the last sitting could not begin, or broke off."""
        self.sitting: Sits | None = None
        """Who sits there; None while nobody does, or it is being connected."""
        self._thread: threading.Thread | None = None
        self._leaving = False

    @property
    def taken(self) -> bool:
        """Whether a sitting is going on, is being connected, or is being left."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def running(self) -> bool:
        """Whether a take is being made."""
        sitting = self.sitting
        return sitting is not None and sitting.session.state is State.RUNNING

    @property
    def asked(self) -> bool:
        """Whether the operator is to choose among several things, so that digits choose."""
        sitting = self.sitting
        return sitting is not None and bool(sitting.view.choices)

    @property
    def word(self) -> Word:
        """How the robot is."""
        sitting = self.sitting
        if sitting is None:
            return Word.FAULT if self.refused else Word.HELD if self.taken else Word.READY
        if sitting.session.state is State.RUNNING:
            return Word.RUNNING
        if sitting.view.trouble or sitting.session.fault:
            return Word.FAULT
        waits = sitting.session.state is State.REVIEW or sitting.view.choices or self.writing.wanted or self._leaving
        return Word.HELD if waits else Word.READY

    @property
    def said(self) -> str:
        """What the robot does, or why it does not, in a line."""
        sitting = self.sitting
        if sitting is None:
            return self.refused or ("connecting" if self.taken else "not connected")
        if sitting.session.state is State.RUNNING:
            if not sitting.session.recording:
                return "not recorded yet"
            return f"REC {time.monotonic() - sitting.session.began:.1f} s"
        return sitting.view.trouble or sitting.session.fault or ("ending safely" if self._leaving else "")

    @property
    def news(self) -> list[str]:
        """What was told last between takes, unless it is what became of the last take, which is said anyway."""
        sitting = self.sitting
        if sitting is None or not self.told or sitting.session.state is State.RUNNING:
            return []
        last = [(one.said, one.facts) for one in sitting.view.shown[-1:]]
        known = [words for said, facts in last for words in (f"{said}: {facts}", f"{facts}: {said}")]
        return [line for line in [self.told[-1]] if line not in known]

    def sit(self, seat: Seat, where: str = "") -> None:
        """Begin a sitting, at the screen of that title; return at once.

        Raises:
            Taken: there is one already.
        """
        if self.taken:
            raise Taken("a sitting is going on; end it first: q")
        self.where, self.refused, self._leaving = where, "", False
        self.told.clear()
        self._thread = threading.Thread(target=self._run, args=(seat,), name="sitting")
        self._thread.start()

    def press(self, *meanings: Event) -> None:
        """The operator pressed something that means this, or where that makes no sense, the next."""
        if (sitting := self.sitting) is not None:
            sitting.session.events.put(*meanings)

    def leave(self) -> None:
        """Ask for the end of the sitting: the take in hand ends at its next tick, held and sealed. Returns at once."""
        self._leaving = True
        if (sitting := self.sitting) is not None:
            sitting.session.stop.set()

    def left(self, seconds: float | None = None) -> bool:
        """Wait until nobody sits here any more; return whether that is so."""
        if (thread := self._thread) is not None:
            thread.join(seconds)
        return not self.taken

    def _run(self, seat: Seat) -> None:
        sweep()
        try:
            with seat(self._hears, self.told.append) as sitting:
                self.sitting = sitting
                if self._leaving:
                    sitting.session.stop.set()
                whole = sitting.run()
            self.told.append("all is done" if whole else "the sitting was ended")
        except Exception as error:  # ruff: ignore[blind-except] - the operator is to read of it, whatever it was
            self.refused = said(error)
            self.told.append(self.refused)
        finally:
            self.sitting, self._leaving = None, False

    @contextmanager
    def _hears(self, _session: Session, keys: Mapping[str, Press]) -> Generator[Typing]:
        """The screen hears the keys of the station, and writes for the operator."""
        self.keys = keys
        yield self.writing
