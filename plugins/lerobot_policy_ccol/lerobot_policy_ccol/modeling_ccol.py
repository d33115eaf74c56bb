"""CCoL's network behind LeRobot's interface."""

from typing import Any

from torch import Tensor

from learners.backbones import Words
from learners.body import ONE_ARM
from learners.ccol import Net
from learners.lerobot.plugin import AsTheyAre, ChunkedPolicy
from lerobot_policy_ccol.configuration_ccol import CCoLConfig


class CCoLPolicy(ChunkedPolicy):
    """CCoL for any dataset with pictures, a state and actions."""

    config_class = CCoLConfig
    name = "ccol"

    def __init__(self, config: CCoLConfig, dataset_meta: Any = None, **more: Any) -> None:
        super().__init__(config, dataset_meta, **more)
        self.model = Net(config.how, ONE_ARM.facts | {"vocabulary": Words.vocabulary(config.tasks)}, self.widths)
        self.model.set_submodule("scales", AsTheyAre(config.chunk_size, self.widths[1]))

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Of the first batch of all, colours are measured: LeRobot shows a policy nothing before training."""
        shown = self.windows(batch)
        self.model.measure(shown.images)
        return self.model.losses(shown)

    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        return self.model.steps(images, state, instructions)
