"""A screen that reads in threads, and says in a line what it did, or why it did not."""

from collections.abc import Generator
from contextlib import contextmanager

from textual import on
from textual.message import Message
from textual.widgets import Static

from appliance.refusal import said
from appliance.tui.room import RoomScreen


class Told(Message):
    """Something was done, or could not be."""

    def __init__(self, text: str, trouble: bool = False) -> None:
        super().__init__()
        self.text, self.trouble = text, trouble


class Telling(RoomScreen):
    """Whatever goes wrong while it reads is a line on it."""

    DEFAULT_CSS = """
    #said { height: auto; max-height: 3; padding: 0 1; }
    #said.trouble { background: $error; color: white; text-style: bold; }
    """

    def saying(self) -> Static:
        """The line, for `body`."""
        return Static(id="said", markup=False)

    @contextmanager
    def trying(self) -> Generator[None]:
        """Do something in a thread; what goes wrong is told."""
        try:
            yield
        except Exception as error:  # ruff: ignore[blind-except] - the operator is to read of it, whatever it was
            self.post_message(Told(said(error), trouble=True))

    def tell(self, text: str, trouble: bool = False) -> None:
        """Say it now; from a handler."""
        line = self.query_one("#said", Static)
        line.set_class(trouble, "trouble")
        line.update(f"! {text}" if trouble else text)

    @on(Told)
    def told(self, message: Told) -> None:
        message.stop()
        self.tell(message.text, message.trouble)
