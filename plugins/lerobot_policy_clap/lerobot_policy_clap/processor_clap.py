"""What stands before and after CLAP in LeRobot: its own steps, nothing else."""

from typing import Any

from lerobot.processor import make_default_pre_post_processors
from torch import Tensor

from lerobot_policy_clap.configuration_clap import ClapConfig


def make_clap_pre_post_processors(
    config: ClapConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None
) -> tuple[Any, Any]:
    """Name, add a batch, move and scale what goes in; scale back and bring to the CPU what comes out."""
    made: tuple[Any, Any] = make_default_pre_post_processors(config, dataset_stats, normalizer_device=config.device)
    return made
