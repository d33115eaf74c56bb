"""What a camera sees where there is nothing to see: a pattern that moves, the same in every run."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def pattern(rgb: tuple[int, int]) -> Callable[[], tuple[NDArray[np.uint8], NDArray[np.uint16]]]:
    """Return a function that gives one picture after the other.

    A red square, half a metre away, goes from left to right before a slope 0.8 to 1.2 m away. The square moves one
    pixel with every picture.
    """
    height, width = rgb
    y, x = np.mgrid[0:height, 0:width]
    ground = np.dstack([x * 255 // width, y * 255 // height, np.full_like(x, 128)]).astype(np.uint8)
    slope = (800 + 400 * x // width).astype(np.uint16)
    side, shown = max(2, height // 8), 0

    def look() -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        nonlocal shown
        left, top = shown % (width - side), height // 2
        shown += 1
        colour, depth = ground.copy(), slope.copy()
        colour[top : top + side, left : left + side] = (220, 20, 20)
        depth[top : top + side, left : left + side] = 500
        return colour, depth

    return look
