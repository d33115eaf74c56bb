"""What an emulated GoPro measures while it films, and what it notes of itself, in GPMF."""

import struct
from fractions import Fraction
from itertools import starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.emulators.gopro.filmed import Filmed

PAYLOAD = Fraction(1001, 1000)
"""Seconds that a payload of telemetry covers."""

GRAVITY = 9.81

KNOCK = 60.0
"""How hard a tap is, in m/s2."""

WITHIN = 0.18
"""Seconds between the knocks of a triple tap."""


def payload(filmed: Filmed, number: int) -> bytes:
    """The telemetry of about one second. The last one is only as full as the film is long."""
    begin = float(number * PAYLOAD)
    first, last = (round(min(float(place * PAYLOAD), filmed.seconds) * filmed.imu) for place in (number, number + 1))
    t = np.arange(first, last) / filmed.imu
    swing = filmed.tilt * np.sin(2 * np.pi * t / 3)
    random = np.random.default_rng(number)
    accel = GRAVITY * np.stack([np.cos(swing), np.sin(swing), 0 * t], axis=1) + random.normal(0, 0.05, (len(t), 3))
    for tap in filmed.taps:
        for knock in range(3):
            accel[:, 0] += KNOCK * np.exp(-(((t - tap - WITHIN * knock) / 0.004) ** 2))
    gyro = random.normal(0, 0.02, (len(t), 3))
    frames = max(1, round((min(begin + float(PAYLOAD), filmed.seconds) - begin) * float(filmed.rate)))
    streams = [
        _stream("ACCL", "Accelerometer", "m/s\xb2", 417, accel, last),
        _stream("GYRO", "Gyroscope", "rad/s", 939, gyro, last),
        _stream("SHUT", "Exposure time (shutter speed)", "s", 0, np.full((frames, 1), 1 / 240), 0),
        _stream("ISOE", "Sensor ISO", "", 0, np.full((frames, 1), 200.0), 0),
        _stream("CORI", "CameraOrientation", "", 32767, np.tile([1.0, 0, 0, 0], (frames, 1)), 0),
    ]
    if filmed.gps:
        where = np.array([[479000000, 115000000, 520000, 0, 0]] * 10, ">i4")
        streams.append(
            nest("STRM", text("STNM", "GPS (Lat., Long., Alt., 2D speed, 3D speed)"), rows("GPS5", "l", where))
        )
    if filmed.odd:
        packed = struct.pack(">LfB", 7, 0.5, 3) * 4
        streams += [
            nest("STRM", text("STNM", "Nobody knows"), text("TYPE", "LfB"), item("ZZYX", "?", 9, 4, packed)),
            nest("STRM", text("STNM", "Words"), item("WORD", "c", 5, 1, b"hello")),
            nest("STRM", text("STNM", "A kind to come"), item("QQQQ", "Z", 3, 2, b"abcdef")),
        ]
    return nest("DEVC", rows("DVID", "L", np.array([[1]], ">u4")), text("DVNM", filmed.model), *streams)


def notes(filmed: Filmed) -> tuple[bytes, bytes, bytes]:
    """What the camera notes at the end of a file: its firmware, its HiLights, its settings."""
    marks = [round(t * 1000) for t in filmed.hilights]
    settings = {"CASN": filmed.serial, "MINF": filmed.model, "VFOV": filmed.fov}
    settings |= {"EISE": "Y", "EISA": filmed.stabilised} if filmed.stabilised else {"EISE": "N", "EISA": "N/A"}
    described = nest("DEVC", text("DVNM", "Global Settings"), *starmap(text, settings.items()))
    if filmed.newer:
        described, marks = described + _highlights(marks), []
    hilights = struct.pack(f">{len(marks) + 1}I", len(marks), *marks).ljust(404, b"\0")
    return b"H22.01.02.32.00", hilights, described


def _highlights(marks: list[int]) -> bytes:
    """What newer cameras note of each HiLight: time, from, to, where, who marked it, how sure, how good."""
    made = [(mark, b"MANL") for mark in marks] + [(777, b"JUMP")]
    packed = b"".join(
        struct.pack(">LLLllf4sff", t, t, t, 479000000, 115000000, 520.0, who, 100, 100) for t, who in made
    )
    scale = np.array([[1], [1], [1], [10**7], [10**7], [1], [1], [1], [1]], ">i4")
    about = [text("TYPE", "LLLllfFff"), rows("SCAL", "l", scale)]
    return nest("DEVC", text("DVNM", "Highlights"), nest("STRM", *about, item("HLMT", "?", 36, len(made), packed)))


def item(key: str, kind: str, size: int, repeat: int, data: bytes) -> bytes:
    """One key and its values, packed."""
    return key.encode() + struct.pack(">cBH", kind.encode("latin1"), size, repeat) + data + b"\0" * (-len(data) % 4)


def nest(key: str, *inside: bytes) -> bytes:
    """One key that holds others."""
    data = b"".join(inside)
    return key.encode() + struct.pack(">BBH", 0, 1, len(data)) + data


def text(key: str, said: str) -> bytes:
    """One key and its letters."""
    return item(key, "c", 1, len(said), said.encode("latin1"))


def rows(key: str, kind: str, values: NDArray[Any]) -> bytes:
    """One key and its rows of numbers."""
    return item(key, kind, values.itemsize * values.shape[1], len(values), values.tobytes())


def _stream(key: str, name: str, unit: str, scale: int, values: NDArray[np.float64], count: int) -> bytes:
    """One stream: whole numbers of two bytes with their scale, or as they are when it is 0."""
    about = [text("STNM", name)] + ([text("SIUN", unit)] if unit else [])
    if count:
        about.append(rows("TSMP", "L", np.array([[count]], ">u4")))
    if not scale:
        return nest("STRM", *about, rows(key, "f", values.astype(">f4")))
    scaled = np.clip(np.rint(values * scale), -32768, 32767).astype(">i2")
    return nest("STRM", *about, rows("SCAL", "s", np.array([[scale]], ">i2")), rows(key, "s", scaled))
