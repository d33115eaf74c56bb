"""LaDA: language says what an action is, and actions are embedded by what language says (arXiv 2603.12967).

Notable:
- Chunks are named by rules (`Primitives`): direction, axis, hand. Pre-training embeds what is seen and asked where the
  names are, in CLIP's space of words: soft contrast and three classifiers in balance (`Contrast`).
- Fine-tuning learns to move from that embedding by L1: a chunk of ``k`` targets at once.
- The paper's bins, weights, temperature, averages, rates and chunk are unpublished. Ours stand in the settings: this is
  a re-implementation with chosen settings. Ablations are settings: ``contrast.kind`` hard or none, ``adaptive`` fixed.
- Ours, and off in the ``paper`` preset: key points for eyes (`learners.clap.sight`), that a CPU can train; the robot's
  state as an input; pictures of several cameras. Names go on being learned beside L1, for explanation alone.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.checkpoint import BadCheckpoint, Stored, read, write
from learners.clap.sight import Sight
from learners.data import Batch, Windows
from learners.lada.clip import Clip, Sizes
from learners.lada.losses import Contrast
from learners.lada.net import Finetuning, Lesson, Net, Pretraining
from learners.lada.primitives import Codes, Primitives
from learners.policy import ChunkPolicy, go_on
from learners.rscl import RsCl, reported
from learners.senses import Senses
from learners.stages import Stages, fingerprint
from learners.train import Tell, Training, following, silent, train
from learners.transforms import STEP, ToolView, View

METHOD = "lada.embedding"


@dataclass(frozen=True)
class LaDA:
    """The settings are the fields. ``LaDA.preset("small")`` trains on two CPU cores in minutes."""

    cameras: tuple[str, ...] = ("front",)
    image: int = 224
    hz: float = 20.0
    k: int = 8
    """Steps of a chunk; CLIP-RT's continuous head has as many."""
    history: int = 1
    """Past states that are read; the newest counts."""
    spacing: float = 0.05
    """Seconds between them."""

    primitives: Primitives = field(default_factory=Primitives)
    clip: Clip = field(default_factory=lambda: Clip("openai/clip-vit-large-patch14"))
    sight: Sight = field(default_factory=Sight)
    """Key points instead of CLIP's picture tower; off without points."""
    width: int = 32
    """Of a key point's token."""
    feels: bool = False
    """Whether the robot's state is an input."""
    hidden: int = 1024
    """Width of the adapter and of the head that moves."""
    magnitude: bool = True
    """Whether words tell how far; it makes texts differ whose classes are the same."""
    centre: bool = False
    """Whether words are told from what all sentences have in common. Towers made here need it: their sentences lie
    closer together than the temperature tells apart."""
    contrast: Contrast = field(default_factory=Contrast)
    rscl: RsCl | None = None
    """Hold what is seen to how the robot stands, in the second stage; ``{}`` switches it on as published."""
    pretrain: Training = field(
        default_factory=lambda: Training(lr=1e-5, weight_decay=0.1, warmup=2000, batch=256, steps=100_000)
    )
    """The first stage. Seed, share held out, workers and tracker are those of the second."""
    training: Training = field(default_factory=lambda: Training(lr=1e-5, weight_decay=0.1, batch=128, steps=50_000))
    """The second stage."""
    ensemble: float | None = None
    """Decay of temporal ensembling; none follows the newest plan alone."""
    replan: float = 0.4
    """Seconds of a plan that are followed before the next is asked for."""

    def __post_init__(self) -> None:
        if self.sight.points and not self.feels:
            raise ValueError("eyes of key points tell the way from the tool, so they feel the state: set feels=true")
        if not self.cameras:
            raise ValueError("LaDA embeds what is seen; give it a camera")
        if self.rscl is not None and not self.feels:
            raise ValueError("rscl is for a policy that is told the robot's state: set feels=true, or leave it out")
        if self.rscl is not None and not self.sight.points and len(self.cameras) == 1:
            raise ValueError("CLIP gives one token of a picture, and rscl cuts tokens out: give it a second camera")

    @classmethod
    def preset(cls, name: str) -> Self:
        """``tiny`` for tests, ``small`` for two CPU cores, ``paper`` for the published sizes.

        Raises:
            ValueError: there is no such preset.
        """
        if name == "paper":
            return cls()
        quick = Training(lr=2e-3, weight_decay=1e-4, warmup=100, batch=64, steps=1500, ema=0.99)
        small = cls(
            cameras=("front", "wrist"),
            image=96,
            hz=10.0,
            k=16,
            clip=Clip(sizes=Sizes(width=128)),
            sight=Sight(points=16, state_noise=0.03, brightness=0.1),
            feels=True,
            hidden=256,
            centre=True,
            pretrain=replace(quick, steps=300, warmup=50),
            training=quick,
            ensemble=0.01,
            replan=0.2,
        )
        if name == "small":
            return small
        if name == "tiny":
            brief = replace(quick, batch=16, steps=20, warmup=5, ema=0.9)
            return replace(
                small,
                image=32,
                k=10,
                clip=Clip(sizes=Sizes(width=32, hidden=32, feedforward=64, image=32, patch=8)),
                sight=replace(small.sight, points=8, channels=8, hidden=32),
                width=8,
                hidden=64,
                pretrain=brief,
                training=brief,
            )
        raise ValueError(f"no preset {name!r}; there are tiny, small and paper")

    @property
    def senses(self) -> Senses:
        return Senses(self.cameras, self.image, self.history, self.spacing)

    @property
    def view(self) -> View:
        return ToolView()

    @property
    def looks(self) -> int:
        """How often pictures are looked at in all."""
        return sum(how.steps * how.batch for how in (self.pretrain, self.training))

    def fit(
        self, data: Windows, run: Path | None = None, tell: Tell = silent, parent: ChunkPolicy | None = None
    ) -> ChunkPolicy:
        """Learn from windows cut with this learner's own senses, view, rate and ``k``.

        A ``parent`` gives its embedding, and is fine-tuned alone: what it was pre-trained on need not be at hand.

        Raises:
            CannotGoOn: the parent is not a LaDA policy of the same sizes for the same robot.
            BadCheckpoint: what the first stage left in ``run`` does not fit.
        """
        torch.manual_seed(self.training.seed)
        first = 0 if parent else self.pretrain.steps
        of = first + self.training.steps

        if parent is None:
            labeller = self.primitives.measured(data.plan[data.sample(1 << 13)][..., STEP - 1 :: STEP])
            net = Net(self, data.body.facts | labeller.facts, sorted(set(data.instructions)))
            net.scales.fit(data)
            lessons = Lessons.of(data, labeller, self.magnitude)
            stages = Stages(run, lambda _name: following(0, of, tell))
            begun = fingerprint(net)
            embedding = stages.once(
                "pretrain",
                {"primitives": labeller.digest, "begun": begun},
                lambda folder: self._embedding(net, lessons, folder, following(0, of, tell)),
                Embedding.load,
            )
            net, before = embedding.net, {f"pretrain_{name}": value for name, value in embedding.measured.items()}
        else:
            net, before = Net(self, parent.facts), {}
            go_on(net, parent, data.body)
            lessons = Lessons.of(data, net.primitives, self.magnitude)
        if net.rscl is not None:
            net.rscl.begin(data)
        torch.manual_seed(self.training.seed + 1)
        measured = train(Finetuning(net), lessons, self.training, run and run / "finetune", following(first, of, tell))
        if net.rscl is not None:
            _, held_out = data.split(self.training.held_out, self.training.seed)
            measured |= reported(net, net.rscl, data, held_out, lambda batch: (_tokens(net, batch), None))
        return ChunkPolicy("lada", self, net.eval(), net.facts, before | measured)

    def restore(self, stored: Stored) -> ChunkPolicy:
        """The policy that was saved with these settings."""
        net = Net(self, stored.facts)
        net.load_state_dict(stored.tensors)
        return ChunkPolicy("lada", self, net.eval(), stored.facts)

    def _embedding(self, net: Net, lessons: "Lessons", folder: Path | None, tell: Tell) -> "Embedding":
        ours = self.training
        how = replace(self.pretrain, seed=ours.seed, held_out=ours.held_out, workers=ours.workers, tracker=ours.tracker)
        return Embedding(net, train(Pretraining(net), lessons, how, folder, tell))


def _tokens(net: Net, batch: Batch) -> Tensor:
    """What RS-CL sums up."""
    return net.embed(batch.images, batch.state, batch.instructions).tokens


@dataclass
class Embedding:
    """What the first stage leaves: a network that names motions and does not move yet."""

    net: Net
    measured: dict[str, float]

    @property
    def digest(self) -> str:
        return fingerprint(self.net)

    def save(self, folder: Path) -> None:
        write(folder, METHOD, self.net.how, self.net.facts, self.net.state_dict())

    @classmethod
    def load(cls, folder: Path) -> "Embedding":
        """Read what `save` wrote.

        Raises:
            BadCheckpoint: the folder holds none, or it is damaged.
        """
        from pydantic import TypeAdapter, ValidationError

        stored = read(folder)
        if stored.method != METHOD:
            raise BadCheckpoint(f"{folder} holds {stored.method}, and not an embedding of actions ({METHOD})")
        try:
            net = Net(TypeAdapter(LaDA).validate_python(stored.settings), stored.facts)
            net.load_state_dict(stored.tensors)
        except (KeyError, TypeError, ValueError, ValidationError, RuntimeError) as error:
            raise BadCheckpoint(f"{folder}: the embedding is damaged: {str(error)[:300]}") from error
        return cls(net, {})


@dataclass(frozen=True)
class Lessons:
    """Windows with what their motions are called beside them."""

    windows: Windows
    codes: Codes
    """(N, arms, 5)."""
    said: tuple[str, ...]
    """The same in words."""

    @classmethod
    def of(cls, data: Windows, labeller: Primitives, magnitude: bool = True) -> Self:
        """Name every window's motion."""
        codes = named(data, labeller)
        return cls(data, codes, tuple(labeller.words(codes, magnitude)))

    def __len__(self) -> int:
        return len(self.windows)

    def batch(self, index: NDArray[np.intp]) -> Lesson:
        classes = torch.from_numpy(self.codes[index, :, :3].astype(np.int64))
        return Lesson(self.windows.batch(index), classes, [self.said[number] for number in index])

    def split(self, held_out: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return self.windows.split(held_out, seed)


def named(data: Windows, labeller: Primitives, at_once: int = 4096) -> Codes:
    """Every window's primitives (N, arms, 5), as they are stored."""
    parts = []
    for first in range(0, len(data), at_once):
        some = np.arange(first, min(first + at_once, len(data)))
        parts.append(
            labeller.codes(labeller.label(torch.from_numpy(data.plan[some]), torch.from_numpy(data.state[some])))
        )
    return np.concatenate(parts)
