"""CCoL's settings in LeRobot's words."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lerobot.configs import PreTrainedConfig

from learners.ccol import CCoL
from learners.lerobot.plugin import LEROBOTS, ChunkedConfig, demand_alike, usually

if TYPE_CHECKING:
    Small = CCoL
else:
    # What small has instead leaves hands out, and a dataset does not say which numbers are hands.
    Small = usually(replace(CCoL.preset("small"), disc_mode="fd", disc_weight=0.01))

DECIDED = LEROBOTS | {
    "action": "the dataset's actions",
    "keyframe": "a dataset of LeRobot does not say which number opens a hand",
    "keyframe_weight": "key frames are not learned here",
}


@PreTrainedConfig.register_subclass("ccol")
@dataclass
class CCoLConfig(ChunkedConfig):
    """``--policy.ccol.width=256``: the method's own settings, which begin as its preset ``small``.

    ``ccol.spacing`` is the seconds between two states, ``stride`` frames of the dataset. Continuity is that of the flow
    (``ccol.disc_mode=fd``); of actions (``action``), the last number is taken for a hand.
    """

    n_obs_steps: int = 5
    """Past states, the newest last; the latent is encoded from all but the first."""
    ccol: Small = field(default_factory=Small)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_obs_steps < 2:
            raise ValueError("n_obs_steps is at least 2: a latent is encoded from past states, and one comes before")

    def demand_untouched(self) -> None:
        demand_alike(self.ccol, Small(), DECIDED)

    @property
    def image(self) -> int:
        return self.ccol.image

    @property
    def how(self) -> CCoL:
        """The settings, with what LeRobot decides."""
        return replace(
            self.ccol, cameras=tuple(self.cameras), k=self.chunk_size, history=self.n_obs_steps - 1, keyframe=False
        )
