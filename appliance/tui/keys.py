"""The keys of the screen in its last line. Textual's footer makes a widget of each whenever one of them changes."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual import events
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
        end = 0
        for one in self._shown:
            end += one.width
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
        active = self.screen.active_bindings
        first = {one.binding.action: one for one in reversed(active.values()) if one.binding.show}
        for _, binding, enabled, _ in reversed(first.values()):
            yield Shown(binding.key, self.app.get_key_display(binding), binding.description, enabled)
        if (palette := active.get(self.app.COMMAND_PALETTE_BINDING)) is not None:
            key = self.app.get_key_display(palette.binding)
            yield Shown(palette.binding.key, key, palette.binding.description, palette.enabled)

    def _draw(self) -> None:
        key = self.get_component_rich_style("keys--key")
        text, room = Text(no_wrap=True), self.size.width
        for one in self._shown:
            if (room := room - one.width) < 0:
                break
            text.append(f" {one.said}", key).append(f" {one.means} ", "" if one.enabled else "dim")
        self.update(text)
