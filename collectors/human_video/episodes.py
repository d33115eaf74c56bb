"""A cut of a take becomes an episode: what was seen, how the head moved, and nothing of who was near, or where.

Stream ``head`` has the pictures, ``imu`` the motion, ``exposure`` how the camera exposed; what else the camera
measured becomes streams ``gpmd_...``. Stamps are nanoseconds of the take, as the file says them.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from collectors.human_video.checks import Finding
from collectors.human_video.clip import CannotUse
from collectors.human_video.cuts import HANDS_USED, Cut
from collectors.human_video.faces import Faces
from collectors.human_video.pictures import chosen, pictures, size
from collectors.human_video.takes import Take
from collectors.human_video.telemetry import SENSED, Samples
from drivers import Rows, sensed
from storage import EpisodeWriter, Jpeg, arrays
from storage.apart import apart

NAMESPACE = UUID("3d0c9f0e-5f0f-5b7e-8c55-3b6d2f5f9a40")
"""In which episodes of human video are named by their files' content and their cut."""

AGENT = "human"

IMU = sensed(("gyro", "<f4", (3,)), ("accel", "<f4", (3,)))
"""Turning in rad/s and acceleration in m/s2, gravity included, along the camera's axes in the camera's order."""

EXPOSURE = sensed(("exposure", "<f4"), ("iso", "<f4"))
"""Seconds that a picture was exposed, and how sensitive the sensor was; NaN where it does not say."""


@dataclass(frozen=True)
class How:
    """How pictures are kept."""

    height: int = 240
    """Rows; the columns follow from the film's shape."""
    hz: float = 30.0
    """Pictures a second, at most."""
    quality: int = 90
    """Of JPEG."""


@dataclass(frozen=True)
class Kept:
    """An episode that is ours now, or was already."""

    id: UUID
    path: Path
    new: bool
    faces: int = 0
    """In how many pictures a face was covered."""


def head(height: int, width: int) -> np.dtype[np.void]:
    """Lay out a row of pictures: with the clip that each comes from, and when it is shown there, in nanoseconds."""
    return sensed(("rgb", "u1", (height, width, 3)), ("clip", "<i4"), ("shown", "<i8"))


def name_of(take: Take, cut: Cut, bare: bool = False) -> UUID:
    """The episode's id, which follows from what was filmed and where it is cut, not from names of files.

    With ``bare`` faces it is another episode: it can be purged, and the same film come in again with faces covered.
    """
    said = [[clip.digest for clip in take.clips], round(cut.start * 1000), round(cut.end * 1000)]
    return uuid5(NAMESPACE, json.dumps([*said, "bare"] if bare else said))


def began(take: Take) -> datetime:
    """When a take began. A camera's clock knows no zone, so it is taken for this machine's; without one, the file's."""
    if take.began is None:
        return datetime.fromtimestamp(take.clips[0].path.stat().st_mtime, UTC)
    return take.began.astimezone()


def bring_in(
    take: Take,
    cut: Cut,
    root: Path,
    said: Mapping[str, Any],
    findings: Sequence[Finding],
    faces: Faces | None,
    how: How,
    known: Callable[[UUID], bool] = lambda _id: False,
    tell: Callable[[int], None] = lambda _done: None,
) -> Kept:
    """Make an episode of a cut, sealed and named by its content: the same one is never brought in twice.

    Whatever happens, there is a whole episode in ``episodes`` afterwards, or none.

    Args:
        take: what was filmed.
        cut: from when to when.
        root: the data folder.
        said: attributes that the film cannot know: task, instruction, operator, ...
        findings: what speaks against the take, which is kept with it.
        faces: who finds faces to cover; None to keep them.
        how: how pictures are kept.
        known: tells of an id whether we have had it, even if its files are gone.
        tell: told after each picture how many are done.

    Raises:
        CannotUse: the film cannot be unpacked, or shows nothing there.
        OSError: our disk does not take it.
    """
    root, name = root.absolute(), name_of(take, cut, bare=faces is None)
    final = root / "episodes" / f"{name}.zarr"
    if final.exists() or known(name):
        return Kept(name, final, new=False)
    numbers = chosen(take.moments, cut.start, cut.end, how.hz)
    if len(numbers) < 2:
        raise CannotUse(f"take {take.name} shows no pictures from {cut.start:g} to {cut.end:g} s; cut it elsewhere")
    shape = size(take.clips[0], how.height)
    measured = _measured(take, cut)
    kinds = {"head": head(*shape)} | {stream: rows.dtype for stream, rows in measured.items()}
    attributes = _attributes(take, cut, findings, faces, how) | dict(said)
    attributes["subtask"] = cut.text or attributes.get("instruction", "")
    with apart(root) as folder:
        with EpisodeWriter(folder, kinds, attributes, Jpeg(how.quality), name) as writer:
            for stream, rows in measured.items():
                writer.append(stream, rows)
            covered = 0
            for done, (row, count) in enumerate(_seen(take, numbers, how.height, faces, kinds["head"]), 1):
                writer.append("head", row)
                covered += count > 0
                tell(done)
            sealed = writer.seal({"faces": {"by": faces.name if faces else None, "covered_in": covered}})
        sealed.path.rename(final)
        arrays.sync(final.parent)
    return Kept(name, final, new=True, faces=covered)


def _seen(
    take: Take, numbers: NDArray[np.intp], height: int, faces: Faces | None, dtype: np.dtype[np.void]
) -> Iterator[tuple[Rows, int]]:
    """A row per picture, and how many faces were covered in it. One that the film lacks leaves a gap in ``seq``."""
    times = take.moments[numbers]
    period = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    seq = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(np.diff(times) / period)))])
    row: Rows = np.zeros(1, dtype)
    for place, shown in enumerate(pictures(take, numbers, height, faces)):
        row["t"] = row["received"] = round(shown.at * 1e9)
        row["seq"], row["rgb"] = seq[place], shown.image
        row["clip"], row["shown"] = shown.clip, round(shown.shown * 1e9)
        yield row, shown.faces


def _measured(take: Take, cut: Cut) -> dict[str, Rows]:
    """The rows of everything but pictures, within the cut."""
    found: dict[str, Rows] = {}
    gyro, accel = take.samples("GYRO"), take.samples("ACCL")
    if gyro is not None and accel is not None and gyro.values.shape[1] == accel.values.shape[1] == 3:
        within = _within(gyro, cut)
        felt = np.stack([np.interp(gyro.t[within], accel.t, axis) for axis in accel.values.T], axis=1)
        found["imu"] = _rows(IMU, gyro.t[within], gyro=gyro.values[within], accel=felt)
    exposure, iso = take.samples("SHUT"), take.samples("ISOE") or take.samples("ISOG")
    if exposure is not None:
        within = _within(exposure, cut)
        same = iso is not None and len(iso.t) == len(exposure.t)
        gain = iso.values[within, 0] if iso is not None and same else np.full(len(within), np.nan)
        found["exposure"] = _rows(EXPOSURE, exposure.t[within], exposure=exposure.values[within, 0], iso=gain)
    keys = {key: None for clip in take.clips for key in clip.telemetry.streams if key not in SENSED}
    for key in keys:
        if (samples := take.samples(key)) is not None and len(within := _within(samples, cut)):
            name = "gpmd_" + "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in key)
            kind = sensed(("value", "<f8", (samples.values.shape[1],)))
            found[name] = _rows(kind, samples.t[within], value=samples.values[within])
    return {name: rows for name, rows in found.items() if len(rows)}


def _within(samples: Samples, cut: Cut) -> NDArray[np.intp]:
    """Those of the cut. A line through times may begin a little before the film."""
    return np.flatnonzero((samples.t >= cut.start) & (samples.t < cut.end))


def _rows(dtype: np.dtype[np.void], t: NDArray[np.float64], **values: NDArray[Any]) -> Rows:
    rows: Rows = np.zeros(len(t), dtype)
    rows["t"] = rows["received"] = np.maximum.accumulate(np.rint(t * 1e9).astype(np.int64)) if len(t) else 0
    rows["seq"] = np.arange(len(t))
    for name, value in values.items():
        rows[name] = value
    return rows


def _attributes(take: Take, cut: Cut, findings: Sequence[Finding], faces: Faces | None, how: How) -> dict[str, Any]:
    camera, telemetry = take.camera, take.clips[0].telemetry
    rates = {key: round(samples.hz, 3) for key, samples in telemetry.streams.items()}
    return {
        "agent": AGENT,
        "source": "human",
        "started": (began(take) + timedelta(seconds=cut.start)).isoformat(),
        "ended_by": "done",
        **({} if (arms := HANDS_USED[cut.hands]) is None else {"arms": list(arms)}),
        "serials": {"head": camera.serial} if camera.serial else {},
        "human_video": {
            "take": take.name,
            "from": cut.start,
            "to": cut.end,
            "files": [{"name": clip.path.name, "digest": clip.digest} for clip in take.clips],
            "camera": asdict(camera),
            "filmed": {"codec": take.clips[0].codec, "width": take.clips[0].width, "height": take.clips[0].height}
            | {"hz": round(take.clips[0].hz, 3), "seconds": take.seconds},
            "kept": asdict(how),
            "axes": telemetry.axes,
            "rates": rates,
            "left_out": ["sound", *telemetry.left_out, *([] if faces is None else ["faces"])],
            "words": list(telemetry.words),
            "findings": [str(finding) for finding in findings],
        },
    }
