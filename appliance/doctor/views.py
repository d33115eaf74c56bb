"""What the cameras see, and whether that is still what they saw when somebody said: so it shall be.

References lie in the data folder, ``views/STATION/CAMERA/WHEN.png``. The newest counts; older ones stay.
"""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import cv2
import numpy as np

from appliance.doctor.finding import Finding, bad, fine, warn
from appliance.doctor.looking import TOLD
from appliance.doctor.program import python
from appliance.refusal import Refusal
from ops.drift import LEAST, MOVED, Picture, drift

LIMIT = 90.0
"""Seconds until every camera has to have seen something."""

DARK, BARE = 8.0, 4.0
"""Mean and spread of brightness (of 255) below which there is nothing to see."""


class NoPicture(Refusal):
    """A reference cannot be taken. The message says of which camera, and why."""


def compare(which: str, station: str, cameras: Sequence[str], home: Path, simulated: bool) -> list[Finding]:
    """Take a picture with every camera of a station, and compare it with its reference."""
    try:
        pictures, trouble = see(which, cameras)
    except NoPicture as error:
        return [bad("cameras", str(error), "See to what it names; the other findings may say why")]
    found = []
    for camera in cameras:
        about = f"camera {camera}"
        if camera in trouble:
            found.append(bad(about, trouble[camera], "See to its cable and power, then type this again"))
        else:
            found += [
                _seen(about, pictures[camera]),
                _compared(camera, pictures[camera], which, station, home, simulated),
            ]
    return found


def keep(which: str, station: str, cameras: Sequence[str], home: Path) -> list[Path]:
    """Keep what every camera sees now as its reference, and return the files.

    Raises:
        NoPicture: a camera does not see anything.
    """
    pictures, trouble = see(which, cameras)
    for camera in cameras:
        if camera in trouble or (wrong := _blind(pictures[camera])):
            raise NoPicture(f"no reference was kept: {camera}: {trouble.get(camera) or wrong}")
    when = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    return [_write(_folder(home, station, camera) / f"{when}.png", pictures[camera]) for camera in cameras]


def see(which: str, cameras: Sequence[str]) -> tuple[dict[str, Picture], dict[str, str]]:
    """Take a picture with every camera, in another program; what is wrong with the others, in words.

    Raises:
        NoPicture: the cell cannot be entered.
    """
    with TemporaryDirectory(prefix="appliance-doctor-") as name:
        folder = Path(name)
        answer = python(["-m", "appliance.doctor.looking", which, name], LIMIT)
        if answer.error:
            raise NoPicture(f"no camera can be looked through: {answer.error}")
        trouble: dict[str, str] = json.loads((folder / TOLD).read_text())
        return {camera: np.load(folder / f"{camera}.npy") for camera in cameras if camera not in trouble}, trouble


def reference(home: Path, station: str, camera: str) -> Path | None:
    """The newest reference of a camera; None when there is none."""
    return max(_folder(home, station, camera).glob("*.png"), default=None)


def judged(camera: str, picture: Picture, before: Picture, which: str) -> Finding:
    """Say how far a camera's view has moved since its reference was taken."""
    about = f"view of {camera}"
    anew = f"appliance doctor --station {which} --reference"
    if picture.shape != before.shape:
        what = f"its reference is {_size(before)}, its pictures are {_size(picture)}"
        return warn(about, what, f"If that was meant, keep what it sees now as its reference: {anew}")
    found = drift(before, picture)
    if found is None:
        what = "is not the one of its reference: moved far, covered, or on an arm that stands elsewhere"
        fix = f"See what it sees. On an arm, bring it to where the reference was taken. If it shall stay so: {anew}"
        return warn(about, what, fix)
    some, far = (max(least, share * picture.shape[1]) for least, share in zip(LEAST, MOVED, strict=True))
    what = f"{found.pixels:.1f} px from its reference"
    if found.pixels < some:
        return fine(about, f"{what} ({found.agreeing} of {found.marks} marks agree)")
    sideways = f"{abs(found.right):.1f} px to the {'right' if found.right > 0 else 'left'}"
    upright = f"{abs(found.down):.1f} px {'down' if found.down > 0 else 'up'}"
    what += f": it went {sideways} and {upright}, turned {found.turned:.2f}°, size x {found.larger:.3f}"
    fix = (
        f"Turn the camera back until this says less than {some:.1f} px. If it shall stay so: calibrate it, then {anew}"
    )
    return (bad if found.pixels >= far else warn)(about, what, fix)


def _compared(camera: str, picture: Picture, which: str, station: str, home: Path, simulated: bool) -> Finding:
    file = reference(home, station, camera)
    if file is None:
        about, what = f"view of {camera}", "has no reference to be compared with"
        fix = f"When all is as it shall be: appliance doctor --station {which} --reference"
        return fine(about, what) if simulated else warn(about, what, fix)
    read = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if read is None:
        return warn(f"view of {camera}", f"its reference {file} cannot be read", f"Remove {file}, and take another")
    return judged(camera, picture, np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8), which)


def _seen(about: str, picture: Picture) -> Finding:
    if wrong := _blind(picture):
        return warn(about, wrong, "Take off its cap, switch the light on, clean it")
    return fine(about, f"sees {_size(picture)}")


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def _blind(picture: Picture) -> str:
    """Why there is nothing to see; empty when there is."""
    if picture.mean() < DARK:
        return "sees only darkness"
    return "sees only one colour" if picture.std() < BARE else ""


def _folder(home: Path, station: str, camera: str) -> Path:
    return home / "views" / quote(station, safe="") / quote(camera, safe="")


def _write(path: Path, picture: Picture) -> Path:
    """Write a picture so that it is whole whenever it is there."""
    _, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(png.tobytes())
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return path
