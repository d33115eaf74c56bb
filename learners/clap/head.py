"""The continuous head of CLAP-RF: a diffusion transformer that reads chosen blocks of the language model. Eq. 6.

A block is: scale and shift by time, attention to what one block of the language model says of the prompt, attention
among the queries in every second block, a feed-forward part. The queries are the robot's state, learned tokens and
one token for each step of the plan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.clap.flow import Times, euler, path, velocity

MOMENTS = 1000
"""Time is told to the head in as many parts."""

type Pair = tuple[Tensor, Tensor]
"""Keys and values (B, heads, L, width of one)."""
type Heard = Tensor | Pair
"""What one block of the language model says: its output (B, L, h), or its keys and values."""


@dataclass(frozen=True)
class Head:
    """The settings of the head."""

    width: int = 2560
    heads: int = 40
    blocks: tuple[int, ...] = ()
    """Blocks of the language model that are read, counted from 0, one by each block of the head; empty for `early`.
    Of the very last block, transformers gives what the model's final norm makes of it."""
    condition: Literal["hidden", "kv"] = "hidden"
    """What is read of them: their outputs, or their keys and values, which are turned by position already."""
    self_attention: Literal["none", "interleaved"] = "interleaved"
    """Whether the queries attend to each other in every second block. In the release they never do: a step of the plan
    then knows neither the others nor the robot's state."""
    registers: int = 32
    """Learned tokens beside the state and the steps."""
    dropout: float = 0.2
    draws: int = 2
    """Noises, each with its own time, for a sample in one step of training."""
    steps: int = 4
    """Of Euler, from noise to a plan."""
    times: Times = field(default_factory=Times)
    spread: float = 1.0
    """Of the noise that a plan begins from; training has 1."""


def early(depth: int) -> tuple[int, ...]:
    """Blocks of a language model to read: every one of the first sixth, then every second up to two thirds.

    For 36 blocks these are the release's 16.
    """
    dense = depth // 6
    return (*range(dense + 1), *range(dense + 2, 2 * depth // 3 + 1, 2))


class Dit(nn.Module):
    """The head for plans of ``steps`` steps with ``width`` numbers each."""

    def __init__(
        self, how: Head, blocks: int, heard: int | tuple[int, int], state: int, steps: int, width: int
    ) -> None:
        """Build it for the number of blocks that it reads.

        Args:
            how: its settings.
            blocks: how many of them there are.
            heard: width of the language model's outputs; with ``kv``, its key heads and the width of one.
            state: numbers of the robot's state.
            steps: of a plan.
            width: numbers of a step.
        """
        super().__init__()
        self.how, self.steps = how, steps
        h = how.width
        self.from_state = nn.Sequential(nn.Linear(state, h), nn.SiLU(), nn.Linear(h, h))
        self.registers = nn.Parameter(torch.randn(how.registers, h) * 0.02)
        self.from_action = nn.Linear(width, h)
        self.mix = nn.Sequential(nn.Linear(2 * h, h), nn.SiLU(), nn.Linear(h, h))
        self.places = nn.Parameter(torch.randn(steps, h) * 0.02)
        self.time = nn.Sequential(nn.Linear(h, h), nn.SiLU(), nn.Linear(h, h))
        among = how.self_attention == "interleaved"
        self.blocks = nn.ModuleList(Block(how, heard, among and place % 2 == 0) for place in range(blocks))
        self.norm = nn.LayerNorm(h)
        self.out = nn.Sequential(nn.Linear(h, h), nn.SiLU(), nn.Linear(h, width))

    def read(self, heard: Sequence[Heard], more: Tensor | None = None) -> list[Pair]:
        """Keys and values of each block from what the language model says, and from further tokens (B, E, width).

        They are the same at every time, so a plan needs them once.
        """
        blocks: Any = self.blocks
        return [block.read(said, more) for block, said in zip(blocks, heard, strict=True)]

    def forward(
        self,
        noisy: Tensor,
        rho: Tensor,
        state: Tensor,
        read: Sequence[Pair],
        mask: Tensor,
        hint: Tensor | None = None,
    ) -> Tensor:
        """The velocity (n B, steps, width) at ``noisy`` (n B, steps, width) and ``rho`` (n B,).

        Args:
            noisy: plans on their way.
            rho: how far each is.
            state: (B, state).
            read: keys and values of B prompts, of which each serves ``n`` neighbouring plans.
            mask: (B, L) bool: what of them is real.
            hint: (B, head's width): what every step is told beside.
        """
        draws = len(noisy) // len(mask)
        moment = sinusoid((MOMENTS * rho).floor(), self.how.width).to(noisy)
        step = self.mix(torch.cat([self.from_action(noisy), moment[:, None].expand(-1, self.steps, -1)], dim=-1))
        if hint is not None:
            step = step + hint.repeat_interleave(draws, 0)[:, None]
        first = self.from_state(state).repeat_interleave(draws, 0)[:, None]
        x = torch.cat([first, self.registers.expand(len(noisy), -1, -1), step + self.places], dim=1)
        time = F.silu(self.time(moment))
        real = mask.repeat_interleave(draws, 0)[:, None, None]
        for block, (keys, values) in zip(self.blocks, read, strict=True):
            x = block(x, time, keys.repeat_interleave(draws, 0), values.repeat_interleave(draws, 0), real)
        return self.out(self.norm(x[:, -self.steps :]))

    def loss(
        self,
        actions: Tensor,
        counts: Tensor,
        state: Tensor,
        read: Sequence[Pair],
        mask: Tensor,
        hint: Tensor | None = None,
    ) -> Tensor:
        """Eq. 6 with ``how.draws`` noises for each plan (B, steps, width); only what ``counts`` (same shape) counts."""
        draws = self.how.draws
        wanted, counted = actions.repeat_interleave(draws, 0), counts.repeat_interleave(draws, 0)
        noise = torch.randn_like(wanted)
        rho = self.how.times.draw(len(wanted), wanted.device)
        # What does not count is zero on the whole path, as it is at run time, so it cannot tell anything.
        on_path = path(wanted, noise, rho) * counted
        missed = (self(on_path, rho, state, read, mask, hint) - velocity(wanted, noise)).square()
        return (missed * counted).sum() / counted.sum().clamp_min(1)

    def draw(
        self, active: Tensor, state: Tensor, read: Sequence[Pair], mask: Tensor, hint: Tensor | None = None
    ) -> Tensor:
        """Plans (B, steps, width) from noise; ``active`` (width,) bool says which numbers are meant."""
        noise = self.how.spread * torch.randn(len(mask), self.steps, len(active), device=mask.device, dtype=state.dtype)
        return euler(
            lambda now, rho: self(now * active, rho, state, read, mask, hint) * active, noise * active, self.how.steps
        )


class Block(nn.Module):
    """Time, the prompt, the other queries, and a feed-forward part."""

    def __init__(self, how: Head, heard: int | tuple[int, int], among: bool) -> None:
        super().__init__()
        h = how.width
        self.groups = 1
        if isinstance(heard, int):
            self.heads, each = how.heads, h // how.heads
            self.listen: Any = nn.Sequential(nn.LayerNorm(heard), nn.Linear(heard, 2 * h))
        else:
            keys, each = heard
            self.groups = max(1, round(h / each / keys))
            self.heads, self.listen = keys * self.groups, None
        self.key_heads = self.heads // self.groups
        self.notice = nn.Linear(h, 2 * self.key_heads * each)
        self.scale_and_shift = nn.Linear(h, 2 * h)
        self.before = nn.LayerNorm(h, elementwise_affine=False)
        self.ask, self.told = nn.Linear(h, self.heads * each), nn.Linear(self.heads * each, h)
        self.among = Among(how) if among else None
        self.feed = nn.Sequential(
            nn.LayerNorm(h), nn.Linear(h, 4 * h), nn.GELU(), nn.Dropout(how.dropout), nn.Linear(4 * h, h)
        )
        self.drop = nn.Dropout(how.dropout)

    def read(self, heard: Heard, more: Tensor | None) -> Pair:
        """Keys and values (B, heads, L, each)."""
        keys, values = heard if isinstance(heard, tuple) else _apart(self.listen(heard), self.key_heads)
        if more is not None:
            further = _apart(self.notice(more), self.key_heads)
            keys, values = torch.cat([keys, further[0]], dim=2), torch.cat([values, further[1]], dim=2)
        return keys, values

    def forward(self, x: Tensor, time: Tensor, keys: Tensor, values: Tensor, real: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(time)[:, None].chunk(2, dim=-1)
        asked = self.ask(self.before(x) * (1 + scale) + shift).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        answers = F.scaled_dot_product_attention(
            asked, keys.to(asked), values.to(asked), attn_mask=real, enable_gqa=self.groups > 1
        )
        x = x + self.drop(self.told(answers.transpose(1, 2).flatten(2)))
        if self.among is not None:
            x = x + self.drop(self.among(x))
        return x + self.drop(self.feed(x))


class Among(nn.Module):
    """The queries attend to each other."""

    def __init__(self, how: Head) -> None:
        super().__init__()
        self.heads = how.heads
        self.norm = nn.LayerNorm(how.width)
        self.all = nn.Linear(how.width, 3 * how.width)
        self.out = nn.Linear(how.width, how.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.all(self.norm(x)).chunk(3, dim=-1)
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def sinusoid(moment: Tensor, width: int) -> Tensor:
    """Times (B,) as sines and cosines (B, width)."""
    half = width // 2
    rate = torch.exp(torch.arange(half, device=moment.device) * (-math.log(10_000.0) / half))
    angle = moment[:, None].float() * rate
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, width % 2))


def _apart(both: Tensor, heads: int) -> Pair:
    """Keys and values that stand side by side (B, L, 2 heads each), apart."""
    keys, values = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in both.chunk(2, dim=-1))
    return keys, values
