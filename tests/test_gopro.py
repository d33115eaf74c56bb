"""What a GoPro file says: pictures, times, motion, marks; of a real camera, and of an emulated one."""

# ruff: file-ignore[call-datetime-without-tzinfo] - a camera's clock knows no zone

import struct
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import telemetry_parser  # type: ignore[import-untyped]  # it ships no types

from collectors.human_video import klv
from collectors.human_video.clip import CannotUse, Clip, began, hilights, look
from collectors.human_video.cuts import taps
from collectors.human_video.takes import place, takes
from collectors.human_video.telemetry import Payload, read
from drivers.emulators.gopro import Filmed, chapters, film, timecode
from drivers.emulators.gopro.telemetry import notes

SMALL = Path(__file__).parent / "data" / "hero5.mp4"
"""The first two seconds of a HERO5's film, from GoPro's gpmf-parser (Apache-2.0 or MIT)."""

SHARED = Path(__file__).parents[2] / "shared" / "data" / "gopro"
"""Whole films, where they lie beside the project."""


@pytest.fixture(scope="module")
def whole() -> Clip:
    """A whole film of a real camera."""
    if not (SHARED / "hero5-karma.mp4").exists():
        pytest.skip(f"there is no film {SHARED / 'hero5-karma.mp4'}")
    return look(SHARED / "hero5-karma.mp4")


@pytest.mark.parametrize("path", [SMALL, SHARED / "hero5-karma.mp4"], ids=["two seconds", "whole"])
def test_pictures_and_times_are_those_of_the_container(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"there is no film {path}")
    with av.open(str(path)) as container:
        shown = [frame.time for frame in container.decode(container.streams.video[0]) if frame.time is not None]
    clip = look(path)
    assert len(clip.moments) == len(shown)
    np.testing.assert_allclose(clip.moments, shown, atol=0.001)


def test_motion_has_the_rate_that_another_reader_finds(whole: Clip) -> None:
    other = telemetry_parser.Parser(str(whole.path)).normalized_imu()
    seconds = (other[-1]["timestamp_ms"] - other[0]["timestamp_ms"]) / 1000
    gyro, accel = whole.telemetry.streams["GYRO"], whole.telemetry.streams["ACCL"]
    assert len(gyro.t) == len(other)
    assert gyro.hz == pytest.approx((len(other) - 1) / seconds, rel=0.01)
    assert accel.hz == pytest.approx(sum(one["accl"] is not None for one in other) / seconds, rel=0.01)
    assert np.degrees(gyro.values[0]) == pytest.approx(other[0]["gyro"], rel=1e-6)
    assert accel.values[0] == pytest.approx(other[0]["accl"], rel=1e-6)


def test_a_real_camera_says_what_it_is_and_not_what_it_does_not_know() -> None:
    camera = look(SMALL).camera
    assert (camera.model, camera.firmware) == ("HERO5", "HD5.02.02.00.00")
    assert (camera.serial, camera.fov, camera.stabilised) == ("", "", "")


def test_where_the_camera_was_is_not_read_and_what_nobody_knows_is_kept() -> None:
    telemetry = look(SMALL).telemetry
    assert set(telemetry.left_out) == {"GPRI", "GLPI", "BPOS", "LNED"}
    assert {"ATTD", "SIMU", "ESCS"} <= telemetry.streams.keys()
    assert telemetry.streams["ESCS"].values.shape[1] == 30
    assert telemetry.words == ("FWVS",)


def test_a_payload_of_a_hero6_keeps_faces_and_gps_outside() -> None:
    raw = SHARED / "hero6.raw"
    if not raw.exists():
        pytest.skip(f"there is no {raw}")
    telemetry = read([Payload(0.0, 1.001, raw.read_bytes())])
    assert telemetry.device == "Hero6 Black"
    assert telemetry.streams["GYRO"].values.shape == (204, 3)
    assert {"GPS5", "FACE", "FCNM"} <= set(telemetry.left_out)
    assert not telemetry.streams.keys() & {"GPS5", "GPSU", "GPSF", "GPSP", "FACE", "FCNM"}


def test_telemetry_that_is_cut_off_is_read_up_to_there() -> None:
    item = struct.pack(">4scBH", b"ACCL", b"s", 2, 2) + struct.pack(">hh", 1, -2)
    assert [found.key for found in klv.items(item + item[:9])] == ["ACCL"]
    np.testing.assert_array_equal(klv.items(item)[0].numbers(), [[1], [-2]])


def test_a_camera_of_tomorrow_is_read(tmp_path: Path) -> None:
    clip = look(film(tmp_path / "new.mp4", Filmed(seconds=3, odd=True)))
    assert clip.telemetry.streams["ZZYX"].values[0].tolist() == [7.0, 0.5, 3.0]
    assert clip.telemetry.words == ("WORD", "QQQQ")
    assert clip.telemetry.left_out == ("GPS5",)


def test_settings_serial_andhilights_are_in_the_cameras_notes(tmp_path: Path) -> None:
    clip = look(film(tmp_path / "a.mp4", Filmed(hilights=(0.5, 1.234, 3.9), stabilised="HS High", fov="L")))
    assert clip.hilights == (0.5, 1.234, 3.9)
    assert (clip.camera.serial, clip.camera.model) == ("C3470000000001", "HERO11 Black")
    assert (clip.camera.fov, clip.camera.stabilised) == ("L", "HS High")


def testhilights_of_newer_cameras_are_found_and_those_that_nobody_pressed_are_none(tmp_path: Path) -> None:
    clip = look(film(tmp_path / "a.mp4", Filmed(hilights=(0.5, 1.234, 3.9), newer=True)))
    assert clip.hilights == (0.5, 1.234, 3.9)


def test_a_hilight_that_is_noted_in_two_places_is_one() -> None:
    older, newer = notes(Filmed(hilights=(0.5, 2.0))), notes(Filmed(hilights=(0.501, 3.0), newer=True))
    assert hilights({b"HMMT": older[1]}, klv.items(newer[2])) == (0.5, 2.0, 3.0)


def test_a_file_without_the_cameras_notes_is_read_all_the_same(tmp_path: Path) -> None:
    clip = look(film(tmp_path / "a.mp4", Filmed(seconds=2, noted=False)))
    assert (clip.camera.model, clip.camera.serial, clip.hilights) == ("HERO11 Black", "", ())
    assert clip.telemetry.streams["GYRO"].hz == pytest.approx(199.8, rel=0.01)


def test_another_reader_reads_what_is_emulated(tmp_path: Path) -> None:
    clip = look(film(tmp_path / "a.mp4", Filmed(seconds=6)))
    other = telemetry_parser.Parser(str(clip.path)).normalized_imu()
    assert len(other) == len(clip.telemetry.streams["GYRO"].t)


RATE = Fraction(30000, 1001)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 5, 4, 0, 0, 0),
        datetime(2026, 5, 4, 19, 27, 58, 141_467),
        datetime(2026, 5, 4, 23, 59, 59, 900_000),
    ],
)
def test_a_timecode_tells_when_a_film_began_to_the_frame(moment: datetime) -> None:
    """Read as a clock it would be 86 s late at midnight; what the camera noted as creation is a second off."""
    for noted in (
        moment.replace(microsecond=0),
        (moment + timedelta(seconds=1.2)).replace(microsecond=0),
    ):
        found = began(timecode(moment, RATE), RATE, noted)
        assert found is not None
        assert abs((found - moment).total_seconds()) <= 0.034


def test_a_timecode_that_drops_frames_is_a_clock() -> None:
    noon = datetime(2026, 5, 4, 12, 0, 1)
    assert began("12:00:00;15", RATE, noon) == datetime(2026, 5, 4, 12, 0, 0, 500_500)
    assert began("", RATE, noon) == noon


def test_chapters_are_one_take_in_the_order_they_were_filmed(tmp_path: Path) -> None:
    """By name the second chapter of 0007 comes after the first of 0008."""
    seven = chapters(tmp_path, 7, Filmed(seconds=6, size=(64, 36), hilights=(1.0, 5.0)), 3)
    eight = chapters(tmp_path, 8, Filmed(seconds=2, size=(64, 36)), 1)
    made = takes([look(path) for path in sorted([*seven, *eight], reverse=True)])
    assert {take.name: [clip.path for clip in take.clips] for take in made} == {"0007": seven, "0008": eight}
    take = next(take for take in made if take.name == "0007")
    assert take.hilights == pytest.approx([1.0, 5.0], abs=0.001)
    np.testing.assert_allclose(np.diff(take.moments), 1001 / 30000, atol=1e-6)
    assert len(take.moments) == 180


def test_what_surrounds_a_missing_chapter_are_takes_of_their_own(tmp_path: Path) -> None:
    first, _, third = chapters(tmp_path, 7, Filmed(seconds=3, size=(64, 36)), 3)
    assert [take.name for take in takes([look(third), look(first)])] == ["0007", "0007-03"]


def test_films_of_one_number_and_other_kinds_are_not_mixed(tmp_path: Path) -> None:
    one = chapters(tmp_path, 7, Filmed(seconds=2, size=(64, 36)), 2)
    other = [path.with_name(path.name.replace("GH", "GX")) for path in one]
    for path, copy in zip(one, other, strict=True):
        copy.write_bytes(path.read_bytes())
    made = takes([look(path) for path in [*one, *other]])
    assert [[clip.path for clip in take.clips] for take in made] == [one, other]


def test_where_chapters_meet_no_sample_comes_twice(tmp_path: Path) -> None:
    """A chapter's telemetry may be a second longer than its pictures."""
    clips = [look(path) for path in chapters(tmp_path, 7, Filmed(seconds=4, size=(64, 36)), 2)]
    longer = [replace(clip, seconds=clip.seconds - 0.7) for clip in clips]
    found = takes(longer)[0].samples("GYRO")
    assert found is not None
    between = np.flatnonzero(found.t < longer[0].seconds + 0.7)
    assert len(between) == pytest.approx(199.8 * (longer[0].seconds + 0.7), abs=2)


def test_a_film_of_all_around_is_refused() -> None:
    with pytest.raises(CannotUse, match="film with one lens"):
        place(Path("GS010123.360"))


def test_older_cameras_name_their_chapters_otherwise() -> None:
    assert [place(Path(f"{name}.MP4")) for name in ("GOPR0123", "GP010123", "GX020123", "holiday")] == [
        ("0123", 1),
        ("0123", 2),
        ("0123", 2),
        None,
    ]
    with pytest.raises(CannotUse, match="small preview; give the film"):
        place(Path("GL010123.LRV"))


def test_three_knocks_are_found_to_20_ms_and_nothing_else(tmp_path: Path) -> None:
    said = (1.5, 5.111, 9.0)
    clip = look(film(tmp_path / "a.mp4", Filmed(seconds=11, size=(64, 36), taps=said, tilt=0.4)))
    accel = clip.telemetry.streams["ACCL"]
    assert taps(accel.t, accel.values) == pytest.approx(said, abs=0.020)
    real = look(SMALL).telemetry.streams["ACCL"]
    assert taps(real.t, real.values) == []


@pytest.mark.parametrize("knocks", [1, 2, 4])
def test_only_three_knocks_are_a_mark(knocks: int) -> None:
    t = np.linspace(0, 4, 800, endpoint=False, dtype=np.float64)
    accel = np.tile([9.81, 0.0, 0.0], (len(t), 1))
    for knock in range(knocks):
        accel[200 + 40 * knock, 0] += 50
    assert taps(t, accel) == []


def _broken(folder: Path, name: str) -> Path:
    good = film(folder / "good.mp4", Filmed(seconds=2, size=(64, 36), telemetry=False, noted=False)).read_bytes()
    content = {
        "empty": b"",
        "words": b"These are words, and no film at all.",
        "cut off": SMALL.read_bytes()[:300_000],
        "another camera's": good,
        "noise": struct.pack(">I4s4s4x", 16, b"ftyp", b"mp41") + bytes(range(256)) * 40,
    }
    path = folder / f"{name}.mp4"
    path.write_bytes(content[name])
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", "is empty; copy it from the card again"),
        ("words", "is no MP4 video"),
        ("cut off", "is cut off; copy it from the card again"),
        ("another camera's", "has no GoPro telemetry: it is of another camera"),
        ("noise", "is cut off"),
    ],
)
def test_a_file_that_is_no_whole_film_of_a_gopro_is_refused_in_a_line(tmp_path: Path, name: str, said: str) -> None:
    path = _broken(tmp_path, name)
    with pytest.raises(CannotUse) as refused:
        look(path)
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotUse, match=r"gone\.mp4: No such file"):
        look(tmp_path / "gone.mp4")
