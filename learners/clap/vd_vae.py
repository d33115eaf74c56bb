"""VD-VAE: what was done between two frames, in the words of the Act-VAE, whoever did it (CLAP, Algorithm 2).

An encoder reads latents off the patches of both frames: those of the arms' actions, in the Act-VAE's frozen words, and
a few of everything else that changed. A decoder makes the later frame's patches from the earlier one's and the words.
A contrastive term (`Siglip`) ties the latents of robots to what the arms did, and those of people to what a slow copy
of the encoder, the teacher, saw in clean pictures: the latter only from a share of the steps on, because a teacher
that knows nothing yet teaches nonsense.
"""

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.backbones import is_name
from learners.checkpoint import BadCheckpoint, read, write
from learners.clap.act_vae import ActVaeNet
from learners.clap.actions import Schema, scatter
from learners.clap.augment import STEADY, USUAL, Photometric
from learners.clap.features import Eye, Lights, Outline, Patches, looked
from learners.clap.moving import in_film, in_windows
from learners.clap.pairs import Looked, PairBatch, Pairs
from learners.clap.quantiser import Codes
from learners.clap.siglip import Siglip
from learners.clap.spacetime import Forward, Inverse
from learners.clap.vocabulary import Vocabulary
from learners.data import Windows
from learners.footage import Footage
from learners.train import Group, Tell, Training, silent, train
from learners.transforms import STEP, slots
from storage.pictures import NoRoom, Pixels

METHOD = "clap.vd_vae"

type Sees = Eye | Patches | Outline

type Prepare = Callable[[str, int, int], None]
"""Hears of what comes before the first step: what is done, how much of it, and of how much."""

PAPER = Training(lr=2e-4, weight_decay=1e-2, warmup=1000, batch=256, steps=100_000, least=1.0, clip=0.1)


@dataclass(frozen=True)
class VdVae:
    """The settings are the fields."""

    vision: str = "facebook/dinov3-vitb16-pretrain-lvd1689m"
    """A vision transformer by name or folder; empty makes a small one from the pictures."""
    patch: int = 16
    """Height and width of a patch of the small one, in pixels."""
    channels: int = 96
    """Numbers that the small one sees of a patch."""
    moving: int = 0
    """Look at what moves alone: what differs by more than this, of 255, from what its film shows most of the time.
    For small eyes, before cameras that stand still; with 0, pictures are seen as they are."""
    outline: int = 0
    """Directions in which the outline of what moves is seen, in place of patches of it; 0 for patches."""
    width: int = 768
    blocks: int = 12
    """Of the encoder, and of the decoder."""
    heads: int = 12
    nuisance: int = 2
    """Latents of what is no action."""
    contrast: float = 0.1
    """Weight of the contrastive term (lambda_con); zero leaves it out."""
    contrast_on: Literal["continuous", "quantized"] = "continuous"
    """Latents as they are (the paper), or the words next to them (the release)."""
    tie: float = 0.0
    """Weight of being where a robot's action is in its latent space, over how far codes are apart there: ours. The
    contrastive term compares directions alone, and between codes of few numbers that does not tell which it is."""
    mask_equal_tokens: bool = True
    """Two samples that say the same are no wrong pair."""
    regular: float = 0.5
    """Weight of keeping the nuisance small (lambda_reg)."""
    quantise: float = 1.0
    """Weight of the codebooks' terms (lambda_vq)."""
    commit: float = 1.0
    """Weight of drawing latents to codes (beta)."""
    teacher: float = 0.999
    """How slowly the teacher follows; 0.99 for runs of less than 2000 steps."""
    pseudo_positive_start: float = 0.3
    """Share of the steps after which film is tied to what the teacher sees. Before, it only has to be foretold."""
    film: float = 0.5
    """Share of film in what is learned from."""
    light: Photometric = USUAL
    """Of pictures as they are; what moves alone is black or white in any light."""
    lights: int = 3
    """In how many lights the eye sees every frame ahead of training; 0 looks while training."""
    restart: int = 2000
    """Steps after which nuisance codes that nobody used begin anew."""
    environment_pace: float = 0.5
    """Learning rate of the nuisance codes, as a share of the rest's."""
    training: Training = PAPER

    def __post_init__(self) -> None:
        if self.outline and (self.vision or not self.moving):
            raise ValueError("an outline is seen of what moves alone, by the small eye: set moving, and no vision")

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
            how = replace(paper.training, lr=1e-4, steps=50_000, batch=32)
            return replace(paper, contrast_on="quantized", environment_pace=1.0, training=how)
        small = Training(lr=2e-3, weight_decay=1e-2, warmup=50, batch=48, steps=1000, least=0.1, clip=1.0)
        little = replace(paper, vision="", width=64, blocks=2, heads=4, teacher=0.99, restart=100)
        if name == "small":
            return replace(little, training=small)
        if name == "tiny":
            how = replace(small, batch=16, steps=20, warmup=5)
            return replace(little, channels=16, width=32, lights=2, restart=10, training=how)
        raise ValueError(f"no preset {name!r}; there are tiny, small, paper and release")

    def fit(
        self,
        data: Windows,
        film: Footage | None,
        act: ActVaeNet,
        run: Path | None = None,
        tell: Tell = silent,
        cache: Path | None = None,
        prepare: Prepare = lambda _what, _done, _of: None,
    ) -> "VdVaeNet":
        """Learn from robot windows cut for this Act-VAE with ``Senses.ahead`` of one chunk, and from film.

        What the eye sees is kept in ``cache``, or in the run's folder; without either it looks while training.

        Raises:
            NoData: the windows show nothing, or not what was seen a chunk later, or pictures differ in size.
        """
        torch.manual_seed(self.training.seed)
        vocabulary = Vocabulary.of(act)
        if film is not None:
            film = film.within(slots(np.zeros(STEP * data.body.arms))[1])
        if self.moving:
            data = in_windows(data, self.moving)
            film = None if film is None else in_film(film, self.moving)
        pairs = Pairs(data, film, act.schema, self.film)
        frames = [data.frames[0], *([] if film is None else [film.frames])]
        eye = self._eye(frames)
        net = VdVaeNet(self, eye, vocabulary, act.schema, frames[0].shape[1:3])
        net.learn_from(act)
        seen = self._looked(net, frames, cache or (run and run / "features"), prepare)
        pairs = replace(pairs, looked=seen)
        net.measured = train(net, pairs, self.training, run, tell)
        if cache is None and run is not None:
            # Nobody else would ever find it there.
            shutil.rmtree(run / "features", ignore_errors=True)
        return net

    @property
    def varies(self) -> Photometric:
        """How far the light varies in what is learned from."""
        return STEADY if self.moving else self.light

    def _eye(self, frames: Sequence[Pixels]) -> Sees:
        """Who looks at such frames."""
        if is_name(self.vision):
            return Eye(self.vision)
        return Outline.of(frames, self.outline) if self.outline else Patches.of(frames, self.patch, self.channels)

    def _looked(
        self, net: "VdVaeNet", frames: Sequence[Pixels], folder: Path | None, prepare: Prepare
    ) -> tuple[Looked, ...] | None:
        """What the eye sees of all frames, kept on disk; None where it has to look while training."""
        if folder is None or not self.lights:
            return None
        lights = Lights(1 if self.moving else self.lights, self.varies, self.training.seed)
        try:
            return tuple(
                looked(folder, net.eye, each, lights, lambda done, of: prepare("looking at frames", done, of))
                for each in frames
            )
        except NoRoom as error:
            prepare(f"looking while training: {error}", 0, 1)
            return None


class VdVaeNet(nn.Module):
    """What was done between two frames, as latents and as words."""

    done: Tensor

    def __init__(self, how: VdVae, eye: Sees, vocabulary: Vocabulary, schema: Schema, shape: Sequence[int]) -> None:
        """``shape`` is the pictures' height and width."""
        super().__init__()
        self.how, self.vocabulary, self.schema = how, vocabulary, schema
        self.shape = (int(shape[0]), int(shape[1]))
        self.measured: dict[str, float] = {}
        self.eye = eye.requires_grad_(False)
        with torch.no_grad():
            patches, seen = eye(torch.zeros(1, 3, *self.shape)).shape[1:]
        words, code = vocabulary.count, vocabulary.width
        self.inverse = Inverse(seen, patches, how.width, how.blocks, how.heads, how.nuisance, words, code)
        self.teacher = copy.deepcopy(self.inverse).requires_grad_(False)
        self.forward_model = Forward(seen, patches, how.width, how.blocks, how.heads, how.nuisance + 2 * words, code)
        self.codes = Codes(vocabulary.entries, code)
        self.codes.freeze()
        self.environment = Codes(vocabulary.entries, code)
        self.siglip = Siglip()
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        self._act: tuple[ActVaeNet, ...] = ()

    def learn_from(self, act: ActVaeNet) -> None:
        """Take an Act-VAE's words, and its latents as what robots' pairs are tied to. It stays as it is.

        Raises:
            OtherVocabulary: this network was made for another one.
        """
        self.vocabulary.demand(Vocabulary.of(act), "the Act-VAE at hand")
        # In a tuple it is no part of this network: neither trained nor stored with it.
        self._act = (act.eval(),)
        with torch.no_grad():
            self.codes.vectors.copy_(act.codes.vectors)

    @property
    def facts(self) -> dict[str, Any]:
        """What its settings do not say."""
        return self.vocabulary.facts | self.schema.facts | {"eye": self.eye.facts, "shape": list(self.shape)}

    @property
    def digest(self) -> str:
        """The same for the same labels of the same film: 32 hexadecimal digits."""
        found = blake2b(json.dumps(self.facts, sort_keys=True).encode(), digest_size=16)
        for name, values in sorted(self._kept().items()):
            found.update(name.encode())
            found.update(values.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def windows(self, data: Windows) -> Windows:
        """The same windows, as this network is shown them."""
        return in_windows(data, self.how.moving) if self.how.moving else data

    def film(self, film: Footage, number: int) -> Footage:
        """The same film, of which one is to be looked at, as this network is shown it."""
        return in_film(film, self.how.moving, number) if self.how.moving else film

    @torch.no_grad()
    def latents(self, now: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of the arms' actions (B, 2, N, code), and of all else, of pictures (B, 3, H, W), 0..255."""
        action, nuisance = self.inverse(self._look(torch.stack([now, later], dim=1)))
        return action, nuisance

    @torch.no_grad()
    def tokens(self, now: Tensor, later: Tensor) -> Tensor:
        """Words (B, 2, N) for what was done between pictures (B, 3, H, W), 0..255."""
        return self.codes.nearest(self.latents(now, later)[0])

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """The terms of Algorithm 2, weighted; every one is a mean over its numbers."""
        how, (clean, lit) = self.how, self._both(batch)
        action, nuisance = self.inverse(lit)
        said = self.codes(action[batch.arms])
        noted = self.environment(nuisance)
        words = torch.cat([noted.z_q, scatter(said.z_q, batch.arms).flatten(1, 2)], dim=1)
        terms = {
            "reconstruction": F.mse_loss(self.forward_model(clean[:, 0], words), clean[:, 1]),
            "codebook": how.quantise * noted.codebook_loss,
            "commit": how.quantise * how.commit * (noted.commit_loss + said.commit_loss),
            "nuisance": how.regular * nuisance.abs().mean(),
        }
        if how.contrast or how.tie:
            belongs, known = self._positives(batch, clean), batch.arms & batch.robot[:, None]
            if how.contrast:
                terms["contrast"] = how.contrast * self._contrast(batch, belongs, action)
            if how.tie and known.any():
                off = (action[known] - belongs[known]).square().mean()
                terms["tie"] = how.tie * off / self.codes.vectors.var(0).mean()
        return terms

    def groups(self) -> Sequence[Group]:
        others = [p for name, p in self.named_parameters() if p.requires_grad and not name.startswith("environment.")]
        return Group(others), Group([self.environment.vectors], self.how.environment_pace, 0.0)

    @torch.no_grad()
    def after(self, step: int) -> None:
        """The teacher follows, and nuisance codes that nobody used begin anew."""
        self.done.fill_(step + 1)
        for slow, fast in zip(self.teacher.parameters(), self.inverse.parameters(), strict=True):
            slow.lerp_(fast, 1 - self.how.teacher)
        if (step + 1) % self.how.restart == 0 and step + 1 + self.how.restart <= self.how.training.steps:
            self.environment.restart(torch.Generator().manual_seed(self.how.training.seed + step))

    @property
    def trusts_teacher(self) -> bool:
        """Whether film is tied to what the teacher sees by now."""
        return int(self.done) >= self.how.pseudo_positive_start * self.how.training.steps

    def _contrast(self, batch: PairBatch, belongs: Tensor, action: Tensor) -> Tensor:
        """Eq. 3 over the arms that count, of robots, and of people once the teacher is trusted."""
        counts = batch.arms if self.trusts_teacher else batch.arms & batch.robot[:, None]
        ours, theirs = action[counts], belongs[counts]
        words = self.codes.nearest(theirs)
        if self.how.contrast_on == "quantized":
            ours, theirs = self.codes(ours).z_q, self.codes.lookup(words)
        return self.siglip(ours, theirs, words if self.how.mask_equal_tokens else None)

    @torch.no_grad()
    def _positives(self, batch: PairBatch, clean: Tensor) -> Tensor:
        """What each arm's latents (B, 2, N, code) belong to: what the robot did, or what the teacher saw people do."""
        belongs: Tensor = self.teacher(clean)[0]
        known = batch.arms & batch.robot[:, None]
        if known.any():
            if not self._act:
                raise RuntimeError("the network does not know its Act-VAE; give it one: learn_from")
            act = self._act[0].to(batch.rows.device)
            belongs[known] = act.features(batch.rows[known]).to(belongs)
        return belongs

    def _both(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """What the eye sees in clean pictures, and what the encoder is shown: the same in other light, in training."""
        if batch.light is not None:
            return batch.clean, batch.light if self.training else batch.clean
        clean = self._look(batch.clean)
        if not self.training:
            return clean, clean
        pictures = batch.clean.float() / 255
        light = self.how.varies
        lit = light.seen(pictures, light.draw(len(pictures)))
        return clean, self._look(255 * lit)

    @torch.no_grad()
    def _look(self, pictures: Tensor) -> Tensor:
        """Patches (B, 2, P, seen) of pictures (B, 2, 3, H, W), 0..255.

        Raises:
            ValueError: the pictures are of another size than those learned from.
        """
        if tuple(pictures.shape[-2:]) != self.shape:
            raise ValueError(f"this network looks at pictures of {self.shape}, not {tuple(pictures.shape[-2:])}")
        seen: Tensor = self.eye(pictures.flatten(0, 1).float() / 255)
        return seen.unflatten(0, (-1, 2))

    def _kept(self) -> dict[str, Tensor]:
        """What is stored: all but the teacher, which has taught."""
        return {name: values for name, values in self.state_dict().items() if not name.startswith("teacher.")}

    def save(self, folder: Path) -> None:
        write(folder, METHOD, self.how, self.facts | {"digest": self.digest}, self._kept())

    @classmethod
    def load(cls, folder: Path, act: ActVaeNet | None = None) -> "VdVaeNet":
        """Read what `save` wrote; with ``act``, make sure that it speaks that Act-VAE's words.

        Raises:
            BadCheckpoint: the folder holds none, it is damaged, or it was made with another Act-VAE.
        """
        from pydantic import TypeAdapter, ValidationError

        stored = read(folder)
        if stored.method != METHOD:
            raise BadCheckpoint(f"{folder} holds {stored.method}, and not what infers actions from film ({METHOD})")
        try:
            how = TypeAdapter(VdVae).validate_python(stored.settings)
            known = stored.facts["eye"]
            eye = Eye(known) if how.vision else Outline(**known) if how.outline else Patches(**known)
            vocabulary, schema = Vocabulary.said(stored.facts), Schema.said(stored.facts)
            net = cls(how, eye, vocabulary, schema, stored.facts["shape"])
            taught = {
                f"teacher.{name.removeprefix('inverse.')}": values
                for name, values in stored.tensors.items()
                if name.startswith("inverse.")
            }
            net.load_state_dict(stored.tensors | taught)
        except (KeyError, TypeError, ValueError, ValidationError, RuntimeError) as error:
            raise BadCheckpoint(f"{folder}: {METHOD} is damaged: {str(error)[:300]}") from error
        if act is not None:
            try:
                net.learn_from(act)
            except BadCheckpoint as error:
                raise type(error)(f"{folder}: {error}") from error
        return net.eval()
