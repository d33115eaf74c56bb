"""Whether a cell is still the one that demonstrations were recorded at, as far as recordings can tell.

A bumped camera or another lens is no failure of a policy. So what a policy learned from is compared with what its
trials were recorded at; a trial at a cell that differs is invalid.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.drift import LEAST, MOVED, Picture, drift
from storage import Episode
from storage.layout import RGB, arrival

LOOKED = 8
"""Episodes of a snapshot whose pictures are compared; the newest and others spread over it."""

DIMMER = 25.0
"""How much darker or brighter (of 255) than any demonstration a first picture may be on average."""

DELAYED = 0.03
"""How much later (s) than in demonstrations a stream may arrive, or sooner, unless its rows are further apart."""

OFF = 0.02
"""By how much of its size a calibrated number may differ, where it is not small."""

SMALL = 0.005
"""By how much (in its own unit, m or rad) any calibrated number may differ."""

MEANT = {"view": {"camera", "background", "start_shift"}, "light": {"lighting", "background", "camera"}}
"""Along which axes a scene is varied when a view, or its brightness, may be another."""


@dataclass(frozen=True)
class Recorded:
    """What one recording says of its cell."""

    pictures: Mapping[str, Picture]
    """The first of every camera."""
    serials: Mapping[str, str]
    calibrations: Mapping[str, int]
    """The calibration in force of each device that has one."""
    delays: Mapping[str, tuple[float, float]]
    """Of each stream, how long (s) its rows took to arrive, and how far apart they are: medians."""

    @classmethod
    def of(cls, episode: Episode) -> "Recorded":
        """Read it from an episode."""
        said = episode.attributes
        watched = [name for name in episode.cameras if RGB in (episode.dtype(name).names or ())]
        return cls(
            {name: episode.frames(name)[0] for name in watched if len(episode.frames(name))},
            dict(said.get("serials") or {}),
            dict(said.get("calibrations") or {}),
            {name: paced for name in episode.streams if (paced := _pace(episode, name)) is not None},
        )


@dataclass(frozen=True)
class Rig:
    """What a policy's demonstrations were recorded at."""

    seen: Sequence[Recorded]
    values: Mapping[int, Mapping[str, Any]]
    """What each calibration says."""

    def differs(self, now: Recorded, cameras: Collection[str], asked: Collection[str] = ()) -> list[str]:
        """Say in words what is not as it was, worst first; nothing when all is.

        Args:
            now: a recording at the cell in question.
            cameras: those that the policy looks through.
            asked: axes along which the scene was varied on purpose, e.g. ``lighting``.
        """
        found = []
        for camera in sorted(cameras):
            picture = now.pictures.get(camera)
            if picture is None:
                found.append(f"{camera} gave no picture")
                continue
            known = [one.pictures[camera] for one in self.seen if camera in one.pictures]
            if not MEANT["view"] & {*asked}:
                found += _moved(camera, picture, known)
            if not MEANT["light"] & {*asked}:
                found += _lit(camera, picture, known)
        return [*found, *self._others(now), *self._calibrated(now), *self._late(now)]

    def _others(self, now: Recorded) -> Iterable[str]:
        for device, serial in sorted(now.serials.items()):
            known = {one.serials[device] for one in self.seen if device in one.serials}
            if known and serial not in known:
                yield f"{device} is {serial}, and was {', '.join(sorted(known))}"

    def _calibrated(self, now: Recorded) -> Iterable[str]:
        for device, number in sorted(now.calibrations.items()):
            known = {one.calibrations[device] for one in self.seen if device in one.calibrations}
            off = [sorted(_unlike(self.values.get(one, {}), self.values.get(number, {}))) for one in sorted(known)]
            if off and all(off):
                yield f"{device} is calibrated otherwise than any demonstration was: {', '.join(off[-1])}"

    def _late(self, now: Recorded) -> Iterable[str]:
        for stream, (delay, period) in sorted(now.delays.items()):
            known = [one.delays[stream][0] for one in self.seen if stream in one.delays]
            far = max(DELAYED, period)
            if known and not min(known) - far <= delay <= max(known) + far:
                usual = float(np.median(known))
                yield f"{stream} arrives after {delay * 1e3:.0f} ms, and did after {usual * 1e3:.0f} ms"


def some[Kind](episodes: Sequence[Kind]) -> list[Kind]:
    """So many of them that comparing is quick: spread evenly, the newest among them."""
    if len(episodes) <= LOOKED:
        return list(episodes)
    return [episodes[round(at)] for at in np.linspace(0, len(episodes) - 1, LOOKED)]


def _moved(camera: str, picture: Picture, known: Sequence[Picture]) -> list[str]:
    """How far a view is from all that were learned from, if it is from each of them."""
    alike = [one for one in known if one.shape == picture.shape]
    if known and not alike:
        was, size = (" x ".join(map(str, one.shape[1::-1])) for one in (known[-1], picture))
        return [f"{camera} gives pictures of {size}, and gave {was}"]
    drifts = [drift(one, picture) for one in alike]
    near = [found.pixels for found in drifts if found is not None]
    limit = max(LEAST[1], MOVED[1] * picture.shape[1])
    if near and min(near) >= limit:
        return [f"the view of {camera} has moved by {min(near):.1f} px, {limit:.1f} are too many"]
    if alike and not near and _comparable(alike):
        return [f"the view of {camera} is not the one of any demonstration"]
    return []


def _comparable(pictures: Sequence[Picture]) -> bool:
    """Whether demonstrations at least look like one another: only then does it mean something that one does not."""
    return len(pictures) > 1 and all(drift(pictures[0], one) is not None for one in pictures[1:])


def _lit(camera: str, picture: Picture, known: Sequence[Picture]) -> list[str]:
    means = [float(one.mean()) for one in known]
    mean = float(picture.mean())
    if not means or min(means) - DIMMER <= mean <= max(means) + DIMMER:
        return []
    brighter = "darker" if mean < min(means) else "brighter"
    return [f"{camera} sees all {brighter} than any demonstration: {mean:.0f} of 255, and was {np.median(means):.0f}"]


def _pace(episode: Episode, stream: str) -> tuple[float, float] | None:
    names = episode.dtype(stream).names or ()
    if "received" not in names:
        return None
    rows = episode.columns(stream, ["t", "received"])
    if len(rows) < 2:
        return None
    return float(np.median(arrival(rows) - rows["t"])) / 1e9, float(np.median(np.diff(rows["t"]))) / 1e9


def _unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Which calibrated values are not the same, within tolerance."""
    return {name for name in before.keys() | now.keys() if not _near(before.get(name), now.get(name))}


def _near(one: Any, other: Any) -> bool:
    try:
        first, second = _numbers(one), _numbers(other)
    except (TypeError, ValueError):
        return bool(one == other)
    return first.shape == second.shape and bool(
        (np.abs(first - second) <= np.maximum(SMALL, OFF * np.abs(first))).all()
    )


def _numbers(value: Any) -> NDArray[np.float64]:
    if value is None or isinstance(value, str):
        raise TypeError("no number")
    return np.asarray(value, np.float64)
