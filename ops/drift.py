"""How far a camera's view has moved since a reference picture was taken, in pixels.

The same marks (corners of things) are found in both pictures, and one motion of the whole picture is fitted to most
of them. Marks on whatever moved by itself do not fit and are left out; brightness and contrast are evened out first.
"""

import operator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

MARKS = 500
"""How many marks are looked for."""

FEWEST = 12
"""With fewer marks that agree, any motion could be fitted."""

AGREE = 0.15
"""The least share of all marks that has to agree."""

NOISE = 6.0
"""Grey levels that are taken for noise, and not for contrast."""

MOVED = (0.005, 0.02)
"""A drift worth a look, and one that spoils what was learned, as shares of the picture's width."""

LEAST = (1.0, 2.0)
"""The same in pixels, for small pictures: what the comparison can tell for sure."""


@dataclass(frozen=True)
class Drift:
    """One motion of the whole picture, from the reference to what is seen now."""

    pixels: float
    """How far a point of the picture is from where it was, on average over the picture."""
    right: float
    """How far the middle of the picture went to the right, in pixels; negative is left."""
    down: float
    turned: float
    """Degrees, clockwise as seen."""
    larger: float
    """By which factor."""
    agreeing: int
    """Marks that moved so."""
    marks: int
    """Marks that were looked for."""


def drift(reference: Picture, seen: Picture) -> Drift | None:
    """Compare two pictures (height, width, 3) of one size; None when the view is not the same scene any more.

    Raises:
        ValueError: the pictures are of different sizes.
    """
    if reference.shape != seen.shape:
        raise ValueError(f"the reference is {reference.shape[1::-1]} pixels, the picture {seen.shape[1::-1]}")
    before, now = _even(reference), _even(seen)
    width = before.shape[1]
    found = cv2.goodFeaturesToTrack(before, MARKS, 0.01, max(3, width / 60))
    if found is None or len(found) < FEWEST:
        return None
    marks = np.asarray(found, np.float32).reshape(-1, 2)
    fitted = [_fit(before, now, marks, start) for start in (np.zeros(2, np.float32), _whole(before, now))]
    agreeing, motion = max(fitted, key=operator.itemgetter(0))
    if motion is None or agreeing < max(FEWEST, AGREE * len(marks)):
        return None
    return _said(motion, before.shape, agreeing, len(marks))


def _even(picture: Picture) -> Picture:
    """A grey picture in which every neighbourhood has the same brightness and contrast."""
    grey: Floats = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    around = max(2.0, grey.shape[1] / 40)
    flat = cv2.subtract(grey, cv2.GaussianBlur(grey, (0, 0), around))
    contrast = np.sqrt(cv2.GaussianBlur(cv2.multiply(flat, flat), (0, 0), around) + NOISE**2)
    even: Picture = np.clip(flat / contrast * 50 + 128, 0, 255).astype(np.uint8)
    return even


def _whole(before: Picture, now: Picture) -> Floats:
    """Where the whole picture went, roughly: the start for a view that moved far."""
    window = cv2.createHanningWindow((before.shape[1], before.shape[0]), cv2.CV_32F)
    went, _ = cv2.phaseCorrelate(before.astype(np.float32) - 128, now.astype(np.float32) - 128, window)
    return np.array(went, np.float32)


def _fit(before: Picture, now: Picture, marks: Floats, start: Floats) -> tuple[int, NDArray[np.float64] | None]:
    """Follow the marks from a start, and fit one motion to most of them."""
    width = before.shape[1]
    side = max(9, width // 20) | 1
    there, seen, _ = cv2.calcOpticalFlowPyrLK(
        *(before, now, marks, marks + start),
        winSize=(side, side),
        maxLevel=3,
        criteria=(3, 40, 0.003),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    kept = seen.ravel() == 1
    if kept.sum() < FEWEST:
        return 0, None
    far = max(0.5, width / 500)
    motion, agreeing = cv2.estimateAffinePartial2D(marks[kept], there[kept], ransacReprojThreshold=far)
    return (0, None) if motion is None else (int(agreeing.sum()), np.asarray(motion, np.float64))


def _said(motion: NDArray[np.float64], shape: tuple[int, ...], agreeing: int, marks: int) -> Drift:
    """Say what a motion (2, 3) does to a picture of that shape."""
    height, width = shape[:2]
    across, along = np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5))
    points = np.stack([across.ravel(), along.ravel()])
    went = motion[:, :2] @ points + motion[:, 2:] - points
    middle = went[:, len(points[0]) // 2]
    a, b = motion[0, 0], motion[1, 0]
    return Drift(
        pixels=float(np.linalg.norm(went, axis=0).mean()),
        right=float(middle[0]),
        down=float(middle[1]),
        turned=float(np.degrees(np.arctan2(b, a))),
        larger=float(np.hypot(a, b)),
        agreeing=agreeing,
        marks=marks,
    )
