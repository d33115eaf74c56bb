"""How much a vocabulary keeps for the bits that it spends: rate and PSNR (Eq. 8), and what is lost in metres.

Table V of the paper reproduces with ``numbers`` = 32 * 7: the rate of one arm.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from learners.clap.act_vae import ActVae, ActVaeNet, Chunks
from learners.data import Windows
from learners.transforms import STEP

SPAN = 2.0
"""Normalised actions lie between -1 and 1."""


def psnr(mse: float, span: float = SPAN) -> float:
    """Peak signal to noise ratio, in dB: how small an error is beside all that could be said."""
    return 20 * math.log10(span / math.sqrt(mse))


def rate(mse: float, tokens: int, entries: int, numbers: int = 32 * STEP, span: float = SPAN) -> float:
    """Bits that are spent, as a share of those that would write every one of the numbers down as exactly."""
    return tokens * math.log2(entries) / (numbers * math.log2(span / math.sqrt(mse)))


@dataclass(frozen=True)
class Fidelity:
    """What becomes of chunks that are said in words and acted out again. Errors are roots of mean squares."""

    mse: float
    """Of normalised numbers."""
    place: tuple[float, float, float]
    """Error (m) along x, y, z."""
    turn: tuple[float, float, float]
    """Error (rad) of each angle."""
    hand: float
    """Error (m) of the opening."""
    used: int
    """Different words that were said."""


@dataclass(frozen=True)
class Point:
    """One vocabulary on the curve."""

    tokens: int
    """Words of an arm's chunk (N)."""
    entries: int
    """Words there are (K)."""
    rate: float
    psnr: float
    """On episodes that were not learned from."""
    kept: Fidelity

    @property
    def bits(self) -> float:
        """Of an arm's chunk."""
        return self.tokens * math.log2(self.entries)


@torch.no_grad()
def measure(net: ActVaeNet, data: Windows, index: NDArray[np.intp], most: int = 1 << 13) -> Fidelity:
    """Say these windows in words and act them out; of more than ``most``, evenly spaced ones."""
    some = index[np.linspace(0, len(index) - 1, min(most, len(index))).astype(np.intp)]
    chunks, device = Chunks(data, net.schema, np.zeros(len(data), bool)), net.registers.device
    squares, words, steps = torch.zeros(STEP, dtype=torch.double), torch.zeros(0, dtype=torch.long), 0
    for part in np.array_split(some, -(-len(some) // 1024)):
        rows = chunks.batch(part).rows.to(device)
        said = net.tokens(rows)
        off = (net.decode(said) - rows).flatten(0, 1).double().cpu()
        squares += off.square().sum(0)
        steps += len(off)
        words = torch.cat([words, said.flatten().cpu()]).unique()
    mean = squares / steps
    schema = net.schema
    reach = np.append(np.subtract(schema.high, schema.low), schema.open - schema.closed) / 2
    errors = (np.sqrt(mean.numpy()) * reach).tolist()
    x, y, z, roll, pitch, yaw, hand = errors
    return Fidelity(float(mean.mean()), (x, y, z), (roll, pitch, yaw), hand, len(words))


def curve(
    how: ActVae,
    data: Windows,
    tokens: Sequence[int],
    entries: Sequence[int],
    tell: Callable[[str, int, int, float], None] = lambda _which, _done, _of, _loss: None,
) -> list[Point]:
    """Learn a vocabulary of every size and measure it on episodes that it did not learn from.

    ``tell`` hears which, steps done, steps in all and the loss. Sizes come by the bits that they spend.
    """
    learn, held = data.split(how.training.held_out, how.training.seed)
    index = held if len(held) else learn
    points = []
    for n, k in sorted(((n, k) for n in tokens for k in entries), key=lambda size: size[0] * math.log2(size[1])):

        def say(done: int, of: int, loss: float, which: str = f"{n} of {k}") -> None:
            tell(which, done, of, loss)

        kept = measure(replace(how, tokens=n, entries=k).fit(data, None, say), data, index)
        points.append(Point(n, k, rate(kept.mse, n, k, how.k * STEP), psnr(kept.mse), kept))
    return points
