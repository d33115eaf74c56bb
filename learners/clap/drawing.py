"""Pictures of what action tokens mean: where the tool would go, over what the camera sees, and what they look at."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from learners.transforms import STEP, Floats

type Picture = NDArray[np.uint8]
"""(H, W, 3)."""

RED, DARK, WHITE = (230, 25, 35), (110, 0, 10), (255, 255, 255)
LIGHT, LINES = (247, 247, 244), (222, 222, 216)
FINE = 4
"""Lines are drawn this much larger and brought down, which makes them smooth."""


def paths(plan: Floats, tool: Floats) -> NDArray[np.float64]:
    """Where the tools of ``arms`` arms are led (arms, H + 1, 3), in metres, from where they are now.

    ``plan`` (H, 7 * arms) is one chunk of a `ToolView`, ``tool`` (7 * arms,) the poses at its moment.
    """
    way = np.moveaxis(plan.reshape(len(plan), -1, STEP)[..., :3], 1, 0).astype("f8")
    return np.concatenate([np.zeros_like(way[:, :1]), way], axis=1) + tool.reshape(-1, 1, STEP)[..., :3]


def pinhole(base_camera: Floats, focal: float, size: tuple[int, int]) -> NDArray[np.float64]:
    """A camera matrix (3, 4) from base to pixels, of pictures of ``size`` (height, width) with ``focal`` pixels.

    The camera's pose (4, 4) has x to the right of the picture, y down and z into it.
    """
    height, width = size
    lens = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return lens @ np.linalg.inv(base_camera)[:3]


def project(points: Floats, camera: Floats) -> NDArray[np.float64]:
    """Pixels (n, 2), column before row, of points (n, 3) in metres; not a number for those behind the camera."""
    x, y, depth = camera @ np.concatenate([points, np.ones((len(points), 1))], axis=1).T
    ahead = depth > NEAR
    # The division is by something even where it does not count.
    pixels = np.stack([x, y], axis=1) / np.where(ahead, depth, 1.0)[:, None]
    return np.where(ahead[:, None], pixels, np.nan)


NEAR = 1e-3
"""Metres before a camera in which nothing is seen."""


def over(picture: Picture, path: Floats, camera: Floats, closed: Sequence[bool] | None = None) -> Picture:
    """The picture with a red arrow along a path (n, 3) in metres; dark where the hand is ``closed`` (n,)."""
    return _arrow(picture, project(path, camera), closed)


def above(
    every: Sequence[Floats], closed: Sequence[Sequence[bool]] | None = None, size: int = 240, margin: float = 0.05
) -> Picture:
    """Paths (n, 3) seen from above, when no camera is known: forward (x) is up, left (y) is left, a square is 10 cm."""
    points = np.concatenate([path[:, :2] for path in every])
    middle = (points.min(0) + points.max(0)) / 2
    span = max(float(np.ptp(points, axis=0).max()), 2 * margin) + 2 * margin
    scale = size / span
    canvas: Picture = np.full((size, size, 3), LIGHT, np.uint8)
    for axis in (0, 1):
        low = middle[axis] - span / 2
        for line in np.arange(np.ceil(low * 10), np.floor((low + span) * 10) + 1) / 10:
            place = min(size - 1, max(0, size - 1 - int((line - low) * scale)))
            canvas[(place, slice(None)) if axis == 0 else (slice(None), place)] = LINES
    for number, path in enumerate(every):
        pixels = size / 2 - (path[:, [1, 0]] - middle[[1, 0]]) * scale
        canvas = _arrow(canvas, pixels, None if closed is None else closed[number])
    return canvas


def heat(picture: Picture, weight: Floats) -> Picture:
    """The picture with what counts (rows, columns) glowing over it; the most that counts is opaque."""
    height, width = picture.shape[:2]
    most = float(weight.max())
    share = (np.zeros_like(weight) if most <= 0 else weight / most).clip(0, 1).astype("f4")
    smooth = np.asarray(Image.fromarray(share).resize((width, height), Image.Resampling.BILINEAR))[..., None]
    glow = np.concatenate([np.full_like(smooth, 255), 255 * smooth, 40 * smooth], axis=-1)
    grey = picture.mean(-1, keepdims=True) * 0.6 + picture * 0.4
    opaque = 0.85 * smooth
    return (grey * (1 - opaque) + glow * opaque).astype(np.uint8)


def beside(pictures: Sequence[Picture], gap: int = 4) -> Picture:
    """Pictures of one height in a row."""
    white = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, white)][:-1]
    return np.concatenate(row, axis=1)


def _arrow(picture: Picture, pixels: Floats, closed: Sequence[bool] | None) -> Picture:
    """A line along pixels (n, 2) that ends in a head; what is not a number is left out."""
    height, width = picture.shape[:2]
    seen = np.isfinite(pixels[:, 0])
    points = [(float(x), float(y)) for x, y in pixels[seen] * FINE]
    shut = [False] * len(points) if closed is None else [each for each, here in zip(closed, seen, strict=True) if here]
    large = Image.fromarray(picture).resize((width * FINE, height * FINE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(large)
    thick = max(FINE, round(max(height, width) * FINE / 90))
    tip = _head(points, 4.5 * thick)
    # White under it first, so that it stands out from whatever is red as well.
    for under in (FINE, 0):
        for start, end, dark in zip(points, points[1:], shut[1:], strict=False):
            colour = WHITE if under else DARK if dark else RED
            pen.line([start, end], fill=colour, width=thick + 2 * under)
            pen.circle(end, thick / 2 + under, fill=colour)
        if tip:
            colour = WHITE if under else DARK if shut[-1] else RED
            pen.polygon(tip, fill=colour, outline=colour, width=max(1, 2 * under))
    if points:
        pen.circle(points[0], 1.2 * thick, fill=WHITE, outline=RED, width=max(1, thick // 2))
    drawn = np.asarray(large.resize((width, height), Image.Resampling.LANCZOS))
    touched = np.asarray(_mask(large, picture).resize((width, height), Image.Resampling.BOX)) > 0
    return np.where(touched[..., None], drawn, picture)


def _mask(large: Image.Image, picture: Picture) -> Image.Image:
    """Where something was drawn."""
    plain = Image.fromarray(picture).resize(large.size, Image.Resampling.BICUBIC)
    changed = (np.asarray(large) != np.asarray(plain)).any(-1)
    return Image.fromarray(np.where(changed, 255, 0).astype(np.uint8))


def _head(points: Sequence[tuple[float, float]], length: float) -> list[tuple[float, float]] | None:
    """Corners of an arrow's head at the last point, along the last stretch that is long enough to point somewhere."""
    if len(points) < 2:
        return None
    tip = np.array(points[-1])
    back = next(
        (tip - point for point in map(np.array, reversed(points[:-1])) if np.hypot(*(tip - point)) > length), None
    )
    along = tip - np.array(points[0]) if back is None else back
    if np.hypot(*along) < 1:
        return None
    along = along / np.hypot(*along) * length
    side = np.array([-along[1], along[0]]) * 0.55
    corners = (tip + 0.4 * along, tip - 0.6 * along + side, tip - 0.6 * along - side)
    return [(float(x), float(y)) for x, y in corners]
