"""LeRobot's ACT, diffusion policy and SmolVLA, trained and run on our windows, without a dataset in between.

Notable:
- Network, loss, processors and configuration are LeRobot's, imported and not copied; ``config`` has its own names, as
  in ``--config.dim_model 256``. Windows, augmentation, budget, averages and the loop on the robot are ours, as for any
  method of this house, so that what is compared is the method.
- A policy's folder has a folder ``lerobot`` within, which LeRobot's own programs load.
- One moment is shown, not several (``n_obs_steps`` is 1). Weights of ResNets are drawn, never downloaded, unless
  ``--config.pretrained_backbone_weights`` names some.
- SmolVLA is made from a vision-language model that has to be at hand, by name or folder (``--config.vlm_model_name``);
  ``pretrained`` names a folder of SmolVLA's own weights to start from.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch

from learners.body import ONE_ARM
from learners.checkpoint import BadCheckpoint, Stored
from learners.data import Windows
from learners.lerobot.net import PeerNet, configuration, demand
from learners.lerobot.statistics import statistics
from learners.policy import ChunkPolicy, go_on
from learners.senses import Senses
from learners.train import Tell, Training, silent, train
from learners.transforms import VIEWS, View

QUICK = Training(optimizer="adamw", lr=1e-3, weight_decay=1e-4, batch=16, steps=30, ema=0.9)
SMALL = Training(optimizer="adamw", lr=1e-3, weight_decay=1e-4, batch=64, steps=1500, ema=0.99)
"""CCoL's small budget: as many steps of as many windows."""

SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "act": {
        "tiny": {
            "dim_model": 32,
            "n_heads": 4,
            "dim_feedforward": 64,
            "n_encoder_layers": 1,
            "n_vae_encoder_layers": 1,
            "latent_dim": 8,
            "dropout": 0.0,
        },
        "small": {
            "dim_model": 128,
            "n_heads": 4,
            "dim_feedforward": 336,
            "n_encoder_layers": 1,
            "n_vae_encoder_layers": 1,
            "latent_dim": 16,
            "dropout": 0.0,
        },
        "paper": {},
    },
    "diffusion": {
        "tiny": {"down_dims": [16, 32], "diffusion_step_embed_dim": 16, "spatial_softmax_num_keypoints": 8},
        "small": {"down_dims": [32, 64, 128], "diffusion_step_embed_dim": 32, "spatial_softmax_num_keypoints": 16},
        "paper": {},
    },
    "smolvla": {"tiny": {}, "small": {}, "paper": {}},
}
"""What each preset says in LeRobot's words, beside what all presets of a kind say."""
ALWAYS: dict[str, dict[str, Any]] = {
    "act": {"pretrained_backbone_weights": None},
    "diffusion": {
        "pretrained_backbone_weights": None,
        "use_group_norm": True,
        "use_separate_rgb_encoder_per_camera": False,
        "noise_scheduler_type": "DDIM",
        "num_inference_steps": 10,
        "do_mask_loss_for_padding": True,
    },
    "smolvla": {"load_vlm_weights": True},
}


@dataclass(frozen=True)
class Peer:
    """The settings are the fields; `Act`, `Diffusion` and `SmolVla` are the kinds."""

    kind: ClassVar[str]
    tuned: ClassVar[dict[str, dict[str, Any]]]
    """What a kind's presets have of our own fields, beside their sizes."""

    action: Literal["joint", "tool"] = "tool"
    cameras: tuple[str, ...] = ("front", "wrist")
    image: int = 96
    hz: float = 10.0
    k: int = 16
    """Steps of a chunk."""
    config: dict[str, Any] = field(default_factory=dict)
    """Fields of LeRobot's configuration of this policy, by its names."""
    narrow: Literal[1, 2, 4, 8] = 1
    """How many times fewer channels than LeRobot's ResNet-18."""
    pretrained: str = ""
    """A folder (or name) of LeRobot's weights of this policy to start from."""
    state_noise: float = 0.0
    """Spread of noise on states, as a share of their own."""
    brightness: float = 0.0
    """Spread of one random gain per picture."""
    training: Training = SMALL
    ensemble: float | None = None
    """Decay of temporal ensembling, which is ours; none follows the newest plan alone."""
    replan: float = 0.2
    """Seconds of a plan that are followed before the next is asked for."""

    def __post_init__(self) -> None:
        # What the presets say is tested; asking LeRobot takes seconds.
        if self.config not in [ALWAYS[self.kind] | sizes for sizes in SIZES[self.kind].values()]:
            configuration(self, ONE_ARM)

    @classmethod
    def preset(cls, name: str) -> Self:
        """``tiny`` for tests, ``small`` for two CPU cores, ``paper`` for LeRobot's own sizes.

        Raises:
            ValueError: there is no such preset, or no LeRobot.
        """
        if name not in SIZES[cls.kind]:
            raise ValueError(f"no preset {name!r}; there are tiny, small and paper")
        demand()
        return cls(config=ALWAYS[cls.kind] | SIZES[cls.kind][name], **cls.tuned[name])

    @property
    def senses(self) -> Senses:
        return Senses(self.cameras, self.image, 1, 0.0)

    @property
    def view(self) -> View:
        return VIEWS[self.action]

    @property
    def method(self) -> str:
        return f"lerobot.{self.kind}"

    def fit(
        self, data: Windows, run: Path | None = None, tell: Tell = silent, parent: ChunkPolicy | None = None
    ) -> ChunkPolicy:
        """Learn from windows cut with this learner's own senses, view, rate and ``k``.

        A ``parent`` gives its weights and statistics to start from.

        Raises:
            BadCheckpoint: a model that the policy is made from, or starts from, is not at hand.
            CannotGoOn: the parent is not a policy of the same kind and sizes for the same robot.
        """
        torch.manual_seed(self.training.seed)
        if parent is None:
            net = PeerNet(self, data.body.facts | {"statistics": statistics(data, self.cameras)})
            net.begin(data)
        else:
            net = PeerNet(self, parent.facts)
            go_on(net, parent, data.body)
        measured = train(net, data, self.training, run, tell)
        return ChunkPolicy(self.method, self, net, net.facts, measured)

    def restore(self, stored: Stored) -> ChunkPolicy:
        """The policy that was saved with these settings."""
        try:
            net = PeerNet(self, stored.facts)
        except ValueError as error:
            raise BadCheckpoint(f"{stored.folder}: {error}") from error
        net.load_state_dict(stored.tensors)
        return ChunkPolicy(self.method, self, net.eval(), stored.facts)


@dataclass(frozen=True)
class Act(Peer):
    """LeRobot's ACT, action chunking with transformers (Zhao et al. 2023, arXiv 2304.13705)."""

    kind: ClassVar[str] = "act"
    tuned: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"image": 32, "k": 10, "narrow": 8, "training": QUICK, "ensemble": 0.01},
        "small": {"narrow": 8, "state_noise": 0.03, "brightness": 0.1, "ensemble": 0.01},
        "paper": {
            "action": "joint",
            "image": 224,
            "hz": 50.0,
            "k": 100,
            "ensemble": 0.01,
            "replan": 0.02,
            "training": Training(lr=1e-5, weight_decay=1e-4, batch=8, steps=100_000, clip=10.0),
        },
    }


@dataclass(frozen=True)
class Diffusion(Peer):
    """LeRobot's diffusion policy (Chi et al. 2023, arXiv 2303.04137), a U-Net over the steps of a chunk."""

    kind: ClassVar[str] = "diffusion"
    tuned: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"image": 32, "k": 12, "narrow": 4, "training": QUICK},
        "small": {"narrow": 4, "state_noise": 0.03, "brightness": 0.1, "replan": 0.4},
        "paper": {
            "action": "joint",
            "k": 64,
            "training": Training(lr=1e-4, weight_decay=1e-6, batch=64, steps=100_000, warmup=500, ema=0.999),
            "replan": 0.8,
        },
    }


@dataclass(frozen=True)
class SmolVla(Peer):
    """LeRobot's SmolVLA (Shukor et al. 2025, arXiv 2506.01844): a small vision-language model and a flow of actions."""

    kind: ClassVar[str] = "smolvla"
    tuned: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"image": 32, "k": 10, "training": QUICK},
        "small": {"image": 224, "replan": 0.4},
        "paper": {
            "action": "joint",
            "image": 512,
            "hz": 30.0,
            "k": 50,
            "replan": 0.4,
            "training": Training(lr=1e-4, weight_decay=1e-10, batch=64, steps=20_000, warmup=1000, clip=10.0),
        },
    }
