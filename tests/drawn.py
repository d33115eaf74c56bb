"""What a terminal shows as a picture: SVG that needs nothing from elsewhere, and stays small."""

from collections import defaultdict
from html import escape

from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

WIDE, HIGH = 8, 16
"""Of a letter."""

LIGHT, DARK = "#e0e0e0", "#121212"
"""What a terminal writes in, and on, unless it is told otherwise."""

HALF = "▀"
"""The upper half of a letter's place: two points of a picture."""


def svg(coloured: str, columns: int, rows: int) -> str:
    """Draw what a terminal was sent: stretches of one colour as one path for each colour, and the letters over them."""
    paths: dict[str, list[str]] = defaultdict(list)
    letters: list[str] = []
    console = Console(width=columns, color_system="truecolor", legacy_windows=False)
    for row, line in enumerate(Text.from_ansi(coloured).split("\n", allow_blank=True)[:rows]):
        column, y = 0, row * HIGH
        for text, style in _runs(line, console):
            ink, ground = _colours(style)
            x, width = column * WIDE, len(text) * WIDE
            column += len(text)
            if set(text) == {HALF}:
                paths[ink].append(f"M{x} {y}h{width}v8h-{width}z")
                paths[ground].append(f"M{x} {y + 8}h{width}v8h-{width}z")
                continue
            if ground != DARK:
                paths[ground].append(f"M{x} {y}h{width}v{HIGH}h-{width}z")
            if text.strip():
                letters.append(_letters(text, x, y, ink, style))
    size = f"{columns * WIDE} {rows * HIGH}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}">',
            "<style>text{font:13px monospace;white-space:pre}.b{font-weight:bold}.u{text-decoration:underline}</style>",
            f'<rect width="100%" height="100%" fill="{DARK}"/>',
            *(f'<path fill="{colour}" d="{"".join(d)}"/>' for colour, d in paths.items() if colour != DARK),
            *letters,
            "</svg>\n",
        ]
    )


def _runs(line: Text, console: Console) -> list[tuple[str, Style]]:
    """The stretches of a line that look the same."""
    joined = Segment.simplify(one for one in line.render(console) if one.text)
    return [(one.text, one.style or Style()) for one in joined]


def _letters(text: str, x: int, y: int, ink: str, style: Style) -> str:
    """Letters, each as wide as it is in the terminal."""
    shown = text.strip()
    x += (len(text) - len(text.lstrip())) * WIDE
    kind = f' class="{"b" * bool(style.bold)}{" u" * bool(style.underline)}"' if style.bold or style.underline else ""
    wide = len(shown) * WIDE
    return f'<text x="{x}" y="{y + 12}" fill="{ink}"{kind} textLength="{wide}">{escape(shown, quote=False)}</text>'


def _colours(style: Style) -> tuple[str, str]:
    ink, ground = _hex(style.color, LIGHT), _hex(style.bgcolor, DARK)
    return (ground, ink) if style.reverse else (ink, ground)


def _hex(colour: Color | None, usual: str) -> str:
    return usual if colour is None or colour.is_default else colour.get_truecolor().hex
