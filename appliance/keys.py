"""The keyboard beside the robot, and a foot pedal, which is a keyboard with one key."""

import codecs
import logging
import os
import re
import select
import sys
import termios
import threading
import tty
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from collectors import Event, Events
from collectors.events import TAGS, Press

MEANS: Mapping[str, Press] = {
    "\n": (Event.START,),
    "s": (Event.SUCCESS,),
    "f": (Event.FAILURE,),
    "d": (Event.DISCARD,),
    "a": (Event.AGAIN,),
    "q": (Event.STOP,),
    "t": (Event.TAKEOVER,),
    "o": (Event.GRIP_OPEN,),
    "c": (Event.GRIP_CLOSE,),
    **{str(k): (tag,) for k, tag in enumerate(TAGS, 1)},
}
"""What keys mean, unless the station file says otherwise under ``[keys]``, e.g. ``b = ["start", "success"]``; a key
that sends more than a letter is named by all of it, e.g. page down is ``"\\u001b[6~"``."""

HELP = "Enter start/next  s success  f failure  d discard  a again  o/c gripper  1-9 mark/choose  q end  Ctrl-C end"

KEY = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\[O])?|[^\x1b]", re.DOTALL)
"""What one key sends: a letter, or escape and more."""

ERASE = {"\x7f", "\b"}

log = logging.getLogger(__name__)


class Keyboard:
    """The terminal, as long as this is entered: each key is a press, or while something is written, a letter.

    A pedal is plugged in as a keyboard, and its keys arrive here when this terminal has the focus; see `Pedal` for one
    that counts always. When the terminal is gone, that is a press that stops: nobody could say so any more.
    """

    def __init__(self, events: Events, means: Mapping[str, Press], terminal: int | None = None) -> None:
        self._events = events
        self._means = {**MEANS, **means}
        self._terminal = sys.stdin.fileno() if terminal is None else terminal
        self._lock = threading.Lock()
        self._text: str | None = None
        self._whole = False

    def begin(self) -> None:
        with self._lock:
            self._text, self._whole = "", False

    def typed(self) -> tuple[str, bool]:
        with self._lock:
            return self._text or "", self._whole

    def end(self) -> None:
        with self._lock:
            self._text = None

    def _run(self) -> None:
        letters = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            ready, _, _ = select.select([self._terminal, self._wake], [], [])
            if self._wake in ready:
                return
            try:
                heard = os.read(self._terminal, 64)
            except OSError:
                heard = b""
            if not heard:
                log.warning("the terminal is gone, and with it every key")
                self._events.put(Event.STOP)
                return
            for key in KEY.findall(letters.decode(heard)):
                self._hear("\n" if key == "\r" else key)

    def _hear(self, letter: str) -> None:
        """A letter, or all that one key sends."""
        with self._lock:
            if self._text is not None and not self._whole:
                self._whole = letter == "\n"
                if letter in ERASE:
                    self._text = self._text[:-1]
                elif letter.isprintable():
                    self._text += letter
                return
        if (press := self._means.get(letter)) is not None:
            self._events.put(*press)

    def __enter__(self) -> Self:
        self._before: list[Any] = termios.tcgetattr(self._terminal)
        tty.setcbreak(self._terminal)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="keyboard", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)
        with suppress(termios.error):  # it is gone
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)
