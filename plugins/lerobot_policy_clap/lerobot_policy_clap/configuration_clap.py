"""CLAP's settings in LeRobot's words."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lerobot.configs import PreTrainedConfig

from learners.clap.clap import Clap
from learners.lerobot.plugin import LEROBOTS, ChunkedConfig, demand_alike, usually

if TYPE_CHECKING:
    Small = Clap
else:
    Small = usually(Clap.preset("small"))

NO_FILM = "film of people is no part of this"
NO_EYES = "LeRobot has no stage for eyes that learn alone"
DECIDED = LEROBOTS | {
    "spacing": "stride",
    "act_vae.hz": "the dataset's rate",
    "act_vae.k": "chunk_size",
    "act_vae.frame": "words are of an action's own numbers",
    "act_vae.rotation": "words are of an action's own numbers",
    "act_vae.training": "vocabulary_steps and optimizer_lr",
    "vd_vae": NO_FILM,
    "ntp.film": NO_FILM,
    "ntp.training": "token_steps and optimizer_lr",
    "ntp.wrist_drop": "the flow needs every picture",
    "ntp.light": "the flow needs pictures as they are",
    "ntp.beginnings": NO_EYES,
    "ntp.alone": NO_EYES,
    "ntp.vlm.sizes.foresee": NO_EYES,
    "adapt": "token_steps",
    "adapt_passes": "token_steps",
    "keep_head": "--policy.path",
    "per_step": "LeRobot's processors scale",
    "matching.anchor": NO_FILM,
    "matching.anchors": NO_FILM,
    "sight.keyframe": "a dataset of LeRobot does not say where tools are",
}


@PreTrainedConfig.register_subclass("clap")
@dataclass
class ClapConfig(ChunkedConfig):
    """``--policy.clap.matching.alpha=0.1``: the method's own settings, which begin as its preset ``small``.

    A published model speaks with ``--policy.clap.ntp.vlm.source=Qwen/Qwen3-VL-2B-Instruct``; it has to be at hand when
    a policy is loaded, too. The paper scales actions by quantiles (``QUANTILES`` in ``normalization_mapping``), which
    not every dataset has.
    """

    arms: int = 1
    """Arms whose numbers stand side by side in an action, left before right: 1 or 2."""
    vocabulary_steps: int = 2500
    """Steps of the first stage: words for actions."""
    token_steps: int = 1000
    """Steps of the second: a model that says them."""
    clap: Small = field(default_factory=Small)

    def demand_untouched(self) -> None:
        demand_alike(self.clap, Small(), DECIDED)

    @property
    def image(self) -> int:
        return self.clap.image

    @property
    def cameras(self) -> list[str]:
        """The camera that sees all first, wrists last, as the prompt has them."""
        return list(replace(self.clap, cameras=tuple(self.image_features)).senses.cameras)

    @property
    def ends(self) -> list[int]:
        return [self.vocabulary_steps, self.vocabulary_steps + self.token_steps]

    @property
    def paces(self) -> list[float]:
        return [1.0, self.clap.backbone_pace, 1.0, 1.0]

    @property
    def how(self) -> Clap:
        """The settings, with what LeRobot decides."""
        words = replace(self.clap.act_vae.training, steps=self.vocabulary_steps)
        return replace(
            self.clap,
            cameras=tuple(self.cameras),
            k=self.chunk_size,
            history=self.n_obs_steps,
            act_vae=replace(self.clap.act_vae, k=self.chunk_size, training=words),
        )

    def validate_features(self) -> None:
        """See to it that an action falls into arms.

        Raises:
            ValueError: it does not.
        """
        super().validate_features()
        numbers = self.action_feature.shape[0]
        if self.arms not in {1, 2} or numbers % self.arms:
            raise ValueError(f"an action of {numbers} numbers does not fall into {self.arms} arms; there are 1 or 2")
