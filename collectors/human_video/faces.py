"""Faces are made unrecognisable before a picture is kept.

`Cascades` comes with OpenCV and needs no other file. It finds faces that look at the camera or sideways and are not
covered; it misses some that are small, tilted or half hidden, and takes a pattern for a face now and then. `YuNet`, the
detector that OpenCV recommends, finds more, and needs its model file, which a person downloads once. Whoever must be
sure looks at the episodes, or films where nobody else is.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

type Box = tuple[float, float, float, float]
"""Left, top, width and height, as parts of the picture's."""

EVERY = 5
"""Faces are looked for in one picture of so many: six times a second."""

AROUND = 10
"""For so many pictures before and after it was seen, a face is covered: a detector loses it now and then."""

MARGIN = 0.25
"""How much more than what a detector calls a face is covered, on every side."""

PATCHES = 4
"""A covered face has so many patches of colour across."""


class NoModel(Exception):
    """The face detector's model cannot be used. The message names the file."""


class Faces(Protocol):
    """Finds faces."""

    name: str

    def find(self, picture: Picture) -> list[Box]:
        """Where faces are in a picture (height, width, 3)."""
        ...


class Cascades:
    """OpenCV's Haar cascades: seen from the front, and from either side."""

    name = "OpenCV Haar cascades"

    def __init__(self) -> None:
        import cv2

        folder = Path(cv2.__file__).parent / "data"
        self._front = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt2.xml"))
        self._side = cv2.CascadeClassifier(str(folder / "haarcascade_profileface.xml"))

    def find(self, picture: Picture) -> list[Box]:
        import cv2

        grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        height, width = grey.shape
        least = (max(20, height // 18),) * 2
        found: list[Box] = []
        for cascade, mirrored in ((self._front, False), (self._side, False), (self._side, True)):
            seen = cv2.flip(grey, 1) if mirrored else grey
            for x, y, w, h in cascade.detectMultiScale(seen, 1.2, 4, minSize=least):
                left = width - x - w if mirrored else x
                found.append((left / width, y / height, w / width, h / height))
        return found


class YuNet:
    """OpenCV's neural detector, with a model file such as ``face_detection_yunet_2023mar.onnx`` of OpenCV's model zoo.

    Raises:
        NoModel: the file is not there, or is no such model.
    """

    name = "YuNet"

    def __init__(self, model: Path) -> None:
        import cv2

        try:
            self._detector: Any = cv2.FaceDetectorYN.create(str(model), "", (320, 320), 0.6)
        except cv2.error as error:
            raise NoModel(
                f"{model} is no YuNet model; face_detection_yunet_2023mar.onnx of OpenCV's model zoo is one"
            ) from error

    def find(self, picture: Picture) -> list[Box]:
        import cv2

        height, width = picture.shape[:2]
        self._detector.setInputSize((width, height))
        _, found = self._detector.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        rows = [] if found is None else found[:, :4].tolist()
        return [(x / width, y / height, w / width, h / height) for x, y, w, h in rows]


def covered(pictures: Iterable[tuple[Picture, Picture]], faces: Faces) -> Iterator[tuple[Picture, int]]:
    """Cover faces in a film, also in the pictures just before and after one in which they are seen.

    Args:
        pictures: for each moment a picture to look for faces in, and the one to keep.
        faces: who finds them.

    Yields:
        The picture to keep, and how many faces were covered in it.
    """
    waiting: list[tuple[Picture, list[Box]]] = []
    recent: list[tuple[int, Box]] = []
    for number, (large, small) in enumerate(pictures):
        if number % EVERY == 0:
            found = faces.find(large)
            recent += [(number, box) for box in found]
            for _, boxes in waiting:
                boxes.extend(found)
        recent = [(seen, box) for seen, box in recent if number - seen <= AROUND]
        waiting.append((small, [box for _, box in recent]))
        if len(waiting) > AROUND:
            yield _without(*waiting.pop(0))
    for picture, boxes in waiting:
        yield _without(picture, boxes)


def cover(picture: Picture, box: Box) -> None:
    """Replace a face by a few patches of colour, in place. What was there cannot be had back."""
    import cv2

    height, width = picture.shape[:2]
    x, y, w, h = box
    left, right = (round(min(1, max(0, v)) * width) for v in (x - MARGIN * w, x + (1 + MARGIN) * w))
    top, bottom = (round(min(1, max(0, v)) * height) for v in (y - MARGIN * h, y + (1 + MARGIN) * h))
    if right > left and bottom > top:
        part = picture[top:bottom, left:right]
        few = cv2.resize(part, (PATCHES, PATCHES), interpolation=cv2.INTER_AREA)
        part[...] = cv2.resize(few, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)


def _without(picture: Picture, boxes: list[Box]) -> tuple[Picture, int]:
    for box in boxes:
        cover(picture, box)
    return picture, len(boxes)
