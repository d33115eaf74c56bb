"""One GoPro file: what it shows, when it was filmed, and what the camera says of itself."""

import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.human_video import boxes
from collectors.human_video.klv import Item, everything, items
from collectors.human_video.telemetry import Payload, Telemetry, read

METADATA = "MET"
"""What the name of the telemetry track holds: "GoPro MET"."""

SAME = 50
"""Marks this near to each other, in milliseconds, are one press, noted in two places."""

BLOCK = 1 << 22


class CannotUse(Exception):
    """A file cannot become episodes. The message names it, and says why and what to do."""


@dataclass(frozen=True)
class Camera:
    """What a camera says of itself. Empty is what it does not say."""

    model: str = ""
    serial: str = ""
    firmware: str = ""
    fov: str = ""
    """GoPro's letter: W wide, L linear, N narrow, S superview, ..."""
    stabilised: str = ""
    """Empty when stabilisation is off or nothing is said; else how, e.g. "HS High"."""
    zoomed: bool = False


@dataclass(frozen=True)
class Clip:
    """A file that can be read, and what is in it. Times are seconds of the film, from its first picture."""

    path: Path
    digest: str
    codec: str
    width: int
    height: int
    moments: NDArray[np.float64]
    """(n,) when each picture is shown, in the order of showing, as the container says."""
    seconds: float
    """Until the last picture's end."""
    began: datetime | None
    """By the camera's clock, which knows no time zone."""
    camera: Camera
    hilights: tuple[float, ...]
    telemetry: Telemetry

    @property
    def hz(self) -> float:
        """Pictures a second."""
        return float((len(self.moments) - 1) / (self.moments[-1] - self.moments[0])) if len(self.moments) > 1 else 0.0


def look(path: Path) -> Clip:
    """Read what a file is, without unpacking its pictures.

    Raises:
        CannotUse: it is missing, empty, cut off, no video, or not of a GoPro.
    """
    try:
        notes = boxes.notes(path)
        return _look(path, notes)
    except boxes.Broken as error:
        raise CannotUse(f"{path} {error}") from error
    except OSError as error:
        raise CannotUse(f"{path}: {error.strerror or error}") from error


def container(path: Path) -> Any:
    """Open a file to read its tracks. Letters in it that are none do not matter."""
    import av

    return av.open(str(path), metadata_errors="replace")


def began(timecode: str, rate: Fraction, created: datetime | None) -> datetime | None:
    """When a film began, by the camera's clock: from its timecode, to the frame; the day from its creation time.

    A GoPro's timecode counts frames since midnight as if there were 30 a second where there are 29.97, so it falls
    behind by a thousandth: 86 s at the end of the day. (A ``;`` before the frames would mean that it leaves out numbers
    to keep up.) The creation time has whole seconds only. Between the two there may be a midnight.
    """
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;])(\d{2,3})", timecode)
    if found is None or created is None:
        return created
    hours, minutes, seconds, frames = (int(found[i]) for i in (1, 2, 3, 5))
    whole, nominal = (hours * 60 + minutes) * 60 + seconds, round(rate) or 30
    exact = whole + Fraction(frames) / rate if found[4] == ";" else Fraction(whole * nominal + frames) / rate
    midnight = created.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight + timedelta(days=day, seconds=float(exact)) for day in (-1, 0, 1)]
    return min(days, key=lambda day: abs(day - created))


def _look(path: Path, notes: Mapping[bytes, bytes]) -> Clip:
    from av.error import FFmpegError

    try:
        with container(path) as film:
            if not film.streams.video:
                raise CannotUse(f"{path} has no pictures; it is no video")
            video = film.streams.video[0]
            if not video.codec_context or not video.codec_context.width or not video.codec_context.height:
                raise CannotUse(f"{path}: its kind of pictures cannot be unpacked here; give the film as on the card")
            data = (each for each in film.streams if each.type == "data")
            met = next((each for each in data if METADATA in each.metadata.get("handler_name", "")), None)
            if met is None and not {b"GPMF", b"FIRM"} & notes.keys():
                raise CannotUse(
                    f"{path} has no GoPro telemetry: it is of another camera, or another program has written it anew. "
                    "Give the file as it is on the card"
                )
            if met is None:
                raise CannotUse(f"{path} has lost its telemetry track (GoPro MET); give the file as it is on the card")
            stamps, ends, payloads = [], [], []
            base = float(video.time_base or 1)
            for packet in film.demux(video, met):
                if packet.pts is None or not packet.size or packet.is_discard:
                    continue
                if packet.stream is video:
                    stamps.append(packet.pts)
                    ends.append(packet.pts + (packet.duration or 0))
                else:
                    unit = float(packet.time_base)
                    payloads.append(Payload(packet.pts * unit, (packet.duration or 0) * unit, bytes(packet)))
            if not stamps:
                raise CannotUse(f"{path} has no pictures; copy it from the card again")
            about = (str(video.codec_context.name), video.codec_context.width, video.codec_context.height)
            timecode = video.metadata.get("timecode") or film.metadata.get("timecode", "")
            created = film.metadata.get("creation_time") or video.metadata.get("creation_time", "")
            rate = video.average_rate or Fraction(30000, 1001)
    except FFmpegError as error:
        raise CannotUse(f"{path} cannot be read as a video ({error.strerror}); copy it from the card again") from error
    moments = np.array(sorted(stamps)) * base
    noted = items(notes.get(b"GPMF", b""))
    telemetry = read(payloads)
    clock = began(timecode, Fraction(rate), _time(created))
    camera, marks = _camera(notes, noted, telemetry), hilights(notes, noted)
    end = max(ends) * base
    return Clip(path, _digest(path), *about, moments, end, clock, camera, marks, telemetry)


def _time(said: str) -> datetime | None:
    """A creation time. It is labelled UTC, and is the camera's local time."""
    try:
        return datetime.fromisoformat(said).replace(tzinfo=None) if said else None
    except ValueError:
        return None


def _camera(notes: Mapping[bytes, bytes], noted: tuple[Item, ...], telemetry: Telemetry) -> Camera:
    said = {item.key: item.text for item in everything(noted) if item.kind in {"c", "F"}}
    firmware = notes.get(b"FIRM", b"").split(b"\0", 1)[0].decode("latin1")
    how = said.get("EISA", "")
    off = said.get("EISE", "N") != "Y" and how in {"", "N", "N/A", "OFF", "Off"}
    return Camera(
        model=said.get("MINF") or _model(firmware) or telemetry.device,
        serial=said.get("CASN", ""),
        firmware=firmware,
        fov=said.get("VFOV", ""),
        stabilised="" if off else how if how not in {"", "N/A"} else "on",
        zoomed=said.get("DZOM") == "Y",
    )


def _model(firmware: str) -> str:
    """Older cameras say only their firmware: HD5.02.02.00.00 is a HERO5."""
    found = re.match(r"HD(\d+)\.", firmware)
    return f"HERO{found[1]}" if found else ""


def hilights(notes: Mapping[bytes, bytes], noted: tuple[Item, ...]) -> tuple[float, ...]:
    """When somebody pressed the button to mark a moment, from either place where cameras say it.

    ``HMMT`` is their number, and the milliseconds of each. ``HLMT``, of newer cameras, has a row for each: the
    milliseconds first, then where the camera was, which is not read, and who marked it, ``MANL`` for a person.
    """
    table = notes.get(b"HMMT", b"")
    count = min(struct.unpack(">I", table[:4])[0], len(table) // 4 - 1) if len(table) >= 4 else 0
    marks = {*struct.unpack(f">{count}I", table[4 : 4 + 4 * count])}
    for item in (item for item in everything(noted) if item.key == "HLMT" and item.size >= 8):
        rows = (item.data[place : place + item.size] for place in range(0, len(item.data), item.size))
        marks |= {int.from_bytes(row[:4]) for row in rows if b"MANL" in row[4:]}
    ordered = sorted(marks)
    return tuple(mark / 1000 for last, mark in zip([-SAME, *ordered], ordered, strict=False) if mark - last >= SAME)


def _digest(path: Path) -> str:
    content = hashlib.blake2b(digest_size=16)
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            content.update(block)
    return content.hexdigest()
