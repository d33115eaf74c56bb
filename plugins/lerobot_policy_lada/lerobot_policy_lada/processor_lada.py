"""What stands before and after LaDA in LeRobot: its own steps, and one that names motions while numbers are raw."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from lerobot.lerobot_types import EnvTransition, TransitionKey
from lerobot.processor import ProcessorStep, ProcessorStepRegistry
from numpy.typing import NDArray
from torch import Tensor

from learners.body import by_arm, side_by_side
from learners.lada.primitives import Primitives
from learners.lerobot.plugin import processors
from learners.lerobot.statistics import PADDED
from learners.transforms import Floats, quaternion, quaternion_product, rotation_vector
from lerobot_policy_lada.configuration_lada import LaDAConfig

CODES = "lada.codes"
"""Beside a batch: what its motions are called (B, arms, 5), as `learners.lada.primitives` has it."""


@ProcessorStepRegistry.register("lada_names_motions")
@dataclass
class NameMotions(ProcessorStep):  # type: ignore[misc]  # LeRobot's own bases are not typed here
    """Adds to chunks of actions what their motions are called; a live observation has no actions, and goes by."""

    arms: int = 1
    metres: float = 1.0
    radians: float = 1.0
    primitives: dict[str, Any] = field(default_factory=dict)

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        action = transition.get(TransitionKey.ACTION)
        told = dict(transition.get(TransitionKey.COMPLEMENTARY_DATA) or {})
        if action is None or PADDED not in told:
            return transition
        plan = amounts(action.double().cpu().numpy(), told[PADDED].cpu().numpy(), self.arms, self.metres, self.radians)
        how = Primitives(**self.primitives)
        codes = how.codes(how.label(torch.from_numpy(plan))).astype(np.int64)
        told[CODES] = torch.from_numpy(codes).to(action.device)
        return {**transition, TransitionKey.COMPLEMENTARY_DATA: told}

    def get_config(self) -> dict[str, Any]:
        return asdict(self)

    def transform_features(self, features: Any) -> Any:
        """Nothing of an observation or an action changes."""
        return features


def make_lada_pre_post_processors(
    config: LaDAConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None
) -> tuple[Any, Any]:
    """LeRobot's own steps, and one that names motions if they have names."""
    if not config.named:
        return processors(config, dataset_stats)
    naming = NameMotions(config.arms, config.metres, config.radians, asdict(config.lada.primitives))
    return processors(config, dataset_stats, [naming])


def amounts(action: Floats, past_end: NDArray[np.bool_], arms: int, metres: float, radians: float) -> Floats:
    """What steps (B, k, 7 * arms) add up to, as a `ToolView` has it: where tools are after each, from the first moment.

    Steps past an episode's end repeat its last, and move nothing.
    """
    each = by_arm(action, arms) * ~past_end[..., None, None]
    way = np.cumsum(each[..., :3], axis=1) * metres
    turns = quaternion(each[..., 3:6] * radians)
    turned = [turns[:, 0]]
    for step in range(1, turns.shape[1]):
        turned.append(quaternion_product(turns[:, step], turned[-1]))
    turn = rotation_vector(np.stack(turned, axis=1))
    return side_by_side(np.concatenate([way, turn, by_arm(action, arms)[..., 6:]], axis=-1))
