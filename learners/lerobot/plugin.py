"""Our methods as policies of LeRobot: what the packages in ``plugins`` have in common.

A dataset of LeRobot is learned from as it is, whatever its numbers mean: pictures, ``observation.state``, ``action``
and the tasks' own words. LeRobot's processors scale, its optimizer learns, its programs count steps, save and resume.
What our own data says beyond that, where tools are and which number opens a hand, is not there, so key frames are not
learned.
"""

from abc import abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from operator import attrgetter
from typing import Any, get_type_hints

import torch
import torch.nn.functional as F
from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, LRSchedulerConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor.factory import make_default_policy_processor_steps, make_policy_processor_pipelines
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from learners.data import KEY, Batch
from learners.lerobot.statistics import PADDED, TASK
from learners.train import Training, schedule

LEROBOTS = {
    "cameras": "the dataset's pictures",
    "hz": "the dataset's rate",
    "k": "chunk_size",
    "history": "n_obs_steps",
    "training": "lerobot-train and optimizer_lr",
    "ensemble": "LeRobot follows one plan at a time",
    "replan": "n_action_steps",
    "rscl": "it is fitted to windows of ours before training begins",
}
"""Settings that every method of ours has and LeRobot decides, and by which name."""


@dataclass
class ChunkedConfig(PreTrainedConfig):  # type: ignore[misc]  # LeRobot's own bases are not typed here
    """What LeRobot wants to know of a policy that plans chunks. A method's settings are a field of their own."""

    n_obs_steps: int = 1
    """Past states that are read, the newest last; of pictures, the newest."""
    stride: int = 1
    """Frames from one of them to the next."""
    chunk_size: int = 16
    n_action_steps: int = 8

    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: {
            "VISUAL": NormalizationMode.IDENTITY,
            "STATE": NormalizationMode.MEAN_STD,
            "ACTION": NormalizationMode.MEAN_STD,
        }
    )
    tasks: list[str] = field(default_factory=list)
    """What the dataset's tasks are called; found when training begins."""

    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 1e-4
    warmup_steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_action_steps > self.chunk_size:
            raise ValueError(f"of a chunk of {self.chunk_size} steps, {self.n_action_steps} cannot be followed")

    @property
    @abstractmethod
    def image(self) -> int:
        """Height and width that pictures are brought to."""

    @abstractmethod
    def demand_untouched(self) -> None:
        """See to it that nobody set what LeRobot decides.

        Raises:
            ValueError: somebody did.
        """

    @property
    def cameras(self) -> list[str]:
        """Features that are pictures, in the order in which they are shown."""
        return list(self.image_features)

    @property
    def ends(self) -> list[int]:
        """Steps at which stages of learning end, but for the last."""
        return []

    @property
    def paces(self) -> list[float]:
        """How fast each group of parameters learns in the last stage, beside ``optimizer_lr``."""
        return [1.0]

    @property
    def observation_delta_indices(self) -> list[int]:
        return [-self.stride * back for back in range(self.n_obs_steps - 1, -1, -1)]

    @property
    def action_delta_indices(self) -> list[int]:
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        return None

    def get_optimizer_preset(self) -> AdamWConfig:
        return AdamWConfig(lr=self.optimizer_lr, weight_decay=self.optimizer_weight_decay, grad_clip_norm=1.0)

    def get_scheduler_preset(self) -> "StagesConfig":
        return StagesConfig(num_warmup_steps=self.warmup_steps, ends=self.ends, paces=self.paces)

    def validate_features(self) -> None:
        """See to it that there is something to look at, to feel and to do.

        Raises:
            ValueError: there is not.
        """
        if not self.image_features or self.robot_state_feature is None or self.action_feature is None:
            raise ValueError(
                f"{self.type} needs a picture, observation.state and action among a dataset's features, which are "
                f"{sorted([*(self.input_features or {}), *(self.output_features or {})])}"
            )


def usually[S](preset: S) -> type[S]:
    """A class of the same settings whose defaults are the preset's, in what lies within as well.

    LeRobot reads a setting by itself, and takes what is not said from its class.
    """
    kind: Any = type(preset)
    hints, usual = get_type_hints(kind), []
    for each in fields(kind):
        value = getattr(preset, each.name)
        if is_dataclass(value):
            within = usually(value)
            usual.append((each.name, within, field(default_factory=within)))
        else:
            usual.append((each.name, hints[each.name], field(default=value)))
    made: type[S] = make_dataclass(kind.__name__, usual, bases=(kind,), frozen=True, module=kind.__module__)
    return made


def demand_alike(ours: Any, ordinary: Any, decided: Mapping[str, str]) -> None:
    """See to it that settings are as usual where somebody else decides.

    Raises:
        ValueError: one is not.
    """
    for name, where in decided.items():
        if attrgetter(name)(ours) != attrgetter(name)(ordinary):
            raise ValueError(f"{type(ours).__name__.lower()}.{name} is decided elsewhere: {where}")


@LRSchedulerConfig.register_subclass("stages")
@dataclass
class StagesConfig(LRSchedulerConfig):  # type: ignore[misc]  # LeRobot's own bases are not typed here
    """Every stage warms up and falls as `learners.train` has it."""

    num_warmup_steps: int = 100
    ends: list[int] = field(default_factory=list)
    """Steps at which stages end, but for the last, which ends with the run."""
    paces: list[float] = field(default_factory=lambda: [1.0])
    """How fast each group of parameters learns in the last stage, as a share of its learning rate."""

    def build(self, optimizer: torch.optim.Optimizer, num_training_steps: int) -> LambdaLR:
        """A schedule for a run of so many steps.

        Raises:
            ValueError: the run would end before its last stage begins.
        """
        if self.ends and num_training_steps <= self.ends[-1]:
            raise ValueError(
                f"a run of {num_training_steps} steps would end before the stage in which the policy learns to move, "
                f"which begins after {self.ends[-1]}; ask for more steps, or shorten the stages before it"
            )
        borders = [0, *self.ends, num_training_steps]

        def paced(pace: float) -> Callable[[int], float]:
            def share(step: int) -> float:
                stage = min(bisect_right(borders, step), len(borders) - 1)
                begun, end = borders[stage - 1], borders[stage]
                how = Training(steps=max(1, end - begun), warmup=self.num_warmup_steps)
                return schedule(step - begun, how) * (pace if stage == len(borders) - 1 else 1.0)

            return share

        return LambdaLR(optimizer, [paced(pace) for pace in self.paces[: len(optimizer.param_groups)]])


class ChunkedPolicy(PreTrainedPolicy):  # type: ignore[misc]  # LeRobot's own bases are not typed here
    """A method for any dataset with pictures, a state and actions; numbers are as LeRobot's processors scaled them."""

    config_class = ChunkedConfig
    name = "chunked"

    def __init__(self, config: ChunkedConfig, dataset_meta: Any = None, **_more: Any) -> None:
        """Prepare to build from the config; a dataset's description says what is said, unless the config does.

        Raises:
            ValueError: nobody says what the tasks are called, the features are too few, or a setting is not ours.
        """
        super().__init__(config)
        config.validate_features()
        if not config.tasks:
            if dataset_meta is None:
                raise ValueError(f"a {self.name} policy knows what its dataset's tasks are called; give config.tasks")
            # Only when training begins: a policy that was saved has what was usual then.
            config.demand_untouched()
            config.tasks = sorted(str(task) for task in dataset_meta.tasks.index)
        self.reset()

    @property
    def widths(self) -> tuple[int, int]:
        """Numbers per state and per action."""
        return self.config.robot_state_feature.shape[0], self.config.action_feature.shape[0]

    @abstractmethod
    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Terms whose sum is minimised."""

    @abstractmethod
    def steps(self, images: Tensor, state: Tensor, instructions: list[str]) -> Tensor:
        """Chunks (B, k, d) of pictures (B, V, 3, H, W), 0..255, and states (B, n_obs_steps, D)."""

    def get_optim_params(self) -> Any:
        return [each for each in self.parameters() if each.requires_grad]

    def reset(self) -> None:
        """Forget what was felt and planned."""
        self._felt: deque[Tensor] = deque(maxlen=(self.config.n_obs_steps - 1) * self.config.stride + 1)
        self._planned: deque[Tensor] = deque()

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """The loss and its terms."""
        terms = self.losses(batch)
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

    def windows(self, batch: dict[str, Any]) -> Batch:
        """A batch of LeRobot's as our networks are given it; nobody knows its key frames."""
        state = batch[OBS_STATE]
        return Batch(
            images=self._images(batch),
            state=state,
            plan=batch[ACTION],
            past_end=batch[PADDED],
            key=state.new_zeros(len(state), KEY),
            instructions=self._said(batch),
        )

    def _past(self, state: Tensor) -> Tensor:
        """States (B, n_obs_steps, D) up to this one (B, D); before the first, it was as the first."""
        self._felt.extend([state] * (1 if self._felt else self._felt.maxlen or 1))
        return torch.stack(list(self._felt)[:: self.config.stride], dim=1)

    def _chunk(self, batch: dict[str, Any], state: Tensor) -> Tensor:
        return self.steps(self._images(batch), state, self._said(batch))

    def _images(self, batch: dict[str, Any]) -> Tensor:
        """Newest pictures (B, V, 3, image, image), 0..255, of those (B, [n_obs_steps], 3, H, W) from 0 to 1."""
        size = (self.config.image, self.config.image)
        one_moment, shown = 4, []
        for key in self.config.cameras:
            newest = batch[key][:, -1] if batch[key].ndim > one_moment else batch[key]
            shown.append(F.interpolate(newest, size, mode="bilinear", antialias=True, align_corners=False))
        return 255 * torch.stack(shown, dim=1)

    @staticmethod
    def _said(batch: dict[str, Any]) -> list[str]:
        task = batch.get(TASK, "")
        return [task] * len(batch[OBS_STATE]) if isinstance(task, str) else list(task)


def processors(
    config: ChunkedConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None, raw: Sequence[Any] = ()
) -> tuple[Any, Any]:
    """LeRobot's own steps before a policy, with further ones while numbers are ``raw``, and those after it."""
    steps = make_default_policy_processor_steps(config, dataset_stats, normalizer_device=config.device)
    made: tuple[Any, Any] = make_policy_processor_pipelines(
        input_steps=[steps.rename_observations, steps.add_batch_dim, *raw, steps.to_device, steps.normalize],
        output_steps=[steps.unnormalize, steps.to_cpu],
    )
    return made


class AsTheyAre(nn.Module):
    """Leaves numbers alone: LeRobot's processors have scaled them."""

    def __init__(self, steps: int, width: int) -> None:
        """For plans of ``steps`` steps of ``width`` numbers."""
        super().__init__()
        self.register_buffer("plan_scale", torch.ones(steps, width), persistent=False)

    def do(self, _name: str, values: Tensor) -> Tensor:
        return values

    def undo(self, _name: str, values: Tensor) -> Tensor:
        return values
