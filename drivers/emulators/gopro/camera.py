"""GoPro files as a camera would have written them, to rehearse with: chapters, taps, HiLights, GPS, HEVC, midnight.

    film(folder / "GH010007.MP4", Filmed(seconds=12, hilights=(2.0, 8.0)))

What they show is a hand's colour that moves over a table's; what matters is what surrounds it. A telemetry payload a
second, the camera's notes at the end of the file, a timecode that falls behind by a thousandth.
"""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from drivers.emulators.gopro import boxes, telemetry
from drivers.emulators.gopro.filmed import Filmed, Picture


def film(path: Path, filmed: Filmed) -> Path:
    """Write a file."""
    import av

    with av.open(str(path), "w", format="mp4") as out:
        out.metadata["creation_time"] = f"{filmed.began.replace(microsecond=0).isoformat()}.000000Z"
        video: Any = out.add_stream(filmed.codec, rate=filmed.rate, options={"preset": "ultrafast", "g": "10"})
        if filmed.codec == "libx265":
            video.options |= {"x265-params": "log-level=none"}
        video.width, video.height = filmed.size
        video.pix_fmt = "yuv420p10le" if filmed.codec == "libx265" else "yuv420p"
        video.metadata.update({"handler_name": "GoPro AVC", "timecode": timecode(filmed.began, filmed.rate)})
        for number in range(round(filmed.seconds * filmed.rate)):
            frame = av.VideoFrame.from_ndarray(_seen(filmed, float(number / filmed.rate)), "rgb24")
            frame.pts, frame.time_base = number, 1 / filmed.rate
            out.mux(video.encode(frame))
        out.mux(video.encode())
    file = bytearray(path.read_bytes())
    if filmed.quarter_turns:
        boxes.turn(file, filmed.quarter_turns)
    if filmed.telemetry:
        count = math.ceil(Fraction(filmed.seconds) / telemetry.PAYLOAD)
        boxes.add_track(file, [telemetry.payload(filmed, number) for number in range(count)])
    if filmed.noted:
        boxes.note(file, *telemetry.notes(filmed))
    path.write_bytes(file)
    return path


def chapters(folder: Path, number: int, filmed: Filmed, count: int) -> list[Path]:
    """Write a long take in pieces, as a card makes it necessary. Each piece has its own times from 0."""
    letter = "X" if filmed.codec == "libx265" else "H"
    length = Fraction(round(filmed.seconds * filmed.rate / count)) / filmed.rate
    made = []
    for chapter in range(count):
        before = float(length * chapter)
        own = replace(
            filmed,
            seconds=float(length),
            began=filmed.began + timedelta(seconds=before),
            hilights=[t - before for t in filmed.hilights if before <= t < before + length],
            taps=[t - before for t in filmed.taps if before <= t < before + length],
        )
        made.append(film(folder / f"G{letter}{chapter + 1:02}{number:04}.MP4", own))
    return made


def timecode(began: datetime, rate: Fraction) -> str:
    """What the camera writes for a time of day: frames since midnight, as if a second had a whole number of them."""
    midnight = began.replace(hour=0, minute=0, second=0, microsecond=0)
    frames, nominal = round(Fraction((began - midnight).total_seconds()) * rate), round(rate)
    seconds = frames // nominal
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames % nominal:02}"


def _seen(filmed: Filmed, t: float) -> Picture:
    """A hand's colour moves over a table's."""
    if filmed.picture is not None:
        return filmed.picture(t)
    width, height = filmed.size
    seen = np.full((height, width, 3), (120, 110, 100), np.uint8)
    left = round((0.1 + 0.6 * abs((t / 4) % 2 - 1)) * width)
    seen[height // 2 :, left : left + width // 5] = (210, 160, 130)
    return (seen * filmed.brightness).astype(np.uint8)
