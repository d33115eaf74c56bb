"""A data folder to look at, and the screen's program driven by keys: what a person sees is asserted, not pixels."""

import asyncio
import pkgutil
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from textual import on
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static

import appliance.tui
from appliance.home import Home
from appliance.tui.app import WHERE
from appliance.tui.room import Room, Wanted
from appliance.tui.rows import Rows
from appliance.tui.table import Table
from appliance.tui.top import Top
from storage import Episode, EpisodeWriter, Lossless, Task, rows_of

ARM = np.dtype([("t", "<i8"), ("q", "<f8", (2,)), ("q_target", "<f8", (2,))])
CAMERA = np.dtype([("t", "<i8"), ("rgb", "u1", (24, 32, 3))])
ACTION = np.dtype([("t", "<i8"), ("q", "<f8", (2,))])
STREAMS: dict[str, np.dtype[np.void]] = {"arm": ARM, "front": CAMERA, "action": ACTION}

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PATIENCE, LOOK = 20.0, 0.05
SNAPSHOTS = Path(__file__).parent / "data" / "screens"
BUILD = Path(__file__).parent.parent / "build" / "screens"

type Drive = Callable[[Alone, Pilot[None]], Awaitable[None]]


class Alone(App[None]):
    """One screen of the program, without the others."""

    CSS_PATH = Path(appliance.tui.__file__).with_name("app.tcss")

    def __init__(self, room: Room, screen: str) -> None:
        super().__init__()
        self._room, self._where = room, WHERE[screen]
        self.wanted: list[Wanted] = []

    def on_mount(self) -> None:
        self.push_screen(pkgutil.resolve_name(self._where)(self._room, Table(self._room)))

    @on(Wanted)
    def note(self, message: Wanted) -> None:
        """Somebody wants takes."""
        self.wanted.append(message)


def take(home: Home, minute: int, **said: Any) -> UUID:
    """Record two seconds, in the second of which the arm moves, that began so many minutes after noon."""
    key = UUID(int=0xA0000000 + minute << 96)
    t = np.arange(100) * 20_000_000
    arm, action = np.zeros(100, ARM), np.zeros(100, ACTION)
    arm["t"] = action["t"] = t
    arm["q"][:, 0] = action["q"][:, 0] = arm["q_target"][:, 0] = np.clip(np.arange(100) - 50, 0, 50) / 50
    film = np.zeros(20, CAMERA)
    film["t"], film["rgb"] = np.arange(20) * 100_000_000, np.arange(20, dtype=np.uint8)[:, None, None, None] * 12
    usual = {
        "task": "pick_place",
        "agent": "person",
        "operator": "ada",
        "station": "cell",
        "condition": {"seed": minute},
    }
    attributes = {**usual, "started": (NOON + timedelta(minutes=minute)).isoformat(), "ended_by": "done", **said}
    with EpisodeWriter(home.folder, STREAMS, attributes, Lossless(), id=key) as writer:
        for name, rows in (("arm", arm), ("front", film), ("action", action)):
            writer.append(name, rows)
        sealed = writer.seal({})
    with home.join() as catalog:
        catalog.add(*rows_of(Episode(sealed.path), home.folder))
    return key


def another_task(home: Home, name: str) -> None:
    with home.join() as catalog:
        catalog.add(Task(name=name, instruction=f"do {name}"))


def shown(home: Home, screen: str, drive: Drive, size: tuple[int, int] = (80, 24)) -> None:
    """Show a screen of the program in a terminal of this size, and do something there."""

    async def run() -> None:
        app = Alone(Room(home, "franka-sim", "ada"), screen)
        async with app.run_test(size=size) as pilot:
            await drive(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Wait until something can be seen; say what there is if it never can.

    Raises:
        AssertionError: it took too long.
    """
    for _ in range(round(PATIENCE / LOOK)):
        await pilot.pause(LOOK)
        if holds():
            return
    raise AssertionError(f"after {PATIENCE} s the screen says:\n{plain(pilot)}")


def rows(app: Alone, name: str = "Rows") -> list[list[str]]:
    """What a list on the screen says, row by row."""
    return [list(row.cells) for row in app.screen.query_one(name, Rows).lines]


def line(app: Alone, name: str) -> str:
    """What a text on the screen says."""
    return str(app.screen.query_one(name, Static).content)


def plain(pilot: Pilot[None]) -> str:
    """The screen as it stands in a terminal without colours."""
    width = pilot.app.size.width
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text[:width].rstrip() for strip in strips)


async def compared(pilot: Pilot[None], name: str) -> None:
    """Compare the screen, without what is above all screens, with the picture that is kept of it.

    Raises:
        AssertionError: it looks different.
    """
    for top in pilot.app.screen.query(Top):
        top.display = False
    await pilot.pause()
    found = re.sub(r"terminal-\d+", "terminal-0", pilot.app.export_screenshot(title=name))
    kept, other = SNAPSHOTS / f"{name}.svg", BUILD / f"{name}.svg"
    if not kept.exists() or kept.read_text() != found:
        BUILD.mkdir(parents=True, exist_ok=True)
        other.write_text(found)
        raise AssertionError(f"{name} looks different: compare {other} with {kept}, and copy it there if it is right")
