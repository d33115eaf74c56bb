"""Lessons for CLAP made by hand: a square says where the arm goes, in windows of a robot and in film of people."""

from dataclasses import replace
from uuid import UUID

import numpy as np
import torch
from numpy.typing import NDArray

from learners import Footage, Training, Windows
from learners.body import Body
from learners.clap.clap import Clap
from storage.pictures import Unpacked

torch.set_num_threads(1)

PAIR = Body(12, 2)
QUICK = Training(lr=2e-3, batch=8, steps=6, warmup=2, check_every=3, save_every=2, tracker="none", workers=0)
SAID = ("put the red cube in the bowl", "put the blue cube in the bowl")


def settings() -> Clap:
    """CLAP at its smallest, trained for a moment."""
    tiny = Clap.preset("tiny")
    return replace(
        tiny,
        k=8,
        act_vae=replace(
            tiny.act_vae, patch=4, width=32, feedforward=32, layers=3, entries=16, tokens=4, training=QUICK
        ),
        vd_vae=replace(tiny.vd_vae, training=QUICK),
        ntp=replace(tiny.ntp, training=QUICK),
        adapt=QUICK,
        training=QUICK,
    )


def windows(how: Clap, episodes: int = 4, each: int = 12, seed: int = 0, arms: int = 1) -> Windows:
    """Windows in which each arm goes evenly to where a square is, and closes its hand there."""
    random = np.random.default_rng(seed)
    count, body = episodes * each, PAIR if arms == 2 else Body()
    corner = random.integers(0, 28, (count, 2))
    goal = (corner / 14 - 1) @ random.normal(size=(2, 6)) * 0.1
    plan = np.linspace(1 / how.k, 1, how.k)[None, :, None] * goal[:, None]
    hand = np.where(np.arange(how.k) < how.k // 2, 0.08, 0.0)[None, :, None] * np.ones((count, 1, 1))
    steps = np.concatenate([plan, hand], axis=-1)
    now = np.concatenate([_drawn(corner), _drawn(corner + 1)])
    frame = np.arange(count)[:, None].repeat(len(how.cameras), 1)
    return Windows(
        frames=tuple(Unpacked(now) for _ in how.cameras),
        frame=frame,
        state=random.normal(size=(count, how.history, body.width)).astype("f4"),
        plan=np.concatenate([steps] * arms, axis=-1).astype("f4"),
        left=np.full(count, how.k),
        key=random.normal(size=(count, 9 * arms)).astype("f4"),
        episode=np.repeat(np.arange(episodes), each),
        instructions=tuple(SAID[number % 2] for number in range(episodes)),
        hz=how.hz,
        later=frame + count,
        later_past_end=np.zeros(count, bool),
        body=body,
    )


def film(how: Clap, films: int = 2, each: int = 10, seed: int = 5) -> Footage:
    """Film in which the square moves by as much in a chunk's time."""
    corner = np.random.default_rng(seed).integers(0, 28, (films * each, 2))
    count = films * each
    return Footage(
        frames=Unpacked(np.concatenate([_drawn(corner, 180), _drawn(corner + 1, 180)])),
        frame=np.arange(count),
        later=np.arange(count) + count,
        past_end=np.zeros(count, bool),
        moment=np.arange(count) * 100_000_000,
        episode=np.repeat(np.arange(films), each),
        ids=tuple(UUID(int=number + 1) for number in range(films)),
        instructions=SAID[:films],
        subtasks=SAID[:films],
        arms=np.ones((films, 2), bool),
        hz=how.hz,
        ahead=how.k / how.hz,
    )


def _drawn(corner: NDArray[np.int64], bright: int = 255) -> NDArray[np.uint8]:
    frames: NDArray[np.uint8] = np.zeros((len(corner), 32, 32, 3), "u1")
    for frame, (row, column) in zip(frames, corner, strict=True):
        frame[row : row + 4, column : column + 4] = bright
    return frames
