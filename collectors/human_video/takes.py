"""What was filmed in one go: a camera cuts it into chapters, which are files of their own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collectors.human_video.clip import Camera, CannotUse, Clip
from collectors.human_video.telemetry import Samples

CHAPTER = re.compile(r"G[HXPS](\d{2})(\d{4})", re.IGNORECASE)
"""GH010123: chapter 01 of file 0123. The file's number comes last, so the names' order is not the order of filming."""

FIRST = re.compile(r"GOPR(\d{4})", re.IGNORECASE)
"""What cameras up to the HERO5 call a first chapter; the next is GP010123."""

ROUND = ".360"
"""What a film of all around is called: halves of a globe."""

PREVIEW = re.compile(r"GL\d{6}", re.IGNORECASE)


@dataclass(frozen=True)
class Take:
    """Clips that follow each other without a gap. Times are seconds from the beginning of the first."""

    name: str
    clips: tuple[Clip, ...]

    @property
    def offsets(self) -> list[float]:
        """When each clip begins."""
        return [sum(clip.seconds for clip in self.clips[:place]) for place in range(len(self.clips))]

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.clips)

    @property
    def camera(self) -> Camera:
        return self.clips[0].camera

    @property
    def began(self) -> datetime | None:
        return self.clips[0].began

    @property
    def hilights(self) -> list[float]:
        """When somebody pressed the button."""
        return [offset + mark for offset, clip in zip(self.offsets, self.clips, strict=True) for mark in clip.hilights]

    @property
    def moments(self) -> NDArray[np.float64]:
        """When each picture is shown."""
        return np.concatenate([o + clip.moments for o, clip in zip(self.offsets, self.clips, strict=True)])

    def samples(self, key: str) -> Samples | None:
        """One stream of telemetry, through all clips; None where no clip has it.

        Where chapters meet, telemetry reaches over their pictures; there each has its own, so that none comes twice.
        """
        found = [(o, c, c.telemetry.streams.get(key)) for o, c in zip(self.offsets, self.clips, strict=True)]
        parts = [(offset, self._own(clip, part)) for offset, clip, part in found if part is not None]
        if not parts:
            return None
        first = parts[0][1]
        same = [(offset, part) for offset, part in parts if part.values.shape[1] == first.values.shape[1]]
        t = np.concatenate([offset + part.t for offset, part in same])
        order = np.argsort(t, kind="stable")
        return Samples(key, first.name, first.unit, t[order], np.concatenate([part.values for _, part in same])[order])

    def _own(self, clip: Clip, part: Samples) -> Samples:
        """What a chapter measured while it filmed; the first may begin earlier, the last end later."""
        since = -np.inf if clip is self.clips[0] else 0.0
        until = np.inf if clip is self.clips[-1] else clip.seconds
        own = (part.t >= since) & (part.t < until)
        return replace(part, t=part.t[own], values=part.values[own])


def place(path: Path) -> tuple[str, int] | None:
    """The number of a file, and of the chapter, from its name; None when it has another name.

    Raises:
        CannotUse: it is the camera's small preview of a film, or a film of all around.
    """
    if path.suffix.lower() == ROUND:
        raise CannotUse(f"{path} is a film of all around; film with one lens (HERO mode), as a head would see it")
    if PREVIEW.fullmatch(path.stem) or path.suffix.lower() in {".lrv", ".thm"}:
        raise CannotUse(f"{path} is the camera's small preview; give the film of the same number, GH... or GX...")
    if found := CHAPTER.fullmatch(path.stem):
        return found[2], int(found[1]) + (path.stem[1] in "Pp")
    if found := FIRST.fullmatch(path.stem):
        return found[1], 1
    return None


def takes(clips: Sequence[Clip]) -> list[Take]:
    """Put chapters together: in one folder, of one camera, with one number, and with no chapter missing in between."""
    groups: dict[tuple[Path, str, str, str], list[tuple[int, Clip]]] = {}
    for clip in clips:
        number, chapter = place(clip.path) or (clip.path.stem, 1)
        kind = clip.path.stem[:2].upper().replace("GO", "GP")
        groups.setdefault((clip.path.parent, clip.camera.serial, kind, number), []).append((chapter, clip))
    made = []
    for (*_, number), found in groups.items():
        runs: list[list[tuple[int, Clip]]] = []
        for chapter, clip in sorted(found, key=itemgetter(0)):
            if runs and runs[-1][-1][0] == chapter - 1:
                runs[-1].append((chapter, clip))
            else:
                runs.append([(chapter, clip)])
        for run in runs:
            name = f"{number}" if run[0][0] == 1 else f"{number}-{run[0][0]:02}"
            made.append(Take(name, tuple(clip for _, clip in run)))
    return _apart(made)


def _apart(made: list[Take]) -> list[Take]:
    """Give takes of one name, of two cameras or folders, names of their own."""
    count: dict[str, int] = {}
    named = []
    for take in made:
        count[take.name] = count.get(take.name, 0) + 1
        named.append(take if count[take.name] == 1 else Take(f"{take.name}~{count[take.name]}", take.clips))
    return named
