"""What a person presses, on a keyboard, a pedal, a controller or an arm, is heard once, and means what makes sense."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from appliance.keys import Keyboard
from collectors import Event, Events
from collectors.buttons import LEFT, MEANS, RIGHT, Buttons, Closing, Grasped
from collectors.events import ENDS, GRIPS
from drivers import Rows
from drivers.dynamixel.leader import ROWS as LEADER
from drivers.franka.rows import ARM
from drivers.openxr.rows import HANDS, LOWER, MENU, STICK, UPPER
from tests.hosts import until


def hands(*buttons: tuple[int, int], start: int = 1, focused: bool = True) -> Rows:
    rows = np.zeros(len(buttons), HANDS)
    rows["t"] = np.arange(start, start + len(buttons))
    rows["buttons"], rows["focused"], rows["active"] = buttons, focused, 1
    return rows


def test_presses_are_taken_in_order_by_whom_they_concern() -> None:
    events = Events()
    for event in (Event.GRIP_CLOSE, Event.TAG_1, Event.SUCCESS):
        events.put(event)
    assert events.take(*ENDS) is Event.SUCCESS
    assert events.take(*ENDS) is None
    assert events.take(*GRIPS) is Event.GRIP_CLOSE
    assert events.take() is Event.TAG_1
    assert events.take() is None


def test_a_press_with_several_meanings_is_the_first_that_makes_sense() -> None:
    events = Events()
    events.put(Event.START, Event.AGAIN)
    assert events.take(*ENDS) is Event.AGAIN
    assert events.take() is None
    with pytest.raises(ValueError, match="has to mean something"):
        events.put()


def test_whoever_waits_hears_a_press_of_another_thread_and_not_what_was_cleared() -> None:
    events = Events()
    events.put(Event.START)
    events.clear()
    assert events.wait(0.0, Event.START) is None
    threading.Timer(0.05, events.put, [Event.START]).start()
    assert events.wait(5.0, Event.START) is Event.START


def test_a_signal_may_press_even_while_somebody_takes() -> None:
    """A lock that is held by the interrupted thread would never be given back."""
    events = Events()
    before = signal.signal(signal.SIGUSR1, lambda *_: events.put(Event.STOP))
    try:
        with events._lock:
            os.kill(os.getpid(), signal.SIGUSR1)
        assert events.wait(5.0) is Event.STOP
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("hand", "bit", "means"),
    [
        (RIGHT, LOWER, (Event.SUCCESS,)),
        (RIGHT, UPPER, (Event.FAILURE,)),
        (LEFT, LOWER, (Event.START, Event.AGAIN)),
        (LEFT, MENU, (Event.STOP,)),
        (RIGHT, STICK, (Event.DISCARD,)),
        (LEFT, STICK, (Event.STOP,)),
    ],
)
def test_a_button_of_a_controller_counts_once_as_it_goes_down(hand: int, bit: int, means: tuple[Event, ...]) -> None:
    down = (bit, 0) if hand == LEFT else (0, bit)
    buttons = Buttons("hands")
    assert buttons.hear(hands((0, 0), down, down, (0, 0))) == [means]
    assert buttons.hear(hands(down, down, start=5)) == [means]
    assert buttons.hear(hands((0, 0), down)) == [], "rows that are known say nothing new"


def test_without_a_menu_button_as_in_a_browser_everything_can_still_be_said() -> None:
    said = {event for (_, bit), press in MEANS.items() if bit != MENU for event in press}
    assert said == {Event.START, *ENDS}


def test_y_is_left_to_whoever_drives() -> None:
    assert Buttons("hands").hear(hands((0, 0), (UPPER, 0))) == []
    assert (LEFT, UPPER) not in MEANS


def test_what_is_down_at_first_or_when_the_focus_comes_back_was_not_meant_for_us() -> None:
    buttons = Buttons("hands")
    assert buttons.hear(hands((0, LOWER), (0, LOWER))) == []
    assert buttons.hear(hands((0, 0), start=3)) == []
    assert buttons.hear(hands((0, LOWER), start=4, focused=False)) == []
    assert buttons.hear(hands((0, LOWER), start=5)) == []
    assert buttons.hear(hands((0, 0), (0, LOWER), start=6)) == [(Event.SUCCESS,)]


def test_a_controller_that_blinks_while_a_button_is_held_presses_nothing() -> None:
    """Held a little long, X would begin a take and throw it away."""
    buttons = Buttons("hands")
    rows = hands((0, 0), (LOWER, 0), (0, 0), (LOWER, 0), (0, 0), (LOWER, 0))
    rows["active"][2] = 0, 1
    assert buttons.hear(rows) == [(Event.START, Event.AGAIN)] * 2, "as it goes down, and as it does again"
    rows = hands((0, 0), (0, 0), (0, LOWER), start=7)
    rows["active"][1] = 1, 0
    assert buttons.hear(rows) == [], "nobody saw it go down"


def test_a_frankas_guiding_button_starts_as_it_is_pressed() -> None:
    rows = np.zeros(5, ARM)
    rows["t"], rows["mode"] = np.arange(1, 6), [1, 3, 3, 1, 3]
    assert Grasped("arm").hear(rows) == [(Event.START,), (Event.START,)]
    assert Grasped("arm", released=(Event.SUCCESS,)).hear(rows) == [(Event.START,), (Event.SUCCESS,), (Event.START,)]


@pytest.mark.parametrize("ails", [4, 5, 6])
def test_an_arm_that_stops_by_itself_was_not_let_go_of(ails: int) -> None:
    """A reflex, the stop button, and the recovery from either end nothing as a success."""
    rows = np.zeros(6, ARM)
    rows["t"], rows["mode"] = np.arange(1, 7), [1, 3, ails, 1, 3, 1]
    assert Grasped("arm", released=(Event.SUCCESS,)).hear(rows) == [(Event.START,), (Event.START,), (Event.SUCCESS,)]


def test_closing_every_leaders_gripper_is_a_press_and_one_of_them_is_not() -> None:
    left, right = Closing(["left", "right"], 0.08).fingers()

    def at(t: int, width: float) -> Rows:
        rows = np.zeros(1, LEADER)
        rows["t"], rows["width"] = t, width
        return rows

    def both(t: int, a: float, b: float) -> list[Any]:
        return [*left.hear(at(t, a)), *right.hear(at(t, b))]

    assert both(1, 0.0, 0.0) == [], "they were never open"
    assert both(2, 0.08, 0.0) == both(3, 0.0, 0.08) == []
    assert both(4, 0.08, 0.08) == both(5, 0.0, 0.08) == both(6, 0.0, np.nan) == []
    assert both(7, 0.0, 0.04) == []
    assert both(8, 0.0, 0.01) == [(Event.START,)]
    assert both(9, 0.0, 0.0) == []
    assert left.stream == "left"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_keys_are_presses_and_the_station_may_give_them_other_meanings(terminal: tuple[int, int]) -> None:
    finger, keyboard = terminal
    events = Events()
    with Keyboard(events, {"b": (Event.START, Event.SUCCESS)}, keyboard):
        os.write(finger, b"b\rxs3")
        heard = [events.wait(5.0) for _ in range(4)]
    assert heard == [Event.START, Event.START, Event.SUCCESS, Event.TAG_3]
    assert events.take() is None


def test_while_something_is_written_keys_are_letters_and_then_keys_again(terminal: tuple[int, int]) -> None:
    finger, keyboard = terminal
    events = Events()
    with Keyboard(events, {}, keyboard) as keys:
        keys.begin()
        os.write(finger, "sö\x7fö fell\r".encode())
        text = until(lambda: keys.typed()[1] and keys.typed()[0])
        assert (text, events.take()) == ("sö fell", None)
        keys.end()
        os.write(finger, b"s")
        assert events.wait(5.0) is Event.SUCCESS


def test_the_terminal_is_left_as_it_was(terminal: tuple[int, int]) -> None:
    import termios

    _, keyboard = terminal
    before = termios.tcgetattr(keyboard)
    with Keyboard(Events(), {}, keyboard):
        assert termios.tcgetattr(keyboard) != before
    assert termios.tcgetattr(keyboard) == before
