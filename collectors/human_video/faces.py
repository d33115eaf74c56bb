"""Faces are made unrecognisable before a picture is kept.

`Cascades` comes with OpenCV and needs no other file. It finds faces that look at the camera or sideways and are not
covered, and takes a pattern for a face now and then. Of one face, pasted 8 times each at many sizes and tilts into
pictures of 360 rows, it found all from 60 rows on up to 45 degrees, 9 in 10 at 40 rows, 1 in 10 at 30 and less, none
that lies on its side. `YuNet`, the detector that OpenCV recommends, should find more; its model file is not ours to
give along, so a person downloads it once (``--face-model``). Neither is sure. Whoever must be sure looks at the
episodes, or films where nobody else is.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

type Box = tuple[float, float, float, float]
"""Left, top, width and height, as parts of the picture's."""

LOOKS = 6.0
"""Faces are looked for so often in a second of film, or in every picture of a slower one."""

AROUND = 1 / 3
"""For so many seconds before and after it was seen, a face is covered: a detector loses it now and then."""

LEAST = 20
"""How wide a face must be, in pixels of the picture in which it is looked for."""

TILTS = (0, 20, -20, 40, -40)
"""By how many degrees a picture is turned to look for faces from the front: a cascade finds them within 10 or so."""

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
    """OpenCV's Haar cascades: seen from the front, upright or tilted, and from either side."""

    name = "OpenCV Haar cascades"

    def __init__(self) -> None:
        import cv2

        folder = Path(cv2.__file__).parent / "data"
        self._front = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt2.xml"))
        self._side = cv2.CascadeClassifier(str(folder / "haarcascade_profileface.xml"))

    def find(self, picture: Picture) -> list[Box]:
        import cv2

        grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        looks = [(self._front, _turned(grey.shape, tilt)) for tilt in TILTS]
        looks += [(self._side, np.eye(2, 3)), (self._side, np.array([[-1.0, 0.0, grey.shape[1] - 1], [0.0, 1.0, 0.0]]))]
        height, width = grey.shape
        found: list[Box] = []
        for cascade, there in looks:
            large = np.abs(there[:, :2]) @ (width, height)
            seen = cv2.warpAffine(grey, there, (round(large[0]), round(large[1])))
            back = cv2.invertAffineTransform(there)
            for x, y, w, h in cascade.detectMultiScale(seen, 1.2, 4, minSize=(LEAST, LEAST)):
                middle = back @ (x + w / 2, y + h / 2, 1.0)
                found.append(((middle[0] - w / 2) / width, (middle[1] - h / 2) / height, w / width, h / height))
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
            self.find(np.zeros((64, 64, 3), np.uint8))
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


def covered(pictures: Iterable[tuple[Picture, Picture]], faces: Faces, hz: float) -> Iterator[tuple[Picture, int]]:
    """Cover faces in a film, also in the pictures just before and after one in which they are seen.

    Where there are none, not every picture is looked at; between two looks of which one found a face, every one is.

    Args:
        pictures: for each moment a picture to look for faces in, and the one to keep.
        faces: who finds them.
        hz: how many pictures there are in a second.

    Yields:
        The picture to keep, and how many places were covered in it.
    """
    every = max(1, round(hz / LOOKS))
    around = max(every, round(hz * AROUND))
    waiting: list[tuple[Picture, list[Box]]] = []
    recent: list[tuple[int, Box]] = []
    since: list[tuple[int, Picture]] = []
    near, number = False, -1

    def look(until: int, large: Picture, near: bool) -> bool:
        """Look at a picture, and at those since the last look if there is a face in it or was one then."""
        found = {until: faces.find(large)}
        if near or found[until]:
            found |= {at: faces.find(between) for at, between in since if at != until}
        since.clear()
        for at, boxes in found.items():
            recent.extend((at, box) for box in boxes)
            for back, (_, covered) in enumerate(reversed(waiting)):
                covered.extend(boxes if abs(until - back - at) <= around else [])
        return bool(found[until])

    for number, (large, small) in enumerate(pictures):
        waiting.append((small, [box for at, box in recent if number - at <= around]))
        since.append((number, large))
        if number % every == 0:
            near = look(number, large, near)
        recent = [(at, box) for at, box in recent if number - at <= around]
        if len(waiting) > around + every:
            yield _without(*waiting.pop(0))
    if since:
        look(number, since[-1][1], near)
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


def _turned(shape: tuple[int, ...], degrees: float) -> NDArray[np.float64]:
    """How a picture comes to lie when it is turned, and nothing of it is lost, (2, 3)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, sin], [-sin, cos]])
    half = np.array([shape[1], shape[0]]) / 2
    return np.column_stack([turn, np.abs(turn) @ half - turn @ half])


def _without(picture: Picture, boxes: list[Box]) -> tuple[Picture, int]:
    for box in boxes:
        cover(picture, box)
    return picture, len(boxes)
