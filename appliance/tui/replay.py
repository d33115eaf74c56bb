"""Replay: one episode as it went, at any speed, its pictures beside what was measured and aimed at."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from appliance.tui import clips
from appliance.tui.graph import Curve, Graph
from appliance.tui.judging import Judging
from appliance.tui.picture import Picture
from appliance.tui.room import Room
from storage import Listed

if TYPE_CHECKING:
    from appliance.tui.table import Table

TICK = 0.1
"""Seconds between two looks at the clock."""

PICTURES = 0.25
"""Seconds between two pictures: what a slow link can carry."""

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class Opened(Message):
    """The episode is read."""

    def __init__(self, seconds: float, reels: Sequence[clips.Reel], joints: Mapping[str, Sequence[Curve]]) -> None:
        super().__init__()
        self.seconds, self.reels, self.joints = seconds, reels, joints


class Seen(Message):
    """A picture is read; None where it could not be."""

    def __init__(self, shot: clips.Shot | None) -> None:
        super().__init__()
        self.shot = shot


class Replay(Judging):
    """One episode, from its first row to its last."""

    TITLE = "Replay"
    HELP = (
        "space plays and pauses, left and right go a second back and on, comma and full stop a picture, up and down "
        "change the speed, c the next camera, j the next joint, p pictures on and off (slow link). "
        "s success, f failed, x invalid. Esc goes back."
    )
    DEFAULT_CSS = """
    Replay #both { height: 1fr; }
    Replay Picture { width: 1fr; height: 1fr; }
    Replay Graph { width: 1fr; height: 1fr; }
    Replay #ruler, Replay #names { height: 1; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "play", "Play"),
        Binding("left", "jump(-1)", "-1 s", show=False),
        Binding("right", "jump(1)", "+1 s", show=False),
        Binding("comma", "step(-1)", "Picture before", show=False),
        Binding("full_stop", "step(1)", "Next picture", show=False),
        Binding("up", "faster(1)", "Faster", key_display="↑", show=False),
        Binding("down", "faster(-1)", "Slower", key_display="↓", show=False),
        Binding("c", "camera", "Camera", show=False),
        Binding("j", "joint", "Joint", show=False),
        Binding("p", "pictures", "Pictures", show=False),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, room: Room, table: "Table", found: Listed) -> None:
        super().__init__(room, table)
        self._found = found
        self.at, self.speed, self.playing = 0.0, 1.0, False
        self._seconds = 0.0
        self._reels: Sequence[clips.Reel] = ()
        self._joints: Mapping[str, Sequence[Curve]] = {}
        self._camera = self._joint = 0
        self._shown, self._looking, self._asked = -1, False, 0.0
        self._wanted = True

    def body(self) -> Iterable[Widget]:
        yield Static(id="names", markup=False)
        yield Horizontal(Picture(), Graph(), id="both")
        yield Static(id="ruler", markup=False)
        yield self.saying()

    def on_mount(self) -> None:
        self._open()
        self.set_interval(TICK, self._tick)

    def on_resize(self) -> None:
        self._rule()

    def meant(self) -> Listed | None:
        return self._found

    def action_back(self) -> None:
        """Go back to where it was chosen."""
        self.dismiss()

    def action_play(self) -> None:
        """Play, from the beginning once it is over, or pause."""
        if not self.playing and self.at >= self._seconds:
            self.at = 0.0
        self.playing = not self.playing
        self._last = time.monotonic()
        self._go(self.at)

    def action_jump(self, seconds: float) -> None:
        """Go so far on."""
        self._go(self.at + seconds)

    def action_step(self, by: int) -> None:
        """Stop, and go to the next picture or the one before."""
        self.playing = False
        if self._reels:
            reel = self._reels[self._camera]
            place = min(len(reel) - 1, max(0, reel.place(self.at) + by))
            self._go(reel.when(place))

    def action_faster(self, by: int) -> None:
        """Play faster or slower."""
        self.speed = SPEEDS[min(len(SPEEDS) - 1, max(0, SPEEDS.index(self.speed) + by))]
        self._rule()

    def action_camera(self) -> None:
        """See what the next camera saw."""
        if self._reels:
            self._camera, self._shown = (self._camera + 1) % len(self._reels), -1
            self._label()
            self._go(self.at)

    def action_joint(self) -> None:
        """Plot the next joint."""
        if self._joints:
            self._joint = (self._joint + 1) % len(self._joints)
            self._plot()

    def action_pictures(self) -> None:
        """Send pictures, or none."""
        self._wanted, self._shown = not self._wanted, -1
        if not self._wanted:
            self.query_one(Picture).show(None)
        self._go(self.at)

    @on(Opened)
    def opened(self, message: Opened) -> None:
        self._seconds, self._reels, self._joints = message.seconds, message.reels, message.joints
        self._label()
        self._plot()
        self._go(0.0)

    @on(Seen)
    def seen(self, message: Seen) -> None:
        self._looking = False
        if message.shot is not None and self._wanted:
            self.query_one(Picture).show(message.shot.pixels)
            self._go(self.at)

    def _tick(self) -> None:
        now = time.monotonic()
        if self.playing:
            self._go(self.at + (now - self._last) * self.speed)
            self.playing = self.at < self._seconds
        elif self._shown < 0:
            self._go(self.at)
        self._last = now

    def _go(self, seconds: float) -> None:
        """Be at this moment, and have its picture read unless one is being read."""
        self.at = min(self._seconds, max(0.0, seconds))
        self._rule()
        if not self._reels or not self._wanted or self._looking:
            return
        place = self._reels[self._camera].place(self.at)
        if place != self._shown and (not self.playing or time.monotonic() - self._asked > PICTURES):
            self._shown, self._looking, self._asked = place, True, time.monotonic()
            self._look(self._reels[self._camera], place)

    def _rule(self) -> None:
        """Draw where in the take one is."""
        word = f"{'>' if self.playing else '='} x{self.speed:g} {self.at:6.2f} of {self._seconds:.2f} s "
        room = max(4, self.size.width - len(word) - 3)
        place = round((room - 1) * self.at / self._seconds) if self._seconds else 0
        self.query_one("#ruler", Static).update(f"{word}{'─' * place}●{'─' * (room - 1 - place)}")

    def _label(self) -> None:
        camera = self._reels[self._camera].camera if self._reels else "no camera saw it"
        row = self._found.row
        self.query_one("#names", Static).update(
            f"{str(row.id)[:8]}  {row.task}  {row.started.astimezone():%m-%d %H:%M}  {camera}"
        )

    def _plot(self) -> None:
        if self._joints:
            name = [*self._joints][self._joint]
            # What was measured comes first, and is drawn last, over the others.
            curves = [Curve(f"{name} {one.name}", one.x, one.y) for one in reversed(self._joints[name])]
            self.query_one(Graph).show(curves, "s")

    @work(thread=True, exclusive=True, group="open")
    def _open(self) -> None:
        with self.trying():
            episode = clips.opened(self.room.home.folder, self._found.standing)
            reels = [clips.Reel(episode, camera) for camera in clips.cameras(episode)]
            self.post_message(Opened(episode.seconds, reels, clips.joints(episode)))

    @work(thread=True, exclusive=True, group="look")
    def _look(self, reel: clips.Reel, place: int) -> None:
        shot = None
        with self.trying():
            shot = reel.at(place)
        self.post_message(Seen(shot))
