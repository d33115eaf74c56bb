"""What the person beside the robot says without words: keys, a pedal, buttons in the hand, a gripper that closes."""

import enum
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from drivers import Rows

LOOK = 0.05
"""Seconds after which whoever waits looks up."""


class Event(enum.StrEnum):
    """Something a person wants."""

    START = "start"
    """Begin the next take; when something is to be chosen, move on to the next choice."""
    SUCCESS = "success"
    """The take is over, and went well; when something is to be chosen, this one."""
    FAILURE = "failure"
    """The take is over, and did not."""
    DISCARD = "discard"
    """The take shows nothing: leave it out."""
    AGAIN = "again"
    """Leave it out, and record the same once more."""
    STOP = "stop"
    """End the take; without one, the sitting."""
    TAKEOVER = "takeover"
    """The policy's trial is over, and failed: the person goes on from here."""
    GRIP_OPEN = "grip_open"
    GRIP_CLOSE = "grip_close"
    TAG_1 = "tag_1"
    """Marks a moment of a take; when something is to be chosen, the first choice. So on to nine."""
    TAG_2 = "tag_2"
    TAG_3 = "tag_3"
    TAG_4 = "tag_4"
    TAG_5 = "tag_5"
    TAG_6 = "tag_6"
    TAG_7 = "tag_7"
    TAG_8 = "tag_8"
    TAG_9 = "tag_9"


TAGS = tuple(event for event in Event if event.startswith("tag_"))

GRIPS = (Event.GRIP_OPEN, Event.GRIP_CLOSE)

ENDS = (Event.SUCCESS, Event.FAILURE, Event.DISCARD, Event.AGAIN, Event.STOP)
"""What ends a take."""

type Press = tuple[Event, ...]
"""One press of something. It may mean several things, the first of them that makes sense at the moment."""


class Events:
    """Presses that nobody has taken yet, oldest first. Any thread may put and take, a signal handler may put."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Press] = queue.SimpleQueue()
        self._waiting: deque[Press] = deque()
        self._lock = threading.Lock()

    def put(self, *meanings: Event) -> None:
        """Somebody pressed something that means this, or where that makes no sense, the next."""
        if not meanings:
            raise ValueError("a press has to mean something; give at least one Event")
        self._inbox.put(meanings)

    def take(self, *kinds: Event) -> Event | None:
        """Return the oldest press that means one of these, as what it means; of any kind, if none are given.

        The others stay for whoever takes them. None when there is none.
        """
        with self._lock:
            while not self._inbox.empty():
                self._waiting.append(self._inbox.get())
            for press in self._waiting:
                for event in press:
                    if not kinds or event in kinds:
                        self._waiting.remove(press)
                        return event
        return None

    def wait(self, seconds: float, *kinds: Event) -> Event | None:
        """As `take`, but wait so long for one to come."""
        end = time.monotonic() + seconds
        while (event := self.take(*kinds)) is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK))
        return event

    def clear(self) -> None:
        """Forget everything that was pressed and not taken: it was meant for what is over."""
        while self.take() is not None:
            pass


class Source(Protocol):
    """Tells from a device's rows what a person pressed."""

    @property
    def stream(self) -> str:
        """The device's name."""
        ...

    def hear(self, rows: Rows) -> Sequence[Press]:
        """Return what the rows say that came since the last time; rows that it knows say nothing new."""
        ...
