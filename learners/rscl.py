"""RS-CL: what is seen is held to how the robot stands, by contrast, in any learner that has tokens (arXiv 2510.01711).

A learned token sums up what a decoder is shown; a projector makes ``z`` of it. The same is done once more with one
camera's tokens cut out, behind the encoder, which is not asked again. Samples are to be alike as the robot's states
are. The pull falls to nothing in half a cosine; a policy at work has none of this, but for `RsCl.layout` ``published``.

Notable, where the paper is silent or its sum would mislead:
- The loss is a mean over rows. What is minimised is how far it is above its floor, the entropy of the targets: the
  gradient is the same, and the best is nothing.
- In a loss measured on windows held out, the term is left out: policies with and without can be compared.
- Nothing here draws from the host's random numbers: with ``weight=0`` its policy is the same to the bit.
- Batches are drawn across episodes, as everywhere in this house: neighbours in time would be each other's targets.
- It is worth its while where the decoder is told the robot's state. What the summary reads must not hold it, else the
  state is copied and pictures teach nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.alignment import aligned, by_chance
from learners.backbones import sinusoids
from learners.body import Body
from learners.contrast import Contrasted, contrast
from learners.data import Windows
from learners.policy import LEAST

type Adapter = Callable[[Tensor], Tensor]
"""A host's own way from tokens (B, N, d) to what its decoder is shown (B, N, d); with the published layout N + 1."""


@dataclass(frozen=True)
class RsCl:
    """The settings are the fields; the defaults are the paper's."""

    weight: float = 1.0
    """Of the term at the first step (lambda)."""
    temperature: float = 0.2
    beta: float = 1.0
    """How far apart states are whose samples are told apart: small tells all apart, large none."""
    beta_auto: Literal["none", "median"] = "none"
    """``median``: a fifth of the median distance in the batch, instead of ``beta``."""
    felt: Literal["tool", "joints"] = "tool"
    """What of the state counts: each tool's place, axes and opening, or the joints."""
    state_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of place, axes and opening in a distance, after all were brought to -1..1."""
    layout: Literal["masked", "published"] = "masked"
    """Whether tokens attend to the summary. ``masked``: they do not, and the decoder is shown what it would be without
    it. ``published``: they do, in the host's adapter or, where it has none, in layers put before its decoder; these and
    the summary then stay when the policy works."""
    cut_gradient: bool = True
    """Whether the branch with a camera cut out teaches more than the projector."""
    layers: int = 1
    """In which the summary reads."""
    heads: int = 4
    hidden: int = 2048
    """Width of the projector's middle."""
    width: int = 128
    """Of ``z``."""

    @classmethod
    def preset(cls, name: str) -> Self:
        """``tiny`` for tests, ``small`` for two CPU cores, ``paper``.

        Raises:
            ValueError: there is no such preset.
        """
        sizes = {"tiny": (64, 32), "small": (512, 128), "paper": (2048, 128)}
        if name not in sizes:
            raise ValueError(f"no preset {name!r}; there are {', '.join(sizes)}")
        hidden, width = sizes[name]
        return cls(hidden=hidden, width=width)


class Regulariser(nn.Module):
    """Summary token, what it reads with, projector, and what states are measured against."""

    def __init__(self, how: RsCl, width: int, body: Body, cameras: int, steps: int) -> None:
        """Make it for tokens of this width.

        Args:
            how: its settings.
            width: numbers of a token.
            body: whose states they are held to.
            cameras: how many there are to cut out.
            steps: of the training, over which the weight falls.

        Raises:
            ValueError: there is no camera, no layer, or the width cannot be shared among the heads.
        """
        super().__init__()
        if not cameras:
            raise ValueError("RS-CL sums up what is seen; give the policy a camera, or leave rscl out")
        if how.layers < 1:
            raise ValueError(f"rscl.layers={how.layers} leaves nothing for the summary to read with; give it 1 or more")
        if width % how.heads:
            raise ValueError(f"tokens of {width} numbers cannot be shared among rscl.heads={how.heads}")
        self.how, self.body, self.cameras, self.steps = how, body, cameras, steps
        # The host draws the same numbers after it as it would without.
        with torch.random.fork_rng(devices=()):
            self.summary = nn.Parameter(torch.randn(1, 1, width) * 0.02)
            self.layers = nn.ModuleList(Layer(width, how.heads) for _ in range(how.layers))
            self.projector = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, how.hidden), nn.GELU(), nn.Linear(how.hidden, how.width)
            )
        felt = len(_numbers(body, how))
        self.register_buffer("low", -torch.ones(felt))
        self.register_buffer("high", torch.ones(felt))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.notes: dict[str, float] = {}
        """Of the last batch: the weight, how far the loss is above its floor, the floor, and how alike ``z`` and its
        own cut-out are."""

    @property
    def weight(self) -> float:
        """Of the term at this step: half a cosine from ``how.weight`` to 0."""
        gone = min(1.0, int(self.get_buffer("step")) / self.steps)
        return self.how.weight * 0.5 * (1 + math.cos(math.pi * gone))

    def begin(self, data: Windows) -> None:
        """Measure how far states reach, and begin with the first step."""
        state = torch.from_numpy(np.asarray(data.state[data.sample()])[:, -1])
        felt = state[:, _numbers(self.body, self.how)]
        low, high = felt.amin(0), felt.amax(0)
        # What hardly moves is noise, and would count as much as what moves.
        short = (LEAST["state"] - (high - low) / 2).clamp_min(0)
        self.get_buffer("low").copy_(low - short)
        self.get_buffer("high").copy_(high + short)
        self.get_buffer("step").zero_()

    def after(self, step: int) -> None:
        """The step, counted from 0, is done."""
        self.get_buffer("step").fill_(step + 1)

    def shown(self, tokens: Tensor, real: Tensor | None = None, adapter: Adapter | None = None) -> Tensor:
        """What the decoder is to be shown (B, N, d) of tokens (B, N, d); ``real`` (B, N) bool says which are."""
        return self._read(tokens, real, adapter)[0] if self.how.layout == "published" else _adapted(tokens, adapter)

    def project(self, tokens: Tensor, real: Tensor | None = None, adapter: Adapter | None = None) -> Tensor:
        """``z`` (B, how.width)."""
        z: Tensor = self.projector(self._read(tokens, real, adapter)[1])
        return z

    def felt(self, state: Tensor) -> Tensor:
        """The newest of raw states (B, history, width), as far as it counts, the range of each number as -1..1."""
        low, high = self.get_buffer("low"), self.get_buffer("high")
        scaled = (state[:, -1, _numbers(self.body, self.how)] - low) * 2 / (high - low) - 1
        if self.how.felt == "joints":
            return scaled
        each = scaled.new_tensor([self.how.state_weights[part] for part in (0,) * 3 + (1,) * 6 + (2,)])
        return scaled * each.repeat(self.body.arms)

    def forward(
        self,
        tokens: Tensor,
        camera: Tensor,
        state: Tensor,
        valid: Tensor | None = None,
        real: Tensor | None = None,
        adapter: Adapter | None = None,
    ) -> Tensor:
        """The term to minimise.

        Args:
            tokens: (B, N, d), as the encoder gave them.
            camera: (N,) or (B, N): which camera's each is, and -1 for words and padding.
            state: (B, history, width), raw.
            valid: (B,) bool: samples that have a state; the others are like themselves alone.
            real: (B, N) bool: tokens that are not padding.
            adapter: the host's own.
        """
        how = self.how
        kept = left(camera.expand(tokens.shape[:2]), self.cameras, int(self.get_buffer("step")))
        w = self._read(tokens, real, adapter)[1]
        w_cut = self._read(tokens * kept[..., None], real, adapter)[1]
        z, z_cut = self.projector(w), self.projector(w_cut if how.cut_gradient else w_cut.detach())
        alike = nearness(self.felt(state), how.beta if how.beta_auto == "none" else None, valid)
        found = contrast(z, z_cut, alike, how.temperature, itself=True)
        self.notes = self._noted(found, alike, z.detach(), z_cut.detach())
        return self.weight * found.excess

    def _read(self, tokens: Tensor, real: Tensor | None, adapter: Adapter | None) -> tuple[Tensor, Tensor]:
        """What the decoder is shown (B, N, d), and the summary (B, d)."""
        u = self.summary.to(tokens).expand(len(tokens), -1, -1)
        if real is not None:
            real = torch.cat([real, real.new_ones(len(real), 1)], dim=1)
        if self.how.layout == "published":
            both = torch.cat([tokens, u], dim=1)
            if adapter is not None:
                both = adapter(both)
            else:
                for layer in self.layers:
                    both = layer(both, both, real)
            return both[:, :-1], both[:, -1]
        shown = _adapted(tokens, adapter)
        for layer in self.layers:
            u = layer(u, torch.cat([shown, u], dim=1), real)
        return shown, u[:, 0]

    @torch.no_grad()
    def _noted(self, found: Contrasted, alike: Tensor, z: Tensor, z_cut: Tensor) -> dict[str, float]:
        share = alike / alike.sum(-1, keepdim=True)
        return {
            "rscl_weight": self.weight,
            "rscl_excess": float(found.excess),
            "rscl_floor": float(found.floor),
            "rscl_self_weight": float(share.diagonal().mean()),
            "rscl_agreement": float(torch.cosine_similarity(z, z_cut, dim=-1).mean()),
        }


class Layer(nn.Module):
    """Attention and a feed-forward part, each behind a norm. Where a token stands is told to the attention alone."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, asking: Tensor, heard: Tensor, real: Tensor | None) -> Tensor:
        """What asks (B, M, d), the last M of what is heard (B, N, d), changed; ``real`` (B, N) is of what is heard."""
        heard, places = self.norm(heard), _places(heard, real)
        placed = heard + places
        told, _ = self.attention(
            placed[:, -asking.shape[1] :],
            placed,
            heard,
            key_padding_mask=None if real is None else ~real,
            need_weights=False,
        )
        x: Tensor = asking + told
        return x + self.feed(x)


def nearness(felt: Tensor, beta: float | None, valid: Tensor | None = None) -> Tensor:
    """How near states (B, n) are: (B, B), ``exp(-distance / beta)``, symmetric, 1 on the diagonal.

    Without ``beta`` it is a fifth of the median distance. Samples that are not ``valid`` (B,) are near themselves
    alone.
    """
    away = torch.cdist(felt, felt, compute_mode="donot_use_mm_for_euclid_dist")
    own = torch.eye(len(felt), dtype=torch.bool, device=felt.device)
    known = own.new_ones(len(felt)) if valid is None else valid
    pairs = known[:, None] & known[None]
    if beta is None:
        between = away[pairs & ~own]
        scale = (between.median() / 5).clamp_min(1e-6) if len(between) else away.new_ones(())
    else:
        scale = away.new_tensor(beta)
    return torch.where(own, 1.0, torch.where(pairs, (-away / scale).exp(), 0.0))


def left(camera: Tensor, cameras: int, seed: int) -> Tensor:
    """Which tokens (B, N) bool are left when each sample loses one camera's, or half of them where there is one camera.

    Raises:
        ValueError: of the only camera there are fewer than two tokens.
    """
    random = torch.Generator().manual_seed(seed)
    if cameras > 1:
        lost = torch.randint(cameras, (len(camera), 1), generator=random)
        return camera != lost.to(camera.device)
    its = camera == 0
    count = its.sum(1, keepdim=True)
    if int(count.min()) < 2:
        raise ValueError(
            "of one camera's single token there is no half to cut out; RS-CL needs more tokens, or cameras"
        )
    drawn = torch.rand(camera.shape, generator=random).to(camera.device).masked_fill(~its, torch.inf)
    return drawn.argsort(1).argsort(1) >= count // 2


def in_turn(tokens: int, cameras: int, device: torch.device) -> Tensor:
    """Which camera's each token (N,) is, where every camera has as many and they follow each other."""
    return torch.arange(cameras, device=device).repeat_interleave(tokens // cameras)


@torch.no_grad()
def reported(
    net: nn.Module,
    regulariser: Regulariser,
    data: Windows,
    held_out: NDArray[np.intp],
    tokens: Callable[[Any], tuple[Tensor, Tensor | None]],
    most: int = 512,
    k: int = 10,
    batch: int = 64,
) -> dict[str, float]:
    """How ``z``, and the mean of what the decoder is shown (h), are aligned with the state on windows held out.

    ``tokens`` gives those of a batch, and which are real. Of fewer than ``2 * k`` windows nothing is said. Windows are
    evenly spaced; those of one episode are neighbours in both, which shuffling (``chance``) does not show.
    """
    some = held_out[np.linspace(0, len(held_out) - 1, min(most, len(held_out))).astype(int)]
    if len(some) < 2 * k:
        return {}
    was = net.training
    net.eval()
    device = regulariser.summary.device
    parts = []
    for first in range(0, len(some), batch):
        now = data.batch(some[first : first + batch]).to(device)
        seen, real = tokens(now)
        counts = seen.new_ones(seen.shape[:2]) if real is None else real.to(seen)
        shown = (regulariser.shown(seen, real) * counts[..., None]).sum(1) / counts.sum(1, keepdim=True)
        parts.append((regulariser.project(seen, real), shown, regulariser.felt(now.state)))
    net.train(was)
    z, h, felt = (torch.cat(each).float() for each in zip(*parts, strict=True))
    found: dict[str, float] = {}
    for name, features in (("z", z), ("h", h)):
        found |= aligned(features, felt, k).named(name) | by_chance(features, felt, k).named(f"{name}_chance")
    return found


def _adapted(tokens: Tensor, adapter: Adapter | None) -> Tensor:
    return tokens if adapter is None else adapter(tokens)


def _places(tokens: Tensor, real: Tensor | None) -> Tensor:
    """Where tokens (B, N, d) stand, counted from the first that is real."""
    table = sinusoids(tokens.shape[1], tokens.shape[2]).to(tokens)
    return table if real is None else table[(real.cumsum(1) - 1).clamp_min(0)]


def _numbers(body: Body, how: RsCl) -> list[int]:
    """Which numbers of a state count."""
    each, joints = body.width // body.arms, body.joints // body.arms
    own = range(joints) if how.felt == "joints" else range(joints, each)
    return [arm * each + number for arm in range(body.arms) for number in own]
