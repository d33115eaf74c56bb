"""CCoL's network behind LeRobot's interface; LeRobot's processors scale what goes in and comes out."""

from collections import deque
from typing import Any

import torch
import torch.nn.functional as F
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor, nn

from learners.backbones import Words
from learners.body import ONE_ARM
from learners.ccol import Net
from learners.data import KEY, Batch
from lerobot_policy_ccol.configuration_ccol import CCoLConfig

PADDED, TASK = "action_is_pad", "task"


class CCoLPolicy(PreTrainedPolicy):  # type: ignore[misc]  # LeRobot's own bases are not typed here
    """CCoL for any dataset with pictures, a state and actions."""

    config_class = CCoLConfig
    name = "ccol"

    def __init__(self, config: CCoLConfig, dataset_meta: Any = None, **_more: Any) -> None:
        """Build from the config; a dataset's description says which words there are, unless the config does.

        Raises:
            ValueError: nobody says which words there are, or the features are too few.
        """
        super().__init__(config)
        config.validate_features()
        if not config.vocabulary:
            if dataset_meta is None:
                raise ValueError("a CCoL policy knows the words of its dataset's tasks; give config.vocabulary")
            config.vocabulary = list(Words.vocabulary([str(task) for task in dataset_meta.tasks.index]))
        widths = config.robot_state_feature.shape[0], config.action_feature.shape[0]
        self.model = Net(config.how, ONE_ARM.facts | {"vocabulary": config.vocabulary}, widths)
        self.model.set_submodule("scales", AsTheyAre())
        self.reset()

    def get_optim_params(self) -> Any:
        return [each for each in self.parameters() if each.requires_grad]

    def reset(self) -> None:
        """Forget what was felt and planned."""
        self._felt: deque[Tensor] = deque(maxlen=(self.config.n_obs_steps - 1) * self.config.stride + 1)
        self._planned: deque[Tensor] = deque()

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """CCoL's loss and its terms."""
        terms = self.model.losses(
            Batch(
                images=self._images(batch),
                state=batch[OBS_STATE],
                plan=batch[ACTION],
                past_end=batch[PADDED],
                key=batch[OBS_STATE].new_zeros(len(batch[OBS_STATE]), KEY),
                instructions=self._said(batch),
            )
        )
        return torch.stack(list(terms.values())).sum(), {name: float(term.detach()) for name, term in terms.items()}

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **_more: Any) -> Tensor:
        """The chunk (B, k, d); of a live observation, whose state (B, D) has no past, the past ones are remembered."""
        self.eval()
        live = 2
        state = batch[OBS_STATE]
        return self._chunk(batch, self._past(state) if state.ndim == live else state)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **_more: Any) -> Tensor:
        """The next action (B, d); a new chunk is planned when the steps of the last are used up."""
        self.eval()
        past = self._past(batch[OBS_STATE])
        if not self._planned:
            self._planned.extend(self._chunk(batch, past)[:, : self.config.n_action_steps].unbind(1))
        return self._planned.popleft()

    def _past(self, state: Tensor) -> Tensor:
        """States (B, n_obs_steps, D) up to this one (B, D); before the first, it was as the first."""
        self._felt.extend([state] * (1 if self._felt else self._felt.maxlen or 1))
        return torch.stack(list(self._felt)[:: self.config.stride], dim=1)

    def _chunk(self, batch: dict[str, Any], state: Tensor) -> Tensor:
        plan: Tensor = self.model.steps(self._images(batch), state, self._said(batch))
        return plan

    def _images(self, batch: dict[str, Any]) -> Tensor:
        """Newest pictures (B, V, 3, image, image), 0..255, of those (B, [n_obs_steps], 3, H, W) from 0 to 1."""
        size = (self.config.image, self.config.image)
        one_moment, shown = 4, []
        for key in self.config.image_features:
            newest = batch[key][:, -1] if batch[key].ndim > one_moment else batch[key]
            shown.append(F.interpolate(newest, size, mode="bilinear", antialias=True, align_corners=False))
        return 255 * torch.stack(shown, dim=1)

    @staticmethod
    def _said(batch: dict[str, Any]) -> list[str]:
        task = batch.get(TASK, "")
        return [task] * len(batch[OBS_STATE]) if isinstance(task, str) else list(task)


class AsTheyAre(nn.Module):
    """Leaves numbers alone: LeRobot's processors have scaled them."""

    def do(self, _name: str, values: Tensor) -> Tensor:
        return values

    def undo(self, _name: str, values: Tensor) -> Tensor:
        return values
