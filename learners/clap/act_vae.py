"""Act-VAE: every chunk of an arm becomes a few words of one vocabulary, and every such word can be acted out (Eq. 2).

An encoder reads a chunk with register tokens before it, a codebook that learns by its loss turns their outputs into
codes, and a decoder makes the chunk again from those and empty queries. Both are `SkipTransformer`s.

Ours, and off in the ``paper`` preset, so that a CPU learns it in minutes:
- ``patch``, several steps to a token.
- ``warm``, first steps without a codebook. Codes that begin at nearly nothing draw latents there before these tell of
  anything, and for a thousand steps words say no more than what the hand does.
- ``straight``, a linear way beside each transformer, which learn what it misses.
- ``code``, few numbers. In 16 the registers' latents lie apart, each has a seventh of the words to itself, and eight
  words of 256 say 38 bits; in 4 they share, and say 46.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from learners.checkpoint import BadCheckpoint, read, write
from learners.clap.actions import Frame, Rotation, Schema, active, still
from learners.clap.quantiser import Codes
from learners.clap.skip import SkipTransformer
from learners.data import Windows
from learners.senses import Senses
from learners.train import Group, Tell, Training, silent, train
from learners.transforms import STEP, ToolView, View

METHOD = "clap.act_vae"

PAPER = Training(lr=2e-5, weight_decay=1e-2, warmup=1000, batch=4096, steps=100_000, least=1.0)
"""The published recipe; the rate of the codes is 50 times this."""


@dataclass(frozen=True)
class ActVae:
    """The settings are the fields. ``ActVae.preset("small")`` trains on two CPU cores in two minutes."""

    hz: float = 30.0
    k: int = 32
    """Steps of a chunk (H)."""
    frame: Frame = "base"
    rotation: Rotation = "euler"
    tokens: int = 8
    """Codes of an arm's chunk (N)."""
    entries: int = 256
    """Codes there are (K)."""
    code: int = 128
    """Numbers of a code."""
    width: int = 512
    layers: int = 15
    """Of the encoder, and of the decoder."""
    heads: int = 4
    feedforward: int = 1024
    patch: int = 1
    """Steps to a token of either transformer."""
    commit: float = 1.0
    """Weight of drawing latents to codes (beta)."""
    codebook_pace: float = 50.0
    """How much faster codes learn than the rest."""
    restart: int = 2000
    """Steps after which codes that nobody used begin anew."""
    warm: float = 0.0
    """Share of the steps, the first ones, in which latents are not quantised; then codes begin where latents are."""
    straight: bool = False
    """Linear maps beside the transformers, from a chunk to latents and back."""
    training: Training = PAPER

    def __post_init__(self) -> None:
        if self.k % self.patch:
            raise ValueError(f"a chunk of {self.k} steps does not fall into patches of {self.patch}")
        if not 0 <= self.warm < 1:
            raise ValueError(f"warm is a share of the steps, at least 0 and below 1: not {self.warm}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """``tiny`` for tests, ``small`` for two CPU cores, ``paper`` and ``release`` for the published sizes.

        Raises:
            ValueError: there is no such preset.
        """
        paper = cls()
        if name == "paper":
            return paper
        if name == "release":
            return replace(paper, entries=512, training=replace(paper.training, steps=50_000, least=0.1))
        if name == "small":
            small = Training(lr=3e-3, weight_decay=1e-2, warmup=50, batch=64, steps=2500, least=0.1, workers=0)
            sizes = replace(paper, code=4, width=64, layers=3, feedforward=128, patch=8, straight=True)
            return replace(sizes, codebook_pace=10.0, restart=50, warm=0.2, training=small)
        if name == "tiny":
            tiny = Training(lr=1e-3, weight_decay=1e-2, warmup=10, batch=64, steps=60, least=0.1)
            sizes = replace(paper, entries=64, code=16, width=64, layers=3, feedforward=128)
            return replace(sizes, codebook_pace=10.0, restart=20, warm=0.2, training=tiny)
        raise ValueError(f"no preset {name!r}; there are tiny, small, paper and release")

    @property
    def senses(self) -> Senses:
        """It looks at nothing: actions are all it learns from."""
        return Senses((), None, 1, 0.0)

    @property
    def view(self) -> View:
        return ToolView()

    def fit(self, data: Windows, run: Path | None = None, tell: Tell = silent) -> "ActVaeNet":
        """Learn from windows cut by a `ToolView` at this rate and of as many steps."""
        torch.manual_seed(self.training.seed)
        net = ActVaeNet(self, Schema.fit(data, self.frame, self.rotation))
        net.measured = train(net, Chunks.of(data, net.schema), self.training, run, tell)
        return net


@dataclass(frozen=True)
class Rows:
    """Chunks of single arms."""

    rows: Tensor
    """(R, H, 7), normalised."""

    def to(self, device: torch.device) -> Self:
        return replace(self, rows=self.rows.to(device, non_blocking=self.rows.is_pinned()))

    def pinned(self) -> Self:
        return replace(self, rows=self.rows.pin_memory())


@dataclass(frozen=True)
class Chunks:
    """Windows as chunks of single arms; those in which nothing happens are left out of learning."""

    data: Windows
    schema: Schema
    idle: NDArray[np.bool_]
    """(N,): windows in which nothing happens."""

    @classmethod
    def of(cls, data: Windows, schema: Schema, at_once: int = 1 << 14) -> Self:
        parts = np.array_split(np.arange(len(data)), -(-len(data) // at_once))
        idle = [still(torch.from_numpy(data.plan[part])).numpy() for part in parts]
        return cls(data, schema, np.concatenate(idle))

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, index: NDArray[np.intp]) -> Rows:
        plan, state = torch.from_numpy(self.data.plan[index]), torch.from_numpy(self.data.state[index])
        return Rows(active(*self.schema.rows(plan, state)))

    def split(self, held_out: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        learn, check = self.data.split(held_out, seed)
        moving = learn[~self.idle[learn]]
        return moving if len(moving) else learn, check


class ActVaeNet(nn.Module):
    """The vocabulary: chunks to tokens and back."""

    done: Tensor
    """Steps that were learned."""

    def __init__(self, how: ActVae, schema: Schema, numbers: int = STEP) -> None:
        """``numbers`` are those of an arm's step, where they are not those of a tool's pose and its hand."""
        super().__init__()
        self.how = how
        self.schema = schema
        self.numbers = numbers
        self.measured: dict[str, float] = {}
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        width, places = how.width, how.k // how.patch
        self.from_steps = nn.Linear(numbers * how.patch, width)
        self.registers = nn.Parameter(torch.randn(how.tokens, width) * 0.02)
        self.encoder_places = nn.Parameter(torch.randn(how.tokens + places, width) * 0.02)
        self.encoder = SkipTransformer(width, how.layers, how.heads, how.feedforward)
        self.to_code = nn.Sequential(
            nn.Linear(width, width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, how.code)
        )
        self.codes = Codes(how.entries, how.code)
        self.from_code = nn.Sequential(nn.Linear(how.code, width), nn.GELU(), nn.Linear(width, width))
        self.decoder_places = nn.Parameter(torch.randn(how.tokens + places, width) * 0.02)
        self.decoder = SkipTransformer(width, how.layers, how.heads, how.feedforward)
        self.to_steps = nn.Linear(width, numbers * how.patch)
        said = how.tokens * how.code
        self.ahead = nn.Linear(how.k * numbers, said) if how.straight else None
        self.back = nn.Linear(said, how.k * numbers) if how.straight else None

    @property
    def facts(self) -> dict[str, Any]:
        """What its settings do not say."""
        return self.schema.facts

    @property
    def warm(self) -> int:
        """Steps before latents are quantised."""
        return int(self.how.warm * self.how.training.steps)

    @property
    def digest(self) -> str:
        """The same for the same vocabulary, wherever it lies: 32 hexadecimal digits of schema, sizes and weights."""
        how = self.how
        sizes = [how.tokens, how.entries, how.code, how.width, how.layers, how.heads, how.patch]
        found = blake2b(json.dumps([self.schema.facts, sizes], sort_keys=True).encode(), digest_size=16)
        for name, values in sorted(self.named_parameters()):
            found.update(name.encode())
            found.update(values.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def encode(self, rows: Tensor) -> Tensor:
        """Latents (R, N, code) of chunks (R, H, 7)."""
        steps = self.from_steps(rows.unflatten(1, (-1, self.how.patch)).flatten(2))
        registers = self.registers.expand(len(rows), -1, -1)
        seen = self.encoder(torch.cat([registers, steps], dim=1) + self.encoder_places)
        z: Tensor = self.to_code(seen[:, : self.how.tokens]).flatten(1)
        if self.ahead is not None:
            z = z + self.ahead(rows.flatten(1))
        return z.unflatten(1, (self.how.tokens, -1))

    def features(self, rows: Tensor) -> Tensor:
        """Latents that nobody learns through: what else is aligned to them (z_a of Eq. 3)."""
        with torch.no_grad():
            return self.encode(rows)

    @torch.no_grad()
    def tokens(self, rows: Tensor) -> Tensor:
        """Words (R, N) of chunks (R, H, 7)."""
        return self.codes.nearest(self.encode(rows))

    def decode(self, tokens: Tensor) -> Tensor:
        """Chunks (R, H, 7) of words (R, N)."""
        return self.act(self.codes.lookup(tokens))

    def act(self, z_q: Tensor) -> Tensor:
        """Chunks (R, H, 7) of quantised latents (R, N, code)."""
        told = self.from_code(z_q)
        empty = told.new_zeros(len(told), self.how.k // self.how.patch, self.how.width)
        made = self.decoder(torch.cat([told, empty], dim=1) + self.decoder_places)
        steps = self.to_steps(made[:, self.how.tokens :]).unflatten(2, (self.how.patch, self.numbers)).flatten(1, 2)
        if self.back is not None:
            steps = steps + self.back(z_q.flatten(1)).view_as(steps)
        return steps

    def losses(self, batch: Rows) -> dict[str, Tensor]:
        """Eq. 2, every term a mean over its numbers; in the first steps the reconstruction alone."""
        z = self.encode(batch.rows)
        if self.training and 0 < self.warm >= self.done:
            if self.done < self.warm:
                # a codebook that has no gradient stops processes that learn together
                untouched = 0.0 * self.codes.vectors.sum()
                return {"reconstruction": F.mse_loss(self.act(z), batch.rows), "codebook": untouched}
            self.codes.begin(z, torch.Generator().manual_seed(self.how.training.seed))
        quantised = self.codes(z)
        return {
            "reconstruction": F.mse_loss(self.act(quantised.z_q), batch.rows),
            "codebook": quantised.codebook_loss,
            "commit": self.how.commit * quantised.commit_loss,
        }

    def groups(self) -> Sequence[Group]:
        others = [each for name, each in self.named_parameters() if not name.startswith("codes.")]
        return Group(others), Group([self.codes.vectors], self.how.codebook_pace, 0.0)

    def after(self, step: int) -> None:
        """Let codes that nobody used begin anew, but not so late that they have no time to learn."""
        done = step + 1
        self.done.fill_(done)
        if done % self.how.restart == 0 and done + self.how.restart <= self.how.training.steps:
            self.codes.restart(torch.Generator().manual_seed(self.how.training.seed + done))

    def save(self, folder: Path) -> None:
        write(folder, METHOD, self.how, self.facts | {"digest": self.digest}, self.state_dict())

    @classmethod
    def load(cls, folder: Path) -> "ActVaeNet":
        """Read what `save` wrote.

        Raises:
            BadCheckpoint: the folder holds no vocabulary, or it is damaged.
        """
        from pydantic import TypeAdapter, ValidationError

        stored = read(folder)
        if stored.method != METHOD:
            raise BadCheckpoint(f"{folder} holds {stored.method}, and not an action vocabulary ({METHOD})")
        try:
            net = cls(TypeAdapter(ActVae).validate_python(stored.settings), Schema.said(stored.facts))
            net.load_state_dict(stored.tensors)
        except (KeyError, TypeError, ValueError, ValidationError, RuntimeError) as error:
            raise BadCheckpoint(f"{folder}: the action vocabulary is damaged: {str(error)[:300]}") from error
        if net.digest != stored.facts.get("digest"):
            raise BadCheckpoint(f"{folder}: {METHOD} is not what was saved: its digest is {net.digest}")
        return net.eval()
