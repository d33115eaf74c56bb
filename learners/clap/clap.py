"""CLAP, whole: robots and film of people learn one vocabulary of actions, and a policy that says or flows them.

Robot windows and film become, in this order, an action vocabulary (`ActVae`), an encoder that reads its words off film
(`VdVae`), labels, a token policy on both (`Ntp`, the first stage of Algorithm 4) and a continuous head beside it that
learns while the tokens are held to what they were (`PostNet`, the second). Each stage is an artefact of the run: after
a crash the same command goes on at the stage where it was, and within it.

Without a parent, pre-training and the first stage see the same data and are one. ``drive`` says who drives: the flow
(``rf``) or the tokens (``ntp``).

Ours, and off in ``paper`` and ``release``: eyes of the head's own (`learners.clap.sight`), plans scaled step by step,
and a head that goes on from the parent's.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.checkpoint import Stored
from learners.clap.act_vae import ActVae, ActVaeNet, Chunks
from learners.clap.head import Head
from learners.clap.labels import Kept as KeptLabels
from learners.clap.labels import Shelf, label
from learners.clap.matching import Matching
from learners.clap.mixture import Mixture
from learners.clap.net import ClapNet, spoken
from learners.clap.ntp import Ntp, NtpNet
from learners.clap.post import Exercises, Insulation, PostNet
from learners.clap.presets import fields
from learners.clap.sight import Sight
from learners.clap.stages import Kept, TokenPolicy
from learners.clap.vd_vae import VdVae, VdVaeNet
from learners.clap.vocabulary import Vocabulary
from learners.data import Batch, NoData, Windows
from learners.footage import Footage
from learners.policy import CannotGoOn, ChunkPolicy
from learners.rscl import RsCl, reported
from learners.senses import Senses
from learners.stages import Stages, fingerprint, frozen
from learners.train import Tell, Training, silent, train
from learners.transforms import STEP, ToolView, View, slots

HALVES = ("hz", "k", "image", "act_vae", "vd_vae", "ntp")
"""What a policy and the one it goes on from have in common, but for how they are trained."""


@dataclass(frozen=True)
class Clap:
    """The settings are the fields. ``Clap.preset("small")`` trains on two CPU cores in half an hour."""

    watches: ClassVar[bool] = True

    cameras: tuple[str, ...] = ("front", "wrist")
    """The one that sees all first; `senses` has them in the order of the prompt."""
    image: int = 224
    hz: float = 30.0
    k: int = 32
    """Steps of a chunk (H)."""
    history: int = 1
    """Past states that the head is told."""
    spacing: float = 0.05
    """Seconds between them."""
    drive: Literal["rf", "ntp"] = "rf"

    act_vae: ActVae = field(default_factory=ActVae)
    vd_vae: VdVae = field(default_factory=VdVae)
    ntp: Ntp = field(default_factory=Ntp)
    """The token policy, and how it is pre-trained."""
    adapt: Training = field(default_factory=Training)
    """The first stage, when a policy goes on from another."""
    adapt_passes: float = 0.0
    """Passes over robot and film in the first stage; zero for as many steps as ``adapt`` says."""
    head: Head = field(default_factory=Head)
    sight: Sight = field(default_factory=Sight)
    matching: Matching = field(default_factory=Matching)
    insulation: Insulation = "none"
    rscl: RsCl | None = None
    """Hold what the head hears to how the robot stands, in the second stage; ``{}`` switches it on as published."""
    backbone_pace: float = 1.0
    """Learning rate of the language model in the second stage, as a share of the head's."""
    per_step: bool = False
    """Scale plans step by step, so that the first, small ones count as much as the far ones."""
    keep_head: bool = False
    """Go on from the parent's head; the paper begins with a new one."""
    training: Training = field(default_factory=Training)
    """The second stage. Seed, share held out, workers and tracker are those of all stages."""
    ensemble: float | None = None
    """Decay of temporal ensembling; none follows the newest plan alone."""
    replan: float = 0.5
    """Seconds of a plan that are followed before the next is asked for."""

    def __post_init__(self) -> None:
        if self.head.condition == "kv" and self.ntp.vlm.checkpointing:
            raise ValueError(
                'head.condition "kv" needs keys and values, which ntp.vlm.checkpointing does not keep; set '
                'ntp.vlm.checkpointing=false, or head.condition to "hidden"'
            )
        if self.rscl is None:
            return
        published = self.rscl.layout == "published"
        if published and self.head.condition == "kv":
            raise ValueError(
                'head.condition "kv" hears no tokens that rscl.layout "published" could change; use "masked"'
            )
        if not published and self.insulation != "none":
            raise ValueError(
                f'insulation "{self.insulation}" keeps rscl from the language model; with rscl.layout "published" it '
                "has layers of its own to teach"
            )

    @classmethod
    def preset(cls, name: str) -> Self:
        """``tiny`` for tests, ``small`` for two CPU cores, ``paper`` and ``release`` for the published sizes.

        Raises:
            ValueError: there is no such preset.
        """
        return cls(**fields(name))

    @property
    def senses(self) -> Senses:
        """The head's camera, the right wrist's, the left wrist's; in training also the frame at a chunk's end."""
        seen = sorted(self.cameras, key=lambda name: ("wrist" in name, "right" not in name))
        return Senses(tuple(seen), self.image, self.history, self.spacing, ahead=self.k / self.hz)

    @property
    def view(self) -> View:
        return ToolView()

    @property
    def looks(self) -> int:
        """How often pictures are looked at in all."""
        return sum(how.steps * how.batch for how in (self.ntp.training, self.training))

    def fit(
        self,
        data: Windows,
        run: Path | None = None,
        tell: Tell = silent,
        parent: ChunkPolicy | None = None,
        film: Footage | None = None,
        stage: Callable[[str], Tell] | None = None,
        keeping: Callable[[VdVaeNet], KeptLabels] | None = None,
    ) -> ChunkPolicy:
        """Learn from windows cut with this learner's own senses, view, rate and ``k``, and from film beside them.

        A ``parent`` gives its vocabulary and its encoder of film, which stay as they are, and its token policy, which
        goes through both stages of Algorithm 4. ``keeping`` says where labels that an encoder infers are kept; without
        it they lie in the run's folder.

        Raises:
            CannotGoOn: the parent is not a CLAP policy of the same sizes for the same robot.
            BadCheckpoint: what an earlier stage left in ``run`` does not fit.
            NoData: windows or film lack what is to be learned from.
        """
        stages = Stages(run, stage or (lambda _name: tell))
        before = None if parent is None else self._before(parent, data)
        act = self._vocabulary(data, stages, before)
        vd = None
        if film is not None:
            film, vd = self._labelled(data, film, act, stages, before, keeping)
        mixture = lessons(data, act, film, self.ntp.film)
        tokens = self._tokens(mixture, act, stages, before)
        torch.manual_seed(self.training.seed + 3)
        policy = ClapNet(self, data.body, tokens.net, act)
        policy.scales.fit(data)
        if before is not None and self.keep_head:
            _go_on(policy, before)
        if vd is not None:
            policy.keep("vd_vae", vd)
        elif before is not None and "vd_vae" in before.artefacts:
            policy.keep("vd_vae", before.artefacts["vd_vae"])
        if policy.rscl is not None:
            policy.rscl.begin(data)
        measured = self._post(policy, mixture, stages) | self._reported(policy, data)
        told = {f"tokens_{name}": value for name, value in tokens.measured.items()}
        return ChunkPolicy("clap", self, policy.eval(), policy.facts, told | measured)

    def restore(self, stored: Stored) -> ChunkPolicy:
        """The policy that was saved with these settings.

        Raises:
            BadCheckpoint: its action vocabulary is missing, or is not the one that its tokens are of.
        """
        act = ActVaeNet.load(stored.folder / "act_vae")
        vocabulary = Vocabulary.said(stored.facts)
        vocabulary.demand(Vocabulary.of(act), str(stored.folder))
        body = ChunkPolicy("clap", self, None, stored.facts).body
        ntp = NtpNet(self.ntp, vocabulary.count, vocabulary.entries, facts=stored.facts["ntp"])
        net = ClapNet(self, body, ntp, act)
        net.load_state_dict(stored.tensors)
        if (stored.folder / "vd_vae").is_dir():
            net.keep("vd_vae", Kept(stored.folder / "vd_vae"))
        return ChunkPolicy("clap", self, net.eval(), stored.facts)

    def _vocabulary(self, data: Windows, stages: Stages, before: ClapNet | None) -> ActVaeNet:
        if before is not None:
            return frozen(before.act)
        how = replace(self.act_vae, hz=self.hz, k=self.k, training=self._alike(self.act_vae.training))
        tell = stages.told("1/5 action vocabulary")
        return frozen(stages.once("act_vae", {}, lambda folder: how.fit(data, folder, tell), ActVaeNet.load))

    def _labelled(
        self,
        data: Windows,
        film: Footage,
        act: ActVaeNet,
        stages: Stages,
        before: ClapNet | None,
        keeping: Callable[[VdVaeNet], KeptLabels] | None,
    ) -> tuple[Footage, VdVaeNet]:
        """The film with its tokens, and who read them off it."""
        film = film.within(_arms(data))
        kept = None if before is None else before.artefacts.get("vd_vae")
        if isinstance(kept, VdVaeNet):
            vd = kept
        elif isinstance(kept, Kept):
            vd = VdVaeNet.load(kept.folder, act)
        else:
            how = replace(self.vd_vae, training=self._alike(self.vd_vae.training))
            tell = stages.told("2/5 reading actions off film")
            vd = stages.once(
                "vd_vae",
                {"act_vae": act.digest},
                lambda folder: how.fit(data, film, act, folder, tell),
                lambda folder: VdVaeNet.load(folder, act),
            )
        vd = frozen(vd)
        tell = stages.told("3/5 labelling film")
        on_the_shelf = None if stages.run is None else Shelf(stages.run / "labels" / vd.digest)
        kept_labels = on_the_shelf if keeping is None else keeping(vd)
        return film.labelled(label(film, vd, lambda done, of: tell(done, of, math.nan), kept_labels)), vd

    def _tokens(self, mixture: Mixture, act: ActVaeNet, stages: Stages, before: ClapNet | None) -> TokenPolicy:
        """The first stage: the token policy on robot and film."""
        vocabulary, how = Vocabulary.of(act), self._alike(self.ntp.training)
        if before is not None:
            how = self._alike(self.adapt)
            if self.adapt_passes:
                learn, _ = mixture.split(how.held_out, how.seed)
                how = replace(how, steps=max(1, round(self.adapt_passes * len(learn) / how.batch)))

        def make(folder: Path | None) -> TokenPolicy:
            torch.manual_seed(self.training.seed + 2)
            net = NtpNet(
                replace(self.ntp, training=how),
                vocabulary.count,
                vocabulary.entries,
                _texts(mixture),
                None if before is None else before.ntp.facts,
            )
            net.knows(act.codes.vectors)
            if before is None:
                net.begin(mixture, folder, stages.told("4/5 token policy: eyes to begin with"))
            else:
                net.load_state_dict(before.ntp.state_dict())
            measured = net.fit(mixture, folder, stages.told("4/5 token policy"))
            return TokenPolicy(net, vocabulary, measured)

        against = {"act_vae": act.digest}
        if before is not None:
            against["parent"] = fingerprint(before.ntp)
        return stages.once("tokens", against, make, lambda folder: TokenPolicy.load(folder, act))

    def _post(self, policy: ClapNet, mixture: Mixture, stages: Stages) -> dict[str, float]:
        """The second stage: the head, with the tokens held."""
        how = self.training
        net = PostNet(policy, self.matching, self.insulation, self.backbone_pace)
        was = fingerprint(net.reference)
        exercises = Exercises(mixture, self.matching, how.held_out, how.seed)
        measured = train(net, exercises, how, stages.run and stages.run / "post", stages.told("5/5 continuous head"))
        if fingerprint(net.reference) != was:
            raise RuntimeError("the reference changed while the head was trained; its tokens were held to nothing")
        return measured

    def _reported(self, policy: ClapNet, data: Windows) -> dict[str, float]:
        """What RS-CL has to say of the policy."""
        if policy.rscl is None:
            return {}

        def tokens(batch: Batch) -> tuple[Tensor, Tensor]:
            looked = policy.ntp.look(policy.ntp.ask(batch.images, batch.instructions, policy.arms))
            return policy.summed_up(looked), looked.mask

        _, held_out = data.split(self.training.held_out, self.training.seed)
        return reported(policy, policy.rscl, data, held_out, tokens)

    def _alike(self, how: Training) -> Training:
        """How a stage is trained, in what all stages share."""
        ours = self.training
        return replace(how, seed=ours.seed, held_out=ours.held_out, workers=ours.workers, tracker=ours.tracker)

    def _before(self, parent: ChunkPolicy, data: Windows) -> ClapNet:
        """The parent's network.

        Raises:
            CannotGoOn: it is of another method, robot or size.
        """
        if not isinstance(parent.net, ClapNet):
            raise CannotGoOn(f"the parent is a {parent.method} policy; CLAP goes on from CLAP policies alone")
        if parent.body != data.body:
            raise CannotGoOn(f"the parent moves {parent.body}, and the demonstrations are of {data.body}")
        theirs, ours = _sizes(parent.how), _sizes(self)
        if differs := [name for name in HALVES if theirs[name] != ours[name]]:
            raise CannotGoOn(
                f"the parent has another {', '.join(differs)}; train with the parent's preset and settings"
            )
        return parent.net


def lessons(data: Windows, act: ActVaeNet, film: Footage | None, share: float) -> Mixture:
    """What the token policy is taught: film, and windows in which something happens.

    One that is taught to rest says so again and again, and never begins. The flow learns from all windows.
    """
    moving = np.flatnonzero(~Chunks.of(data, act.schema).idle)
    return Mixture(data, spoken(act, data), film, share, taught=moving if len(moving) else None)


def _sizes(how: Any) -> dict[str, Any]:
    """What a network is, without how it is trained."""
    found = asdict(how)
    for part in ("act_vae", "vd_vae", "ntp"):
        found[part].pop("training")
    for name in ("light", "wrist_drop", "film", "beginnings", "alone"):
        found["ntp"].pop(name)
    return found


def _go_on(policy: ClapNet, before: ClapNet) -> None:
    """Give the policy the parent's head, scales and eyes.

    Raises:
        CannotGoOn: their sizes differ.
    """
    theirs = {name: values for name, values in before.state_dict().items() if not name.startswith("ntp.")}
    try:
        policy.load_state_dict(theirs | {f"ntp.{name}": each for name, each in policy.ntp.state_dict().items()})
    except RuntimeError as error:
        raise CannotGoOn(
            f"the parent's head does not fit: {str(error).splitlines()[1].strip()}; train with the parent's head, or "
            "with keep_head=false"
        ) from error


def _arms(data: Windows) -> NDArray[np.bool_]:
    """Whether there is a left and a right arm (2,)."""
    return slots(np.zeros((1, STEP * data.body.arms)))[1]


def _texts(mixture: Mixture) -> list[str]:
    """Everything that is said in what is learned from."""
    film = mixture.film
    watched = [] if film is None else [*film.instructions, *film.subtasks]
    said = sorted({*mixture.robot.instructions, *watched})
    if not any(text.strip() for text in said):
        raise NoData("nothing is said in any demonstration; give the task an instruction")
    return said
