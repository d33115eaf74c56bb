"""The keys of the screen in its last line. Textual's footer makes a widget of each whenever one of them changes."""

from collections.abc import Iterator
from itertools import accumulate, takewhile
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import ActiveBinding
from textual.screen import Screen
from textual.widgets import Static


class Shown(NamedTuple):
    """One key."""

    key: str
    """What is pressed, as Textual calls it."""
    said: str
    """As it stands on the keyboard."""
    means: str
    enabled: bool

    @property
    def width(self) -> int:
        return cell_len(self.said) + cell_len(self.means) + 3


class Keys(Static):
    """A line of keys and what they do; one may be clicked, too. What finds no room is left out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keys--key"}
    DEFAULT_CSS = """
    Keys { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; }
    Keys .keys--key { color: $footer-key-foreground; text-style: bold; }
    """

    def on_mount(self) -> None:
        self._shown: list[Shown] = []
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def on_resize(self) -> None:
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Press the key that is clicked."""
        for one, end in self._fitting():
            if event.x < end:
                self.app.simulate_key(one.key)
                return

    def _changed(self, screen: Screen[Any]) -> None:
        if self.is_attached and screen is self.screen and screen.app.app_focus:
            shown = [*self._found()]
            if shown != self._shown:
                self._shown = shown
                self._draw()

    def _found(self) -> Iterator[Shown]:
        """Each action's first key, then the palette's."""
        active, first = self.screen.active_bindings, dict[str, ActiveBinding]()
        for one in active.values():
            if one.binding.show:
                first.setdefault(one.binding.action, one)
        palette = active.get(self.app.COMMAND_PALETTE_BINDING)
        for _, binding, enabled, _ in [*first.values(), *([] if palette is None else [palette])]:
            yield Shown(binding.key, self.app.get_key_display(binding), binding.description, enabled)

    def _fitting(self) -> Iterator[tuple[Shown, int]]:
        """Those that find room, and where each ends."""
        ends = accumulate(one.width for one in self._shown)
        return takewhile(lambda found: found[1] <= self.size.width, zip(self._shown, ends, strict=True))

    def _draw(self) -> None:
        key = self.get_component_rich_style("keys--key")
        text = Text(no_wrap=True)
        for one, _ in self._fitting():
            text.append(f" {one.said}", key).append(f" {one.means} ", "" if one.enabled else "dim")
        self.update(text)
