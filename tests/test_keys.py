"""What a terminal sends beside letters, and what happens when it is gone."""

import os
from collections.abc import Iterator

import pytest

from appliance.keys import Keyboard
from collectors import Event, Events

DELETE, HOME, PAGE_DOWN, F5, CONTROL_RIGHT = "\x1b[3~", "\x1b[1~", "\x1b[6~", "\x1b[15~", "\x1bOc"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(theirs)


@pytest.mark.parametrize("key", [DELETE, HOME, PAGE_DOWN, F5, CONTROL_RIGHT])
def test_a_key_that_sends_several_letters_is_none_of_them(terminal: tuple[int, int], key: str) -> None:
    """Delete is no mark 3, and while something is chosen, not the third choice."""
    finger, keyboard = terminal
    events = Events()
    with Keyboard(events, {}, keyboard):
        os.write(finger, f"{key}s".encode())
        assert events.wait(5.0) is Event.SUCCESS
    assert events.take() is None
    os.close(finger)


def test_such_a_key_may_mean_something(terminal: tuple[int, int]) -> None:
    """Many pedals are sold to turn pages."""
    finger, keyboard = terminal
    events = Events()
    with Keyboard(events, {PAGE_DOWN: (Event.START,)}, keyboard):
        os.write(finger, PAGE_DOWN.encode())
        assert events.wait(5.0) is Event.START
    os.close(finger)


def test_escape_alone_takes_nothing_from_the_key_after_it(terminal: tuple[int, int]) -> None:
    finger, keyboard = terminal
    events = Events()
    with Keyboard(events, {"\x1b": (Event.TAG_9,)}, keyboard):
        os.write(finger, b"\x1b")
        assert events.wait(5.0) is Event.TAG_9
        os.write(finger, b"q")
        assert events.wait(5.0) is Event.STOP
    os.close(finger)


def test_when_the_terminal_is_gone_the_take_ends(terminal: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
    """Who cannot say stop any more has to be safe without it."""
    finger, keyboard = terminal
    events = Events()
    with Keyboard(events, {}, keyboard):
        os.close(finger)
        assert events.wait(5.0) is Event.STOP
    assert caplog.messages == ["the terminal is gone, and with it every key"]
