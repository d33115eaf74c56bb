"""What speaks against a take, why, and what to do the next time. Quick: a picture a second is looked at, at most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.human_video.clip import CannotUse, Clip, container
from collectors.human_video.takes import Take

LEAST = 2.0
"""Seconds that a take has to last."""

BLACK, DARK = 16.0, 45.0
"""Mean brightness, of 255, below which nothing is seen, and below which much is lost."""

LOOKS = 60
"""How many pictures of a clip are looked at, at most."""

BLUR = 1 / 60
"""Seconds of exposure after which a moving hand is a smear."""

SWING = 45.0
"""Degrees that the horizon may tilt, 19 seconds in 20: a head that looks at a table and up again stays within."""

FOVS = {"W": "wide", "L": "linear", "N": "narrow", "S": "superview", "H": "hyperview", "M": "medium", "X": "max"}
"""What GoPro's letters for a field of view stand for."""


@dataclass(frozen=True)
class Finding:
    """One thing that speaks against a take."""

    refuses: bool
    """The take cannot be used; otherwise it can, and is worth less."""
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.why}; {self.fix}"


def wrong(take: Take, fovs: Sequence[str] = ("W",)) -> list[Finding]:
    """Everything that speaks against a take, refusals first.

    Args:
        take: what was filmed.
        fovs: the fields of view that are wanted, in GoPro's letters.

    Raises:
        CannotUse: its pictures cannot be unpacked.
    """
    found = [*_settings(take, fovs), *_light(take), *_motion(take)]
    if take.seconds < LEAST:
        why = f"it lasts {take.seconds:.1f} s, and {LEAST:g} s is the least"
        found.append(Finding(True, why, "film the whole task, from before the hands come to after they leave"))
    return sorted(found, key=lambda finding: not finding.refuses)


def _settings(take: Take, fovs: Sequence[str]) -> list[Finding]:
    found, camera = [], take.camera
    if camera.stabilised:
        why = f"it is stabilised ({camera.stabilised}), so every picture has another lens"
        found.append(Finding(True, why, "turn HyperSmooth off and film it again"))
    if camera.fov and camera.fov not in fovs:
        wanted = " or ".join(f"{FOVS.get(fov, fov)} ({fov})" for fov in fovs)
        why = f"its field of view is {FOVS.get(camera.fov, 'another')} ({camera.fov}), and wanted is {wanted}"
        found.append(Finding(True, why, "set the lens to that and film it again, or ask for this one with --fov"))
    if camera.zoomed:
        found.append(Finding(True, "it is zoomed", "set the zoom to 1.0 and film it again"))
    if not camera.fov:
        why = "it does not say its field of view, nor for sure whether it is stabilised"
        found.append(Finding(False, why, "make sure that all films of this task are wide ones, with HyperSmooth off"))
    if len(take.clips) > 1 and len({(c.width, c.height, round(c.hz), c.camera.fov) for c in take.clips}) > 1:
        found.append(Finding(True, "its chapters were filmed with different settings", "bring them in one by one"))
    return found


def _light(take: Take) -> list[Finding]:
    bright = np.concatenate([brightness(clip) for clip in take.clips])
    median = float(np.median(bright))
    if median < BLACK:
        fix = "take the lens cap off, or switch the light on, and film it again"
        return [Finding(True, f"it is black (brightness {median:.0f} of 255)", fix)]
    found = []
    if median < DARK:
        why = f"it is too dark (brightness {median:.0f} of 255, {DARK:.0f} is the least)"
        found.append(Finding(False, why, "add light from above, away from the camera"))
    exposure = take.samples("SHUT")
    if exposure is not None and (longest := float(np.median(exposure.values))) > BLUR:
        why = f"pictures are exposed for 1/{1 / longest:.0f} s, so hands that move are smeared"
        found.append(Finding(False, why, "add light, or set the shutter to 1/120 s or shorter"))
    return found


def _motion(take: Take) -> list[Finding]:
    accel, gyro = take.samples("ACCL"), take.samples("GYRO")
    if accel is None or gyro is None:
        fix = "taps cannot be found, and methods that use motion will leave it out"
        return [Finding(False, "it has no motion data (ACCL, GYRO)", fix)]
    swing = horizon(accel.values, accel.hz)
    if swing > SWING:
        why = f"the horizon tilts by up to {swing:.0f} degrees ({SWING:.0f} is the most)"
        return [Finding(False, why, "fasten the camera to the head, not to a hand or a loose strap")]
    return []


def horizon(accel: NDArray[np.float64], hz: float) -> float:
    """How far gravity wanders from where it mostly is, in degrees, 95 times in 100.

    Args:
        accel: (n, 3) m/s2. Half a second of it is averaged, so that steps and knocks do not count.
        hz: its rate.
    """
    width = max(1, min(len(accel), round(hz / 2)))
    slow = np.stack([np.convolve(axis, np.ones(width) / width, "valid") for axis in accel.T], axis=1)
    down = slow / np.maximum(np.linalg.norm(slow, axis=1, keepdims=True), 1e-9)
    usual = np.median(down, axis=0)
    cosine = down @ (usual / max(float(np.linalg.norm(usual)), 1e-9))
    return float(np.percentile(np.degrees(np.arccos(np.clip(cosine, -1, 1))), 95))


def brightness(clip: Clip) -> NDArray[np.float64]:
    """Mean brightness, 0 to 255, of a picture a second. Only pictures that stand alone are unpacked.

    Raises:
        CannotUse: none can be.
    """
    from av.error import FFmpegError

    step = max(1.0, clip.seconds / LOOKS)
    found: list[float] = []
    try:
        with container(clip.path) as film:
            video = film.streams.video[0]
            video.codec_context.skip_frame = "NONKEY"
            base = float(video.time_base or 1)
            for at in np.arange(float(clip.moments[0]), clip.seconds, step):
                film.seek(round(at / base), stream=video)
                frame = next(film.decode(video), None)
                if frame is not None:
                    small = frame.reformat(width=64, height=36, format="rgb24", interpolation="AREA")
                    found.append(float(small.to_ndarray().mean()))
    except FFmpegError as error:
        raise CannotUse(f"{clip.path}: its pictures cannot be unpacked ({error.strerror}); copy it again") from error
    if not found:
        raise CannotUse(f"{clip.path}: none of its pictures can be unpacked; copy it from the card again")
    return np.array(found)
