"""CCoL as a policy of LeRobot: ``lerobot-train --policy.type=ccol`` on any of its datasets.

LeRobot finds this package by its name and loads it; the method itself is `learners.ccol`.
"""

from lerobot_policy_ccol.configuration_ccol import CCoLConfig

__all__ = ["CCoLConfig"]
