"""How far a policy's plans are from what was done in demonstrations, without a robot."""

from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from learners.checkpoint import WEIGHTS
from learners.data import Windows
from learners.policy import ChunkPolicy

STILL = 1e-4
"""What varies less than this over all demonstrations is not asked for."""


@dataclass(frozen=True)
class Examined:
    """One policy's answers about some episodes."""

    error: NDArray[np.float64]
    """(episodes,): mean distance from what was done, in standard deviations of what is done in any of them.

    Infinite where a plan is no number; NaN where nothing could be asked.
    """
    along: NDArray[np.float64]
    """(episodes,): whether it would go where the demonstration went: 1 is the same way, -1 the opposite way."""


@torch.inference_mode()
def examine(policy: ChunkPolicy, data: Windows, each: int = 16, seed: int = 0) -> Examined:
    """Ask a policy what it would do at evenly spaced moments, ``each`` of every episode, as it is asked when it drives.

    ``data`` is cut with the policy's own senses, view, rate and length. What it draws follows from ``seed``.
    """
    torch.manual_seed(seed)
    scale = data.plan[data.sample(4096)].reshape(-1, data.plan[:1].shape[-1]).std(0)
    moves = scale > STILL
    found = [_episode(policy, data, _some(data, number, each), scale, moves) for number in range(_episodes(data))]
    return Examined(np.array([error for error, _ in found]), np.array([along for _, along in found]))


def _episode(
    policy: ChunkPolicy, data: Windows, moments: NDArray[np.intp], scale: NDArray[np.float32], moves: NDArray[np.bool_]
) -> tuple[float, float]:
    errors, meant, done = [], [], []
    for moment in moments:
        batch = data.batch(np.array([moment]))
        plan = policy.net.steps(batch.images, batch.state, batch.instructions)[0].double().cpu().numpy()
        true, kept = batch.plan[0].double().numpy(), ~batch.past_end[0].numpy()
        errors.append(np.abs(plan - true)[kept][:, moves] / scale[moves])
        last = np.flatnonzero(kept)[-1]
        meant.append(((plan[last] - true[0]) / scale.clip(STILL))[moves])
        done.append(((true[last] - true[0]) / scale.clip(STILL))[moves])
    if not errors:
        return np.nan, np.nan
    product = np.linalg.norm(meant) * np.linalg.norm(done)
    error = float(np.concatenate(errors).mean())
    return error if np.isfinite(error) else np.inf, float((np.array(meant) * np.array(done)).sum() / max(product, 1e-9))


def _some(data: Windows, episode: int, each: int) -> NDArray[np.intp]:
    """Evenly spaced windows of one episode, at the end of which something of the plan is left."""
    own = np.flatnonzero((data.episode == episode) & (data.left > 0))
    return own[np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).astype(np.intp))] if len(own) else own


def _episodes(data: Windows) -> int:
    return len(data.instructions)


def alike(parent: Path, child: Path) -> float | None:
    """The cosine between two policies' weights: 1 if they are the same; None where none are of one name and shape.

    Of what was begun apart it is near zero; of one that went on from the other it is not, for training only adds to
    where it began. Only matrices count: numbers that begin as ones are alike in any two.
    """
    before, after = load_file(parent / WEIGHTS), load_file(child / WEIGHTS)
    both = [
        (tensor.double(), after[name].double())
        for name, tensor in before.items()
        if name in after and tensor.is_floating_point() and tensor.ndim > 1 and tensor.shape == after[name].shape
    ]
    if not both:
        return None
    if all(starmap(torch.equal, both)):
        return 1.0
    product, lengths = (sum(float((a * b).sum()) for a, b in pairs) for pairs in (both, [(a, a) for a, _ in both]))
    others = sum(float(b.square().sum()) for _, b in both)
    return product / max(float(np.sqrt(lengths * others)), 1e-12)
