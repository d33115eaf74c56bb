"""A person at the table is asked, and answers by presses, however few keys they have."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from appliance.offers import Offer
from appliance.session import Session
from collectors import Event
from collectors.events import TAGS, Press
from storage import FailureMode, Outcome

LOOK = 0.05
"""Seconds between two looks at the devices while the person is waited for."""

QUIET = 2.0
"""Seconds after which what was moved to is chosen: who has one pedal has no key that says so."""

UNWRITTEN = 10.0
"""Seconds without a letter after which a note is taken as written."""

SHOWN = len(TAGS)
"""How many choices are shown at a time: a small terminal holds no more, and no more have a key."""

STAGES = {"S0": "set-up", "S1": "approach", "S2": "acquire", "S3": "transport", "S4": "deliver", "S5": "finish"}

PUSHES = {Event.START, Event.SUCCESS, Event.FAILURE, Event.STOP, *TAGS}
"""What counts when something is to be chosen."""


class Typing(Protocol):
    """Where a person can write."""

    def begin(self) -> None:
        """From now on, what is typed is text."""
        ...

    def typed(self) -> tuple[str, bool]:
        """What was typed since, and whether that is all. Once it is all, keys are keys again."""
        ...

    def end(self) -> None:
        """Keys are keys again."""
        ...


type Hears = Callable[[Session, Mapping[str, Press]], AbstractContextManager[Typing | None]]
"""As long as it is entered, a person's keys count in a session, with what the station file says of keys; it gives
where they can write, if they can."""


@dataclass(frozen=True)
class Shown:
    """One take is over."""

    episode: UUID
    way: str
    """Who drove, as the catalog calls them."""
    said: str
    """``success``, ``failure DROP``, ``discarded``, ..."""
    facts: str
    """How long it was and how well it was recorded."""

    @property
    def kept(self) -> bool:
        return self.said != DISCARDED


DISCARDED, UNSAID = "discarded", "no verdict yet"


@dataclass
class View:
    """What the person is shown. The sitting writes it; another thread may draw it."""

    offer: Offer | None = None
    asks: str = ""
    choices: Sequence[str] = ()
    at: int = 0
    """The choice that is moved to."""
    trouble: str = ""
    """What is lost, while it is."""
    shown: list[Shown] = field(default_factory=list)

    @property
    def good(self) -> int:
        return sum(one.said == str(Outcome.SUCCESS) for one in self.shown)


def told(view: View) -> list[str]:
    """What the person is asked, what there is to choose, and what became of the last take."""
    found, choices, at = [view.asks], view.choices, view.at
    first = at - at % SHOWN
    for k, choice in enumerate(choices[first : first + SHOWN], first):
        found.append(f"{'>' if k == at else ' '} {k + 1} {choice}")
    if len(choices) > SHOWN:
        found.append(f"  {first + 1} to {min(first + SHOWN, len(choices))} of {len(choices)}")
    if view.shown:
        found.append(f"last: {view.shown[-1].said}, {view.shown[-1].facts}")
    if view.trouble:
        found.append(f"{view.trouble}  START: try again")
    return found


@dataclass(frozen=True)
class Tag:
    """How something failed, as a person says."""

    outcome: Outcome
    """Invalid where the set-up was at fault."""
    stage: str
    code: str
    note: str


def ways(modes: Sequence[FailureMode], stage: str) -> list[FailureMode]:
    """How things fail in a stage."""
    return [mode for mode in modes if {stage, "any"} & {*mode.stage.split("/")}]


@dataclass
class Asking:
    """Asks, and waits for what is pressed."""

    session: Session
    view: View
    typing: Typing | None = None
    """Where notes are written; None where nobody can write."""

    def failure(self, task: str | None = None) -> str | None:
        """Have it said how a take of a task failed, and put that on record; None to go back."""
        tag = self.tag(task)
        if tag is None:
            return None
        self.session.judge(tag.outcome, tag.code, tag.note, stage=tag.stage)
        return f"{tag.outcome} {tag.code}"

    def tag(self, task: str | None = None, likely: tuple[str, str] | None = None) -> Tag | None:
        """Have it said how something failed: in which stage, how, and anything else; None to go back.

        Args:
            task: whose own codes there are beside the common ones; None for those of all.
            likely: stage and code that are moved to, so that choosing them takes no looking.
        """
        modes = self.session.catalog.failure_modes(task)
        keys = list(STAGES)
        first = keys.index(likely[0]) if likely and likely[0] in keys else 0
        stage = self.choose("It failed. In which stage?", [f"{key} {STAGES[key]}" for key in keys], at=first)
        if stage is None:
            return None
        key = keys[stage]
        here = ways(modes, key)
        codes = [mode.code for mode in here]
        first = codes.index(likely[1]) if likely and likely[1] in codes else 0
        how = self.choose(f"How, in {key} {STAGES[key]}?", [f"{mode.code} {mode.name}" for mode in here], at=first)
        if how is None:
            return None
        return Tag(Outcome.INVALID if key == "S0" else Outcome.FAILURE, key, codes[how], self._note())

    def _note(self) -> str:
        """Have a note written, by whoever has a keyboard."""
        if self.typing is None:
            return ""
        self.view.choices, end = (), time.monotonic() + UNWRITTEN
        self.session.events.clear()
        self.typing.begin()
        try:
            before = ""
            while True:
                text, whole = self.typing.typed()
                self.view.asks = f"A note? {text}_"
                if text != before:
                    before, end = text, time.monotonic() + UNWRITTEN
                event = self.wait(time.monotonic(), Event.START, Event.SUCCESS, Event.STOP)
                if event is Event.STOP:
                    self.session.stop.set()
                if whole or event is not None or time.monotonic() > end or self.session.stop.is_set():
                    return text
        finally:
            self.typing.end()

    def choose(
        self, asks: str, choices: Sequence[str], direct: Mapping[Event, int] | None = None, at: int = 0
    ) -> int | None:
        """Have one of several things chosen; None when the person goes back, or the sitting is stopped.

        A tag chooses by its number. START moves on to the next, and SUCCESS chooses it, as does a while without a
        press. FAILURE goes back. What ``direct`` says of a press comes first. It begins ``at`` one of them.
        """
        self.session.events.clear()
        self.view.asks, self.view.choices, self.view.at = asks, choices, at
        direct, quiet = direct or {}, None
        try:
            while True:
                event = self.wait(quiet, *PUSHES, *direct)
                if event is None:
                    return None if self.session.stop.is_set() else self.view.at
                if event in direct:
                    return direct[event]
                if event in TAGS and TAGS.index(event) < len(choices):
                    return TAGS.index(event)
                if event is Event.START:
                    self.view.at = (self.view.at + 1) % len(choices)
                    quiet = time.monotonic() + QUIET
                elif event is Event.SUCCESS:
                    return self.view.at
                elif event is Event.FAILURE:
                    return None
                elif event is Event.STOP:
                    self.session.stop.set()
        finally:
            self.view.choices = ()

    def wait(self, until: float | None, *kinds: Event) -> Event | None:
        """Wait for a press that means one of these; None once the sitting is stopped, or that moment has come."""
        while not self.session.stop.is_set():
            self.view.trouble = self.session.listen()
            if (event := self.session.events.wait(LOOK, *kinds)) is not None:
                return event
            if until is not None and time.monotonic() >= until:
                return None
        return None
