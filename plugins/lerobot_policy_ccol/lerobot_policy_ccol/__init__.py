"""CCoL as a policy of LeRobot: ``lerobot-train --policy.type=ccol`` on any of its datasets.

LeRobot finds this package by its name and loads it; the method itself is `learners.ccol`. From a checkout, it is
installed beside the project: ``uv pip install --no-deps -e plugins/lerobot_policy_ccol``.
"""

from lerobot_policy_ccol.configuration_ccol import CCoLConfig

__all__ = ["CCoLConfig"]
