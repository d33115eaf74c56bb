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
        return self.model.losses(self.windows(batch))

    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        return self.model.steps(images, state, instructions)
