"""Films that nobody filmed like that: damaged, made up, cut. Each is read, or refused in a line."""

import struct
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import av
import numpy as np
import pytest

from collectors.human_video import boxes, klv
from collectors.human_video.checks import wrong
from collectors.human_video.clip import CannotUse, began, look
from collectors.human_video.cuts import propose
from collectors.human_video.takes import takes
from drivers.emulators.gopro import Filmed, film

LITTLE = Filmed(seconds=2, size=(64, 36))


def nested(depth: int) -> bytes:
    """Items inside items, with a number in the innermost."""
    data = struct.pack(">4scBHi", b"DEEP", b"l", 4, 1, 7)
    for _ in range(depth):
        data = struct.pack(">4sBBH", b"NEST", 0, 4, len(data) // 4) + data
    return data


def test_what_is_inside_too_deep_is_not_looked_at() -> None:
    assert "DEEP" in {item.key for item in klv.everything(klv.items(nested(klv.DEEP - 1)))}
    assert "DEEP" not in {item.key for item in klv.everything(klv.items(nested(5000)))}


def test_a_row_that_claims_to_be_longer_than_it_is_has_no_values() -> None:
    item = klv.Item("ABCD", "?", 4, 1, bytes(4))
    began = time.process_time()
    for kinds in ("L[300000000]", "L[999]", f"L[{'9' * 5000}]"):
        assert not item.numbers(kinds).size
    assert time.process_time() - began < 1
    assert item.numbers("B[4]").tolist() == [[0, 0, 0, 0]]


def test_words_of_a_camera_do_not_move_a_cursor() -> None:
    assert klv.Item("EISA", "c", 1, 9, b"\x1b[2JHigh\r\n").text == "[2JHigh"


def test_a_key_that_is_no_letters_ends_the_reading() -> None:
    good, bad = (struct.pack(">4scBHh2x", key, b"s", 2, 1, 5) for key in (b"GOOD", b"A\0\0\1"))
    assert [item.key for item in klv.items(good + bad + good)] == ["GOOD"]


def test_a_file_of_nothing_but_boxes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "boxes.mp4"
    path.write_bytes(struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 8, b"free") * 2_000_000)
    began = time.process_time()
    with pytest.raises(CannotUse, match=f"more than {boxes.MANY} boxes"):
        look(path)
    assert time.process_time() - began < 1


def _without_a_decoder(content: bytearray) -> None:
    place = content.rindex(b"avc1")
    content[place : place + 4] = b"zzzz"


def _without_words(content: bytearray) -> None:
    place = content.rindex(b"GoPro AVC")
    content[place : place + 2] = b"\xff\xfe"


def test_a_kind_of_picture_that_nobody_can_unpack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotUse, match="cannot be unpacked here"):
        look(changed(tmp_path, _without_a_decoder))


def test_letters_that_are_none_do_not_matter(tmp_path: Path) -> None:
    assert len(look(changed(tmp_path, _without_words)).moments) == 60


def changed(folder: Path, change: Callable[[bytearray], None], filmed: Filmed = LITTLE) -> Path:
    """A film that somebody changed."""
    path = film(folder / "changed.mp4", filmed)
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def trimmed(content: bytearray) -> None:
    """Have players begin half a second later, as programs that cut do."""
    place = content.index(b"elst") + 4
    _, count, lasts, since = struct.unpack_from(">IIII", content, place)
    assert count == 1
    struct.pack_into(">II", content, place + 8, lasts - 500, since + 15 * 512)


def test_pictures_that_an_edited_film_does_not_show_are_none(tmp_path: Path) -> None:
    path = changed(tmp_path, trimmed)
    with av.open(str(path)) as container:
        shown = [frame.time for frame in container.decode(container.streams.video[0]) if frame.time is not None]
    np.testing.assert_allclose(look(path).moments, shown, atol=0.001)


@pytest.mark.parametrize("timecode", ["99999999999999:00:00:00", "00:00:00:9999999999999999"])
def test_a_timecode_that_is_none_is_not_believed(timecode: str) -> None:
    noon = datetime(2026, 5, 4, 12)  # ruff: ignore[call-datetime-without-tzinfo] - a camera's clock knows no zone
    assert began(timecode, LITTLE.rate, noon) == noon


@pytest.mark.parametrize("seed", range(60))
def test_a_film_with_holes_in_it_is_read_or_refused_in_a_line(tmp_path: Path, seed: int) -> None:
    """Bytes are changed where the file says what is where, and in its telemetry."""
    random = np.random.default_rng(seed)

    def damage(content: bytearray) -> None:
        first = content.rindex(b"moov") if seed % 2 else content.index(b"DEVC")
        for place in random.integers(first, len(content), 1 + seed % 12):
            content[place] = random.integers(256)

    path, said = changed(tmp_path, damage), ""
    try:
        (take,) = takes([look(path)])
        wrong(take)
        propose(take)
    except CannotUse as refused:
        said = str(refused)
    assert not said or (said.startswith(str(path)) and "\n" not in said)
