"""A small copy of an episode: the same rows, and its images as films. The episode itself is never touched."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from storage import arrays
from storage.clip import Coding, film, shown
from storage.episode import Episode
from storage.layout import DEPTH, RGB, pictures, plain_dtype, stored_dtype
from storage.manifest import MANIFEST, check
from storage.seal import Sealed, alone, making_of
from storage.timeline import Rows
from storage.writer import EpisodeWriter

MADE = "compacted"
"""The attribute of a copy that says what it was made from, how, and how near it is."""

STANDARD = Coding()

PIECE = 32
"""Rows with depth that are in memory at once."""


@dataclass(frozen=True)
class Compacted:
    """A small copy, and what it cost."""

    path: Path
    digest: str
    bytes: int
    psnr: dict[str, float]
    """For each camera, how near its images are to the original's, in decibels, over all pixels; inf when equal."""


def compact(episode: Path, into: Path, how: Coding = STANDARD) -> Compacted:
    """Make a small copy as the folder ``into``, and look at every image of it.

    The copy is an episode like any other, with the same id, rows, depth and attributes, and a digest of its own; its
    attribute ``compacted`` tells what it was made from and how near it is. Images that are in a film already stay as
    they are. It gets its name only when it is whole; what an interrupted attempt left beside it, the next removes. If
    there is a copy of this very episode, that is the answer.

    Raises:
        FileNotFoundError: there is no sealed episode.
        ValueError: it is not what it was when it was sealed, or is itself such a copy.
        FileExistsError: ``into`` is something else.
        OSError: the copy could not be written.
    """
    whole = Episode(episode)
    if MADE in whole.attributes:
        raise ValueError(f"{episode} is a small copy already; only an original gives a good one")
    making = making_of(into)
    with alone(making):
        try:
            if not into.exists():
                if wrong := check(episode):
                    raise ValueError(f"{episode} is not what it was, and a copy would hide that: {wrong[0]}")
                for left in making.iterdir():
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
                _make(whole, making, how).path.rename(into)
                arrays.sync(into.parent)
        finally:
            shutil.rmtree(making)
    return _told(into, whole)


def lost(original: Path, copy: Path, least: float) -> list[str]:
    """What a small copy does not hold of its original, in words: rows, depth, or images nearer than ``least`` decibels.

    An empty list is a copy that may stand for its original.

    Raises:
        OSError, ValueError, KeyError: one of them cannot be read.
    """
    whole, small = Episode(original), Episode(copy)
    if whole.streams != small.streams:
        return [f"it has {sorted(small.streams)} instead of {sorted(whole.streams)}"]
    missing = [name for name in whole.streams if not _same_rows(whole, small, name)]
    told = [f"its rows of {name} are not the original's" for name in missing]
    for camera in whole.cameras:
        if RGB not in pictures(whole.dtype(camera)) or camera in missing or not len(whole.frames(camera)):
            continue
        near = small.attributes[MADE]["psnr"].get(camera, -math.inf)
        if near is not None and near < least:
            told.append(f"its images of {camera} are near the original's to {near:.1f} dB, at least {least:g} dB")
    return told


def _same_rows(whole: Episode, small: Episode, stream: str) -> bool:
    """Whether all of a stream but its images is the same, to the bit, and there are as many images."""
    dtype = whole.dtype(stream)
    if small.dtype(stream) != dtype:
        return False
    if RGB in pictures(dtype) and whole.frames(stream).shape != small.frames(stream).shape:
        return False
    both = (_rows(episode, stream, stored_dtype(dtype, filmed=True)) for episode in (whole, small))
    return all(
        one is not None and other is not None and one.tobytes() == other.tobytes() for one, other in zip_longest(*both)
    )


def _make(whole: Episode, making: Path, how: Coding) -> Sealed:
    losses = {}
    layouts = {name: whole.dtype(name) for name in whole.streams}
    with EpisodeWriter(making, layouts, whole.attributes, id=whole.id) as writer:
        for name, dtype in layouts.items():
            filmed = RGB in pictures(dtype) and len(whole.frames(name)) > 0
            if filmed:
                clip, losses[name] = _filmed(whole, name, making / f"{name}.mp4", how)
                writer.film(name, np.empty(0, stored_dtype(dtype, filmed=True)), clip)
            for rows in _rows(whole, name, stored_dtype(dtype, filmed)):
                writer.append(name, rows)
        return writer.seal({MADE: {"from": whole.digest, "psnr": losses, **asdict(how)}})


def _filmed(whole: Episode, camera: str, path: Path, how: Coding) -> tuple[Path, float | None]:
    """One camera's film, and how near it is to the original: None when there is no difference."""
    frames = whole.frames(camera)
    if frames.clip is not None:
        return frames.clip, None
    t = whole[camera, "t"]
    took = int(t[-1] - t[0]) / 1e9
    film(frames, path, (len(t) - 1) / took if took > 0 else 30.0, how)
    squares = [
        float(np.square(seen.astype(np.int32) - image).mean())
        for seen, image in zip(shown(path, frames.shape[1:]), frames, strict=True)
    ]
    error = sum(squares) / len(squares)
    return path, 10 * math.log10(255**2 / error) if error else None


def _rows(whole: Episode, stream: str, dtype: np.dtype[np.void]) -> Iterator[Rows]:
    """All rows but images; a few at a time where there is depth, which is large."""
    plain = whole.columns(stream, plain_dtype(dtype).names or ())
    depth = whole.frames(stream, DEPTH) if DEPTH in pictures(dtype) else None
    for first in range(0, len(plain), PIECE if depth is not None else max(1, len(plain))):
        some = plain[first : first + PIECE] if depth is not None else plain
        rows: Rows = np.empty(len(some), dtype)
        for field in dtype.names or ():
            rows[field] = some[field] if field != DEPTH or depth is None else depth[first : first + PIECE]
        yield rows


def _told(copy: Path, whole: Episode) -> Compacted:
    """What a copy says of itself."""
    made = Episode(copy)
    said = made.attributes.get(MADE, {})
    if (made.id, said.get("from")) != (whole.id, whole.digest):
        raise FileExistsError(f"{copy} is there, and is no small copy of {whole.path}; move it away first")
    size = sum(size for size, _ in json.loads((copy / MANIFEST).read_bytes())["files"].values())
    nearness = {camera: math.inf if loss is None else float(loss) for camera, loss in said["psnr"].items()}
    return Compacted(copy, made.digest, size, nearness)
