"""LaDA's settings in LeRobot's words."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from lerobot.configs import PreTrainedConfig

from learners.lada.lada import LaDA
from learners.lerobot.plugin import LEROBOTS, ChunkedConfig, demand_alike, usually
from learners.transforms import STEP

if TYPE_CHECKING:
    Small = LaDA
else:
    Small = usually(LaDA.preset("small"))

DECIDED = LEROBOTS | {
    "spacing": "stride",
    "pretrain": "pretrain_steps",
    "sight.keyframe": "a dataset of LeRobot does not say where tools are",
    "primitives.frame": "a dataset of LeRobot does not say how tools are turned",
}


@PreTrainedConfig.register_subclass("lada")
@dataclass
class LaDAConfig(ChunkedConfig):
    """``--policy.lada.contrast.kind=hard``: the method's own settings, which begin as its preset ``small``.

    The published sizes begin with ``--policy.lada.clip.source=openai/clip-vit-large-patch14`` and
    ``--policy.lada.sight.points=0``.
    """

    motion: Literal["", "steps", "none"] = ""
    """What actions tell of tools: see the package. It has to be said."""
    arms: int = 1
    """Arms whose numbers stand side by side in an action, each one's hand last."""
    metres: float = 1.0
    """In one unit of an action's way."""
    radians: float = 1.0
    """In one unit of an action's turn."""
    pretrain_steps: int = 300
    """Steps of the first stage, in which motions are named; 0 when a policy is only fine-tuned."""
    lada: Small = field(default_factory=Small)

    def demand_untouched(self) -> None:
        demand_alike(self.lada, Small(), DECIDED)

    @property
    def image(self) -> int:
        return self.lada.image

    @property
    def named(self) -> bool:
        """Whether motions have names."""
        return self.motion == "steps"

    @property
    def ends(self) -> list[int]:
        return [self.pretrain_steps] if self.named else []

    @property
    def how(self) -> LaDA:
        """The settings, with what LeRobot decides."""
        return replace(self.lada, cameras=tuple(self.cameras), k=self.chunk_size, history=self.n_obs_steps)

    def validate_features(self) -> None:
        """See to it that all is said that motions are named by.

        Raises:
            ValueError: it is not, or actions are no motions of tools.
        """
        super().validate_features()
        if not self.motion:
            raise ValueError(
                "say what an action tells of tools: --policy.motion=steps if it is how each goes on (way, turn, hand), "
                "--policy.motion=none if it is anything else, and nothing is named"
            )
        if not self.named:
            return
        if (numbers := self.action_feature.shape[0]) != STEP * self.arms:
            raise ValueError(
                f"steps of {self.arms} tools have {STEP * self.arms} numbers, and this dataset's actions {numbers}: "
                "set --policy.arms, or --policy.motion=none"
            )
        if self.lada.primitives.open is None or self.lada.primitives.closed is None:
            raise ValueError(
                "say which number of an action is an open hand, and which a closed one: "
                "--policy.lada.primitives.open=-1 --policy.lada.primitives.closed=1 for LIBERO and robomimic"
            )
