"""What a camera measured while it filmed: how it moved, how it exposed, and whatever else it says.

A payload of telemetry covers about a second and says when that second began; the samples in it have no times of their
own. They are evenly spaced, so a line through all payloads gives every sample's time; one odd payload moves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from collectors.human_video.klv import Item, items

SENSED = ("GYRO", "ACCL", "SHUT", "ISOE", "ISOG")
"""What becomes streams of our own: turning in rad/s, acceleration in m/s2, exposure in s, sensitivity."""

ABOUT = frozenset(
    {
        *("DVID", "DVNM", "TICK", "TOCK", "TSMP", "STMP", "EMPT", "STNM", "SIUN", "UNIT"),
        *("SCAL", "TYPE", "TIMO", "TMPC", "ORIN", "ORIO", "MTRX", "RMRK", "VERS", "FMWR"),
    }
)
"""Keys that describe the one they stand beside."""

PRIVATE = ("gps", "position", "location", "latitude", "face", "audio", "aalp", "voice")
"""What the name or key of a stream says that tells where somebody was, who, or what was heard."""

LATE = 0.2
"""Seconds that a payload may be off the line through all of them; more, and samples between them are missing."""


@dataclass(frozen=True)
class Payload:
    """A piece of telemetry, and when it began and how long it lasts, in seconds of the film."""

    at: float
    lasts: float
    data: bytes


@dataclass(frozen=True)
class Samples:
    """One measured thing."""

    key: str
    name: str
    """The camera's own words, e.g. "Gyroscope (z,x,y)"."""
    unit: str
    t: NDArray[np.float64]
    """(n,) seconds of the film."""
    values: NDArray[np.float64]
    """(n, columns), in the unit."""

    @property
    def hz(self) -> float:
        """Samples a second; 0 with fewer than two."""
        return float((len(self.t) - 1) / (self.t[-1] - self.t[0])) if len(self.t) > 1 else 0.0


@dataclass(frozen=True)
class Telemetry:
    """All of it."""

    device: str = ""
    """The camera, as it calls itself."""
    axes: str = ""
    """How its axes lie in the film, in GoPro's letters (ORIN); empty where it does not say."""
    streams: dict[str, Samples] = field(default_factory=dict)
    """By key; ``ACCL_2`` is of a second device that has the same, such as a sensor that somebody wore. Known ones and
    others alike, but none that tells where somebody was, who, or what was heard."""
    left_out: tuple[str, ...] = ()
    """The keys of those that do."""
    words: tuple[str, ...] = ()
    """The keys of streams that are not numbers, or not of a kind that is known."""


@dataclass
class _Pieces:
    """The samples of one stream in every payload."""

    name: str
    unit: str
    private: bool = False
    """It was once said to be, so it is from beginning to end."""
    starts: list[tuple[int, float]] = field(default_factory=list)
    """How many samples came before, and when the payload began."""
    ticks: list[float] = field(default_factory=list)
    """The camera's own microseconds at its beginning, where it says them."""
    values: list[NDArray[np.float64]] = field(default_factory=list)
    lasts: float = 0.0
    count: int = 0


def read(payloads: Sequence[Payload]) -> Telemetry:
    """Put the telemetry of a film together."""
    device, axes, words = "", "", dict[str, None]()
    pieces: dict[str, _Pieces] = {}
    owners: dict[str, list[bytes]] = {}
    for payload in payloads:
        for device_item in (item for item in items(payload.data) if item.key == "DEVC"):
            about = {item.key: item for item in device_item.inside if item.key != "STRM"}
            device = device or (about["DVNM"].text if "DVNM" in about else "")
            owner = about["DVID"].data if "DVID" in about else b""
            for stream in (item for item in device_item.inside if item.key == "STRM"):
                said = {item.key: item for item in stream.inside}
                axes = axes or (said["ORIN"].text if "ORIN" in said else "")
                for item in (item for item in stream.inside if item.key not in ABOUT):
                    known = owners.setdefault(item.key, [])
                    if owner not in known:
                        known.append(owner)
                    number = known.index(owner)
                    key = f"{item.key}_{number + 1}" if number else item.key
                    if not _take(pieces, key, payload, said, item):
                        words[key] = None
    whole = {key: _whole(key, piece) for key, piece in pieces.items() if piece.count and not piece.private}
    streams = {key: samples for key, samples in whole.items() if samples is not None}
    left_out = tuple(key for key, piece in pieces.items() if piece.private)
    only_words = tuple(key for key in words | whole if key not in streams and key not in left_out)
    return Telemetry(device, axes, streams, left_out, only_words)


def _take(pieces: dict[str, _Pieces], key: str, payload: Payload, said: dict[str, Item], item: Item) -> bool:
    """Add one item's samples; tell whether they are numbers, or there are none of them."""
    name = said["STNM"].text if "STNM" in said else ""
    private = _is_private(item.key, name, said)
    values = item.numbers(said["TYPE"].text if "TYPE" in said else "")
    piece = pieces.get(key)
    if piece is None and (values.shape[1] or private):
        piece = pieces.setdefault(key, _Pieces(name, _unit(said)))
    if piece is not None:
        piece.private |= private
    if piece is None or not len(values) or piece.private:
        return item.repeat == 0 or private
    if piece.values and piece.values[0].shape[1] != values.shape[1]:
        return False
    if "SCAL" in said and (scale := said["SCAL"].numbers()).size in {1, values.shape[1]}:
        values = values / np.where(scale.reshape(-1) == 0, 1.0, scale.reshape(-1))
    if piece.starts and piece.starts[-1][1] == payload.at:
        piece.values.append(values)  # several items of one payload, e.g. one for each frame
        piece.count += len(values)
        return True
    piece.starts.append((piece.count, payload.at))
    if "STMP" in said and (ticks := said["STMP"].numbers()).size:
        piece.ticks.append(float(ticks.flat[0]))
    piece.values.append(values)
    piece.count += len(values)
    piece.lasts = payload.lasts
    return True


def _whole(key: str, piece: _Pieces) -> Samples | None:
    """All samples of a stream, with their times; None when no times can be had."""
    index, at = (np.array(column, float) for column in zip(*piece.starts, strict=True))
    own = np.array(piece.ticks) / 1e6
    if len(index) == 1:
        step = piece.lasts / piece.count
    elif len(index) == 2:
        step = (at[1] - at[0]) / index[1]
    else:
        step = np.polyfit(index, at, 1)[0]
        if len(own) == len(index) and abs(better := np.polyfit(index, own, 1)[0] - step) < 0.02 * step:
            step += better
    if not (np.isfinite(step) and step > 0):
        return None
    t: NDArray[np.float64] | None = float(np.median(at - step * index)) + step * np.arange(piece.count, dtype=float)
    if t is not None and len(at) > 2 and abs(at - t[index.astype(int)]).max() > LATE:
        t = _between(index, at, piece.count)
    return None if t is None else Samples(key, piece.name, piece.unit, t, np.concatenate(piece.values))


def _between(index: NDArray[np.float64], at: NDArray[np.float64], count: int) -> NDArray[np.float64] | None:
    """Times of samples some of which are missing: each payload's from its own beginning, at the usual pace."""
    counts, lasts = np.diff([*index, count]).astype(int), np.diff(at)
    if lasts.min() <= 0:
        return None
    usual = float(np.median(lasts / counts[:-1]))
    steps = [*np.minimum(usual, lasts / counts[:-1]), usual]
    t: NDArray[np.float64] = np.repeat(at, counts) + np.repeat(steps, counts) * (
        np.arange(count) - np.repeat(index, counts)
    )
    return t


def _unit(said: dict[str, Item]) -> str:
    found = said.get("SIUN") or said.get("UNIT")
    return "" if found is None else " ".join(_units(found))


def _units(item: Item) -> list[str]:
    letters = [item.data[i : i + item.size] for i in range(0, len(item.data), max(1, item.size))]
    return [letter.rstrip(b"\0 ").decode("latin1") for letter in letters]


def _is_private(key: str, name: str, said: dict[str, Item]) -> bool:
    """Whether it tells where somebody was, who, or what was heard: by its name, or two angles in degrees in a row."""
    words = f"{key} {name}".lower()
    degrees = [unit in {"deg", "\xb0"} for by in ("UNIT", "SIUN") if by in said for unit in _units(said[by])]
    return any(word in words for word in PRIVATE) or any(a and b for a, b in pairwise(degrees))
