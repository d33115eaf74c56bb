"""Pictures as cameras at a table give them, drawn once and kept under ``build/bench``.

``top`` stands still: a textured table, a moving arm and three objects. ``wrist`` moves over a large textured scene.
Both have sensor noise (sigma 2, correlated colour), because noise is what a codec has to work on. Detail and motion are
such that JPEG at quality 90 and LeRobot's AV1 need about the bytes they need for a real table and a walk with a camera.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
CAMERAS = ("top", "wrist")
HEIGHT, WIDTH, FPS = 480, 640, 30
FRAMES = 150
"""Frames of one episode: five seconds."""
JOINTS = 7
BUILD = Path(__file__).parents[2] / "build" / "bench"


def frames(episode: int, camera: str) -> Images:
    """One episode of one camera: (150, 480, 640, 3). Two are drawn; others are those, mirrored or upside down."""
    path = BUILD / "content" / f"{camera}-{episode % 2}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = {"top": _top, "wrist": _wrist}[camera](np.random.default_rng([episode % 2, len(camera)]))
        new = path.with_suffix(".new.npy")
        np.save(new, drawn)
        new.rename(path)
    whole: Images = np.load(path, mmap_mode="r")
    turned = {0: whole, 1: whole[:, :, ::-1], 2: whole[:, ::-1]}[episode // 2 % 3]
    return np.ascontiguousarray(turned)


def depth(episode: int) -> NDArray[np.uint16]:
    """One episode of depth (150, 480, 640) in millimetres, with noise that grows with distance and one hole in 100."""
    dice = np.random.default_rng([episode, 7])
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    table = (900 + 0.35 * row + 0.05 * column).astype("f4")
    seen = np.empty((FRAMES, HEIGHT, WIDTH), np.uint16)
    for i in range(FRAMES):
        far = table + dice.standard_normal(table.shape, "f4") * (table / 900) * 1.5
        x, y = _sway(i, 1, episode)
        far[y - 30 : y + 30, x - 30 : x + 30] = 850
        far[dice.random(table.shape, "f4") < 0.01] = 0
        seen[i] = far
    return seen


def arm(episode: int, hz: float, seconds: float) -> NDArray[np.float64]:
    """Joint angles (n, 7) of a smooth motion with a little sensor noise, in radians."""
    t = np.arange(round(hz * seconds))[:, None] / hz
    dice = np.random.default_rng([episode, 9])
    motion: NDArray[np.float64] = np.sin(t * (0.3 + 0.1 * np.arange(JOINTS)) + np.arange(JOINTS) + episode)
    return motion + dice.normal(0, 1e-4, motion.shape)


def psnr(shown: Images, seen: Images) -> float:
    """Peak signal-to-noise ratio, in decibels, over all the pixels of some frames."""
    error = np.mean((shown.astype("f4") - seen.astype("f4")) ** 2, dtype="f8")
    return float(10 * np.log10(255**2 / error))


def _top(dice: np.random.Generator) -> Images:
    table = _texture(dice, HEIGHT, WIDTH, (196, 178, 150), contrast=24, falls=1.6)
    drawn = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for i in range(FRAMES):
        frame, t = table.copy(), i / FPS
        for k, colour in enumerate([(200, 60, 40), (50, 140, 210), (70, 180, 60)]):
            x, y = _sway(i, k, 0)
            half = 26 + 6 * k
            cv2.rectangle(frame, (x - half, y - half), (x + half, y + half), colour, -1, cv2.LINE_AA)
        first = 0.9 * np.sin(0.8 * t) + 1.2
        second = first + 0.9 * np.sin(1.1 * t + 1) - 0.4
        foot = np.array([320.0, 470.0])
        elbow = foot + 190 * np.array([np.cos(first), -np.sin(first)])
        hand = elbow + 160 * np.array([np.cos(second), -np.sin(second)])
        for a, b, wide, colour in ((foot, elbow, 34, (235, 235, 238)), (elbow, hand, 24, (60, 60, 66))):
            cv2.line(frame, _pixel(a), _pixel(b), colour, wide, cv2.LINE_AA)
        cv2.circle(frame, _pixel(hand), 16, (250, 170, 20), -1, cv2.LINE_AA)
        drawn[i] = _noisy(frame, dice)
    return drawn


def _wrist(dice: np.random.Generator) -> Images:
    """Walk over a scene five times as large, with the sway of a hand."""
    scene = _texture(dice, 2 * HEIGHT, 3 * WIDTH, (150, 150, 145), contrast=42, falls=1.25)
    for _ in range(150):
        x, y = dice.integers(0, 3 * WIDTH), dice.integers(0, 2 * HEIGHT)
        size = int(dice.integers(10, 80))
        colour = tuple(dice.integers(20, 240, 3).tolist())
        cv2.rectangle(scene, (int(x), int(y)), (int(x) + size, int(y) + size), colour, -1, cv2.LINE_AA)
    drawn = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for i in range(FRAMES):
        t = 2 * i / FPS
        turn, scale = 4 * np.sin(2.1 * t), 1 + 0.05 * np.sin(1.3 * t)
        centre = (WIDTH * (0.7 + 0.12 * t) + 15 * np.sin(5 * t), HEIGHT + 60 * np.sin(1.7 * t) + 6 * np.sin(9 * t))
        move = cv2.getRotationMatrix2D(centre, turn, scale)
        move = move + np.array([[0, 0, WIDTH / 2 - centre[0]], [0, 0, HEIGHT / 2 - centre[1]]])
        drawn[i] = _noisy(cv2.warpAffine(scene, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR), dice)
    return drawn


def _texture(
    dice: np.random.Generator, height: int, width: int, colour: tuple[int, int, int], contrast: float, falls: float
) -> Images:
    """A surface whose detail falls with frequency as in photographs: amplitude 1 / f ** ``falls``."""
    waves = np.fft.rfft2(dice.standard_normal((height, width)))
    f = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width)
    pattern = np.fft.irfft2(waves / np.maximum(f, 4) ** falls, s=(height, width))
    shade = contrast * pattern / pattern.std()
    lit = np.array(colour) + shade[..., None] * np.array([1.0, 0.95, 0.85])
    surface: Images = np.clip(lit, 0, 255).astype(np.uint8)
    return surface


def _noisy(frame: NDArray[Any], dice: np.random.Generator, sigma: float = 2.0) -> Images:
    grain = dice.standard_normal(frame.shape[:2], "f4")[..., None] * sigma
    colour = cv2.GaussianBlur(dice.standard_normal(frame.shape, "f4"), (0, 0), 0.8) * sigma
    noisy: Images = np.clip(frame + grain + colour, 0, 255).astype(np.uint8)
    return noisy


def _sway(frame: int, k: int, seed: int) -> tuple[int, int]:
    t = frame / FPS
    return int(320 + 180 * np.sin(0.5 * t + k * 2 + seed)), int(240 + 120 * np.cos(0.37 * t + k))


def _pixel(point: NDArray[np.float64]) -> tuple[int, int]:
    return int(point[0]), int(point[1])
