"""Which parts of a take become episodes: proposed from what the person marked while filming, edited in a small file.

Marks come in pairs: one where a demonstration begins, one where it ends. A mark is a press of the camera's button
(HiLight), or three knocks on the camera. A take without marks is one episode.
"""

import csv
import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collectors.human_video.takes import Take

HIT = 15.0
"""How far a knock takes the acceleration from its median, in m/s2. Walking and grasping stay below 12."""

REST = 0.08
"""Seconds that belong to one knock, ringing included."""

TOGETHER = 0.5
"""Seconds between the knocks of a triple tap, at most."""

HANDS = 0.7
"""Seconds that hands are at the camera, around a tap: they are cut off."""

COLUMNS = ("take", "start", "end", "text", "hands")

HANDS_USED = {"": None, "left": (True, False), "right": (False, True), "both": (True, True)}
"""What column ``hands`` may say, and which of the hands that is: left, right. Empty is not known."""

LEAST = 0.5
"""Seconds that an episode has to last."""


class BadCuts(Exception):
    """The cut list cannot be followed. The message names the file and the line, and says what would be right."""


class Marks(enum.StrEnum):
    """What marks the beginning and the end of a demonstration."""

    AUTO = "auto"
    """HiLights where there are any, else taps, else the whole take."""
    HILIGHTS = "hilights"
    TAPS = "taps"
    WHOLE = "whole"


@dataclass(frozen=True)
class Cut:
    """One episode to be: from when to when, in seconds of its take, and what is done there."""

    take: str
    start: float
    end: float
    text: str = ""
    hands: str = ""
    """Which hands do it, as `HANDS_USED` has them."""
    note: str = ""
    """What a person should look at. It is shown, and not kept."""


def taps(t: NDArray[np.float64], accel: NDArray[np.float64]) -> list[float]:
    """When somebody began to knock three times on the camera.

    Args:
        t: (n,) seconds.
        accel: (n, 3) m/s2.
    """
    if not len(t):
        return []
    size = np.linalg.norm(accel, axis=1)
    beyond = np.abs(size - np.median(size))
    knocks: list[float] = []
    end = -np.inf
    for i in np.flatnonzero(beyond > HIT):
        if t[i] >= end:
            end = float(t[i]) + REST
            ringing = beyond[i : np.searchsorted(t, end)]
            knocks.append(float(t[i + int(ringing.argmax())]))
    groups: list[list[float]] = []
    for knock in knocks:
        if groups and knock - groups[-1][-1] <= TOGETHER:
            groups[-1].append(knock)
        else:
            groups.append([knock])
    return [group[0] for group in groups if len(group) == 3]


def propose(take: Take, marks: Marks = Marks.AUTO, text: str = "", hands: str = "") -> list[Cut]:
    """Cut a take where the person marked it."""
    accel = take.samples("ACCL")
    tapped = [] if accel is None else taps(accel.t, accel.values)
    if marks is Marks.AUTO:
        marks = Marks.HILIGHTS if take.hilights else Marks.TAPS if tapped else Marks.WHOLE
    if marks is Marks.WHOLE:
        return [Cut(take.name, 0.0, take.seconds, text, hands)]
    found = take.hilights if marks is Marks.HILIGHTS else tapped
    trim = 0.0 if marks is Marks.HILIGHTS else HANDS
    cuts = [
        Cut(take.name, start + trim, end - (0.2 if trim else 0.0), text, hands)
        for start, end in zip(found[::2], found[1::2], strict=False)
    ]
    if len(found) % 2:
        cuts.append(Cut(take.name, found[-1] + trim, take.seconds, text, hands, "the last mark has no end"))
    within = [replace(cut, end=min(cut.end, take.seconds)) for cut in cuts]
    return [cut for cut in within if cut.end - cut.start >= LEAST]


def write(path: Path, cuts: Iterable[Cut]) -> None:
    """Write a cut list to look at and to edit: a line per episode, ``take,start,end,text,hands``; seconds or min:sec.

    Raises:
        OSError: it cannot be written, or is there already.
    """
    with path.open("x", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(COLUMNS)
        lines.writerows((cut.take, f"{cut.start:.3f}", f"{cut.end:.3f}", cut.text, cut.hands) for cut in cuts)


def read(path: Path, takes: Sequence[Take]) -> list[Cut]:
    """Read an edited cut list. A line that was removed is an episode that is left out.

    Raises:
        BadCuts: it is no cut list, or a line names no take, no time, or a time that was not filmed.
        OSError: it cannot be read.
    """
    known = {take.name: take for take in takes}
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            lines = csv.DictReader(file, strict=True)
            if not {"take", "start", "end"} <= set(lines.fieldnames or ()):
                raise BadCuts(f"{path} does not begin with the line {','.join(COLUMNS)}")
            cuts = [_cut(f"{path}, line {lines.line_num}", line, known) for line in lines]
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadCuts(f"{path} is no list with commas: {error}") from error
    ordered = sorted(cuts, key=lambda cut: (cut.take, cut.start))
    for one, other in pairwise(ordered):
        if one.take == other.take and other.start < one.end:
            raise BadCuts(
                f"{path}: two cuts of take {one.take} overlap, {one.start:g} to {one.end:g} s and {other.start:g} to "
                f"{other.end:g} s; no picture can be in two episodes"
            )
    return cuts


def _cut(where: str, line: dict[str, str | None], known: dict[str, Take]) -> Cut:
    name = (line["take"] or "").strip()
    if name not in known:
        raise BadCuts(f"{where}: there is no take {name!r}; there are {', '.join(sorted(known)) or 'none'}")
    start, end = (_seconds(where, line[column] or "") for column in ("start", "end"))
    if not 0 <= start < end <= known[name].seconds + 0.001:
        raise BadCuts(f"{where}: {start:g} to {end:g} s is not within take {name}, 0 to {known[name].seconds:.3f} s")
    if end - start < LEAST:
        raise BadCuts(f"{where}: an episode lasts at least {LEAST:g} s, not {end - start:g} s")
    hands = (line.get("hands") or "").strip().lower()
    if hands not in HANDS_USED:
        raise BadCuts(f"{where}: {hands!r} are no hands; write left, right or both, or nothing")
    return Cut(name, start, end, (line.get("text") or "").strip(), hands)


def _seconds(where: str, said: str) -> float:
    """A time as a person writes it: 75.5 or 1:15.5."""
    found = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", said.strip())
    if found is None:
        raise BadCuts(f"{where}: {said!r} is no time; write seconds, 75.5, or minutes and seconds, 1:15.5")
    hours, minutes, seconds = found.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
