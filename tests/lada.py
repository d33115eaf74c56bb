"""Lessons for LaDA made by hand: a square says where an arm goes, and windows say what that is called."""

from dataclasses import replace

import numpy as np
import torch

from learners import Training, Windows
from learners.body import ONE_ARM, Body
from learners.lada.lada import LaDA, Lessons
from learners.lada.net import Net
from learners.lada.primitives import Primitives
from storage.pictures import Unpacked

torch.set_num_threads(1)

PAIR = Body(12, 2)
QUICK = Training(lr=2e-3, batch=8, steps=6, warmup=2, check_every=3, save_every=2, tracker="none", workers=0)
SAID = ("put the red cube in the bowl", "put the blue cube in the bowl")
HANDED = Primitives(open=0.08, closed=0.0)
"""A labeller that knows the hand."""


def settings(sharp: bool = True) -> LaDA:
    """LaDA at its smallest, trained for a moment; without ``sharp`` eyes, through CLIP's picture tower."""
    tiny = replace(LaDA.preset("tiny"), k=8, cameras=("front",), pretrain=QUICK, training=QUICK)
    return tiny if sharp else replace(tiny, sight=replace(tiny.sight, points=0))


def windows(how: LaDA, episodes: int = 4, each: int = 12, seed: int = 0, arms: int = 1) -> Windows:
    """Windows in which each arm goes evenly to where a square is, turns on the way, and may close its hand there."""
    random = np.random.default_rng(seed)
    count, body = episodes * each, PAIR if arms == 2 else ONE_ARM
    frames = np.zeros((count, 32, 32, 3), "u1")
    corner = random.integers(0, 28, (count, 2))
    for frame, (row, column) in zip(frames, corner, strict=True):
        frame[row : row + 4, column : column + 4] = 255
    parts = []
    for _ in range(arms):
        goal = (corner / 14 - 1) @ random.normal(size=(2, 6)) * 0.1
        moved = np.linspace(1 / how.k, 1, how.k)[None, :, None] * goal[:, None]
        shut = np.arange(how.k)[None] >= np.where(corner[:, :1] > 14, how.k // 2, how.k)
        parts.append(np.concatenate([moved, np.where(shut, 0.0, 0.08)[..., None]], axis=-1))
    return Windows(
        frames=tuple(Unpacked(frames) for _ in how.cameras),
        frame=np.arange(count)[:, None].repeat(len(how.cameras), 1),
        state=random.normal(size=(count, how.history, body.width)).astype("f4"),
        plan=np.concatenate(parts, axis=-1).astype("f4"),
        left=np.full(count, how.k),
        key=random.normal(size=(count, 9 * arms)).astype("f4"),
        episode=np.repeat(np.arange(episodes), each),
        instructions=tuple(SAID[number % 2] for number in range(episodes)),
        hz=how.hz,
        body=body,
    )


def made(how: LaDA, arms: int = 1) -> tuple[Net, Lessons]:
    """An untrained network, always the same, and what it would be taught."""
    torch.manual_seed(0)
    data = windows(how, arms=arms)
    net = Net(how, data.body.facts | HANDED.facts, SAID)
    net.scales.fit(data)
    return net, Lessons.of(data, HANDED)
