"""What stands before and after CCoL in LeRobot: its own steps, nothing else."""

from typing import Any

from lerobot.processor import make_default_pre_post_processors
from torch import Tensor

from lerobot_policy_ccol.configuration_ccol import CCoLConfig


def make_ccol_pre_post_processors(
    config: CCoLConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None
) -> tuple[Any, Any]:
    """Name, add a batch, move and scale what goes in; scale back and bring to the CPU what comes out."""
    made: tuple[Any, Any] = make_default_pre_post_processors(config, dataset_stats, normalizer_device=config.device)
    return made
