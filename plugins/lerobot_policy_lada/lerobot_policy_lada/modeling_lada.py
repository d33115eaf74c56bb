"""LaDA's network behind LeRobot's interface: two stages in one run."""

from typing import Any

import torch
from torch import Tensor

from learners.body import Body
from learners.lada.net import Finetuning, Lesson, Net, Pretraining
from learners.lada.primitives import COUNTS
from learners.lerobot.plugin import AsTheyAre, ChunkedPolicy
from lerobot_policy_lada.configuration_lada import LaDAConfig
from lerobot_policy_lada.processor_lada import CODES


class LaDAPolicy(ChunkedPolicy):
    """LaDA for any dataset with pictures, a state and actions."""

    config_class = LaDAConfig
    name = "lada"
    done: Tensor
    """Steps that were learned; they say which stage it is."""

    def __init__(self, config: LaDAConfig, dataset_meta: Any = None, **more: Any) -> None:
        super().__init__(config, dataset_meta, **more)
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        body = Body(self.widths[1] - config.arms, config.arms)
        facts = body.facts | config.lada.primitives.facts
        self.model = Net(config.how, facts, config.tasks, self.widths)
        self.model.set_submodule("scales", AsTheyAre(config.chunk_size, self.widths[1]))
        self._naming: tuple[Pretraining, ...] = ()
        if config.named:
            # In tuples, stages are no parts: the network is stored once, and beside it what else a stage learns or was
            # begun with.
            naming = Pretraining(self.model)
            self._naming = (naming,)
            self.contrasts, self.balance, self.words = naming.contrasts, naming.balance, naming.speaker.towers
        # All that any stage learns learns from here on: what a loss does not reach has no gradient.
        self._moving = (Finetuning(self.model),)

    def update(self) -> None:
        """LeRobot calls this after every step of its optimizer."""
        self.done += 1

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        windows, labeller = self.windows(batch), self.model.primitives
        if not self._naming:
            unnamed = windows.state.new_zeros(len(windows.state), self.config.arms, len(COUNTS), dtype=torch.long)
            terms = self._moving[0].losses(Lesson(windows, unnamed, []))
            return {name: term for name, term in terms.items() if name != "named"}
        codes = batch[CODES]
        if self.done < self.config.pretrain_steps:
            said = labeller.words(codes.cpu().numpy(), self.config.lada.magnitude)
            return self._naming[0].losses(Lesson(windows, codes[..., : len(COUNTS)], said))
        return self._moving[0].losses(Lesson(windows, codes[..., : len(COUNTS)], []))

    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        return self.model.steps(images, state, instructions)
