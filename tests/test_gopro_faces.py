"""Faces are covered: tilted ones, those that come and go, those that move; by what OpenCV has, or by a model's file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray

from collectors.human_video.clip import look
from collectors.human_video.faces import Box, Cascades, NoModel, YuNet, covered
from collectors.human_video.pictures import pictures
from collectors.human_video.takes import takes
from drivers.emulators.gopro import Filmed, film

Picture = NDArray[np.uint8]


def somebody(size: int, degrees: float) -> Picture:
    """A picture (180, 320, 3) with a face of so many rows in its middle, tilted."""
    face = matplotlib.image.imread(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    scale = size / (0.4 * face.shape[0])
    turn: Any = cv2.getRotationMatrix2D((face.shape[1] / 2, 0.38 * face.shape[0]), degrees, scale)
    turn[:, 2] += np.array([160, 90]) - (face.shape[1] / 2, 0.38 * face.shape[0])
    seen: Any = cv2.warpAffine(face, turn, (320, 180), borderMode=cv2.BORDER_CONSTANT, borderValue=(110, 110, 110))
    return np.asarray(seen, np.uint8)


@pytest.mark.parametrize("degrees", [0, 15, 30, -30, 45])
def test_a_face_that_is_tilted_is_found_where_it_is(degrees: float) -> None:
    found = Cascades().find(somebody(70, degrees))
    assert any(abs(x + w / 2 - 0.5) < 0.08 and abs(y + h / 2 - 0.5) < 0.14 and w > 0.12 for x, y, w, h in found)


class Red:
    """Finds what is red: the whole of it."""

    name = "red"

    def find(self, picture: Picture) -> list[Box]:
        height, width = picture.shape[:2]
        rows, columns = np.nonzero(picture[..., 0] > 200)
        if not len(rows):
            return []
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return [(left / width, top / height, (right - left) / width, (bottom - top) / height)]


def filmed(places: dict[int, int], count: int) -> Iterator[tuple[Picture, Picture]]:
    """A film in which something red and white is at some columns in some pictures."""
    for number in range(count):
        seen = np.full((40, 400, 3), 90, np.uint8)
        if number in places:
            seen[10:30, places[number] : places[number] + 20] = (255, 0, 0)
            seen[14:26:2, places[number] + 4 : places[number] + 16] = (255, 255, 255)
        yield seen.copy(), seen


def uncovered(hz: float, places: dict[int, int], count: int) -> list[int]:
    """The numbers of the pictures in which the lines are still to be seen."""
    seen = covered(filmed(places, count), Red(), hz)
    return [
        number for number, (picture, _) in enumerate(seen) if (np.diff(picture[..., 1].astype(int), axis=0) > 200).any()
    ]


def test_a_slow_film_is_looked_at_picture_by_picture() -> None:
    assert uncovered(2.0, {3: 100, 6: 200}, 9) == []


def test_where_there_is_no_face_only_some_pictures_are_looked_at() -> None:
    class Counting(Red):
        def find(self, picture: Picture) -> list[Box]:
            looks.append(1)
            return super().find(picture)

    for places, least, most in (({}, 20, 21), ({50: 100}, 24, 29)):
        looks: list[int] = []
        assert len(list(covered(filmed(places, 100), Counting(), 30.0))) == 100
        assert least <= len(looks) <= most


def test_a_face_at_the_very_end_is_covered() -> None:
    assert uncovered(30.0, dict.fromkeys(range(17, 20), 100), 20) == []


def test_a_face_that_moves_is_covered_on_its_way() -> None:
    """55 columns between two looks, more than twice the face's width."""
    assert uncovered(30.0, {number: 40 + 11 * number for number in range(30)}, 40) == []


def test_faces_are_looked_for_in_as_many_rows_as_are_kept(tmp_path: Path) -> None:
    class Rows(Red):
        def find(self, picture: Picture) -> list[Box]:
            looked.append(picture.shape[0])
            return []

    take = takes([look(film(tmp_path / "a.mp4", Filmed(seconds=0.5, size=(960, 540))))])[0]
    for height, rows in ((180, 360), (540, 540)):
        looked: list[int] = []
        list(pictures(take, np.arange(4), height, Rows()))
        assert set(looked) == {rows}


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    more = value >> 7
    return bytes([value & 127 | 128]) + varint(more) if more else bytes([value])


def tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dims = b"".join(field(1, size) for size in values.shape)
    return dims + field(2, 1) + field(8, name.encode()) + field(9, values.tobytes())


def node(kind: str, given: list[str], made: str, **settings: list[int]) -> bytes:
    about = b"".join(
        field(5, field(1, key.encode()) + b"".join(field(8, one) for one in values) + field(20, 7))
        for key, values in settings.items()
    )
    return b"".join(field(1, one.encode()) for one in given) + field(2, made.encode()) + field(4, kind.encode()) + about


def described(name: str, sizes: list[str | int]) -> bytes:
    shape = b"".join(field(1, field(1, one) if isinstance(one, int) else field(2, one.encode())) for one in sizes)
    return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, shape)))


def yunet(path: Path, outputs: tuple[str, ...] = ("cls", "obj", "bbox", "kps")) -> Path:
    """A model with YuNet's inputs and outputs, to which a pixel that is red and not green is a face 40 pixels wide."""
    graph = field(2, b"red")
    for stride in (8, 16, 32):
        for kind, count in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            weight, bias = np.zeros((count, 3, 1, 1), "<f4"), np.zeros(count, "<f4")
            if kind == "cls":
                bias[:] = 1.0
            elif kind == "obj" and stride == 8:
                weight[0, :, 0, 0], bias[:] = (0.0, -1 / 100, 1 / 100), -1.0
            elif kind == "bbox":
                bias[:] = 0.0, 0.0, np.log(40 / stride), np.log(40 / stride)
            if kind not in outputs:
                continue
            name = f"{kind}_{stride}"
            graph += field(
                1,
                node("Conv", ["input", f"w{name}", f"b{name}"], f"c{name}", kernel_shape=[1, 1], strides=[stride] * 2),
            )
            graph += field(1, node("Transpose", [f"c{name}"], name, perm=[0, 2, 3, 1]))
            graph += field(5, tensor(f"w{name}", weight)) + field(5, tensor(f"b{name}", bias))
            graph += field(12, described(name, [1, f"h{name}", f"v{name}", count]))
    graph += field(11, described("input", [1, 3, 640, 640]))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13)))
    return path


@pytest.mark.parametrize("size", [(180, 320), (201, 333)])
def test_a_model_that_a_person_gives_finds_faces_where_they_are(tmp_path: Path, size: tuple[int, int]) -> None:
    """Red is red, in a film's order of colours, and places are parts of the picture whatever its size."""
    height, width = size
    seen: Any = np.full((height, width, 3), 100, np.uint8)
    detector = YuNet(yunet(tmp_path / "model.onnx"))
    assert detector.find(seen) == []
    seen[88:97, 192:201] = (250, 10, 10)
    (box,) = detector.find(seen)
    assert np.array(box) * (width, height, width, height) == pytest.approx([200 - 20, 96 - 20, 40, 40], abs=9)
    assert YuNet(tmp_path / "model.onnx").find(np.ascontiguousarray(seen[..., ::-1])) == []


def test_a_model_of_something_else_is_refused_before_anything_comes_in(tmp_path: Path) -> None:
    with pytest.raises(NoModel, match=r"model\.onnx is no YuNet model"):
        YuNet(yunet(tmp_path / "model.onnx", ("cls", "obj")))
    with pytest.raises(NoModel, match=r"gone\.onnx is no YuNet model"):
        YuNet(tmp_path / "gone.onnx")
