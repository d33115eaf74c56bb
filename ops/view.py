"""Look at an episode in Rerun: what the cameras saw, what the robot did and was asked to do, and what was said of it.

Everything lies on one time line, ``take``, in seconds from the episode's first row; ``capture`` is the time of day.
Nothing is reported to anyone: the viewer is started with its analytics switched off, listens to this machine only,
and has no way to the network.
"""

import os
import shutil
import subprocess  # ruff: ignore[suspicious-subprocess-import] - it starts one program, by our words alone
import sys
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ops.story import events, page, paths, plots
from storage import Edit, Episode, Jpeg, Verdict
from storage.layout import DEPTH, pictures

if TYPE_CHECKING:
    import rerun as rr

TAKE = "take"
CAPTURE = "capture"

AT_ONCE = 32
"""How many pictures are in memory at a time."""

PIECE = 1 << 20
"""How many bytes are written at a time."""

COLOURS = {"measured": (60, 120, 220), "target": (240, 140, 30), "asked": (150, 150, 150)}
"""Of a plot's lines: where it was, what it was told, and what whoever drove asked for before the guard."""

LOOPBACK = "127.0.0.1"
NOWHERE = f"http://{LOOPBACK}:9"
"""A proxy that nobody answers."""


class CannotShow(Exception):
    """The episode cannot be shown, or not written. The message says what would be right."""


def save(file: Path, episode: Episode, verdicts: Sequence[Verdict] = (), edits: Sequence[Edit] = ()) -> None:
    """Write a recording that Rerun opens. The file is there whole or not at all.

    Args:
        file: where to, e.g. ``take.rrd``.
        episode: all of it; trim marks are shown, not obeyed.
        verdicts: what was said of it, oldest first.
        edits: what was done to it, oldest first.

    Raises:
        CannotShow: rerun is not installed, or the file cannot be written.
    """
    rerun = _rerun()
    part = file.with_name(file.name + ".part")
    try:
        to = rerun.RecordingStream("appliance", recording_id=str(episode.id), send_properties=False)
        with _drained_into(part) as pipe:
            try:
                to.save(pipe, _blueprint(episode))
                _put_all(_Reel.of(episode, to), episode, verdicts, edits)
            finally:
                to.disconnect()
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CannotShow(f"cannot write {file}: {error.strerror or error}") from error


def show(episode: Episode, scratch: Path, verdicts: Sequence[Verdict] = (), edits: Sequence[Edit] = ()) -> None:
    """Open an episode in Rerun's viewer, and wait until its window is closed.

    Args:
        episode: all of it.
        scratch: a folder for what the viewer needs meanwhile, and where it is told to report nothing.
        verdicts: what was said of it, oldest first.
        edits: what was done to it, oldest first.

    Raises:
        CannotShow: rerun is not installed, there is no display, or the viewer failed.
    """
    check_display()
    _rerun()
    scratch.mkdir(parents=True, exist_ok=True)
    quiet = quietly(scratch)
    with TemporaryDirectory(dir=scratch) as folder:
        file = Path(folder, f"{episode.id}.rrd")
        save(file, episode, verdicts, edits)
        _viewer(quiet, str(file), "--bind", LOOPBACK, "--port", "auto")


def check_display() -> None:
    """Make sure that windows can be opened here.

    Raises:
        CannotShow: there is no display.
    """
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise CannotShow("there is no display here; --save FILE.rrd writes a file that Rerun opens anywhere")


def quietly(scratch: Path) -> dict[str, str]:
    """The environment in which Rerun's viewer reports nothing: its analytics are off, and the network is out of reach.

    Raises:
        CannotShow: the viewer could not be told so.
    """
    mine = {"XDG_CONFIG_HOME": str(scratch.absolute()), "XDG_DATA_HOME": str(scratch.absolute())}
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    quiet = {**os.environ, **mine, **dict.fromkeys(proxies, NOWHERE)}
    quiet |= {"NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK, "TELEMETRY_ENABLED": "false"}
    _viewer(quiet, "analytics", "disable")
    return quiet


@dataclass(frozen=True)
class _Reel:
    """A recording that is being written, and how its times follow from the rows' stamps."""

    to: "rr.RecordingStream"
    first: int
    """The stamp of the episode's first row."""
    wall: int | None
    """Nanoseconds from a stamp to the time of day; None when the episode does not tell."""

    @classmethod
    def of(cls, episode: Episode, to: "rr.RecordingStream") -> "_Reel":
        stamps = [int(t[0]) for t in (episode[stream, "t"] for stream in episode.streams) if len(t)]
        first, said = min(stamps, default=0), episode.attributes
        if "clock" in said:
            return cls(to, first, said["clock"]["wall"] - said["clock"]["loop"])
        started = datetime.fromisoformat(said["started"]).timestamp() if "started" in said else None
        return cls(to, first, None if started is None else round(started * 1e9) - first)

    def put(self, entity: str, t: NDArray[np.int64], columns: Any) -> None:
        """Write what happened at the stamps ``t``."""
        import rerun as rr

        times = [rr.TimeColumn(TAKE, duration=(t - self.first).astype("timedelta64[ns]"))]
        if self.wall is not None:
            times.append(rr.TimeColumn(CAPTURE, timestamp=(t + self.wall).astype("datetime64[ns]")))
        self.to.send_columns(entity, times, columns, strict=True)

    def say(self, entity: str, *what: Any) -> None:
        """Write what is so all the time."""
        self.to.log(entity, *what, static=True, strict=True)


def _put_all(reel: _Reel, episode: Episode, verdicts: Sequence[Verdict], edits: Sequence[Edit]) -> None:
    import rerun as rr

    for stream in episode.cameras:
        for kind in pictures(episode.dtype(stream)):
            _put_pictures(reel, episode, stream, kind)
    for line in plots(episode):
        reel.put(line.entity, line.t, rr.Scalars.columns(scalars=line.values))
        if line.kind in COLOURS:
            reel.say(line.entity, rr.SeriesLines(colors=[COLOURS[line.kind]], names=[line.kind]))
    for path in paths(episode):
        reel.put(path.entity, path.t, rr.Points3D.columns(positions=path.values))
        reel.say(path.entity, rr.Points3D.from_fields(colors=[COLOURS[path.kind]], radii=[0.008]))
        reel.say(f"{path.entity}/path", rr.LineStrips3D([path.values], colors=[COLOURS[path.kind]], radii=[0.0015]))
    told = sorted(events(episode, verdicts, edits), key=lambda event: event.seconds)
    when = np.array([reel.first + round(event.seconds * 1e9) for event in told], np.int64)
    reel.put(
        "events",
        when,
        rr.TextLog.columns(text=[event.text for event in told], level=[event.level for event in told]),
    )
    reel.say("about", rr.TextDocument(page(episode, verdicts, edits), media_type="text/markdown"))


def _put_pictures(reel: _Reel, episode: Episode, stream: str, kind: str) -> None:
    """JPEG goes through as it is, depth as millimetres. The rest is packed again: exactly, if it was kept exactly."""
    import rerun as rr

    frames, t, entity = episode.frames(stream, kind), episode[stream, "t"], f"{stream}/{kind}"
    for first in range(0, len(frames), AT_ONCE):
        some = range(first, min(first + AT_ONCE, len(frames)))
        if kind == DEPTH:
            height, width = frames.shape[1:]
            form = rr.components.ImageFormat(width=width, height=height, color_model="L", channel_datatype="U16")
            shots = [np.ascontiguousarray(depth, "<u2").tobytes() for depth in frames[list(some)]]
            columns = rr.DepthImage.columns(buffer=shots, format=[form] * len(some), meter=[1000.0] * len(some))
        else:
            packed, media = _packed(frames, some)
            columns = rr.EncodedImage.columns(blob=packed, media_type=[media] * len(some))
        reel.put(entity, t[some.start : some.stop], columns)


def _packed(frames: Any, some: range) -> tuple[list[bytes], str]:
    """Pictures in colour as Rerun can show them."""
    if frames.codec == "imagecodecs_jpeg":
        return list(frames.stored(some)), "image/jpeg"
    if frames.clip is not None:
        return [Jpeg(quality=95).encode(image) for image in frames[list(some)]], "image/jpeg"
    import imagecodecs

    return [bytes(imagecodecs.png_encode(image, level=1)) for image in frames[list(some)]], "image/png"


def _blueprint(episode: Episode) -> Any:
    """Cameras and the tools' path on the left, plots on the right, events below, all on the take's time line."""
    import rerun.blueprint as rrb

    seen = [
        rrb.Spatial2DView(origin=f"{stream}/{kind}", name=f"{stream} {kind}")
        for stream in episode.cameras
        for kind in pictures(episode.dtype(stream))
    ]
    origins = dict.fromkeys(line.entity.rpartition("/")[0] if line.kind else line.entity for line in plots(episode))
    drawn = [rrb.TimeSeriesView(origin=origin, name=origin.replace("/", " ")) for origin in origins]
    space = [rrb.Spatial3DView(origin="space", name="tool")] if any(paths(episode)) else []
    left = [rrb.Grid(*seen, *space, name="seen")] if seen or space else []
    right = [rrb.Grid(*drawn, name="measured and aimed at")] if drawn else []
    below = rrb.Horizontal(
        rrb.TextLogView(origin="events", name="events"), rrb.TextDocumentView(origin="about", name="about")
    )
    return rrb.Blueprint(
        rrb.Vertical(rrb.Horizontal(*left, *right), below, row_shares=[4, 1]),
        rrb.TimePanel(timeline=TAKE, state="collapsed"),
        auto_views=False,
        collapse_panels=True,
    )


@contextmanager
def _drained_into(file: Path) -> Generator[Path]:
    """A pipe whose bytes go into a file.

    Rerun's own writer waits for ever when its disk is full. A pipe always takes what comes, and we are told.

    Raises:
        OSError: the file could not be written.
    """
    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        pipe = Path(folder, "pipe.rrd")
        os.mkfifo(pipe)
        kept_open = os.open(pipe, os.O_RDWR)
        try:
            written = pool.submit(_drain, os.open(pipe, os.O_RDONLY), file)
            yield pipe
        finally:
            os.close(kept_open)
        written.result()


def _drain(pipe: int, file: Path) -> None:
    """Read a pipe to its end, whatever becomes of the file."""
    with os.fdopen(pipe, "rb", buffering=0) as source:
        try:
            with file.open("wb") as into:
                shutil.copyfileobj(source, into, PIECE)
        finally:
            while source.read(PIECE):
                pass


def _viewer(environment: Mapping[str, str], *words: str) -> None:
    """Run Rerun's own program to its end.

    Raises:
        CannotShow: it failed.
    """
    program = "import sys; from rerun_cli.__main__ import main; sys.exit(main())"
    done = subprocess.run(  # ruff: ignore[subprocess-without-shell-equals-true] - our own words, and no shell
        [sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-3:]
        raise CannotShow(f"Rerun's viewer ended with code {done.returncode}: {' '.join(said)}")


def _rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise CannotShow("Rerun is not installed; `make setup` installs it (rerun-sdk)") from error
    return rerun
