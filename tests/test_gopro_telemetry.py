"""Telemetry that is not as usual: of several devices, with gaps, with names that come and go."""

import struct
from itertools import starmap

import numpy as np
import pytest
from numpy.typing import NDArray

from collectors.human_video.telemetry import Payload, Telemetry, read
from drivers.emulators.gopro.telemetry import item, nest, rows, text

LASTS = 1.001


def stream(key: str, values: NDArray[np.float64], **said: str) -> bytes:
    return nest("STRM", *starmap(text, said.items()), rows(key, "f", values.astype(">f4")))


def device(number: int, *streams: bytes) -> bytes:
    return nest("DEVC", item("DVID", "L", 4, 1, struct.pack(">I", number)), *streams)


def told(*payloads: bytes | None) -> Telemetry:
    """What is read of payloads that follow each other; None is one that is missing."""
    return read([Payload(k * LASTS, LASTS, data) for k, data in enumerate(payloads) if data is not None])


def test_a_sensor_that_was_near_is_not_mixed_with_the_cameras_own() -> None:
    camera, belt = np.full((200, 3), 1.0), np.full((50, 3), 2.0)
    found = told(*[device(1, stream("ACCL", camera)) + device(7, stream("ACCL", belt))] * 3)
    assert set(found.streams) == {"ACCL", "ACCL_2"}
    assert set(found.streams["ACCL"].values.ravel()) == {1.0}
    assert found.streams["ACCL"].hz == pytest.approx(200 / LASTS)
    assert found.streams["ACCL_2"].hz == pytest.approx(50 / LASTS)


@pytest.mark.parametrize("named", range(3))
def test_what_is_once_said_to_be_private_is_so_from_beginning_to_end(named: int) -> None:
    where = np.full((10, 2), 48.0)
    parts = [device(1, stream("XYZW", where, **{"STNM": "Location"} if k == named else {})) for k in range(3)]
    found = told(*parts)
    assert (found.streams, found.left_out) == ({}, ("XYZW",))


@pytest.mark.parametrize(
    "said",
    [{"STNM": "AGC audio level"}, {"SIUN": "deg"}, {"UNIT": "\xb0"}],
    ids=["heard", "SI degrees", "degree signs"],
)
def test_how_loud_it_was_and_angles_side_by_side_are_left_out(said: dict[str, str]) -> None:
    (kind,) = said.values()
    if "STNM" in said:
        part = stream("LOUD", np.zeros((10, 2)), **said)
    else:
        unit = item(next(iter(said)), "c", 3, 2, kind.encode("latin1").ljust(3, b"\0") * 2)
        part = nest("STRM", unit, rows("ANGL", "f", np.zeros((10, 2), ">f4")))
    assert told(*[device(1, part)] * 2).streams == {}


def test_samples_after_a_payload_that_is_missing_keep_their_times() -> None:
    parts: list[bytes | None] = [device(1, stream("GYRO", np.full((200, 3), float(k)))) for k in range(10)]
    parts[4] = parts[5] = None
    found = told(*parts).streams["GYRO"]
    for k in (0, 3, 6, 9):
        first = found.t[np.flatnonzero(found.values[:, 0] == k)[0]]
        assert first == pytest.approx(k * LASTS, abs=0.001)
    assert np.diff(found.t).min() > 0


def test_one_payload_that_is_a_little_late_moves_nothing() -> None:
    parts = [Payload(k * LASTS + 0.1 * (k == 4), LASTS, device(1, stream("GYRO", np.ones((200, 3))))) for k in range(9)]
    np.testing.assert_allclose(np.diff(read(parts).streams["GYRO"].t), LASTS / 200, rtol=0.01)


@pytest.mark.parametrize("at", [(0.0, 0.0), (2.0, 1.0), (3.0, 2.0, 1.0), (0.0, 9.0, 1.0)])
def test_samples_without_times_are_no_samples(at: tuple[float, ...]) -> None:
    data = device(1, stream("GYRO", np.ones((200, 3))))
    found = read([Payload(moment, 0.0, data) for moment in at])
    assert (found.streams, found.words) == ({}, ("GYRO",))


@pytest.mark.parametrize("tick", [float("nan"), float("inf"), -1e300])
def test_a_cameras_own_clock_that_makes_no_sense_is_not_believed(tick: float) -> None:
    stamp = item("STMP", "d", 8, 1, struct.pack(">d", tick))
    part = device(1, nest("STRM", stamp, rows("GYRO", "f", np.ones((200, 3), ">f4"))))
    assert told(*[part] * 4).streams["GYRO"].hz == pytest.approx(200 / LASTS)
