"""How good a recording is: whether sensors fell silent, lost rows, or were out of step, and whether ticks came late.

A recording is graded when it is sealed, from the stamps in it, so one that was cut short by a crash is graded too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from storage.layout import WRITTEN, arrived, pictures
from storage.timeline import Rows

type Stamps = NDArray[np.int64]

MOVES = "q_target"
"""The field that makes a stream the robot's."""


@dataclass(frozen=True)
class Stream:
    """How good one stream is."""

    rows: int
    hz: float | None
    """Rows per second from its first to its last; None with fewer than two."""
    gap: float | None
    """The longest time without a row, in seconds, from the first row of any sensor to the last of any.

    None when no sensor gave a row.
    """
    lost: float | None
    """How many of its rows are missing between its first and its last, in percent.

    Counted from the device's own numbers when rows have a field ``seq``: a number that is left out is a row that is
    lost, one that does not grow is a device that began to count anew. Otherwise estimated from the stamps: the median
    time between rows is the period, and a pause of n periods lost n - 1 rows. A sensor that gave no row while others
    did lost 100; None when there are too few rows to tell.
    """


@dataclass(frozen=True)
class Grade:
    """How good a recording is. None is what could not be measured, because there was nothing to measure it on."""

    gap: float | None
    """The longest time that any sensor was silent, in seconds."""
    lost: float | None
    """Of the sensor that lost most, how many rows are missing, in percent."""
    skew: float | None
    """How far apart in time were what the worst camera saw and what the robot measured, in seconds.

    At every tick, of the newest picture and the newest row of the robot that had arrived, the difference in age; of
    these differences, that which 99 in 100 do not exceed. Ticks before the first of both are left out.
    """
    late: float | None
    """How late ticks came, in seconds: 99 in 100 came no later."""
    streams: Mapping[str, Stream]
    """Of every sensor, and for those that the loop writes the number and rate of rows only."""
    rate: float | None = None
    """How often the robot was given something new, in Hz, over the whole take: ticks, when they came and not when
    they were due; where a person was followed, those of them that had something new to follow."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Demands:
    """What a recording has to be, in the units of `Grade`. None is not demanded."""

    gap: float | None = None
    lost: float | None = None
    skew: float | None = None
    late: float | None = None
    rate: float | None = None
    """The only one that has to be reached, and not to be kept below."""

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """From what a take's attributes say.

        Raises:
            ValueError: there is no such demand, or it is no number.
        """
        known = [field.name for field in fields(cls)]
        if unknown := set(said) - set(known):
            raise ValueError(f"demands has no {', '.join(sorted(unknown))}; it takes {', '.join(known)}")
        for name, value in said.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
                raise ValueError(f"demands: {name} is {value!r}, which is no number from 0 up")
        return cls(**said)


def grade(taken: Mapping[str, Rows], cameras: frozenset[str] | None = None) -> Grade:
    """Grade a recording.

    Args:
        taken: the rows of every stream, with or without their pictures.
        cameras: which streams are cameras; None to tell it from the pictures in the rows.
    """
    if cameras is None:
        cameras = frozenset(name for name, rows in taken.items() if pictures(rows.dtype))
    sensors = {name: rows for name, rows in taken.items() if name not in WRITTEN}
    ends = [int(rows["t"][place]) for rows in sensors.values() if len(rows) for place in (0, -1)]
    span = (min(ends), max(ends)) if ends else None
    streams = {
        name: Stream(len(rows), _rate(rows["t"]), _gap(rows["t"], span), _lost(rows, span))
        if name in sensors
        else Stream(len(rows), _rate(rows["t"]), None, None)
        for name, rows in taken.items()
    }
    return Grade(
        gap=_worst(stream.gap for stream in streams.values()),
        lost=_worst(stream.lost for stream in streams.values()),
        skew=_skew(taken, cameras),
        late=_most(taken["ticks"]["late"]) if _has(taken, "ticks", "late") else None,
        streams=streams,
        rate=_pace(taken),
    )


def below(graded: Grade, demands: Demands) -> list[str]:
    """What falls short of the demands, in words. What could not be measured does not."""
    short = []
    if _exceeds(graded.gap, demands.gap):
        short.append(f"largest gap {graded.gap:.2f} s of {_whose(graded, 'gap')}, at most {demands.gap:.2f} s")
    if _exceeds(graded.lost, demands.lost):
        short.append(f"{graded.lost:.1f} % of {_whose(graded, 'lost')} lost, at most {demands.lost:.1f} %")
    if _exceeds(graded.skew, demands.skew):
        short.append(f"pictures {graded.skew:.3f} s from the robot's rows, at most {demands.skew:.3f} s")
    if _exceeds(graded.late, demands.late):
        short.append(f"ticks {graded.late:.3f} s late, at most {demands.late:.3f} s")
    if _exceeds(demands.rate, graded.rate):
        short.append(f"something new {graded.rate:.1f} times a second, at least {demands.rate:.1f}")
    return short


def _exceeds(found: float | None, most: float | None) -> bool:
    return found is not None and most is not None and found > most


def _whose(graded: Grade, what: str) -> str:
    """The stream that is worst in something."""
    return max(graded.streams, key=lambda name: getattr(graded.streams[name], what) or 0.0)


def _worst(found: Iterable[float | None]) -> float | None:
    return max((value for value in found if value is not None), default=None)


def _rate(t: Stamps) -> float | None:
    return (len(t) - 1) * 1e9 / int(t[-1] - t[0]) if len(t) > 1 and t[-1] > t[0] else None


def _gap(t: Stamps, span: tuple[int, int] | None) -> float | None:
    return None if span is None else int(np.diff([span[0], *t, span[1]]).max()) / 1e9


def _lost(rows: Rows, span: tuple[int, int] | None) -> float | None:
    if not len(rows):
        return 100.0 if span is not None and span[1] > span[0] else None
    if "seq" in (rows.dtype.names or ()):
        missing = int(np.maximum(np.diff(rows["seq"]) - 1, 0).sum())
        return 100.0 * missing / (missing + len(rows))
    pauses = np.diff(rows["t"])
    period = float(np.median(pauses)) if len(pauses) > 1 else 0.0
    if period <= 0:
        return None
    missing = int(np.maximum(np.rint(pauses / period) - 1, 0).sum())
    return 100.0 * missing / (missing + len(rows))


def _pace(taken: Mapping[str, Rows]) -> float | None:
    """How often the robot was given something new, in Hz."""
    if not _has(taken, "ticks", "late"):
        return None
    hz = _rate(taken["ticks"]["t"] + taken["ticks"]["late"])
    if hz is None or not (_has(taken, "following", "source_t") and _has(taken, "following", "engaged")):
        return hz
    rows = taken["following"]
    sources = rows["source_t"][rows["engaged"].reshape(len(rows), -1).any(axis=1)]
    return hz * len(np.unique(sources)) / len(sources) if len(sources) else hz


def _skew(taken: Mapping[str, Rows], cameras: frozenset[str]) -> float | None:
    robots = [name for name, rows in taken.items() if MOVES in (rows.dtype.names or ()) and name not in WRITTEN]
    if not robots or not _has(taken, "ticks", "late"):
        return None
    moments = taken["ticks"]["t"] + taken["ticks"]["late"]
    return _worst(_apart(taken[camera], taken[robot], moments) for camera in cameras for robot in robots)


def _apart(camera: Rows, robot: Rows, moments: Stamps) -> float | None:
    picture, row = arrived(camera, moments), arrived(robot, moments)
    both = (picture >= 0) & (row >= 0)
    return _most(np.abs(camera["t"][picture[both]] - robot["t"][row[both]]))


def _most(nanoseconds: Stamps) -> float | None:
    """What 99 in 100 do not exceed, in seconds."""
    return float(np.percentile(nanoseconds, 99, method="inverted_cdf")) / 1e9 if len(nanoseconds) else None


def _has(taken: Mapping[str, Rows], stream: str, field: str) -> bool:
    return stream in taken and field in (taken[stream].dtype.names or ())
